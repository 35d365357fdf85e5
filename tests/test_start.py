"""The start: the classifier loads while the source opens, and its errors are those of the main thread."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fer_live.__main__ import main
from fer_live.analysis import classifier
from fer_live.app import open_source

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


def ended(*options):
    """The exit status and stderr of the program."""
    done = subprocess.run([sys.executable, "-m", "fer_live", "--no-window", *map(str, options)], cwd=ROOT, capture_output=True,
                          text=True, timeout=120)
    return done.returncode, done.stderr


def test_errors_of_both_are_one_line(tmp_path):
    broken = tmp_path / "best_model.pt"
    broken.write_bytes(b"these are no weights")
    status, said = ended("demo", "--model", broken)
    assert status == 2 and said.startswith(f"error: {broken}") and said.count("\n") == 1
    status, said = ended(tmp_path / "no.mp4", "--model", broken)
    assert status == 2 and said.startswith("error: no source") and said.count("\n") == 1, "the source is reported first"
    status, said = ended("demo", "--device", "cuda:7x")
    assert status == 2 and said.startswith("error: ") and said.count("\n") == 1
