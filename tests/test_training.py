"""Data layouts, augmentation, metrics, and training end to end on drawn faces."""

import csv
import json
import os
import subprocess
import sys
import time
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from fer_live.model.checkpoint import load_checkpoint
from fer_live.model.decision import log_softmax
from fer_live.model.spec import EMOTIONS
from tests.conftest import ROOT, cartoon
from training import report
from training.__main__ import main as train_main
from training.audit import audit
from training.audit import main as audit_main
from training.augment import Augmentation, augment
from training.data import (
    CSV_ORDER,
    VOTE_ORDER,
    DataError,
    load_dataset,
    without_leaks,
)
from training.evaluate import main as evaluate_main
from training.evaluate import measure_split
from training.metrics import calibration_error, fit_temperature, measure
from training.optim import learning_rate
from training.recipes import RECIPES, Recipe, varied
from training.record import command_line, read_last
from training.train import Trainer
from training.votes import clear_votes, majority_votes, plurality_votes, vote_targets

SMALL_ARCH = "mobilenetv3_small_050"
QUICK = Recipe(about="for tests", phases=((2, 48), (2, 48)), batch_size=14, warmup_steps=2, dropout=0.1, ema=0.9)


def write_csv(path, usages, rows_per_usage=7):
    rng = np.random.default_rng(1)
    with open(path, "w", newline="") as handle:
        table = csv.writer(handle)
        table.writerow(["emotion", "pixels", "Usage"])
        for usage in usages:
            for i in range(rows_per_usage):
                image = cartoon(EMOTIONS.index(CSV_ORDER[i % 7]), rng)
                table.writerow([i % 7, " ".join(map(str, image.ravel())), usage])
    return path


def write_votes(path, usages, rows_per_usage=7):
    columns = ["Usage", "Image name", "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt",
               "unknown", "NF"]
    names = dict(zip(EMOTIONS, VOTE_ORDER, strict=False))
    with open(path, "w", newline="") as handle:
        table = csv.DictWriter(handle, columns)
        table.writeheader()
        for usage in usages:
            for i in range(rows_per_usage):
                row = dict.fromkeys(columns, 0) | {"Usage": usage, "Image name": ""}
                table.writerow(row | {names[CSV_ORDER[i % 7]]: 8, "contempt": 1, "unknown": 1})
    return path


OFFICIAL = ("Training", "Training", "PublicTest", "PrivateTest")


# ------------------------------------------------------------------------------------------------ data


def test_folders_and_csv_give_the_same_labels_in_our_order(tmp_path, face_folders):
    folders = load_dataset(face_folders)
    assert folders.images.shape == (77, 48, 48) and folders.images.dtype == np.uint8
    assert len(folders.split("train")) == 56 and len(folders.split("validation")) == 21
    assert np.bincount(folders.labels).tolist() == [11] * 7
    table = load_dataset(write_csv(tmp_path / "fer2013.csv", OFFICIAL))
    assert [len(table.split(name)) for name in ("Training", "PublicTest", "PrivateTest")] == [14, 7, 7]
    assert [EMOTIONS[label] for label in table.labels[:7]] == list(CSV_ORDER)
    with pytest.raises(DataError, match="Training, PublicTest, PrivateTest"):
        table.split("nothing")


def test_votes_join_folders_by_row_and_bring_the_official_splits(tmp_path, face_folders):
    votes = write_votes(tmp_path / "votes.csv", ["Training"] * 9 + ["PublicTest"] + ["PrivateTest"])
    data = load_dataset(face_folders, votes)
    assert data.votes.shape == (77, 10)
    assert set(data.rows[data.split("PublicTest")]) == set(range(63, 70))
    happy = [i for i in range(77) if data.rows[i] % 7 == CSV_ORDER.index("happy")]
    assert (data.votes[happy, EMOTIONS.index("happy")] == 8).all()


