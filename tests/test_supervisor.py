"""Failing cameras, as real streams on loopback: detection, slates, reconnection, no leaks."""

import contextlib
import ctypes
import gc
import itertools
import json
import os
import shlex
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2  # before av; see fer_live/sources/video_file.py

# isort: split
import av
import numpy as np
import pytest

from fer_live import Analyzer, Frame, open_source
from fer_live.__main__ import main
from fer_live.pipeline import mirrored
from fer_live.sources import devices, v4l2
from fer_live.sources.camera import Camera
from fer_live.sources.connection import Timeouts
from fer_live.sources.hooks import Hooks
from fer_live.sources.slate import TITLE, draw_slate
from fer_live.sources.stream import Arrived, Stream
from fer_live.sources.supervisor import MAX_HUNG, Supervised
from fer_live.types import SourceError, View
from tests.conftest import ROOT
from tests.faulty import FaultyCamera, number_in

QUICK = Timeouts(silent_s=0.3, frozen_s=0.3, open_s=1.0, shortest_s=0.02, longest_s=0.05, steady_s=1.0, slate_s=0.05)


@pytest.fixture
def camera():
    with FaultyCamera() as camera:
        yield camera


def wait_until(condition, timeout_s=10.0):
    """Wait for a condition and return the seconds; fails on timeout."""
    started_s = time.monotonic()
    while not condition():
        assert time.monotonic() - started_s < timeout_s, "it never happened"
        time.sleep(0.002)
    return time.monotonic() - started_s


class Watcher:
    """Reads a supervised source in a thread, as the pipeline does; keeps the newest frame and counts."""

    def __init__(self, source):
        self.source, self.newest, self.live, self.slates, self.events, self.error = source, None, 0, 0, [], None
        source.tell = lambda event, reason: self.events.append((event, reason))
        self.thread = threading.Thread(target=self._watch)

    def __enter__(self):
        self.source.__enter__()
        self.thread.start()
        return self

    def __exit__(self, *exception):
        self.source.__exit__()
        self.thread.join(5)
        assert not self.thread.is_alive()

    def _watch(self):
        try:
            for frame in self.source:
                self.newest = frame
                self.slates += frame.is_slate
                self.live += not frame.is_slate
        except Exception as error:
            self.error = error

    def sees_slate(self):
        return self.newest is not None and self.newest.is_slate

    def sees_image(self):
        return self.newest is not None and not self.newest.is_slate


def watched(camera, timeouts=QUICK, wait=False):
    return Watcher(Supervised("test", lambda: Stream(camera.address, 1.0, 0.5), draw_slate, None, timeouts, wait))


def resources():
    """Threads, open handles and resident megabytes of this process, after trimming the allocator."""
    gc.collect()
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd")), resident / 2**20


@pytest.mark.slow
def test_survives_a_hundred_faults_without_leaks(camera, capsys):
    """Each kind of fault is noticed, and the image returns each time."""
    kinds = itertools.cycle(("stall", "die", "freeze", "garbage", "damage", "unplug", "refuse", "mute", "resize", "die"))
    noticed, returned, before = {}, [], None
    with watched(camera) as watcher:
        wait_until(watcher.sees_image)
        for count, kind in enumerate(itertools.islice(kinds, 120)):
            if count == 20 and os.path.exists("/proc/self"):  # everything was used, and the allocator is warm
                wait_until(lambda: not watcher.source.hung)
                before = resources()
            if kind == "unplug":
                camera.stop()
            else:
                camera.mode = kind
            if kind == "resize":
                wait_until(lambda: watcher.newest.image.shape == (120, 160, 3))
            else:
                noticed.setdefault(kind, []).append(wait_until(watcher.sees_slate))
                assert watcher.newest.image.shape in ((240, 320, 3), (120, 160, 3)), "a slate has the size of the last image"
            camera.mode = "ok"
            if kind == "unplug":
                camera.start()
            returned.append(wait_until(lambda: watcher.sees_image() and watcher.newest.image.shape == (240, 320, 3)))
        assert watcher.error is None and watcher.source.faults >= 108
        if before:
            wait_until(lambda: not watcher.source.hung)
            wait_until(lambda: resources()[:2] <= before[:2])
            assert resources()[2] - before[2] < 12
    losses = [event for event, _ in watcher.events]
    assert losses[::2] == ["lost"] * len(losses[::2]) and losses[1::2] == ["found"] * len(losses[1::2]), "in turn"
    for kind, times in noticed.items():
        assert max(times) < 2.0, f"{kind}: {times}"  # timeouts of 0.3 s here, 4 s in the program
    assert "Traceback" not in capsys.readouterr().err
    figures = {kind: f"{1000 * np.median(times):.0f} ms" for kind, times in noticed.items()}
    print("noticed after", figures, "returned after", f"{1000 * np.median(returned):.0f} ms,", "resources", before, resources())


