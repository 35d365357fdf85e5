"""Exported networks, and the app running them."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from fer_live.analysis.classifier import EmotionClassifier
from fer_live.analysis.runtimes.cuda_network import in_sizes
from fer_live.model import DEFAULT_WEIGHTS
from fer_live.model.checkpoint import load_checkpoint, save_checkpoint
from fer_live.model.device import DeviceError
from fer_live.model.networks import build_model
from fer_live.model.spec import CheckpointError
from tests.conftest import ROOT
from tests.test_training import QUICK, write_votes
from training.__main__ import main as train_main
from training.export import main as export_main
from training.predict import main as predict_main
from training.recipes import RECIPES
from training.release import main as release_main
from training.soup import main as soup_main

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
onnx = pytest.mark.skipif(not all(find_spec(name) for name in PACKAGES), reason=f"needs {', '.join(PACKAGES)}")


@pytest.fixture(scope="module")
def exported(untrained, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    assert export_main(["--format", "onnx", "--model", str(untrained), "--out", str(path)]) == 0
    return path


@onnx
def test_export_contains_no_local_path(exported):
    for path in (exported, DEFAULT_WEIGHTS.with_suffix(".onnx")):
        assert not [word for word in (b".py", str(ROOT).encode(), b"site-packages") if word in path.read_bytes()]


def crops_of(n):
    return np.random.default_rng(n).integers(0, 256, (n, 48, 48, 1), np.uint8)


@onnx
@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_exports_agree_with_torch_for_any_batch_and_head(exported, untrained, runtime):
    pytest.importorskip("openvino" if runtime == "openvino" else "onnxruntime")
    for head in (None, "fer2013", "ferplus"):
        theirs, ours = EmotionClassifier(exported, head=head, runtime=runtime), EmotionClassifier(untrained, "cpu", head, "torch")
        assert "torch" in ours.describe and "torch" not in theirs.describe and theirs.spec == ours.spec
        tolerance = 1e-4 if "32 bits" in theirs.describe else 5e-3
        for n in (0, 1, 5):
            assert np.allclose(theirs(crops_of(n)), ours(crops_of(n)), atol=tolerance)


@onnx
def test_checkpoint_uses_only_its_own_export(exported, untrained, tmp_path, monkeypatch):
    monkeypatch.setattr("fer_live.analysis.classifier.has_cuda_driver", lambda: False)
    weights, beside = tmp_path / "model.pt", tmp_path / "model.onnx"
    weights.write_bytes(untrained.read_bytes())
    assert "torch" in EmotionClassifier(weights).describe
    beside.write_bytes(exported.read_bytes())
    assert "torch" in EmotionClassifier(weights).describe, "without its spec it could be any network"
    beside.with_suffix(".onnx.json").write_text(exported.with_suffix(".onnx.json").read_text())
    found = EmotionClassifier(weights)
    assert "torch" not in found.describe and np.allclose(found(crops_of(2)), EmotionClassifier(exported)(crops_of(2)))
    assert "torch" in EmotionClassifier(weights, runtime="torch").describe
    weights.write_bytes(untrained.read_bytes() + b" ")  # changed, and not exported again
    assert "torch" in EmotionClassifier(weights).describe


@onnx
def test_onnx_model_reports_unsupported_options(exported, tmp_path):
    with pytest.raises(DeviceError, match="CPU"):
        EmotionClassifier(exported, "cuda")
    with pytest.raises(CheckpointError, match="no file"):
        EmotionClassifier(tmp_path / "missing.onnx")
    bad, note = tmp_path / "bad.onnx", tmp_path / "bad.onnx.json"
    bad.write_bytes(b"no network")
    with pytest.raises(CheckpointError, match=r"bad\.onnx\.json"):
        EmotionClassifier(bad)
    for text in ("[1]", "{", '{"spec": 3, "source_sha256": ""}', '{"spec": {}, "source_sha256": ""}'):
        note.write_text(text)
        with pytest.raises(CheckpointError, match=r"spec|does not describe"):
            EmotionClassifier(bad)
    note.write_text(exported.with_suffix(".onnx.json").read_text())
    for runtime in ("onnx", "openvino"):
        if find_spec({"onnx": "onnxruntime"}.get(runtime, runtime)):
            with pytest.raises(CheckpointError, match="export it again"):
                EmotionClassifier(bad, runtime=runtime)


@pytest.mark.slow
@onnx
def test_16_bit_export_is_half_as_large_with_nearly_equal_logits(exported, untrained, tmp_path, monkeypatch, capsys):
    path = tmp_path / "half.onnx"
    assert export_main(["--model", str(untrained), "--half", "--out", str(path)]) == 0
    assert path.stat().st_size < 0.55 * exported.stat().st_size
    ours = EmotionClassifier(untrained, "cpu", runtime="torch")(crops_of(5))
    for runtime in ("onnx", *(["openvino"] if find_spec("openvino") else [])):
        assert np.allclose(EmotionClassifier(path, runtime=runtime)(crops_of(5)), ours, atol=5e-3)
    monkeypatch.setattr("training.export.HALF_TOLERANCE", 0.0)
    assert export_main(["--model", str(untrained), "--half", "--out", str(path)]) == 2 and not path.exists()
    assert "differs from PyTorch" in capsys.readouterr().err


def test_missing_runtime_is_named(untrained, tmp_path, monkeypatch):
    monkeypatch.setattr("fer_live.analysis.classifier.find_spec", lambda name: name == "torch" or None)
    assert "torch" in EmotionClassifier(untrained).describe
    for runtime, package in (("onnx", "onnxruntime"), ("openvino", "openvino")):
        with pytest.raises(CheckpointError, match=f"pip install {package}"):
            EmotionClassifier(untrained, runtime=runtime)


@onnx
def test_released_export_matches_the_weights_without_torch():
    code = ("import sys, numpy as np; from fer_live import Analyzer; a = Analyzer.from_checkpoint(device='cpu'); "
            "a(np.zeros((240, 320, 3), np.uint8)); print(a.classifier.describe); print('torch' in sys.modules)")
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert "torch" not in out[0] and out[1] == "False"
    ours = EmotionClassifier(DEFAULT_WEIGHTS, "cpu", runtime="torch")
    assert np.allclose(EmotionClassifier(DEFAULT_WEIGHTS, "cpu", runtime="onnx")(crops_of(3)), ours(crops_of(3)), atol=2e-3)


def test_batches_are_padded_and_cropped():
    seen = []

    def run(part, size):
        seen.append((len(part), size))
        return part * 2

    for n in (1, 3, 4, 5, 9):
        assert in_sizes(np.arange(n)[:, None], run, (1, 2, 4)).ravel().tolist() == [2 * i for i in range(n)]
    assert seen == [(1, 1), (3, 4), (4, 4), (4, 4), (1, 1), (4, 4), (4, 4), (1, 1)]


@pytest.mark.cuda
def test_cuda_graphs_agree_with_the_cpu(untrained):
    ours, theirs = EmotionClassifier(untrained, "cpu", runtime="torch"), EmotionClassifier(untrained, "cuda")
    assert "graphs" in theirs.describe
    for n in (1, 3, 16, 300, 2):
        assert np.allclose(theirs(crops_of(n)), ours(crops_of(n)), atol=5e-3)


def test_failed_export_is_a_one_line_error(untrained, tmp_path, capsys):
    assert export_main(["--model", str(untrained), "--out", str(tmp_path / "x.ts")]) == 2
    assert "ONNX files end in .onnx" in capsys.readouterr().err
    assert export_main(["--model", str(tmp_path / "no.pt"), "--out", str(tmp_path / "x.onnx")]) == 2
    assert "no model file at" in capsys.readouterr().err


def test_predict_draws_a_chart(untrained, tmp_path, portrait, capsys):
    import cv2

    cv2.imwrite(str(tmp_path / "face.png"), portrait[60:180, 160:290])
    assert predict_main([str(tmp_path / "face.png"), "--model", str(untrained), "--out", str(tmp_path / "chart.png")]) == 0
    assert cv2.imread(str(tmp_path / "chart.png")).shape[1] > 500
    out = capsys.readouterr().out
    assert sum(float(line.split()[1].rstrip("%")) for line in out.splitlines()[:7]) == pytest.approx(100, abs=0.5)
    assert predict_main([str(tmp_path / "none.png"), "--model", str(untrained)]) == 2


@pytest.mark.slow
@onnx
def test_release_is_converted_measured_and_exported(tmp_path, face_folders, monkeypatch):
    monkeypatch.setitem(RECIPES, "quick", replace(QUICK, phases=((1, 48),)))
    votes = write_votes(tmp_path / "votes.csv", ["Training"] * 6 + ["PublicTest"] * 3 + ["PrivateTest"] * 2)
    run, out = tmp_path / "run", tmp_path / "out"
    arguments = ["--data", str(face_folders), "--votes", str(votes)]
    assert train_main([*arguments, "--recipe", "quick", "--out", str(run), "--pretrained", "none", "--device", "cpu"]) == 0
    assert release_main([str(run), *arguments, "--out", str(out)]) == 0
    weights, card = out / "best_model.pt", json.loads((out / "best_model.json").read_text())
    assert weights.stat().st_size < 0.6 * (run / "best_model.pt").stat().st_size
    assert card["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest() and "PrivateTest" in card["metrics"]
    assert card["spec"]["heads"] == load_checkpoint(weights)[1].heads, "the temperatures that were fitted"
    monkeypatch.setattr("fer_live.analysis.classifier.has_cuda_driver", lambda: False)
    assert "torch" not in EmotionClassifier(weights).describe, "it uses the export next to it"
    assert [part["recipe"] for part in card["made_of"]] == ["quick"] and "--votes votes.csv" in card["made_of"][0]["command"]
    assert release_main([str(tmp_path / "none"), *arguments]) == 2


@pytest.mark.slow
@onnx
def test_soup_is_the_mean_of_its_runs(tmp_path, face_folders, untrained, monkeypatch, capsys):
    monkeypatch.setitem(RECIPES, "quick", replace(QUICK, phases=((1, 48),)))
    votes = write_votes(tmp_path / "votes.csv", ["Training"] * 6 + ["PublicTest"] * 3 + ["PrivateTest"] * 2)
    data = ["--data", str(face_folders), "--votes", str(votes)]
    runs = [str(tmp_path / name) for name in "ab"]
    for seed, run in enumerate(runs):
        assert train_main([*data, "--recipe", "quick", "--out", run, "--seed", str(seed), "--pretrained", str(untrained),
                           "--device", "cpu"]) == 0
    assert soup_main([*runs, *data, "--shares", "3,1", "--out", str(tmp_path / "soup")]) == 0
    a, b, mixed = (load_checkpoint(Path(run) / "best_model.pt")[0].state_dict() for run in [*runs, tmp_path / "soup"])
    weight = "trunk.conv_stem.weight"
    assert torch.allclose(mixed[weight], 0.75 * a[weight] + 0.25 * b[weight], atol=1e-6) and not torch.equal(a[weight], b[weight])
    assert soup_main([str(tmp_path / "soup"), runs[1], *data, "--out", str(tmp_path / "more")]) == 0, "a soup of a soup"
    assert release_main([str(tmp_path / "more"), *data, "--out", str(tmp_path / "out")]) == 0
    made = json.loads((tmp_path / "out" / "best_model.json").read_text())["made_of"]
    assert [(part["seed"], part["share"]) for part in made] == [(0, 0.375), (1, 0.125), (1, 0.5)]
    assert all(f"--pretrained {'/'.join(untrained.parts[-2:])} --out" in part["command"] for part in made), "no absolute paths"
    capsys.readouterr()
    for shares in ("1", "1,x", "1,-1", "1,nan"):
        assert soup_main([*runs, *data, "--shares", shares, "--out", str(tmp_path / "no")]) == 2
        assert "--shares" in capsys.readouterr().err
    assert soup_main([runs[0], str(tmp_path / "none"), *data, "--out", str(tmp_path / "no")]) == 2
    model, spec = load_checkpoint(Path(runs[1]) / "best_model.pt")
    save_checkpoint(Path(runs[1]) / "best_model.pt", model, replace(spec, mean=(0.4,)), {})
    capsys.readouterr()
    assert soup_main([*runs, *data, "--out", str(tmp_path / "no")]) == 2 and "has another network" in capsys.readouterr().err
    (tmp_path / "more" / "soup.json").write_text("{")
    assert release_main([str(tmp_path / "more"), *data, "--out", str(tmp_path / "no")]) == 2
    (Path(runs[0]) / "last.pt").write_bytes(b"cut")
    assert release_main([runs[0], *data, "--out", str(tmp_path / "no")]) == 2


def run_folder(folder, weights, spec, model):
    """The output folder of a soup with these weights."""
    folder.mkdir()
    save_checkpoint(folder / "best_model.pt", model, spec, {})
    (folder / "soup.json").write_text(json.dumps([{"command": weights, "seconds": 1, "share": 1.0}]))
    return folder


@pytest.mark.slow
@onnx
def test_averaged_logits_of_different_networks(tmp_path, face_folders, untrained, capsys):
    """An ensemble weighs its members' logits by their shares, in PyTorch and exported; an ensemble of one adds its members."""
    votes = write_votes(tmp_path / "votes.csv", ["Training"] * 6 + ["PublicTest"] * 3 + ["PrivateTest"] * 2)
    data = ["--data", str(face_folders), "--votes", str(votes)]
    one, spec = load_checkpoint(untrained)
    torch.manual_seed(1)
    other_spec = replace(spec, arch="mobilenetv3_small_050")
    other = build_model(other_spec).eval()
    for model in (one, other):
        for linear in model.heads.values():
            torch.nn.init.normal_(linear.weight)
    runs = [run_folder(tmp_path / "a", "a", spec, one), run_folder(tmp_path / "b", "b", other_spec, other)]
    assert soup_main([*map(str, runs), *data, "--out", str(tmp_path / "no")]) == 2 and "--logits" in capsys.readouterr().err
    assert soup_main([*map(str, runs), *data, "--shares", "3,1", "--logits", "--out", str(tmp_path / "both")]) == 0
    assert soup_main([str(tmp_path / "both"), str(runs[1]), *data, "--logits", "--out", str(tmp_path / "more")]) == 0
    x = torch.rand(3, 1, 48, 48)
    for name, shares in (("both", (0.75, 0.25)), ("more", (0.375, 0.625))):
        mixed, mixed_spec = load_checkpoint(tmp_path / name / "best_model.pt")
        with torch.inference_mode():
            wanted = shares[0] * one(x) + shares[1] * other(x)
            assert torch.allclose(mixed(x), wanted, atol=1e-4 * float(wanted.abs().max()))
    assert mixed_spec.arch == "efficientnet_lite0+mobilenetv3_small_050+mobilenetv3_small_050"
    record = json.loads((tmp_path / "more" / "soup.json").read_text())
    assert [(part["command"], part["share"], part["averaged"]) for part in record] == [
        ("a", 0.375, ["logits", "logits"]), ("b", 0.125, ["logits", "logits"]), ("b", 0.5, ["logits"])]
    weights, exported = tmp_path / "both" / "best_model.pt", tmp_path / "both.onnx"
    assert export_main(["--model", str(weights), "--out", str(exported)]) == 0
    theirs, ours = EmotionClassifier(exported, runtime="onnx"), EmotionClassifier(weights, "cpu", None, "torch")
    assert np.allclose(theirs(crops_of(5)), ours(crops_of(5)), atol=1e-4)


