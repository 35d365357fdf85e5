"""Exported networks, and the app on them."""

import json
from importlib.util import find_spec

import numpy as np
import pytest

from fer_live.classifier import EmotionClassifier
from models.checkpoint import CheckpointError
from models.device import DeviceError
from training.export import main as export_main
from training.predict import main as predict_main

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
onnx = pytest.mark.skipif(not all(find_spec(name) for name in PACKAGES), reason=f"needs {', '.join(PACKAGES)}")


@pytest.fixture(scope="module")
def exported(untrained, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    assert export_main(["--format", "onnx", "--model", str(untrained), "--out", str(path)]) == 0
    return path


@onnx
def test_onnx_agrees_with_torch_for_any_batch(exported, untrained):
    theirs, ours = EmotionClassifier(exported), EmotionClassifier(untrained, "cpu")
    assert "ONNX Runtime" in theirs.describe and theirs.spec == ours.spec
    for n in (0, 1, 5):
        crops = np.random.default_rng(n).integers(0, 256, (n, 48, 48, 1), np.uint8)
        assert np.allclose(theirs(crops), ours(crops), atol=1e-4)


@onnx
def test_what_an_onnx_model_cannot_do_is_said(exported, tmp_path):
    with pytest.raises(CheckpointError, match="export it with --head"):
        EmotionClassifier(exported, head="fer2013")
    with pytest.raises(DeviceError, match="CPU"):
        EmotionClassifier(exported, "cuda")
    with pytest.raises(CheckpointError, match="no file"):
        EmotionClassifier(tmp_path / "missing.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"no network")
    with pytest.raises(CheckpointError, match=r"bad\.json"):
        EmotionClassifier(tmp_path / "bad.onnx")
    (tmp_path / "bad.json").write_text("[1]")
    with pytest.raises(CheckpointError, match="spec"):
        EmotionClassifier(tmp_path / "bad.onnx")
    (tmp_path / "bad.json").write_text(exported.with_suffix(".json").read_text())
    with pytest.raises(CheckpointError, match="ONNX Runtime"):
        EmotionClassifier(tmp_path / "bad.onnx")


def test_torchscript_is_written_and_checked(untrained, tmp_path, capsys):
    out = tmp_path / "model.ts"
    assert export_main(["--format", "torchscript", "--model", str(untrained), "--head", "fer2013", "--out", str(out)]) == 0
    assert out.stat().st_size > 1e6 and json.loads(out.with_suffix(".json").read_text())["head"] == "fer2013"
    assert export_main(["--format", "torchscript", "--model", str(untrained), "--out", str(tmp_path / "x.onnx")]) == 2
    assert export_main(["--format", "torchscript", "--model", str(tmp_path / "no.pt")]) == 2
    assert "error: " in capsys.readouterr().err


def test_predict_draws_one_picture(untrained, tmp_path, portrait, capsys):
    import cv2

    cv2.imwrite(str(tmp_path / "face.png"), portrait[60:180, 160:290])
    assert predict_main([str(tmp_path / "face.png"), "--model", str(untrained), "--out", str(tmp_path / "chart.png")]) == 0
    assert cv2.imread(str(tmp_path / "chart.png")).shape[1] > 500
    out = capsys.readouterr().out
    assert sum(float(line.split()[1].rstrip("%")) for line in out.splitlines()[:7]) == pytest.approx(100, abs=0.5)
    assert predict_main([str(tmp_path / "none.png"), "--model", str(untrained)]) == 2