def test_frozen_camera_stays_lost_until_its_image_changes(camera):
    with watched(camera) as watcher:
        wait_until(watcher.sees_image)
        camera.mode = "freeze"
        wait_until(watcher.sees_slate)
        live = watcher.live
        time.sleep(1.5)  # it is reopened meanwhile and sends the same frozen image
        assert watcher.live == live and [event for event, _ in watcher.events] == ["lost"]
        assert "same image" in watcher.events[0][1]
        camera.mode = "ok"
        wait_until(watcher.sees_image)
        assert [event for event, _ in watcher.events] == ["lost", "found"]


def test_frozen_seconds_zero_allows_a_still_image(camera):
    camera.mode = "freeze"
    with watched(camera, Timeouts(silent_s=0.3, frozen_s=0.0)) as watcher:
        wait_until(lambda: watcher.live > 20)
        assert not watcher.slates


def test_back_off_grows_from_one_second_to_ten():
    """Times of connection attempts that always fail, with time sped up a hundredfold."""
    at = []

    def connect():
        at.append(time.monotonic())
        if len(at) > 1:
            raise SourceError("gone")
        return OneImage()

    timeouts = Timeouts(shortest_s=0.05, longest_s=0.5, slate_s=0.02)
    with Watcher(Supervised("test", connect, draw_slate, None, timeouts)):
        wait_until(lambda: len(at) == 8)
    waits = np.diff(at)
    assert waits == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.5, 0.5, 0.5], abs=0.08)
    assert (Timeouts().shortest_s, Timeouts().longest_s) == (1, 10)
    assert Timeouts().silent_s < 5 and Timeouts().frozen_s < 5, "noticed within five seconds"


class OneImage:
    """A live source that yields one image, then fails or hangs until `gate` opens."""

    is_live, ends, fps = True, False, 30.0

    def __init__(self, gate=None):
        self.gate, self.is_open = gate, False

    def __enter__(self):
        self.is_open = True
        return self

    def __exit__(self, *exception):
        self.is_open = False

    def __iter__(self):
        yield Frame(np.zeros((48, 64, 3), np.uint8), 0, time.monotonic())
        if self.gate is None:
            raise SourceError("unplugged")
        self.gate.wait()


def test_hung_reads_are_abandoned_counted_and_released():
    gate, opened = threading.Event(), []

    def connect():
        opened.append(OneImage(gate))
        return opened[-1]

    with Watcher(Supervised("test", connect, draw_slate, None, QUICK)) as watcher:
        wait_until(lambda: watcher.source.hung == MAX_HUNG)
        time.sleep(0.5)
        assert len(opened) == MAX_HUNG and watcher.sees_slate(), "the number of hung threads is bounded"
        gate.set()
        wait_until(lambda: len(opened) > MAX_HUNG)
    wait_until(lambda: not any(source.is_open for source in opened))


def test_internal_error_is_not_treated_as_a_lost_camera():
    def connect():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), Supervised("test", connect, draw_slate, None, QUICK, wait=True):
        pass


def test_camera_missing_at_start(camera, capsys):
    camera.stop()
    with pytest.raises(SourceError, match="cannot be opened"), watched(camera):
        pass
    with watched(camera, wait=True) as watcher:
        wait_until(lambda: watcher.slates > 3)
        assert watcher.newest.image.shape == (720, 1280, 3) and watcher.events[0][0] == "lost"
        camera.start()
        wait_until(watcher.sees_image)
    mute = FaultyCamera()
    mute.mode = "mute"
    with mute:
        started_s = time.monotonic()
        with pytest.raises(SourceError), watched(mute):
            pass
        assert time.monotonic() - started_s < 3


