"""Recordings: kills, power cuts and full disks; real-time duration; segments and quota."""

import contextlib
import os
import random
import resource
import shutil
import subprocess
import sys
import threading
import time
import wave
from functools import partial
from pathlib import Path

import cv2  # noqa: F401, before av; see fer_live/sources/video_file.py

# isort: split
import av
import numpy as np
import pytest

from fer_live.__main__ import main
from fer_live.app.outputs import Outputs
from fer_live.model.spec import EMOTIONS
from fer_live.pipeline import run_live
from fer_live.screen.overlay import Overlay
from fer_live.screen.window import StatusLines
from fer_live.sinks import disk
from fer_live.sinks.log import Log
from fer_live.sinks.log_reader import read_log
from fer_live.sinks.recorder import VideoRecorder
from fer_live.sinks.segments import OWN, Quota, SegmentedRecorder
from fer_live.types import Analysis, Frame, OutputError, View
from tests.conftest import ROOT

KILLS = int(os.environ.get("FER_LIVE_KILLS", "3"))  # 50 take about five minutes
BITS = 12


def numbered(number: int) -> np.ndarray:
    """An image (120, 192, 3) that encodes `number` in black and white columns, over noise."""
    image = np.random.default_rng(number % 5).integers(0, 255, (120, 192, 3), np.uint8)
    image[:40] = np.repeat([255 * (number >> bit & 1) for bit in range(BITS)], 192 // BITS)[None, :, None]
    return image


def number_in(image: np.ndarray) -> int:
    columns = image[10:30].mean(axis=(0, 2)).reshape(BITS, -1).mean(axis=1)
    return sum(int(column > 127) << bit for bit, column in enumerate(columns))


def analysis(number: int, time_s: float) -> Analysis:
    return Analysis(Frame(np.zeros((2, 2, 3), np.uint8), number, time_s), ())


def frames_of(path: Path) -> list[tuple[int, float]]:
    """The number and time of each frame; every packet must decode."""
    with av.open(str(path)) as container:
        return [(number_in(f.to_ndarray(format="bgr24")), f.time) for f in container.decode(video=0)]


def duration_s(path: Path) -> float:
    with av.open(str(path)) as container:
        return float(container.streams.video[0].duration * container.streams.video[0].time_base)


# ------------------------------------------------------------------------------------------------ kills and power cuts

CHILD = """
import sys, time
from pathlib import Path
from contextlib import nullcontext
from fer_live.sinks.microphone import Microphone
from fer_live.sinks.recorder import VideoRecorder
from tests.test_recordings import analysis, numbered
fps, sound = float(sys.argv[2]), sys.argv[3]
with Microphone(sound) if sound else nullcontext() as microphone:
    with VideoRecorder(Path(sys.argv[1]), 30.0, live=True, microphone=microphone) as recorder:
        started, number = time.monotonic(), 0
        while True:
            now = time.monotonic()
            recorder.write(numbered(number), analysis(number, now))
            print(number, now - started, flush=True)
            number += 1
            time.sleep(max(0.0, started + number / fps - time.monotonic()))
"""


def killed(path: Path, fps: float, sound: str, after_s: float) -> tuple[int, float]:
    """Record in another process and kill it `after_s` after the first frame; returns number and time of the last frame."""
    child = subprocess.Popen([sys.executable, "-c", CHILD, path, str(fps), sound], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    first = child.stdout.readline()
    time.sleep(after_s)
    child.kill()
    last = (first + child.communicate()[0]).rpartition("\n")[0].splitlines()[-1].split()
    return int(last[0]), float(last[1])


def tone(path: Path, seconds: float, rate: int = 48_000) -> Path:
    """A sound file: 440 Hz."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        samples = np.sin(np.arange(int(seconds * rate)) * 2 * np.pi * 440 / rate)
        file.writeframes((samples * 12_000).astype("<i2").tobytes())
    return path


def test_kill_loses_at_most_two_seconds(tmp_path):
    chance = random.Random()  # another moment in every run; a failure names it
    hum = str(tone(tmp_path / "hum.wav", 20))
    lost, started, longest_s = [], [], 3.0 if KILLS < 10 else 8.0
    for i in range(KILLS):
        path, fps = tmp_path / f"{i}.mp4", (5, 14, 30, 60)[i % 4]
        sound, after_s = hum if i % 3 == 0 else "", longest_s * (i + chance.random()) / KILLS
        _, last_s = killed(path, fps, sound, after_s)
        case = f"{fps} a second, {'with' if sound else 'no'} sound, killed after {after_s:.3f} s"
        if last_s < 2.0 and path.stat().st_size == 0:
            started.append(last_s)
            continue
        frames = frames_of(path)
        assert [number for number, _ in frames] == list(range(len(frames))), case
        lost.append(last_s - frames[-1][1])
        assert lost[-1] < 2.0 and duration_s(path) == pytest.approx(frames[-1][1], abs=0.25), case
    print(f"{KILLS} kills: {len(lost)} files play, lost {np.median(lost):.2f} s (median), {max(lost):.2f} s at most; "
          f"{len(started)} had just begun: {', '.join(f'{s:.2f} s' for s in started)}")
    assert len(lost) >= KILLS // 3


def test_data_on_disk_is_playable(tmp_path, monkeypatch):
    """Simulates power cuts with copies of the file at different times."""
    cuts, real = [], disk._sync

    def sync(number):
        if Path(f"/proc/self/fd/{number}").resolve().suffix == ".mp4":
            cuts.append((written[-1], (tmp_path / "o.mp4").read_bytes()))
        real(number)

    monkeypatch.setattr(disk, "_sync", sync)
    written, started = [], time.monotonic()
    with VideoRecorder(tmp_path / "o.mp4", 30.0, live=True) as recorder:
        for i in range(75):
            written.append(i)
            recorder.write(numbered(i), analysis(i, started + i / 30))  # two and a half seconds
            time.sleep(0.004)
    assert len(cuts) >= 4
    for last, content in cuts:
        (tmp_path / "cut.mp4").write_bytes(content)
        frames = frames_of(tmp_path / "cut.mp4")
        numbers = [number for number, _ in frames[:75]]  # one more at the very end
        assert numbers == list(range(len(numbers))) and len(numbers) / 30 > last / 30 - 1.2


def test_slow_disk_does_not_delay_frames(tmp_path, monkeypatch):
    monkeypatch.setattr(disk, "_sync", lambda number: time.sleep(0.5))
    slowest, started = 0.0, time.monotonic()
    with VideoRecorder(tmp_path / "o.mp4", 30.0, live=True) as recorder:
        for i in range(60):
            before = time.monotonic()
            recorder.write(numbered(i), analysis(i, started + i / 30))
            slowest = max(slowest, time.monotonic() - before)
    assert slowest < 0.4


# ------------------------------------------------------------------------------------------------ time


def test_recording_duration_is_real_time_at_any_rate(tmp_path):
    lasted = {}

    def record(fps):
        with VideoRecorder(tmp_path / f"{fps}.mp4", 30.0, live=True) as recorder:
            started = time.monotonic()
            for i in range(2 * fps):
                recorder.write(numbered(i), analysis(i, time.monotonic()))
                time.sleep(max(0.0, started + (i + 1) / fps - time.monotonic()))
            ended = time.monotonic()
        lasted[fps] = ended - started

    threads = [threading.Thread(target=record, args=(fps,)) for fps in (5, 14, 30, 60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for fps, wall_s in lasted.items():
        assert duration_s(tmp_path / f"{fps}.mp4") == pytest.approx(wall_s, abs=0.1), fps
        assert len(frames_of(tmp_path / f"{fps}.mp4")) == 2 * fps + 1  # the last is shown until the end


def test_key_recording_starts_with_the_displayed_image(tmp_path):
    outputs = Outputs(View(), lambda path: VideoRecorder(path, 5.0, live=True))
    image = numbered(7)
    outputs.write(image, analysis(7, time.monotonic() - 0.2))
    pressed = time.monotonic()
    outputs.record(tmp_path / "o.mp4")
    time.sleep(0.3)
    outputs.stop_record()
    assert duration_s(tmp_path / "o.mp4") == pytest.approx(time.monotonic() - pressed, abs=0.1)
    assert [number for number, _ in frames_of(tmp_path / "o.mp4")] == [7, 7]


# ------------------------------------------------------------------------------------------------ segments and quota


def test_segments_join_without_a_gap_and_overwrite_nothing(tmp_path):
    """27 seconds at 10 fps, written as fast as possible."""
    opened, began = [], time.monotonic() - 27.0

    def open_recorder(path):
        path = tmp_path / f"o-20261122-10150{min(len(opened), 2)}.mp4"  # the third to fifth start within the same second
        opened.append(VideoRecorder(path, 30.0, live=True, comment=OWN))
        return opened[-1]

    with SegmentedRecorder(tmp_path / "o.mp4", open_recorder, segment_s=6.0) as recorder:
        for i in range(270):
            recorder.write(numbered(i), analysis(i, began + i / 10))
    wall_s, names = time.monotonic() - began, [recorder.path.name for recorder in opened]
    assert names == ["o-20261122-101500.mp4", "o-20261122-101501.mp4", "o-20261122-101502.mp4", "o-20261122-101502-2.mp4",
                     "o-20261122-101502-3.mp4"]
    lasted = [duration_s(tmp_path / name) for name in names]
    assert lasted[:4] == pytest.approx([6.0] * 4, abs=0.01) and sum(lasted) == pytest.approx(wall_s, abs=0.1)
    numbers = []
    for name in names:
        frames = frames_of(tmp_path / name)
        assert frames[0][1] == 0.0
        numbers += [number for number, _ in frames[:-1]]  # the last frame repeats the one before until the end
    assert numbers == list(range(270))


@pytest.mark.parametrize("in_segments", [False, True])
def test_recording_stops_at_its_end_time(tmp_path, in_segments):
    """Regardless of when it is closed."""
    began, path = time.monotonic() - 30.0, tmp_path / "o.mp4"
    recorder = VideoRecorder(path, 30.0, live=True)
    with SegmentedRecorder(path, lambda _: recorder, segment_s=60.0) if in_segments else recorder as sink:
        for i in range(20):
            sink.write(numbered(i), analysis(i, began + i / 10))
        sink.end_s = began + 1.9
    assert duration_s(path) == pytest.approx(1.9, abs=0.1)


@pytest.mark.parametrize("in_segments", [False, True])
def test_recording_ends_with_the_run(tmp_path, in_segments):
    """The time that a hung camera takes to close is not part of the recording."""
    def frames():
        for number in range(40):
            yield Frame(numbered(number), number, time.monotonic())
            time.sleep(0.02 if number < 5 else 3.0)

    path = tmp_path / "a.mp4"
    open_file = partial(VideoRecorder, fps=30.0, live=True)
    outputs = Outputs(View(), lambda path: SegmentedRecorder(path, open_file, 60.0) if in_segments else open_file(path))
    with outputs:
        outputs.record(path)
        run_live(frames(), lambda frame: Analysis(frame, ()), lambda analysis, rates: analysis.frame.image, outputs.sinks,
                 StatusLines(), threading.Event(), max_seconds=0.6)
    assert duration_s(next(tmp_path.glob("a*.mp4"))) < 1.0


def test_segment_names_have_one_timestamp(tmp_path):
    opened = []
    for name in ("out.mp4", "fer_live-20261122-101500.mp4", "fer_live-20261122-101500-2.mp4"):
        recorder = SegmentedRecorder(tmp_path / name, lambda path: opened.append(path) or VideoRecorder(path, 30.0), 60.0)
        with recorder:
            recorder.write(numbered(0), analysis(0, 0.0))
    today = time.strftime("%Y%m%d")
    assert [path.name.rsplit("-", 1)[0] for path in opened[:2]] == [f"out-{today}", f"fer_live-{today}"]
    assert opened[2].stem.startswith(f"fer_live-{today}-")


def recording(path: Path, age_days: float, comment: str = OWN) -> Path:
    with VideoRecorder(path, 30.0, comment=comment) as recorder:
        for i in range(30):
            recorder.write(numbered(i), analysis(i, i / 30))
    then = time.time() - age_days * 86_400
    os.utime(path, (then, then))
    return path


def folder_of_old_recordings(tmp_path) -> tuple[list[Path], list[Path]]:
    """Five of our own recordings, oldest first, and files that must never be deleted."""
    own = [recording(tmp_path / f"k-2026112{i}-101500{'-2' if i == 3 else ''}.mp4", 10 - i) for i in range(5)]
    shutil.copy(own[0], tmp_path / "wedding.mp4")  # marked, but renamed
    shutil.copy(own[0], tmp_path / "k-20261120-101500-cut.mp4")
    shutil.copy(own[0], tmp_path / "other-20261120-101500.mp4")  # another camera's
    recording(tmp_path / "k-20200101-000000.mp4", 99, comment="holiday")  # the right name, but not marked
    (tmp_path / "k-20200101-000001.mp4").write_bytes(b"mine")
    (tmp_path / "k-20200101-000002.mp4").mkdir()
    (tmp_path / "k-20200101-000003.mp4").symlink_to(tmp_path / "wedding.mp4")
    (tmp_path / "deep").mkdir()
    shutil.copy(own[0], tmp_path / "deep" / "k-20200101-000004.mp4")
    for path in tmp_path.rglob("*"):
        if path not in own and path.is_file() and not path.is_symlink():
            os.utime(path, (0, 0))
    return own, [path for path in tmp_path.rglob("*") if path not in own]


def test_keep_days_deletes_only_our_own_recordings(tmp_path):
    own, foreign = folder_of_old_recordings(tmp_path)
    Quota(tmp_path / "k.mp4", float("inf"), 7.5 * 86_400, pytest.fail).clear([])
    assert [path.exists() for path in own] == [False, False, False, True, True]
    assert all(path.exists() for path in foreign)


def test_quota_deletes_our_oldest_files_and_never_open_ones(tmp_path):
    own, foreign = folder_of_old_recordings(tmp_path)
    size = own[0].stat().st_size
    Quota(tmp_path / "k.mp4", 3.5 * size, float("inf"), pytest.fail).clear([])
    assert [path.exists() for path in own] == [False, False, True, True, True]
    with own[2].open("rb") as by_another_program:
        disk.fcntl.flock(by_another_program, disk.fcntl.LOCK_EX)
        Quota(tmp_path / "k.mp4", 0.5 * size, float("inf"), pytest.fail).clear([own[4]])
    assert [path.exists() for path in own] == [False, False, True, False, True]
    assert all(path.exists() for path in foreign)


def test_recording_enforces_the_quota_and_locks_its_file(tmp_path):
    own, foreign = folder_of_old_recordings(tmp_path)
    quota = Quota(tmp_path / "k.mp4", 1.0, float("inf"), pytest.fail)
    with SegmentedRecorder(tmp_path / "k.mp4", lambda path: VideoRecorder(path, 30.0, live=True, comment=OWN), 60.0,
                           quota.clear_soon) as recorder:
        began = time.monotonic() - 3
        for i in range(30):
            recorder.write(numbered(i), analysis(i, began + i / 10))
        quota._thread.join(10)
        quota.clear([])  # as another process would
        assert recorder.current.path.exists() and not any(path.exists() for path in own)
    assert len(frames_of(recorder.base.with_name(opened_name(tmp_path, foreign)))) == 31


def opened_name(folder: Path, foreign: list[Path]) -> str:
    return next(path.name for path in folder.glob("k-*.mp4") if path not in foreign)


# ------------------------------------------------------------------------------------------------ disk failures


@contextlib.contextmanager
def limit(size):
    """Limit the size of all files, to simulate a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def run(*arguments) -> int:
    return main(["--no-window", *map(str, arguments)])


def test_full_disk_stops_the_live_recording_but_not_the_program(tmp_path, untrained, capsys):
    with limit(120_000):
        assert run("--source", "demo", "--max-seconds", 4, "--output", tmp_path / "o.mp4", "--log", tmp_path / "o.jsonl",
                   "--model", untrained) == 0
    output = [line for line in capsys.readouterr().err.splitlines() if line.startswith("recording stopped: ")]
    assert len(output) == 1 and "o.mp4" in output[0] and "File too large" in output[0]
    entries = list(read_log(tmp_path / "o.jsonl"))
    events = [i for i, entry in enumerate(entries) if "event" in entry]
    assert len(events) == 1 and entries[events[0]]["event"] == "recording stopped" and events[0] < len(entries) - 1
    with av.open(str(tmp_path / "o.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) > 0


def test_full_disk_ends_a_file_run(tmp_path, make_clip, untrained, capsys):
    clip = make_clip(tmp_path / "clip.mp4", frames=90, size_wh=(320, 240), sound=None)
    with limit(20_000):
        assert run("--source", clip, "--output", tmp_path / "o.mp4", "--model", untrained) == 2
    assert "File too large" in capsys.readouterr().err.splitlines()[-1]


def test_deleted_output_folder_is_noticed(tmp_path):
    folder = tmp_path / "stick"
    folder.mkdir()
    started = time.monotonic()
    with pytest.raises(OutputError, match="No such file"), VideoRecorder(folder / "o.mp4", 30.0, live=True) as recorder:
        for i in range(300):
            recorder.write(numbered(i), analysis(i, started + i / 30))
            time.sleep(0.003)
            if i == 40:
                shutil.rmtree(folder)
    assert 40 < i < 200
    folder.mkdir()
    with Log(folder / "o.jsonl", EMOTIONS) as log:
        log.write(None, analysis(0, 0.0))
        shutil.rmtree(folder)
        log.checked_s = 0.0  # a second later
        with pytest.raises(OutputError, match="No such file"):
            log.write(None, analysis(1, 0.1))


class Failing:
    path = Path("o.mp4")

    def __init__(self, good: int):
        self.good = good

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        raise OutputError("cannot finish it")

    def write(self, image, analysis):
        self.good -= 1
        if self.good < 0:
            raise OutputError("cannot write it")

    event = write


def test_failed_sink_is_removed_and_reported_on_the_image(tmp_path, capsys):
    view = View()
    outputs = Outputs(view, lambda path: Failing(2))
    log = Log(tmp_path / "o.jsonl", EMOTIONS)
    with outputs:
        outputs.add_log(log)
        outputs.record(tmp_path / "o.mp4")
        for i in range(5):
            for sink in list(outputs.sinks):
                try:
                    sink.write(numbered(i), analysis(i, time.monotonic()))
                except OutputError as error:
                    outputs.failed(sink, error)
        assert outputs.sinks == [outputs, log] and not view.recording
        assert view.notice == "recording stopped: cannot write it" and "cannot write it" in capsys.readouterr().err
        outputs.record(tmp_path / "o.mp4")
        assert view.recording and view.notice == ""
    entries = list(read_log(tmp_path / "o.jsonl"))
    assert [entry["event"] for entry in entries if "event" in entry] == ["recording stopped"] * 3
    outputs.add_log(Failing(0))
    outputs.failed(outputs.log, OutputError("no room"))
    assert outputs.sinks == [outputs] and "log stopped" in view.notice


def test_long_notice_wraps():
    image = np.full((360, 640, 3), 120, np.uint8)
    item = Analysis(Frame(image, 0, 0.0), ())
    view = View(fps=False, notice="recording stopped: cannot write to o.mp4 (No space left on device)")
    short = (Overlay(EMOTIONS, view).draw(item) != image).any(axis=(1, 2))
    view.notice += "; the recording up to here is kept, and this line goes on"
    long = (Overlay(EMOTIONS, view).draw(item) != image).any(axis=(1, 2))
    assert short[-40:].any() and not short[:250].any() and 1.4 * short.sum() < long.sum() < 150