def test_votes_become_distributions():
    counts = np.zeros((4, 10), np.float32)
    counts[0, [3, 4]] = 6, 4  # happy, neutral
    counts[1, [0, 9]] = 2, 8  # mostly "not a face"
    counts[2, [0, 1, 2, 3, 4, 5, 6, 7, 8]] = 2, 1, 1, 1, 1, 1, 1, 1, 1  # single votes are dropped
    soft, weight = vote_targets(counts)
    assert soft[0, 3] == pytest.approx(0.6) and soft[0, 4] == pytest.approx(0.4) and soft[2, 0] == 1
    assert weight.tolist() == [1, 0, 1, 0]
    assert clear_votes(counts).tolist() == [3, -1, -1, -1] and plurality_votes(counts).tolist() == [3, -1, 0, -1]
    assert majority_votes(counts).tolist() == [3, -1, 0, -1]


def test_folder_without_splits_is_split_by_content(tmp_path, face_folders):
    for part in ("train", "validation"):
        for name in EMOTIONS:
            (tmp_path / name).mkdir(exist_ok=True)
            for file in (face_folders / part / name).iterdir():
                (tmp_path / name / file.name).write_bytes(file.read_bytes())
                (tmp_path / name / f"copy-{file.name}").write_bytes(file.read_bytes())
    data = load_dataset(tmp_path)
    train, validation = data.split("train"), data.split("validation")
    assert len(train) + len(validation) == 154 and len(validation) > 0
    sides = [{data.images[i].tobytes() for i in ids} for ids in (train, validation)]
    assert not sides[0] & sides[1], "copies must be on one side"


def test_damaged_data_is_a_one_line_error(tmp_path, face_folders, caplog):
    good = write_csv(tmp_path / "good.csv", ["Training"]).read_text().splitlines()
    cases = {
        "short.csv": ("\n".join([*good[:3], "3,1 2 3,Training"]), "line 4"),
        "letters.csv": ("\n".join([*good[:2], good[2].replace(" ", " x ", 1)]), "line 3"),
        "range.csv": ("\n".join([*good[:2], "1," + " ".join(["999"] * 2304) + ",Training"]), "line 3"),
        "code.csv": ("\n".join([*good[:2], "9" + good[2][1:]]), "line 3"),
        "header.csv": ("a,b\n1,2", "columns"), "empty.csv": ("emotion,pixels,Usage\n", "no rows"),
    }
    for name, (text, words) in cases.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(DataError) as caught:
            load_dataset(tmp_path / name)
        assert words in str(caught.value) and "\n" not in str(caught.value), name
    with pytest.raises(DataError, match="no data"):
        load_dataset(tmp_path / "missing")
    partial = tmp_path / "partial"
    for name in EMOTIONS[:-1]:
        (partial / name).mkdir(parents=True)
        cv2.imwrite(str(partial / name / "1.png"), np.zeros((48, 48), np.uint8))
    with pytest.raises(DataError, match="surprise is missing"):
        load_dataset(partial)
    (partial / "surprise").mkdir()
    with pytest.raises(DataError, match="no images"):
        load_dataset(partial)
    (partial / "surprise" / "1.png").write_bytes(b"nothing")
    (partial / "angry" / "9.png").write_bytes(face_folders.joinpath("train", "angry", "0.png").read_bytes())
    with pytest.raises(DataError, match=r"no image in the class folder .*surprise can be read"):
        load_dataset(partial)
    assert "surprise/1.png" in caplog.text
    cv2.imwrite(str(partial / "surprise" / "1.png"), np.zeros((48, 48), np.uint8))
    with pytest.raises(DataError, match="validate"):  # all black images are copies of each other
        load_dataset(partial)


