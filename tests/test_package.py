"""The installed package, with and without optional packages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from fer_live.analysis import classifier
from fer_live.model import DEFAULT_WEIGHTS
from fer_live.model.device import DeviceError
from fer_live.model.spec import CheckpointError
from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_wheel_includes_every_package():
    there = {".".join(p.parent.relative_to(ROOT).parts) for p in (ROOT / "fer_live").rglob("__init__.py")}
    named = set(PROJECT["tool"]["setuptools"]["packages"])
    assert named == there | {"fer_live.assets", "fer_live.assets.web", "fer_live.weights"}


def test_wheel_includes_every_runtime_file():
    data = PROJECT["tool"]["setuptools"]["package-data"]
    named = {path for package, patterns in data.items() for pattern in patterns
             for path in (ROOT / package.replace(".", "/")).glob(pattern)}
    there = {path for path in (ROOT / "fer_live").rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc", ".md")}
    assert any(path.name == "session.html" for path in there) and not there - named


def test_pinned_versions_match_the_package_ranges():
    pins = dict(line.split("#")[0].split(";")[0].strip().split("==")
                for line in (ROOT / "requirements.txt").read_text().splitlines() if "==" in line.split("#")[0])
    wanted = {line.split(">")[0] for line in PROJECT["project"]["dependencies"]}
    assert set(pins) == wanted


@pytest.mark.slow
def test_installed_program_runs_from_another_folder(tmp_path):
    """Install the wheel without dependencies, built from a copy to keep the checkout clean."""
    source = tmp_path / "source"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".git", "__pycache__", ".*cache", "runs", "data", "build"))
    target, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", target, source], check=True)
    environment = {**os.environ, "PYTHONPATH": str(target)}
    command = [target / "bin" / "fer-live", "--source", "demo", "--no-window", "--max-seconds", "4", "--log", "o.jsonl"]
    done = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert '"label": "happy"' in (elsewhere / "o.jsonl").read_text()
    code = "import fer_live; print(fer_live.__version__, fer_live.__file__)"
    command = [sys.executable, "-c", code]
    output = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True, check=True).stdout
    version, place = output.split()
    assert Path(place).is_relative_to(target) and version.count(".") == 2


@pytest.fixture
def no_torch(monkeypatch):
    monkeypatch.setattr(classifier, "find_spec", lambda name: None if name == "torch" else find_spec(name))


@pytest.mark.skipif(not (find_spec("openvino") or find_spec("onnxruntime")), reason="needs a runtime for exports")
def test_released_export_runs_without_pytorch(no_torch, monkeypatch):
    assert "no CUDA GPU was found" in classifier.EmotionClassifier(DEFAULT_WEIGHTS).describe
    monkeypatch.setattr(classifier, "has_cuda_driver", lambda: True)
    output = classifier.EmotionClassifier(DEFAULT_WEIGHTS).describe
    assert " on cpu " in output and "a CUDA GPU was found, but not PyTorch; pip install torch torchvision timm" in output


def test_options_that_need_pytorch_are_rejected_without_it(no_torch, untrained, tmp_path):
    with pytest.raises(CheckpointError, match=r"needs PyTorch.*pip install torch"):
        classifier.EmotionClassifier(untrained)
    with pytest.raises(DeviceError, match="--device cuda needs PyTorch"):
        classifier.EmotionClassifier(DEFAULT_WEIGHTS, "cuda")
    with pytest.raises(CheckpointError, match="no model file at"):
        classifier.EmotionClassifier(tmp_path / "nothing.pt")


def test_training_without_pytorch_says_what_to_install():
    code = ("import importlib.util as u; found = u.find_spec; u.find_spec = lambda n, *a: None if n == 'torch' else found(n, *a);"
            "import training")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: training needs PyTorch and timm; pip install -r requirements-dev.txt\n"