# ------------------------------------------------------------------------------------------------ latency


def test_latency_does_not_grow_with_a_slow_reader(camera):
    """A reader at 5 fps of a 30 fps camera always gets the newest frame."""
    behind = []
    with Stream(camera.address) as stream:
        from fer_live.handoff import LatestItem

        with LatestItem(stream) as newest:
            for _ in range(10):
                time.sleep(0.2)
                behind.append(camera.sent - number_in(newest.get().image))
    assert max(behind) <= 5, behind  # 0.17 s; in order it would be 50


def test_slow_decoder_skips_to_the_newest_key_frame(tmp_path):
    """H.264 with a key frame every 20 frames: only packets that the newest frame depends on are queued."""
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"bf": "0", "g": "20", "sc_threshold": "0"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for number in range(95):
            image = np.full((240, 320, 3), 90, np.uint8)
            for bit in range(16):
                image[:20, bit * 20 : bit * 20 + 20] = 255 if number >> bit & 1 else 0
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode(None))
    with av.open(str(tmp_path / "a.mp4")) as container, Arrived(container.demux(video=0)) as arrived:
        arrived._waiting.thread.join(5)
        waiting = [packet for packet in next(iter(arrived)) if packet.size]
        assert len(waiting) == 15 and waiting[0].is_keyframe and arrived.skipped == 80
        images = [frame for packet in [*waiting, None] for frame in container.streams.video[0].decode(packet)]
    assert number_in(images[-1].to_ndarray(format="bgr24")) == 94


def test_damaged_stream_continues_without_leaks(camera):
    """A header that declares 65000x65000 pixels is rejected."""
    whole = camera.image(1, (320, 240))
    at = whole.index(b"\xff\xc0") + 5
    huge = whole[:at] + struct.pack(">HH", 65000, 65000) + whole[at + 4 :]
    camera.image = lambda number, size_wh: huge if number % 2 else whole
    with Stream(camera.address) as stream:
        frames = list(itertools.islice(stream, 5))
    assert {frame.image.shape for frame in frames} == {(240, 320, 3)} and camera.sent >= 9


def test_passwords_are_not_shown():
    with pytest.raises(SourceError) as caught, Stream("http://user:secret@127.0.0.1:9/x"):
        pass
    assert "secret" not in str(caught.value) and "127.0.0.1:9" in str(caught.value)


# ------------------------------------------------------------------------------------------------ the program