def test_audit_and_clean(tmp_path, face_folders, capsys):
    """Copies across splits with another label, a blank image, and the result of --clean."""
    for part in ("train", "validation"):
        for name in EMOTIONS:
            (tmp_path / part / name).mkdir(parents=True)
            for file in (face_folders / part / name).iterdir():
                (tmp_path / part / name / file.name).write_bytes(file.read_bytes())
    happy = next((face_folders / "train" / "happy").iterdir()).read_bytes()
    (tmp_path / "validation" / "happy" / "1000.png").write_bytes(happy)
    (tmp_path / "train" / "sad" / "1001.png").write_bytes(happy)
    cv2.imwrite(str(tmp_path / "train" / "fear" / "1002.png"), np.full((48, 48), 7, np.uint8))
    out = tmp_path / "audit.json"
    assert audit_main([str(tmp_path), "--json", str(out)]) == 0
    result = json.loads(out.read_text())
    assert result["images"] == 80 and result["unique"] == 78
    assert (result["groups"], result["images_in_groups"], result["groups_with_conflicting_labels"]) == (1, 3, 1)
    assert result["across"] == {"validation in train": 1} and result["copies_within"] == {"train": 1, "validation": 0}
    assert result["blank"] == [1002] and result["splits"]["train"]["sad"] == 9
    assert "are also in train" in capsys.readouterr().out
    data = load_dataset(tmp_path)
    clean = without_leaks(data)
    assert len(data.split("train")) - len(clean.split("train")) == 2 and len(clean.split("validation")) == 22
    assert audit(clean)["across"] == {"validation in train": 0}
    assert audit_main([str(tmp_path / "nowhere")]) == 2


# ------------------------------------------------------------------------------------------------ augmentation


def test_augmentation_is_reproducible_and_in_range():
    images = torch.from_numpy(np.stack([cartoon(i % 7, np.random.default_rng(i)) for i in range(8)]))
    how = Augmentation(blur=1.0, noise=0.1, erase=1.0)
    first, second = (augment(images, 64, how, torch.Generator().manual_seed(5)) for _ in range(2))
    assert first.shape == (8, 64, 64, 1) and torch.equal(first, second)
    assert first.min() >= 0 and first.max() <= 255
    assert not torch.equal(first, augment(images, 64, how, torch.Generator().manual_seed(6)))


def test_flip_alone_is_an_exact_mirror():
    image = torch.from_numpy(cartoon(3, np.random.default_rng(0)))[None]
    flipped = augment(image, 48, Augmentation(1.0, 0, 0, 0, 0, 0, 0, 0, 0), torch.Generator().manual_seed(0))
    assert torch.allclose(flipped[0, ..., 0], image[0].flip(-1).float(), atol=1e-2)


# ------------------------------------------------------------------------------------------------ metrics


def test_metrics_match_a_calculation_by_hand():
    labels = np.array([0, 0, 1, 1])
    probs = np.eye(7)[[0, 1, 1, 1]] * 0.8 + 0.2 / 7
    result = measure(probs, labels)
    assert result["accuracy"] == 0.75
    assert result["recall"]["angry"] == 0.5 and result["recall"]["disgust"] == 1.0
    assert result["macro_f1"] == pytest.approx((2 / 3 + 0.8) / 2)  # classes without images are excluded
    assert result["confusion"][0][:2] == [1, 1]
    assert result["ece"] == pytest.approx(0.8 + 0.2 / 7 - 0.75)
    assert calibration_error(np.array([1.0, 1.0]), np.array([1.0, 1.0])) == 0


def test_temperature_is_recovered():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (4000, 7))
    truth = np.array([rng.choice(7, p=p) for p in np.exp(log_softmax(logits))])
    assert fit_temperature(logits * 2.5, np.eye(7)[truth]) == pytest.approx(2.5, rel=0.1)


def test_sheet_shows_correct_predictions_in_blue_and_wrong_ones_in_orange(tmp_path):
    def share(color):
        image = cv2.cvtColor(cv2.imread(str(tmp_path / "sheet.png")), cv2.COLOR_BGR2RGB)
        return (image == np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)])).all(2).mean()

    images, labels = np.full((7, 48, 48), 128, np.uint8), np.arange(7)
    for shift, shown, absent in ((0, report.RIGHT, report.WRONG), (1, report.WRONG, report.RIGHT)):
        report.draw_predictions(tmp_path / "sheet.png", images, labels, np.eye(7)[(labels + shift) % 7])
        assert share(shown) > 0.005 and share(absent) == 0


