"""Errors of the training commands: one line, exit status 2, and no damaged files."""

import importlib
import resource
import shutil

import pytest
import torch

from fer_live.model.checkpoint import load_checkpoint
from tests.test_training import write_votes
from training import page
from training.__main__ import main as train_main
from training.audit import main as audit_main
from training.train import Trainer


def test_wrong_arguments_are_reported_in_one_line(tmp_path, face_folders, capsys):
    base = ["--data", str(face_folders), "--out", str(tmp_path / "out")]
    (tmp_path / "file").write_text("")
    cases = [
        ([*base, "--recipe", "nothing"], "best_cpu"), ([*base, "--recipe", "smoke", "--device", "tpu"], "auto, cpu"),
        ([*base, "--recipe", "smoke", "--votes", str(tmp_path / "no.csv")], "FERPlus"),
        ([*base, "--recipe", "best_cpu", "--pretrained", str(tmp_path / "no.pth")], "no file of weights"),
        (["--resume", str(tmp_path)], "nothing to resume"),
        (["--data", str(face_folders), "--recipe", "smoke", "--out", str(tmp_path / "file" / "x")], "cannot write"),
        ([*base, "--recipe", "best", "--pretrained", "none"], "fewer than one batch"),
        ([*base, "--recipe", "smoke", "--arch", "resnet9+resnet9", "--pretrained", "none"], "training.soup --logits"),
    ]
    for arguments, words in cases:
        assert train_main(arguments) == 2
        output = capsys.readouterr().err.strip()
        assert words in output and output.startswith("error: ") and "\n" not in output, arguments
    assert train_main(["--list"]) == 0 and "best_cpu" in capsys.readouterr().out
    unusable = [(["--data", "x"], "give --data, --recipe and --out"), ([*base, "--recipe", "smoke", "--epochs", "0"], "above 0")]
    for arguments, words in unusable:
        with pytest.raises(SystemExit) as caught:
            train_main(arguments)
        assert caught.value.code == 2 and words in capsys.readouterr().err


def test_messages_go_to_stderr_and_results_to_stdout(tmp_path, face_folders, capsys):
    data = shutil.copytree(face_folders, tmp_path / "data")
    (data / "notes.txt").write_text("x")
    assert audit_main([str(data)]) == 0
    first = capsys.readouterr()
    assert first.err.startswith("skipped: 1 files (1 .txt), the first is ") and first.err.count("\n") == 1
    assert "77 images" in first.out and "skipped" not in first.out
    assert audit_main([str(data)]) == 0 and capsys.readouterr() == first, "a second command does not print twice"


@pytest.mark.parametrize("command", ["audit", "evaluate", "robustness", "soup", "release", "ablate"])
def test_unwritable_output_is_reported_before_the_work(command, tmp_path, face_folders, capsys):
    (tmp_path / "file").write_text("")
    data, blocked = ["--data", str(face_folders)], str(tmp_path / "file" / "x")
    votes = ["--votes", str(write_votes(tmp_path / "votes.csv", ["Training"] * 8 + ["PublicTest"] * 3))]
    arguments = {
        "audit": [str(face_folders), "--json", blocked],
        "evaluate": ["--model", "no.pt", *data, "--split", "PublicTest", "--json", blocked],
        "robustness": [*data, "--json", blocked], "soup": ["a", "b", *data, "--out", blocked],
        "release": ["a", *data, "--out", blocked], "ablate": [*data, *votes, "--out", blocked],
    }[command]
    assert importlib.import_module(f"training.{command}").main(arguments) == 2
    output = capsys.readouterr().err.strip()
    assert output.startswith("error: cannot write to") and "choose another path" in output and "\n" not in output


@pytest.mark.slow
def test_full_disk_during_the_report_loses_nothing(tmp_path, face_folders, capsys, monkeypatch):
    write_page = page.write_page
    arguments = ["--data", str(face_folders), "--recipe", "smoke", "--epochs", "1", "--pretrained", "none"]

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(page, "write_page", full)
    assert train_main([*arguments, "--device", "cpu", "--out", str(tmp_path)]) == 2
    assert "No space left on device); the last epoch is complete" in capsys.readouterr().err

    def faulty(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(page, "write_page", faulty)
    with pytest.raises(RuntimeError, match="a bug"):  # not reported as a full disk
        train_main(["--resume", str(tmp_path), "--device", "cpu"])
    monkeypatch.setattr(page, "write_page", write_page)
    assert train_main(["--resume", str(tmp_path), "--device", "cpu"]) == 0 and (tmp_path / "report.html").exists()


def test_full_disk_is_a_one_line_error_without_damaged_files(tmp_path, face_folders, capsys, monkeypatch):
    """Limit the file size from the second epoch on."""
    run_epoch, before = Trainer.run_epoch, resource.getrlimit(resource.RLIMIT_FSIZE)

    def filling(self):
        run_epoch(self)
        if self.epoch == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))

    monkeypatch.setattr(Trainer, "run_epoch", filling)
    arguments = ["--data", str(face_folders), "--recipe", "smoke", "--epochs", "3", "--pretrained", "none", "--device", "cpu"]
    try:
        assert train_main([*arguments, "--out", str(tmp_path)]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    output = capsys.readouterr().err.strip().splitlines()
    assert output[-1].startswith("error: cannot write") and not any("Traceback" in line for line in output)
    assert torch.load(tmp_path / "last.pt", weights_only=True)["epoch"] == 1
    load_checkpoint(tmp_path / "best_model.pt")
    assert not list(tmp_path.glob("*.part"))