def processor_s(pid):
    """CPU seconds used by a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")
def test_recording_continues_while_the_camera_is_lost(tmp_path, untrained):
    python = shlex.quote(sys.executable)
    hook = f"{python} -c \"import os; print(os.environ['FER_LIVE_EVENT'], os.environ['FER_LIVE_CAMERA'])\" 2>&1"
    with FaultyCamera(size_wh=(640, 360), rate=15) as camera:
        process = subprocess.Popen(
            [sys.executable, "-m", "fer_live", "--source", camera.address, "--no-window", "--output", tmp_path / "o.mp4",
             "--log", tmp_path / "o.jsonl", "--model", untrained, "--on-camera-lost", hook,
             "--on-camera-found", hook, "--no-mirror"],
            cwd=ROOT, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        try:
            log = tmp_path / "o.jsonl"
            wait_until(lambda: log.exists() and log.read_text().count("\n") > 15, 60)
            camera.stop()
            wait_until(lambda: "camera_lost" in log.read_text(), 5)
            time.sleep(0.5)  # what was under way is finished
            before_s, started_s = processor_s(process.pid), time.monotonic()
            time.sleep(2.0)
            share = (processor_s(process.pid) - before_s) / (time.monotonic() - started_s)
            camera.start()
            wait_until(lambda: "camera_lost" not in log.read_text().splitlines()[-1])
            time.sleep(1.0)
            process.send_signal(signal.SIGINT)
            output = process.communicate(timeout=30)[1]
        finally:
            process.kill()
    assert process.returncode == 0 and "Traceback" not in output, output
    assert f"lost {camera.address}" in output and f"found {camera.address}" in output and "is back after" in output
    print(f"processor while lost: {share:.1%}")
    assert share < 0.05
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    gone = [entry["time_s"] for entry in entries if entry.get("camera_lost")]
    assert 1.9 < gone[-1] - gone[0] < 8 and len(gone) < len(entries) and "camera_lost" not in entries[-1]
    with av.open(str(tmp_path / "o.mp4")) as container:
        frames = [(frame.time, frame.to_ndarray(format="bgr24")) for frame in container.decode(video=0)]
    assert frames[-1][0] == pytest.approx(entries[-1]["time_s"], abs=0.5)
    dark = [time_s for time_s, image in frames if image[300:].std() < 5]  # a slate is uniform there, camera noise is not
    assert len(dark) == pytest.approx(len(gone), abs=1) and dark[0] == pytest.approx(gone[0], abs=0.1)


def test_video_over_http_ends(tmp_path, make_clip, untrained):
    import functools
    import http.server

    make_clip(tmp_path / "clip.mp4", frames=30)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    handler.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/clip.mp4"
        assert main(["--source", address, "--no-window", "--log", str(tmp_path / "o.jsonl"), "--model", str(untrained)]) == 0
        server.shutdown()
    entries = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert entries[-1]["time_s"] == pytest.approx(29 / 29.97, abs=0.3) and not any("camera_lost" in entry for entry in entries)


def test_slates_are_readable_and_not_analyzed(untrained, portrait):
    for size_hw in ((720, 1280), (120, 160), (1280, 720), (64, 640), (2, 2)):
        slate = draw_slate(size_hw, "12 s")
        assert slate.shape == (*size_hw, 3)
        lit = np.argwhere(slate.max(axis=2) > 120)
        if min(size_hw) > 60:
            assert lit[:, 1].min() > 0 and lit[:, 1].max() < size_hw[1] - 1 and len(lit) > 50, "the text fits"
    slate = Frame(draw_slate((512, 512), "1 s"), 0, 1.0, is_slate=True)
    assert next(iter(mirrored([slate], View(mirror=True)))).image is slate.image
    analyze = Analyzer.from_checkpoint(untrained, device="cpu")
    faces = [analyze(Frame(portrait, i, i / 30)).faces for i in range(4)]
    assert len(faces[-1]) == 1
    assert analyze(Frame(portrait, 4, 4 / 30, is_slate=True)).faces == (), "even if it contains a face"
    assert analyze(Frame(portrait, 5, 5 / 30)).faces == (), "the person is a new track now"
    assert TITLE == "camera lost, reconnecting"


def test_hooks_run_in_the_background(tmp_path, capfd):
    out = tmp_path / "out"
    hooks = Hooks({"lost": f'echo "$FER_LIVE_EVENT $FER_LIVE_CAMERA: $FER_LIVE_REASON" >> {out}', "found": "exit 3"}, "camera 0")
    hooks("lost", "no image; `touch no` $(touch no)")
    wait_until(lambda: out.exists() and out.read_text() == "lost camera 0: no image; `touch no` $(touch no)\n")
    hooks("found", "")
    wait_until(lambda: hooks.running["found"].poll() is not None)
    hooks("lost", "again")
    assert "failed with status 3" in capfd.readouterr().err
    slow = Hooks({"lost": "sleep 5"}, "camera 0")
    started_s = time.monotonic()
    slow("lost", "")
    slow("lost", "")
    assert time.monotonic() - started_s < 2 and "still running" in capfd.readouterr().err
    slow.running["lost"].kill()
    slow.running["lost"].wait()


# ------------------------------------------------------------------------------------------------ listing cameras


def webcam(request, content):
    """A fake ioctl for a webcam with two formats: MJPG in two sizes, YUYV in a range."""
    index = struct.unpack_from("I", content)[0]
    if request == v4l2.QUERYCAP:
        return struct.pack("16s32s32sIII12x", b"uvcvideo", b"HD Webcam", b"usb-1", 0x60000, 0x84A00001, 0x04200001)
    if request == v4l2.ENUM_FMT and index < 2:
        return content[:44] + (b"MJPG", b"YUYV")[index] + bytes(16)
    pixels = content[4:8]
    if request == v4l2.ENUM_FRAMESIZES and pixels == b"MJPG" and index < 2:
        return struct.pack("I4s3I24x", index, pixels, 1, *((1280, 720), (640, 480))[index])
    if request == v4l2.ENUM_FRAMESIZES and pixels == b"YUYV" and index == 0:
        return struct.pack("I4s7I8x", 0, pixels, 3, 160, 1920, 8, 120, 1080, 8)
    if request == v4l2.ENUM_FRAMEINTERVALS and index < 2:
        size = struct.unpack_from("2I", content, 8)
        assert size in ((1280, 720), (640, 480), (1920, 1080)), "of a range, the largest"
        return content[:16] + struct.pack("3I24x", 1, 1, (30, 15)[index])
    raise OSError(22, "Invalid argument")


def test_highest_rate_of_a_range_is_listed():
    def ask(request, content):
        if request == v4l2.ENUM_FRAMEINTERVALS:  # a driver that never ends the list
            return content[:16] + struct.pack("=9I", 3, 1, 60, 1, 5, 1, 60, 0, 0)
        return webcam(request, content)

    assert devices.modes(ask) == ["MJPG 1280x720 at 60", "MJPG 640x480 at 60", "YUYV 160x120 to 1920x1080"]
    assert [mode.rates for mode in v4l2.modes(ask)] == [(60.0,)] * 3


@pytest.fixture
def two_cameras(tmp_path, monkeypatch):
    """/sys and /dev of a machine with two webcams, each with a second node that does not capture."""
    monkeypatch.setattr(devices, "CLASS", tmp_path / "class")
    monkeypatch.setattr(devices, "DEV", tmp_path / "dev")
    monkeypatch.setattr(sys, "platform", "linux")
    (tmp_path / "dev" / "v4l" / "by-id").mkdir(parents=True)
    for number, (name, index) in enumerate((("HD Webcam", 0), ("HD Webcam", 1), ("Laptop Camera", 0), ("Laptop Camera", 1))):
        folder = tmp_path / "class" / f"video{number}"
        folder.mkdir(parents=True)
        (folder / "name").write_text(name + "\n")
        (folder / "index").write_text(f"{index}\n")
        (tmp_path / "dev" / f"video{number}").touch()
    (tmp_path / "dev" / "v4l" / "by-id" / "usb-HD-video-index0").symlink_to("../../video0")
    monkeypatch.setattr(devices, "_modes_at",
                        lambda path: None if path[-1] in "13" else devices.modes(webcam))
    return tmp_path / "dev"


def test_cameras_are_listed_with_names_links_and_modes(two_cameras, capsys):
    assert main(["--list-cameras"]) == 0
    assert capsys.readouterr().out.splitlines()[1:6] == [
        f"0  HD Webcam  {two_cameras}/video0", f"   {two_cameras}/v4l/by-id/usb-HD-video-index0",
        "   MJPG 1280x720 at 30, 15", "   MJPG 640x480 at 30, 15", "   YUYV 160x120 to 1920x1080"]
    assert [camera.number for camera in devices.cameras()] == [0, 2]


def test_cameras_are_opened_by_name(two_cameras, monkeypatch):
    assert open_source("laptop").name == open_source("Laptop Camera").name == f"{two_cameras}/video2"
    assert isinstance(open_source("hd webcam"), Camera)
    with pytest.raises(SourceError, match="several cameras"):
        open_source("cam")
    with pytest.raises(SourceError, match="no source"):
        open_source("fisheye")
    link = f"{two_cameras}/v4l/by-id/usb-HD-video-index0"
    assert devices.stable_path("0") == devices.stable_path(f"{two_cameras}/video0") == link
    assert devices.stable_path("2") == "2" and devices.stable_path(link) == link


def test_camera_without_permission_is_listed(two_cameras, monkeypatch):
    def refused(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(devices, "_modes_at", refused)
    assert [(camera.number, camera.modes) for camera in devices.cameras()] == [
        (0, ("cannot be queried: Permission denied",)), (2, ("cannot be queried: Permission denied",))]


def test_cameras_are_probed_on_other_systems(monkeypatch, capsys):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: type("Capture", (), {
        "isOpened": lambda self: number == 1, "get": lambda self, what: {cv2.CAP_PROP_FPS: 30.0}.get(what, 720.0),
        "release": lambda self: None})())
    assert [(camera.number, camera.modes) for camera in devices.cameras()] == [(1, ("720x720 at 30",))]