# ------------------------------------------------------------------------------------------------ recipes


def test_onecycle_equals_torchs_schedule():
    recipe, total = RECIPES["resnet9_onecycle"], 200
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 1.0)
    reference = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=total, cycle_momentum=False)
    for step in range(total):
        assert learning_rate(recipe, step, total) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-6, abs=1e-9)
        optimizer.step()
        if step < total - 1:
            reference.step()


def test_options_replace_parts_of_a_recipe():
    short = varied(RECIPES["best_cpu"], {"epochs": 4, "arch": "resnet18", "optimizer": "sgd"})
    assert (short.epochs, short.arch, short.optimizer) == (4, "resnet18", "sgd") and short.phases[-1][1] == 80
    assert varied(RECIPES["best"], {}) == RECIPES["best"] == varied(RECIPES["best"], {"bf16": None})
    assert [varied(RECIPES["best"], {"bf16": choice}).bf16 for choice in (True, False)] == [True, False]
    for name, recipe in RECIPES.items():
        rates = [learning_rate(recipe, step, 1000) for step in range(1000)]
        assert max(rates) == pytest.approx(recipe.learning_rate) and min(rates) >= 0, name


def test_pixel_shifts_are_whole_pixels():
    image = torch.arange(48 * 48, dtype=torch.int64).view(1, 48, 48).remainder(251).to(torch.uint8)
    how = Augmentation(0, 0, 0, 0, 0, 0, 0, 0, 0, pixel_shift=4)
    for seed in range(6):
        moved = augment(image, 48, how, torch.Generator().manual_seed(seed))[0, ..., 0]
        inner = moved[8:40, 8:40]
        fits = [torch.allclose(inner, image[0, 8 + dy : 40 + dy, 8 + dx : 40 + dx].float(), atol=0.1)
                for dy in range(-4, 5) for dx in range(-4, 5)]
        assert sum(fits) == 1


# ------------------------------------------------------------------------------------------------ training


def trainer(data, seed=0):
    return Trainer(replace(QUICK, arch=SMALL_ARCH), data, torch.device("cpu"), seed)


def test_resume_continues_bit_for_bit(tmp_path, face_folders):
    data = load_dataset(face_folders, write_votes(tmp_path / "votes.csv", ["Training"] * 8 + ["PublicTest"] * 3))
    straight = trainer(data)
    for _ in range(4):
        straight.run_epoch()
    first = trainer(data)
    for _ in range(2):
        first.run_epoch()
    first.save_last(tmp_path / "last.pt", {})
    second = trainer(data, seed=0)
    second.restore(torch.load(tmp_path / "last.pt", weights_only=True))
    for _ in range(2):
        second.run_epoch()
    for kind in ("model", "average"):
        ours, theirs = getattr(second, kind).state_dict(), getattr(straight, kind).state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    for ours, theirs in zip(second.history, straight.history, strict=True):
        assert {**ours, "seconds": 0, "images_per_s": 0} == {**theirs, "seconds": 0, "images_per_s": 0}
    other = trainer(data, seed=1)
    other.run_epoch()
    assert other.history[0]["train_loss"] != straight.history[0]["train_loss"]


