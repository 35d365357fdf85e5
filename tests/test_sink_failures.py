"""A failing sink ends alone, never the live run or other sinks."""

import json
import threading
import time
from pathlib import Path

import cv2  # noqa: F401, before av; see fer_live/sources/video_file.py

# isort: split
import av
import numpy as np
import pytest

from fer_live.app.outputs import Outputs
from fer_live.pipeline import run_live
from fer_live.sinks.disk import RecordingFile
from fer_live.sinks.log import Log
from fer_live.sinks.microphone import Microphone
from fer_live.sinks.recorder import VideoRecorder
from fer_live.types import Analysis, Face, Frame, OutputError, View


class Screen:
    """A screen that displays nothing and acts at a given frame."""

    def __init__(self, act_at=None, act=None):
        self.shown, self.act_at, self.act = 0, act_at, act

    def show(self, *_):
        self.shown += 1
        if self.shown == self.act_at:
            self.act()

    def poll(self):
        pass


class Watched:
    """A sink that records writes, including writes after its end. fails: frame at which it raises."""

    def __init__(self, fails=None):
        self.path = Path("o.mp4")
        self.fails, self.written, self.is_closed, self.late = fails, 0, False, 0

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.is_closed = True

    def write(self, image, analysis):
        self.late += self.is_closed
        self.written += 1
        if self.written == self.fails:
            raise OutputError("the disk is full")


def frames(n):
    for i in range(n):
        time.sleep(0.01)
        yield Frame(np.zeros((8, 8, 3), np.uint8), i, time.monotonic())


def run(outputs, screen, n=20):
    return run_live(frames(n), lambda frame: Analysis(frame, ()), lambda analysis, rates: analysis.frame.image, outputs.sinks,
                    screen, threading.Event(), None, outputs.failed)


def outputs_for(recorder=None):
    return Outputs(View(), lambda path: recorder)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_log_failing_on_an_event_does_not_end_the_run(tmp_path, capsys):
    """The event is logged by an earlier sink during the same frame."""
    log = Log(tmp_path / "o.jsonl", ())

    def fill_the_disk():
        log.file.close()
        log.file = open("/dev/full", "wb", buffering=0)
        outputs.tell("microphone lost", "unplugged")

    screen = Screen(5, fill_the_disk)
    with outputs_for() as outputs:
        outputs.add_log(log)
        shown = run(outputs, screen)
    assert shown == screen.shown > 6 and outputs.log is None and outputs.sinks == [outputs]
    output = capsys.readouterr().err
    assert "log stopped: cannot write to" in output and "No space left" in output
    lines = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert len(lines) >= 4 and all("faces" in line for line in lines)


def test_nothing_is_written_after_a_cascading_sink_failure(capsys):
    """The recorder fails, and the error handler ends the next sink in the list."""
    recorder, next_one = Watched(fails=3), Watched()
    with outputs_for(recorder) as outputs:
        outputs.record(Path("o.mp4"))
        outputs.sinks.append(next_one)

        def failed(sink, error):
            outputs.failed(sink, error)
            outputs.sinks.remove(next_one)
            next_one.__exit__(None, None, None)

        run_live(frames(10), lambda frame: Analysis(frame, ()), lambda analysis, rates: analysis.frame.image, outputs.sinks,
                 Screen(), threading.Event(), None, failed)
    assert (recorder.written, recorder.late) == (3, 0) and (next_one.written, next_one.late) == (2, 0)
    assert "recording stopped: the disk is full" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_log_accepts_non_utf8_names(tmp_path, suffix):
    """A file called \\xff reaches Python as a lone surrogate; so may a label of a checkpoint."""
    name = "smile\udcff"
    face = Face((0, 0, 8, 8), 1, np.ones(1, np.float32), name, 1.0)
    with Log(tmp_path / f"o{suffix}", (name,)) as log:
        log.write(np.zeros((8, 8, 3), np.uint8), Analysis(Frame(np.zeros((8, 8, 3), np.uint8), 0, 0.0, name), (face,)))
        log.event("recording stopped", name, 0.0)
    assert "smile\\udcff" in (tmp_path / f"o{suffix}").read_text(encoding="utf-8")


def test_unexpected_recording_thread_error_is_reported(tmp_path, monkeypatch):
    """Applies to any exception: if the thread ended silently, nothing would be synced to disk."""
    def broken(path, file):
        raise RuntimeError("no such luck")

    monkeypatch.setattr("fer_live.sinks.disk.check_still_there", broken)
    file = RecordingFile(tmp_path / "o.mp4")
    file.write(b"a fragment")
    file.pass_on()
    deadline = time.monotonic() + 5
    while file.error is None and time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(OSError, match="no such luck"):
        file.pass_on()
    with pytest.raises(OSError, match="no such luck"):
        file.close()
    assert (tmp_path / "o.mp4").read_bytes() == b"a fragment"


def test_unexpected_microphone_thread_error_is_reported(monkeypatch):
    def broken(self, samples, now_s):
        raise RuntimeError("no such luck")

    monkeypatch.setattr("fer_live.sinks.microphone.ArrivalClock.began_s", broken)
    output = []
    microphone = Microphone("sine=frequency=440:sample_rate=16000", "lavfi")
    microphone.lost = output.append
    with microphone:
        deadline = time.monotonic() + 5
        while not output and time.monotonic() < deadline:
            time.sleep(0.01)
    assert output and "no such luck" in output[0]


@pytest.mark.parametrize("size_wh, beside", [((96, 96), (48, 4)), ((256, 64), (4, 64)), ((32, 16), (4, 64))])
def test_image_with_another_aspect_ratio_is_not_distorted(tmp_path, size_wh, beside):
    """A stream can change its size, but its recording cannot."""
    path = tmp_path / "o.mp4"
    with VideoRecorder(path, 10.0) as recorder:
        for i, (w, h) in enumerate(((128, 96), size_wh)):
            recorder.write(np.full((h, w, 3), 200, np.uint8), Analysis(Frame(np.zeros((h, w, 3), np.uint8), i, i / 10), ()))
    with av.open(str(path)) as container:
        first, second = (frame.to_ndarray(format="bgr24") for frame in container.decode(video=0))
    assert first.shape == second.shape == (96, 128, 3) and first[beside].mean() > 150
    assert second[48, 64].mean() > 150 and second[beside].mean() < 60