@onnx
@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_requested_runtime_runs_the_weights_or_fails(exported, untrained, tmp_path, runtime):
    """The export beside a checkpoint may be from an older run, and the checkpoint may not be a checkpoint."""
    pytest.importorskip("openvino" if runtime == "openvino" else "onnxruntime")
    weights, beside = tmp_path / "model.pt", tmp_path / "model.onnx"
    beside.write_bytes(exported.read_bytes())
    note = json.loads(exported.with_suffix(".onnx.json").read_text())
    beside.with_suffix(".onnx.json").write_text(json.dumps(note))
    with pytest.raises(CheckpointError, match=r"no model file at .*model\.pt"):
        EmotionClassifier(weights, runtime=runtime)
    weights.write_bytes(b"garbage")
    with pytest.raises(CheckpointError, match="was not made from"):
        EmotionClassifier(weights, runtime=runtime)
    weights.write_bytes(untrained.read_bytes())
    assert "as requested" in EmotionClassifier(weights, runtime=runtime).describe
    with pytest.raises(DeviceError, match="CPU"):
        EmotionClassifier(weights, "cuda", runtime=runtime)
    beside.write_bytes(exported.read_bytes() + b"\0")  # another network with the old spec
    for path in (weights, beside):
        with pytest.raises(CheckpointError, match="export it again"):
            EmotionClassifier(path, runtime=runtime)


@onnx
def test_rejects_a_runtime_that_cannot_run_the_file(exported, untrained):
    with pytest.raises(CheckpointError, match="torch does not run"):
        EmotionClassifier(exported, runtime="torch")
    with pytest.raises(CheckpointError, match="auto, torch, onnx, openvino"):
        EmotionClassifier(untrained, runtime="tensorrt")


@pytest.mark.slow
@onnx
def test_export_with_another_head_keeps_the_checkpoint_answer(untrained, tmp_path, monkeypatch):
    """`--head` of the export applies only to the .onnx file itself."""
    monkeypatch.setattr("fer_live.analysis.classifier.has_cuda_driver", lambda: False)
    weights, beside = tmp_path / "model.pt", tmp_path / "model.onnx"
    weights.write_bytes(untrained.read_bytes())
    assert export_main(["--format", "onnx", "--model", str(weights), "--head", "fer2013", "--out", str(beside)]) == 0
    assert EmotionClassifier(beside).spec.head == "fer2013"
    for runtime in ("auto", "onnx"):
        found = EmotionClassifier(weights, runtime=runtime)
        assert "torch" not in found.describe and found.spec.head == "ferplus"
