"""The start: the classifier loads while the source opens, and its errors are those of the main thread."""

import platform
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fer_live.__main__ import main
from fer_live.analysis import classifier
from fer_live.app import open_source
from fer_live.app.config import AnalysisConfig
from fer_live.app.loader import ClassifierLoader
from fer_live.model import DEFAULT_WEIGHTS
from fer_live.model.spec import CheckpointError

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("source", ["clip", "demo"])
def test_classifier_loads_while_the_source_opens(monkeypatch, untrained, make_clip, tmp_path, source):
    began, make, enter, waited = threading.Event(), classifier.EmotionClassifier, open_source.enter_source, []

    def load(*arguments):
        began.set()
        return make(*arguments)

    def slow(*arguments):
        waited.append(began.wait(20))
        return enter(*arguments)

    monkeypatch.setattr(classifier, "EmotionClassifier", load)
    monkeypatch.setattr(open_source, "enter_source", slow)
    name = str(make_clip(tmp_path / "a.mp4", 6)) if source == "clip" else "demo"
    assert main([name, "--no-window", "--log", str(tmp_path / "o.jsonl"), "--max-seconds", "0.2", "--model", str(untrained)]) == 0
    assert waited == [True]


def test_an_export_is_hashed_once_until_it_changes(monkeypatch, tmp_path):
    pytest.importorskip("onnxruntime")
    paths = [tmp_path / "best_model.pt", tmp_path / "best_model.onnx", tmp_path / "best_model.onnx.json"]
    for path in paths:
        shutil.copy(DEFAULT_WEIGHTS.with_name(path.name), path)
    read, read_bytes = [], Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: (read.append(path.name), read_bytes(path))[1])
    classifier.open_network(paths[0], "cpu", None, "onnx")
    assert sorted(read) == ["best_model.onnx", "best_model.pt"]
    with open(paths[1], "r+b") as export:  # one byte, so that the size stays
        export.seek(-1, 2)
        export.write(b"?")
    with pytest.raises(CheckpointError, match="is not the file that"):
        classifier.open_network(paths[0], "cpu", None, "onnx")


def ended(*options):
    """The exit status and stderr of the program."""
    done = subprocess.run([sys.executable, "-m", "fer_live", "--no-window", *map(str, options)], cwd=ROOT, capture_output=True,
                          text=True, timeout=120)
    return done.returncode, done.stderr


@pytest.mark.slow
def test_errors_of_both_are_one_line(tmp_path):
    broken = tmp_path / "best_model.pt"
    broken.write_bytes(b"these are no weights")
    status, said = ended("demo", "--model", broken)
    assert status == 2 and said.startswith(f"error: {broken}") and said.count("\n") == 1
    status, said = ended(tmp_path / "no.mp4", "--model", broken)
    assert status == 2 and said.startswith("error: no source") and said.count("\n") == 1, "the source is reported first"
    status, said = ended("demo", "--device", "cuda:7x")
    assert status == 2 and said.startswith("error: ") and said.count("\n") == 1


def test_exit_while_the_classifier_loads():
    """The interpreter waits for the thread: ending under a runtime that compiles a network aborts the process."""
    program = """
import threading
import time
from fer_live.analysis import classifier
from fer_live.app.loader import ClassifierLoader
from fer_live.app.options import parse

begun = threading.Event()
classifier.EmotionClassifier = lambda *_: (begun.set(), time.sleep(0.3), print("loaded"))
ClassifierLoader(parse(["demo"]).analysis)
assert begun.wait(20)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "loaded\n", "")


def test_openvino_is_imported_by_the_thread_that_starts_the_loader(monkeypatch):
    """Two threads that import at the same time hinder each other, which delays the first image by 0.06 s."""
    openvino_network = pytest.importorskip("fer_live.analysis.runtimes.openvino_network")
    pytest.importorskip("openvino")
    imported_by, import_openvino = [], openvino_network.import_openvino

    def noted():
        imported_by.append(threading.current_thread())
        return import_openvino()

    monkeypatch.setattr(openvino_network, "import_openvino", noted)
    load = ClassifierLoader(AnalysisConfig(device="cpu"))
    assert threading.main_thread() in imported_by
    assert "OpenVINO" in load().describe
    imported_by.clear()
    ClassifierLoader(AnalysisConfig(device="cpu", runtime="torch"))()
    assert not imported_by


def test_a_runtime_that_cannot_be_imported_is_reported_by_the_thread(monkeypatch):
    openvino_network = pytest.importorskip("fer_live.analysis.runtimes.openvino_network")
    pytest.importorskip("openvino")

    def broken():
        raise OSError("libopenvino.so: wrong ELF class")

    monkeypatch.setattr(openvino_network, "import_openvino", broken)
    load = ClassifierLoader(AnalysisConfig(device="cpu"))
    with pytest.raises(OSError, match="wrong ELF class"):
        load()


def test_the_platform_is_named_only_at_the_debug_level(monkeypatch):
    """It runs another program, uname."""
    asked, options = [], ["demo", "--no-window", "--max-seconds", "0.1", "--device", "cpu"]
    monkeypatch.setattr(platform, "platform", lambda: asked.append(1))
    assert main(options) == 0 and not asked
    assert main([*options, "--verbose"]) == 0 and asked


def test_little_is_imported_before_the_network_loads():
    """Whatever is imported before the loader's thread starts delays the first image."""
    code = ("import os, sys; from fer_live.app import loader; from fer_live.__main__ import main; "
            "loader.threading.Thread.start = lambda one: (print(*(n for n in ('cv2', 'av', 'subprocess', 'zipfile', "
            "'fer_live.outgoing.commands') if n in sys.modules)), sys.stdout.flush(), os._exit(0)); main(['demo'])")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT,
                          capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "\n"), done.stderr
