"""Slow or mislabeled network cameras, as real streams on loopback, and the timeout option."""

import itertools
import json
import os
import threading
import time

import cv2
import numpy as np
import pytest

from fer_live import Frame, open_source
from fer_live.__main__ import main
from fer_live.app.open_source import make_source, timeouts
from fer_live.app.options import parse
from fer_live.kiosk.__main__ import unit
from fer_live.screen.smoothing import DisplaySmoother
from fer_live.sources.camera import Camera
from fer_live.sources.connection import Timeouts
from fer_live.sources.slate import draw_slate
from fer_live.sources.stream import Arrived, Stream
from fer_live.sources.supervisor import Supervised
from fer_live.types import Analysis, SourceError
from fer_live.web.feed import Feed
from tests.faulty import FaultyCamera, number_in


@pytest.mark.parametrize("part_type", ["image/jpg", "image/pjpeg", "application/octet-stream", None])
def test_multipart_jpegs_of_any_content_type_are_shown(part_type):
    with FaultyCamera(part_type=part_type) as camera, Stream(camera.address, 5.0, 2.0) as stream:
        assert camera.sent < 20, "it opens at once, not after two seconds of frames"
        frames = list(itertools.islice(stream, 10))
        numbers = [number_in(frame.image) for frame in frames]
        assert {frame.image.shape for frame in frames} == {(240, 320, 3)} and numbers == sorted(set(numbers))
        assert camera.sent - numbers[-1] <= 5, "and its latency stays small"


def test_rejects_multipart_streams_without_jpegs():
    with FaultyCamera(part_type="image/png", suffix=".png") as camera:
        started_s = time.monotonic()
        with pytest.raises(SourceError, match="without JPEG images; set"), Stream(camera.address, 1.0, 1.0):
            pass
        assert time.monotonic() - started_s < 4


def lost_within(camera, limits, seconds):
    """The reasons of the losses."""
    output = []
    source = Supervised("test", lambda: Stream(camera.address, limits.answer_s, limits.read_s), draw_slate,
                        lambda event, reason: output.append(reason), limits)
    with source:
        end_s = time.monotonic() + seconds
        for _ in source:
            if time.monotonic() >= end_s:
                break
    return output


@pytest.mark.slow
def test_slow_camera_is_neither_lost_nor_frozen():
    """At one frame per second, the pause between frames does not mean that the camera is frozen."""
    with FaultyCamera(rate=1.0) as camera:
        assert lost_within(camera, Timeouts(silent_s=2.5, frozen_s=0.5), 3.5) == []
        assert lost_within(camera, Timeouts(silent_s=0.5, frozen_s=0.0, slate_s=0.1), 1.5)[:1] == ["no image for 0.5 s"]
        camera.mode = "freeze"
        assert lost_within(camera, Timeouts(silent_s=2.5, frozen_s=0.9, slate_s=0.1), 2.5)[:1] == ["the same image for 0.9 s"]


@pytest.mark.parametrize("silent_s", [0.5, 4.0, 10.0, 3600.0])
def test_all_timeouts_derive_from_one(silent_s):
    """Reads time out after the silence is noticed, and opening can take the two frames needed to probe the format."""
    limits = Timeouts.of(silent_s, 4.0)
    assert limits.silent_s < limits.read_s <= limits.silent_s + 1
    assert 2 * limits.silent_s < limits.answer_s < limits.open_s
    stream = open_source("http://127.0.0.1:9/", limits)
    assert (stream.open_s, stream.read_s) == (limits.answer_s, limits.read_s)
    assert open_source("/dev/video9", limits).read_s == limits.read_s


def test_slow_snapshot_url_is_not_frozen():
    """The URL returns the same image until the camera has a new one."""
    assert timeouts(parse(["--silent-seconds", "20"]).source).frozen_s == 20
    assert timeouts(parse(["--silent-seconds", "1"]).source).frozen_s == 4
    assert timeouts(parse(["--silent-seconds", "20", "--frozen-seconds", "5"]).source).frozen_s == 5


