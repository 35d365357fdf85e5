"""Runs that are resumed, averaged, released or compared: changed inputs are refused and nothing is overwritten."""

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from filelock import FileLock

from fer_live.model.checkpoint import load_checkpoint, save_checkpoint
from fer_live.model.spec import EMOTIONS
from tests.conftest import ROOT
from tests.test_training import QUICK, SMALL_ARCH, write_csv, write_votes
from training import ablate
from training.__main__ import main as train_main
from training.calibrate import check_votes
from training.data import DataError, load_dataset
from training.evaluate import main as evaluate_main
from training.evaluate import measure_split
from training.predict import main as predict_main
from training.recipes import RECIPES
from training.record import read_last
from training.release import main as release_main
from training.soup import main as soup_main
from training.train import Trainer, TrainingError

CPU = torch.device("cpu")
SMALL = replace(QUICK, arch=SMALL_ARCH, phases=((2, 32),))


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setitem(RECIPES, "small", SMALL)


@pytest.fixture
def votes(tmp_path):
    return write_votes(tmp_path / "votes.csv", ["Training"] * 8 + ["PublicTest"] * 3)


@pytest.fixture
def finished(tmp_path, face_folders, small):
    """The folders of a finished run with one head and of its data, a copy of the cartoon faces."""
    data = shutil.copytree(face_folders, tmp_path / "data")
    assert train(data, tmp_path / "run") == 0
    return tmp_path / "run", data


def train(data, out, *more, recipe="small"):
    start = ["--data", str(data), "--recipe", recipe, "--out", str(out), "--pretrained", "none", "--device", "cpu"]
    return train_main([*start, *more])


def resume(out, *more):
    return train_main(["--resume", str(out), "--device", "cpu", *more])


def one_line(capsys):
    output = capsys.readouterr().err.strip()
    assert output.startswith("error: ") and "\n" not in output, output
    return output


def change_last(out, **fields):
    torch.save({**torch.load(out / "last.pt", weights_only=True), **fields}, out / "last.pt")


# ------------------------------------------------------------------------------------------------ the best epoch


@pytest.mark.slow
def test_best_epoch_keeps_its_resolution(tmp_path, face_folders, monkeypatch):
    monkeypatch.setitem(RECIPES, "two", replace(SMALL, phases=((1, 32), (1, 64))))
    validate = Trainer._validate
    monkeypatch.setattr(Trainer, "_validate", lambda self: {**validate(self), "val_loss": 1.0 + self.epoch})  # 1st is best
    assert train(face_folders, tmp_path / "run", recipe="two") == 0
    model, spec = load_checkpoint(tmp_path / "run" / "best_model.pt")
    assert spec.resolution == model.resolution == 32
    data, history = load_dataset(face_folders), read_last(tmp_path / "run")["history"]
    figures = measure_split(model, spec, data, "validation")["fer2013"]["standard"]
    assert figures["accuracy"] == pytest.approx(history[0]["val_accuracy"])
    save_checkpoint(tmp_path / "run" / "best_model.pt", model, replace(spec, resolution=64), {})  # as written by older versions
    assert resume(tmp_path / "run") == 0 and load_checkpoint(tmp_path / "run" / "best_model.pt")[1].resolution == 32


def test_rejects_averaging_networks_of_different_resolutions(tmp_path, finished, capsys):
    run, data = finished
    other = shutil.copytree(run, tmp_path / "other")
    model, spec = load_checkpoint(run / "best_model.pt")
    save_checkpoint(other / "best_model.pt", model, replace(spec, resolution=64), {"epoch": 2})  # as older versions stored it
    capsys.readouterr()
    assert soup_main([str(run), str(other), "--data", str(data), "--out", str(tmp_path / "soup")]) == 0
    assert "is used at 32 px, the resolution at which its epoch was measured, not at 64 px" in capsys.readouterr().err
    assert load_checkpoint(tmp_path / "soup" / "best_model.pt")[1].resolution == 32
    history = read_last(other)["history"]
    change_last(other, history=[{**entry, "resolution": 64} for entry in history])
    assert soup_main([str(run), str(other), "--data", str(data), "--out", str(tmp_path / "no")]) == 2
    assert "one resolution" in one_line(capsys)


