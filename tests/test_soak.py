"""A short soak test: its measurements, detection of a leak, and regression tests of earlier leaks."""

import gc
import re
import subprocess
import sys
import threading
import time
import weakref

import numpy as np
import pytest

from fer_live import open_source
from fer_live.sinks.recorder import VideoRecorder
from fer_live.sources.connection import Connection
from fer_live.types import Analysis, Frame, OutputError, SourceError
from tests.conftest import ROOT
from tests.faulty import FaultyCamera
from tests.soak import POINTS, TOLERANCES, growth, judge

FORGETS_NOBODY = """
import sys
from unittest.mock import patch
from fer_live.analysis.smoothing import Smoother
from tests.soak import main
with patch.object(Smoother, "expire", lambda *_: None):
    sys.exit(main(["--frames", "400"]))
"""


def python(*arguments):
    return subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_short_soak_is_flat_and_detects_a_leak(tmp_path):
    with python("-m", "tests.soak", "--frames", "1300", "--csv", str(tmp_path / "a.csv")) as whole, \
            python("-c", FORGETS_NOBODY) as leaking:
        out, err = whole.communicate(timeout=100)
        verdict, trouble = leaking.communicate(timeout=100)
    assert whole.returncode == 0, out + err
    found = {name: float(value) for name, value in re.findall(r"(\w+) ([\d.]+)", out[out.index("hours") : out.index("flat:")])}
    assert found["shown"] == found["logged"] == 1300 and found["dropped"] == 0
    assert found["slates"] == 40 and found["events"] == 2 and found["cut"] == found["images"] == 1 and found["viewed_mb"] > 0
    assert 0.6 * found["visits"] <= found["tracks"] <= found["visits"] and found["tracks"] > 5
    assert "deleted the old recording" in err and "recording stopped" in err
    table = (tmp_path / "a.csv").read_text().splitlines()
    assert table[0].split(",") == ["frames", "seconds", *TOLERANCES] and len(table) == 1 + POINTS
    assert leaking.returncode == 1 and "states grew" in verdict and "rss_mb grew" not in verdict, trouble


# ------------------------------------------------------------------------------------------------ the verdict


def rows(**measures):
    """Measures of (1000,) points that stay near 100, except for the given ones."""
    made = 100 + np.random.default_rng(0).normal(0, 1, (1000, 2 + len(TOLERANCES)))
    made[:, 0] = np.arange(1, 1001) * 500
    for name, values in measures.items():
        made[:, 2 + list(TOLERANCES).index(name)] = values
    return made


def test_flat_series_pass_and_warm_up_is_ignored():
    share, noise = np.arange(1000) / 1000, np.random.default_rng(1).normal(0, 2, 1000)
    assert judge(rows()) == []
    assert judge(rows(rss_mb=200 + np.minimum(share * 1000, 50) + noise)) == []
    assert judge(rows(rss_mb=200 - 100 * share, threads=20 - 10 * share)) == []


def test_growing_series_are_reported():
    share = np.arange(1000) / 1000
    assert judge(rows(rss_mb=200 + 9 * share)) == []
    (line,) = judge(rows(rss_mb=200 + 12 * share))
    assert line == "rss_mb grew: by 11.39 along the line, by 10.26 from first to last tenth; allowed 10"
    assert len(judge(rows(rss_mb=200 + 20.0 * (share > 0.93)))) == len(judge(rows(rss_mb=200 + 20.0 * (share > 0.2)))) == 1
    assert [line.split()[0] for line in judge(rows(handles=16 + 6 * share, events=share))] == ["handles", "events"]


def test_least_squares_line():
    assert growth(np.array([500.0, 1000, 1500]), np.array([1.0, 1, 4])) == pytest.approx(3)


# ------------------------------------------------------------------------------------------------ earlier leaks


@pytest.fixture
def without_cycles_collected():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_failed_recording_releases_its_encoder(tmp_path, without_cycles_collected):
    """Through the traceback of its stored error, each failed file kept its recorder and encoder threads alive."""
    image = np.zeros((120, 160, 3), np.uint8)

    def fail():
        with pytest.raises(OutputError), VideoRecorder(tmp_path / "o.mp4", 10.0, live=True) as recorder:
            for i in range(400):
                recorder.write(image, Analysis(Frame(image, i, i / 10), ()))
                if i == 20:
                    recorder.path.unlink()
                time.sleep(0.001)
        return weakref.ref(recorder)

    assert fail()() is None


def test_lost_camera_releases_its_last_image(without_cycles_collected):
    class Failing:
        is_live, ends = True, False

        def __enter__(self):
            return self

        def __exit__(self, *exception):
            pass

        def __iter__(self):
            yield Frame(np.zeros((120, 160, 3), np.uint8), 0, time.monotonic())
            raise SourceError("it broke")

    def lose():
        connection = Connection(Failing, threading.Condition(), None, is_watched=True)
        connection.thread.join()
        assert str(connection.error) == "it broke"
        return weakref.ref(connection)

    assert lose()() is None


def test_interrupted_stream_releases_its_decoder(without_cycles_collected):
    def lose(camera):
        with pytest.raises(SourceError), open_source(camera.address) as source:
            for frame in source:
                if frame.index == 2:
                    camera.stop()
        return weakref.ref(source)

    with FaultyCamera() as camera:
        assert lose(camera)() is None