def test_default_timeouts_are_unchanged():
    limits = timeouts(parse([]).source)
    assert limits == Timeouts() == Timeouts.of()
    assert (limits.silent_s, limits.frozen_s, limits.open_s, limits.answer_s, limits.read_s) == (4, 4, 15, 10, 5)


def test_option_sets_every_timeout(monkeypatch):
    arguments = ["--source", "http://127.0.0.1:9/", "--silent-seconds", "12.5"]
    source = make_source("http://127.0.0.1:9/", parse(arguments).source)
    assert source.timeouts == Timeouts.of(12.5) and source.connect().read_s == 13.5
    monkeypatch.setenv("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "")  # restored at the end of the test
    monkeypatch.delenv("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT")
    monkeypatch.setattr(Camera, "_check_exists", lambda self: None)
    with pytest.raises(SourceError), Camera("/nonexistent", read_s=13.5):
        pass
    assert os.environ["OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT"] == "14"
    text = unit(["--silent-seconds", "60"])
    assert "WatchdogSec=135\n" in text and "TimeoutStartSec=420\n" in text, "systemd must not treat a slow camera as a hang"
    assert "WatchdogSec=30\n" in unit([]) and "TimeoutStartSec=180\n" in unit([])


def test_web_view_uses_the_same_timeout(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("fer_live.web.feed.time.monotonic", lambda: now[0])
    image = np.zeros((8, 8, 3), np.uint8)
    quick, slow = (Feed(DisplaySmoother((), {}), stale_s=stale_s) for stale_s in (0.0, 11.0))
    for feed in (quick, slow):
        feed.put(image, Analysis(Frame(image, 0, 100.0), ()))
    now[0] = 110.0
    assert (quick.camera(), slow.camera()) == ("lost", "ok")
    now[0] = 112.0
    assert slow.camera() == "lost"


@pytest.mark.slow
def test_program_accepts_the_timeout_option(tmp_path, untrained, capsys):
    with FaultyCamera(rate=0.8) as camera:
        for seconds, is_lost in (("0.6", True), ("3", False)):
            log = tmp_path / f"{seconds}.jsonl"
            assert main(["--source", camera.address, "--no-window", "--silent-seconds", seconds, "--log", str(log),
                         "--max-seconds", "3.5", "--model", str(untrained)]) == 0
            entries = [json.loads(line) for line in log.read_text().splitlines()]
            assert any(entry.get("camera_lost") for entry in entries) == is_lost
    assert "no image for 0.6 s" in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--silent-seconds", "9"], ["--frozen-seconds", "0"], ["--wait-for-camera"],
                                    ["--on-camera-lost", "true"], ["--on-camera-found", "true"]])
def test_rejects_timeouts_without_effect(tmp_path, portrait, capsys, option):
    cv2.imwrite(str(tmp_path / "a.png"), portrait)
    for sources in (["demo"], [str(tmp_path / "a.png")], ["demo", "demo"]):
        named = itertools.chain(*(("--source", source) for source in sources))
        assert main([*named, "--no-window", "--max-seconds", "1", *option]) == 2
        assert f"{option[0]} is for cameras and streams" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "1e9", "soon"])
def test_timeout_option_has_bounds(value, capsys):
    with pytest.raises(SystemExit) as caught:
        parse(["--silent-seconds", value])
    assert caught.value.code == 2 and "--silent-seconds" in capsys.readouterr().err


def test_packet_thread_errors_reach_the_reader():
    def packets():
        raise ZeroDivisionError
        yield

    caught = []

    def read():
        with Arrived(packets()) as arrived:
            try:
                list(arrived)
            except ZeroDivisionError as error:
                caught.append(error)

    reader = threading.Thread(target=read, daemon=True)  # a daemon, so that a hang does not block the tests
    reader.start()
    reader.join(5)
    assert not reader.is_alive() and caught