# ------------------------------------------------------------------------------------------------ --resume


@pytest.mark.parametrize("more", [["--epochs", "9"], ["--arch", "resnet9"], ["--seed", "0"], ["--data", "x"], ["--votes", "x"],
                                  ["--out", "x"], ["--recipe", "best"], ["--pretrained", "none"], ["--clean"], ["--no-bf16"],
                                  ["--optimizer", "sgd"], ["--teacher", "x"]])
def test_resume_rejects_options_without_effect(tmp_path, capsys, more):
    with pytest.raises(SystemExit, match="2"):
        resume(tmp_path, *more)
    output = capsys.readouterr().err
    assert f"leave out {more[0].replace('--no-bf16', '--bf16')}, or start" in output


def test_resume_rejects_changed_data(finished, capsys):
    run, data = finished
    file = next((data / "train" / "happy").iterdir())
    content = file.read_bytes()
    file.write_bytes(next((data / "train" / "sad").iterdir()).read_bytes())
    assert resume(run) == 2 and "data or its votes changed" in one_line(capsys).replace(str(data), "data")
    file.write_bytes(content)
    assert resume(run) == 0, "restored, it continues"


@pytest.mark.slow
def test_resume_rejects_a_changed_teacher_or_recipe(tmp_path, face_folders, untrained, votes, monkeypatch, capsys):
    monkeypatch.setitem(RECIPES, "small", replace(SMALL, phases=((1, 32),), distill=0.5))
    teacher, out = tmp_path / "teacher.pt", tmp_path / "run"
    shutil.copy(untrained, teacher)
    assert train(face_folders, out, "--teacher", str(teacher)) == 0
    assert resume(out) == 0
    monkeypatch.setitem(RECIPES, "small", replace(RECIPES["small"], learning_rate=0.5, about="another text"))
    capsys.readouterr()
    assert resume(out) == 2 and "the recipe small changed" in (output := one_line(capsys)) and "(learning_rate)" in output
    monkeypatch.undo()
    monkeypatch.setitem(RECIPES, "small", replace(SMALL, phases=((1, 32),), distill=0.5))
    model, spec = load_checkpoint(teacher)
    save_checkpoint(teacher, model, spec, {"another": 1})
    assert resume(out) == 2 and "a file given as --teacher changed" in one_line(capsys)


@pytest.mark.slow
def test_run_of_an_older_version_resumes_and_logs_unchecked_fields(finished, capsys):
    run, data = finished
    state = torch.load(run / "last.pt", weights_only=True)
    plan = {name: value for name, value in state["run"].items() if name not in ("data_sha256", "teacher_sha256")}
    torch.save({**{name: value for name, value in state.items() if name != "recipe"}, "run": plan}, run / "last.pt")
    assert resume(run) == 0
    assert "without data_sha256, teacher_sha256, recipe" in capsys.readouterr().err
    shutil.copytree(data / "validation" / "sad", data / "train" / "sad", dirs_exist_ok=True)
    for i in range(14):  # one more batch: without a hash, the number of steps shows the change
        shutil.copy(next((data / "validation" / "sad").iterdir()), data / "train" / "sad" / f"{1000 + i}.png")
    assert resume(run) == 2
    output = capsys.readouterr().err.strip().splitlines()  # the warning, then the error
    assert len(output) == 2 and output[1].startswith("error: ") and "the data or the recipe has changed" in output[1]