def test_command_overfits_a_few_faces_stops_and_resumes(tmp_path, face_folders, monkeypatch, capsys):
    out = tmp_path / "run"
    run_epoch = Trainer.run_epoch
    epochs = RECIPES["smoke"].epochs

    def interrupted(self):
        if self.epoch == epochs // 2:
            raise KeyboardInterrupt
        run_epoch(self)

    monkeypatch.setattr(Trainer, "run_epoch", interrupted)
    assert train_main(["--data", str(face_folders), "--recipe", "smoke", "--out", str(out), "--device", "cpu"]) == 130
    assert "--resume" in capsys.readouterr().err
    monkeypatch.setattr(Trainer, "run_epoch", run_epoch)
    assert train_main(["--resume", str(out), "--device", "cpu", "--tensorboard"]) == 0
    assert list((out / "tensorboard").iterdir())
    for name in ("curves.png", "confusion.png", "predictions.png", "reliability.png", "mistakes.png"):
        assert cv2.imread(str(out / name)) is not None, name
    page = (out / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 5 and "--recipe smoke" in page and "http" not in page, "one file, no network"
    rows = list(csv.DictReader((out / "history.csv").open()))
    assert [int(r["epoch"]) for r in rows] == list(range(1, epochs + 1))
    assert float(rows[-1]["train_accuracy"]) >= 0.9
    figures = tmp_path / "f.json"
    arguments = ["--model", str(out / "best_model.pt"), "--data", str(face_folders), "--device", "cpu"]
    assert evaluate_main([*arguments, "--split", "validation", "--json", str(figures)]) == 0
    result = json.loads(figures.read_text())
    assert result["standard"]["accuracy"] >= 0.8 and result["duplicate_free"]["images"] == 21
    assert evaluate_main([*arguments, "--split", "Nowhere"]) == 2
    _, spec = load_checkpoint(out / "best_model.pt")
    assert spec.head == "fer2013" and spec.heads["fer2013"] != 1.0 and spec.labels == EMOTIONS and spec.decision is None
    assert spec.class_shares["fer2013"] == pytest.approx([1 / 7] * 7, abs=1e-5)
    with pytest.raises(SystemExit, match="2"):
        evaluate_main(arguments)
    assert "--split" in capsys.readouterr().err, "PrivateTest is never measured by default"


def test_bfloat16_is_used_if_requested_and_remembered(tmp_path, face_folders, monkeypatch):
    seen, run_epoch = [], Trainer.run_epoch

    def watched(self):
        handle = self.model.heads["fer2013"].register_forward_hook(lambda _, __, y: seen.append(y.dtype))
        run_epoch(self)
        handle.remove()

    monkeypatch.setattr(Trainer, "run_epoch", watched)
    monkeypatch.setattr("training.__main__.finish", lambda *_: None)  # other tests cover the report
    for option, kind in ((["--bf16"], torch.bfloat16), ([], torch.float32)):
        seen.clear()
        out = tmp_path / str(kind)
        start = ["--data", str(face_folders), "--recipe", "smoke", "--epochs", "2", "--out", str(out)]
        start += ["--arch", SMALL_ARCH, "--pretrained", "none"]
        assert train_main([*start, "--device", "cpu", *option]) == 0
        assert set(seen) == {kind}
        state = read_last(out)
        assert ("--bf16" in command_line(state["run"], out)) == bool(option)
        torch.save({**state, "epoch": 1, "step": state["step"] // 2, "history": state["history"][:1]}, out / "last.pt")
        seen.clear()
        assert train_main(["--resume", str(out), "--device", "cpu"]) == 0 and set(seen) == {kind}
        assert all(value.dtype == torch.float32 for value in read_last(out)["model"].values() if value.is_floating_point())


def test_two_heads_are_trained_and_calibrated(tmp_path, face_folders, monkeypatch):
    monkeypatch.setitem(RECIPES, "quick", replace(QUICK, phases=((1, 48),)))
    votes = write_votes(tmp_path / "votes.csv", ["Training"] * 8 + ["PublicTest"] * 3)
    arguments = ["--data", str(face_folders), "--votes", str(votes), "--recipe", "quick", "--out", str(tmp_path / "run"),
                 "--pretrained", "none", "--device", "cpu"]
    assert train_main(arguments) == 0
    model, spec = load_checkpoint(tmp_path / "run" / "best_model.pt")
    assert spec.head == "shown" and set(spec.heads) == {"fer2013", "ferplus"}
    assert model.forward_heads(torch.zeros(1, 1, 48, 48))["ferplus"].shape == (1, 8)
    metrics = measure_split(model, spec, load_dataset(face_folders, votes), "PublicTest")
    assert set(metrics) == {"fer2013", "ferplus", "shown"}
    assert metrics["ferplus"]["ferplus_official"]["images"] == metrics["shown"]["clear_votes"]["images"] == 21


def test_non_finite_loss_stops_and_keeps_the_last_good_epoch(tmp_path, face_folders, monkeypatch, capsys):
    monkeypatch.setitem(RECIPES, "wild", Recipe(about="", phases=((3, 48),), batch_size=14, ema=0))
    run_epoch = Trainer.run_epoch

    def poisoned(self):
        if self.epoch == 1:
            next(self.model.parameters()).data.fill_(float("nan"))
        run_epoch(self)

    monkeypatch.setattr(Trainer, "run_epoch", poisoned)
    arguments = ["--data", str(face_folders), "--recipe", "wild", "--out", str(tmp_path), "--pretrained", "none",
                 "--arch", SMALL_ARCH]
    assert train_main([*arguments, "--device", "cpu"]) == 2
    assert "nan" in capsys.readouterr().err
    assert torch.load(tmp_path / "last.pt", weights_only=True)["epoch"] == 1
    load_checkpoint(tmp_path / "best_model.pt")


@pytest.mark.slow
def test_killed_run_resumes_to_the_same_result(tmp_path, face_folders):
    """kill -9 in the middle of an epoch; test_resume_continues_bit_for_bit covers resuming without it."""
    base = ["--data", str(face_folders), "--recipe", "smoke", "--epochs", "4", "--pretrained", "none", "--device", "cpu"]
    command = [sys.executable, "-m", "training"]
    where = {"cwd": ROOT, "env": {**os.environ, "OMP_NUM_THREADS": "1"}, "stdout": subprocess.DEVNULL}
    subprocess.run([*command, *base, "--out", str(tmp_path / "whole")], check=True, **where)
    process = subprocess.Popen([*command, *base, "--out", str(tmp_path / "cut")], **where)
    deadline = time.monotonic() + 60
    while not (tmp_path / "cut" / "history.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    first = torch.load(tmp_path / "cut" / "last.pt", weights_only=True)
    assert 1 <= first["epoch"] < 4
    subprocess.run([*command, "--resume", str(tmp_path / "cut"), "--device", "cpu"], check=True, **where)
    whole, cut = (torch.load(tmp_path / name / "last.pt", weights_only=True) for name in ("whole", "cut"))
    assert all(torch.equal(whole["model"][name], cut["model"][name]) for name in whole["model"])
    assert all(torch.equal(whole["average"][name], cut["average"][name]) for name in whole["average"])


@pytest.mark.slow
def test_two_processes_match_one(tmp_path, face_folders):
    """With a network without dropout and without batch norm, whose statistics are not synchronized on the CPU."""
    base = ["--data", str(face_folders), "--recipe", "smoke", "--arch", "convnext_atto", "--epochs", "2", "--pretrained", "none",
            "--device", "cpu"]
    assert train_main([*base, "--out", str(tmp_path / "one")]) == 0
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "training"]
    done = subprocess.run([*torchrun, *base, "--out", str(tmp_path / "two")], cwd=ROOT, capture_output=True, text=True,
                          env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = (torch.load(tmp_path / name / "last.pt", weights_only=True) for name in ("one", "two"))
    for a, b in zip(one["history"], two["history"], strict=True):
        for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy"):
            assert a[name] == pytest.approx(b[name], rel=1e-3), name
    assert (tmp_path / "two" / "report.html").exists()


@pytest.mark.cuda
def test_training_runs_on_cuda(tmp_path, face_folders):
    data = load_dataset(face_folders)
    cuda = Trainer(QUICK, data, torch.device("cuda"), 0)
    cuda.run_epoch()
    assert np.isfinite(cuda.history[0]["train_loss"])