def test_damaged_state_is_a_one_line_error(finished, capsys):
    run, _ = finished
    whole = (run / "last.pt").read_bytes()
    state = read_last(run)
    damages = [
        ({"history": None}, "is damaged"), ({"history": [{}] * 2}, "is damaged"), ({"epoch": 1}, "is damaged"),
        ({"run": {}}, "training.ablate"), ({"run": {**state["run"], "recipe": "gone"}}, "no recipe 'gone'"),
        ({"run": {**state["run"], "seed": "x"}}, "does not say how"), ({"model": {}}, "does not fit its recipe"),
        ({"optimizer": {}}, "does not fit its recipe"), ({"optimizer": {"state": {}, "param_groups": []}}, "does not fit"),
    ]
    for fields, words in damages:
        (run / "last.pt").write_bytes(whole)
        change_last(run, **fields)
        capsys.readouterr()
        assert resume(run) == 2 and words in one_line(capsys), fields
    (run / "last.pt").write_bytes(whole)
    (run / "best_model.pt").unlink()
    assert resume(run) == 2 and "best_model.pt" in one_line(capsys)


def test_stop_before_the_first_epoch_does_not_suggest_resume(tmp_path, face_folders, small, monkeypatch, capsys):
    def stopped(*_):
        raise KeyboardInterrupt

    run_epoch = Trainer.run_epoch
    monkeypatch.setattr(Trainer, "run_epoch", stopped)
    assert train(face_folders, tmp_path / "run") == 130
    output = capsys.readouterr().err
    assert "--resume" not in output and "start again with the same command" in output
    monkeypatch.setattr(Trainer, "run_epoch", run_epoch)
    assert train(face_folders, tmp_path / "run") == 0, "the same command starts again"


@pytest.mark.slow
def test_interrupt_during_startup_prints_no_traceback(tmp_path, face_folders):
    command = [sys.executable, "-X", "importtime", "-m", "training", "--data", str(face_folders), "--recipe", "smoke",
               "--out", str(tmp_path / "run")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    seen = []
    for line in process.stderr:  # these lines appear once torch is being imported
        seen.append(line)
        if "torch._C" in line:
            process.send_signal(signal.SIGINT)
            break
    rest = process.stderr.read()
    assert process.wait(60) == 130 and "Traceback" not in rest and "start again" in rest


# ------------------------------------------------------------------------------------------------ overwriting


def test_runs_and_soups_are_not_overwritten(tmp_path, finished, capsys):
    run, data = finished
    before = {file.name: file.read_bytes() for file in run.iterdir()}
    assert train(data, run) == 2 and f"--resume {run}" in one_line(capsys)
    arguments = ["--data", str(data), "--out", str(run)]
    assert soup_main([str(run), str(run), *arguments]) == 2 and "already contains" in one_line(capsys)
    assert release_main([str(run), *arguments]) == 2 and "never overwritten" in one_line(capsys)
    assert {file.name: file.read_bytes() for file in run.iterdir()} == before
    other = ["--data", str(data), "--out", str(tmp_path / "soup")]
    assert soup_main([str(run), str(run), *other]) == 0
    capsys.readouterr()
    assert soup_main([str(run), str(run), *other]) == 2 and "soup.json" in one_line(capsys)
    assert release_main([str(tmp_path / "soup"), *other]) == 2 and "soup.json" in one_line(capsys)


def test_rejects_two_heads_without_votes_before_writing(tmp_path, face_folders, votes, small, capsys):
    run, out = tmp_path / "run", tmp_path / "out"
    assert train(face_folders, run, "--votes", str(votes)) == 0
    out.mkdir()
    (out / "best_model.pt").write_bytes(b"shipped")
    capsys.readouterr()
    for command, arguments in ((soup_main, [str(run), str(run), "--out", str(tmp_path / "soup")]),
                               (release_main, [str(run), "--out", str(out)])):
        assert command([*arguments, "--data", str(face_folders)]) == 2
        assert "give --votes" in one_line(capsys)
    assert (out / "best_model.pt").read_bytes() == b"shipped" and not (tmp_path / "soup" / "best_model.pt").exists()
    with pytest.raises(DataError, match="give --votes"):
        check_votes(load_checkpoint(run / "best_model.pt")[1], load_dataset(face_folders))


@pytest.mark.slow
def test_measuring_on_different_data_is_logged(tmp_path, finished, capsys):
    run, data = finished
    soup = ["--data", str(data), "--out", str(tmp_path / "soup")]
    assert soup_main([str(run), str(run), *soup]) == 0 and "trained on other" not in capsys.readouterr().err
    next((data / "train" / "happy").iterdir()).rename(data / "validation" / "happy" / "9999.png")
    for command, place, name in ((soup_main, run, "a"), (release_main, tmp_path / "soup", "b")):
        places = [str(place)] * (2 if command is soup_main else 1)
        assert command([*places, "--data", str(data), "--out", str(tmp_path / name)]) == 0
        assert f"note: {place} was trained on other data or other votes" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------ options without effect


def test_rejects_initial_weights_and_teachers_without_effect(tmp_path, face_folders, untrained, small, capsys):
    assert train(face_folders, tmp_path / "a", "--teacher", str(untrained)) == 2
    assert "--teacher has no effect" in one_line(capsys)
    base = ["--data", str(face_folders), "--recipe", "small", "--arch", "resnet9", "--device", "cpu"]
    assert train_main([*base, "--pretrained", "timm", "--out", str(tmp_path / "b")]) == 2
    assert "timm has no weights of resnet9" in one_line(capsys)
    assert train_main([*base, "--pretrained", str(untrained), "--out", str(tmp_path / "c")]) == 2
    assert "different network" in one_line(capsys)
    with pytest.raises(SystemExit, match="2"):
        train(face_folders, tmp_path / "d", "--seed", "-1")


@pytest.mark.slow
def test_resnet9_starts_from_a_file(tmp_path, face_folders, monkeypatch):
    monkeypatch.setitem(RECIPES, "small", replace(SMALL, arch="resnet9", phases=((1, 16),), learning_rate=0.0, ema=0.0))
    assert train(face_folders, tmp_path / "a") == 0
    assert train_main(["--data", str(face_folders), "--recipe", "small", "--out", str(tmp_path / "b"), "--device", "cpu",
                       "--seed", "5", "--pretrained", str(tmp_path / "a" / "best_model.pt")]) == 0
    a, b = (load_checkpoint(tmp_path / name / "best_model.pt")[0] for name in "ab")
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def test_recipe_that_selects_on_test_splits_does_not_train_on_them(tmp_path, face_folders):
    """Kaggle's folders shuffle all rows: their train/ holds images of PublicTest and PrivateTest."""
    recipe = replace(SMALL, choose_on=("PublicTest", "PrivateTest"))
    folders = load_dataset(face_folders)
    official = {"PublicTest": folders.split("train")[:5], "PrivateTest": folders.split("validation")[:5]}
    with pytest.raises(TrainingError, match=r"5 images of PublicTest\+PrivateTest.*are also in train"):
        Trainer(recipe, replace(folders, splits={**folders.splits, **official}), CPU, 0)
    table = load_dataset(write_csv(tmp_path / "fer2013.csv", ("Training", "Training", "PublicTest", "PrivateTest")))
    assert len(Trainer(recipe, table, CPU, 0).selection_ids) == 14


def test_class_without_training_images_is_reported(face_folders, caplog):
    data = load_dataset(face_folders)
    ids = data.split("train")
    fewer = ids[data.labels[ids] != EMOTIONS.index("fear")]
    Trainer(SMALL, replace(data, splits={**data.splits, "train": fewer}), CPU, 0)
    assert "the split train has no image of fear" in caplog.text


def test_rejects_weights_with_another_class_order(tmp_path, face_folders, untrained, votes, monkeypatch, capsys):
    model, spec = load_checkpoint(untrained)
    other = tmp_path / "other.pt"
    save_checkpoint(other, model, replace(spec, labels=EMOTIONS[::-1]), {})
    measured = ["--model", str(other), "--data", str(face_folders), "--split", "validation", "--device", "cpu"]
    assert evaluate_main(measured) == 2 and "has the classes surprise, sad" in one_line(capsys)
    monkeypatch.setitem(RECIPES, "small", replace(QUICK, phases=((1, 48),), distill=0.5))
    base = ["--data", str(face_folders), "--votes", str(votes), "--recipe", "small", "--device", "cpu"]
    base += ["--out", str(tmp_path / "run")]
    for option in (["--pretrained", str(other)], ["--pretrained", "none", "--teacher", str(other)]):
        assert train_main([*base, *option]) == 2 and "has the classes surprise, sad" in one_line(capsys)
    image = str(next((face_folders / "train" / "happy").iterdir()))
    output = []
    for weights in (untrained, other):
        assert predict_main([image, "--model", str(weights), "--out", str(tmp_path / "chart.png")]) == 0
        output.append([line.split()[0] for line in capsys.readouterr().out.splitlines()[:7]])
    assert [EMOTIONS[::-1][EMOTIONS.index(name)] for name in output[0]] == output[1], "each logit keeps the name from its file"


# ------------------------------------------------------------------------------------------------ ablations


@pytest.fixture
def ablation(tmp_path, face_folders, votes, small, monkeypatch):
    """ablation(...) runs the command with more arguments; a stub returns an accuracy that depends on the seed only."""
    ran = []

    def run_one(name, recipe, seed, data, args):
        ran.append((name, seed))
        return {"variant": name, "seed": seed, "epochs": recipe.epochs, "seconds": 1.0, "fer2013": 0.5 + seed / 10}

    def command(*more, recipe="small"):
        ran.clear()
        base = ["--data", str(face_folders), "--votes", str(votes), "--out", str(tmp_path / "runs"), "--recipe", recipe]
        return ablate.main([*base, "--pretrained", "none", "--device", "cpu", "--seeds", "2", *more])

    monkeypatch.setattr(ablate, "run_one", run_one)
    command.ran = ran
    return command


def test_processes_share_the_runs_of_an_ablation(tmp_path, ablation, capsys):
    (tmp_path / "runs").mkdir()
    with FileLock(tmp_path / "runs" / "none-0.lock"):  # another process works on this run
        assert ablation("--only", ablate.BASE) == 0
    assert ablation.ran == [(ablate.BASE, 1)]
    output = capsys.readouterr()
    assert "another process is running none-0" in output.err and "| 60.0 |" in output.out
    assert ablation("--only", ablate.BASE) == 0 and ablation.ran == [(ablate.BASE, 0)]
    assert "| 55.0 ± 7.1 |" in capsys.readouterr().out


def test_table_has_only_comparable_results(tmp_path, ablation, monkeypatch, capsys):
    assert ablation("--only", ablate.BASE) == 0
    (tmp_path / "runs" / "notes.json").write_text('{"variant": 3}')
    (tmp_path / "runs" / "list.json").write_text("[1, 2")
    capsys.readouterr()
    assert ablation("--only", ablate.BASE) == 0 and not ablation.ran
    output = capsys.readouterr()
    assert output.err.count("is not a result of training.ablate") == 2 and output.out.count("\n") == 3
    monkeypatch.setitem(RECIPES, "other", replace(SMALL, learning_rate=0.5))
    assert ablation("--only", ablate.BASE, recipe="other") == 2
    assert "none-0.json is from a run with other recipe, settings" in one_line(capsys)
    assert ablation("--only", "one head", recipe="other") == 0
    output = capsys.readouterr()
    assert output.err.count("has another recipe") == 2 and "| none" not in output.out
    (tmp_path / "runs" / "none-0.json").write_text("{")
    assert ablation("--only", ablate.BASE) == 2 and "delete it to run it again" in one_line(capsys)
    old = {"variant": ablate.BASE, "seed": 0, "epochs": 2, "seconds": 1.0, "fer2013": 0.25}  # without its origin
    (tmp_path / "runs" / "none-0.json").write_text(json.dumps(old))
    assert ablation("--only", ablate.BASE) == 0 and not ablation.ran


def test_ablation_teacher_has_an_effect_or_is_rejected(ablation, untrained, capsys):
    assert ablation("--only", "one head", "--teacher", str(untrained)) == 2
    assert "add --only distilled" in one_line(capsys)
    assert RECIPES["best"].distill == 0 < ablate.variants(RECIPES["best"])["distilled"].distill
    assert ablation("--only", "distilled", "--teacher", str(untrained)) == 0
    assert ablation.ran == [("distilled", 0), ("distilled", 1)]
