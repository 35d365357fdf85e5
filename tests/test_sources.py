"""The contract of all sources, and the behavior of each."""

import http.server
import itertools
import threading
import time
from fractions import Fraction

import cv2
import numpy as np
import pytest

from fer_live.model.suffixes import IMAGES_READ, IMAGES_WRITTEN
from fer_live.sinks.image_writer import write_image
from fer_live.sources.camera import Camera
from fer_live.sources.images import ImageFiles
from fer_live.sources.open import open_source
from fer_live.types import SourceError


class FakeCapture:
    """A fake cv2.VideoCapture that returns `shots` images and then fails like an unplugged camera."""

    shots = 5

    def __init__(self, *_):
        self.left, self.released = self.shots, False
        FakeCapture.last = self

    def isOpened(self):
        return self.shots >= 0

    def set(self, *_):
        return True

    def get(self, *_):
        return 25.0

    def read(self):
        self.left -= 1
        time.sleep(0.005)
        return self.left >= 0, np.full((48, 64, 3), max(0, self.left), np.uint8)

    def release(self):
        self.released = True


@pytest.fixture
def fake_camera(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", FakeCapture)
    monkeypatch.setattr(Camera, "_check_exists", lambda self: None)
    monkeypatch.setattr(FakeCapture, "shots", 5)
    return FakeCapture


@pytest.fixture(params=["camera", "video", "images", "stream", "demo"])
def source(request, tmp_path, make_clip, portrait):
    if request.param == "camera":
        request.getfixturevalue("fake_camera")
        yield open_source("0")
    elif request.param == "images":
        for i in range(5):
            cv2.imwrite(str(tmp_path / f"{i}.jpg"), portrait[:100, : 100 + i])
        yield open_source(str(tmp_path))
    elif request.param == "demo":
        yield open_source("demo")
    elif request.param == "video":
        yield open_source(str(make_clip(tmp_path / "clip.mp4", frames=5)))
    else:
        make_clip(tmp_path / "clip.mp4", frames=5)
        handler = lambda *a: http.server.SimpleHTTPRequestHandler(*a, directory=str(tmp_path))  # noqa: E731
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield open_source(f"http://127.0.0.1:{server.server_port}/clip.mp4")
        server.shutdown()
        server.server_close()


def test_every_source_meets_the_contract(source):
    with source as opened:
        assert opened is source and isinstance(source.is_live, bool) and isinstance(source.fps, float) and source.fps > 0
        frames = list(itertools.islice(source, 5))
    assert len(frames) == 5
    assert [f.index for f in frames] == sorted({f.index for f in frames}) and frames[0].index == 0
    assert [f.time_s for f in frames] == sorted(f.time_s for f in frames)
    for frame in frames:
        assert frame.image.dtype == np.uint8 and frame.image.ndim == 3 and frame.image.shape[2] == 3
        assert frame.image.flags.c_contiguous
    assert len({id(f.image) for f in frames}) == 5  # no frame is overwritten by a later one


def test_video_keeps_every_frame_and_its_time(tmp_path, make_clip):
    path = make_clip(tmp_path / "clip.mp4", frames=20, skip=(7, 8, 9))
    with open_source(str(path)) as source:
        assert source.fps != 30 and source.has_audio
        frames = list(source)
    expected = [i * 1001 / 30000 for i in range(20) if i not in (7, 8, 9)]
    assert [f.time_s for f in frames] == pytest.approx(expected, abs=1e-4)
    assert [f.index for f in frames] == list(range(17))


def test_rotated_video_is_turned_upright(tmp_path, make_clip):
    """Phones store the image in sensor orientation, with a display matrix."""
    path = make_clip(tmp_path / "clip.mp4", frames=3, sound=None)
    content = path.read_bytes()
    straight = b"\x00\x01\x00\x00" + bytes(12) + b"\x00\x01\x00\x00" + bytes(12) + b"\x40\x00\x00\x00"
    turned = bytes(4) + b"\x00\x01\x00\x00" + bytes(4) + b"\xff\xff\x00\x00" + bytes(16) + b"\x40\x00\x00\x00"
    track = content.index(b"tkhd")
    at = content.index(straight, track)
    path.write_bytes(content[:at] + turned + content[at + 36 :])
    with open_source(str(path)) as source:
        image = next(iter(source)).image
    assert image.shape == (320, 240, 3)
    # the clip's image fills the left 240 columns: turned clockwise they are the upper 240 rows
    assert image[:240].std() > 3 * image[250:].std()


def test_demo_is_paced_like_a_camera():
    with open_source("demo") as source:
        started = time.monotonic()
        frames = list(itertools.islice(source, 16))
    assert frames[-1].index / source.fps <= time.monotonic() - started < frames[-1].index / source.fps + 1.0


def test_damaged_images_are_reported_skipped_and_counted(tmp_path, portrait, capsys):
    cv2.imwrite(str(tmp_path / "a.jpg"), portrait)
    (tmp_path / "b.jpg").write_bytes(b"\xff\xd8\xff\xe0 no image")
    (tmp_path / "c.png").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("not an image")
    with open_source(str(tmp_path)) as source:
        assert [f.name for f in source] == ["a.jpg"]
    output = capsys.readouterr().err
    assert "b.jpg" in output and "c.png" in output and "2 of 3" in output


def test_lost_camera_is_an_error_and_is_released(fake_camera):
    with pytest.raises(SourceError, match="unplugged"), open_source("0") as source:
        list(source)
    assert fake_camera.last.released
    fake_camera.shots = 0
    with pytest.raises(SourceError, match="using it"), open_source("0") as source:
        list(source)
    fake_camera.shots = -1
    with pytest.raises(SourceError, match="no other program"), open_source("0"):
        pass


@pytest.mark.parametrize("text, words", [
    ("/dev/video-none", "does not exist"), ("nothing.mp4", "no source"), ("http://127.0.0.1:9/x.mjpg", "cannot be opened"),
    ("*.nothing", "no images"),
])
def test_missing_source_is_a_one_line_error(text, words):
    with pytest.raises(SourceError) as caught, open_source(text):
        pass
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_damaged_videos(tmp_path, make_clip):
    (tmp_path / "text.mp4").write_text("this is not a video\n" * 50)
    (tmp_path / "empty.mp4").write_bytes(b"")
    for name in ("text.mp4", "empty.mp4"):
        with pytest.raises(SourceError, match="cannot be opened"), open_source(str(tmp_path / name)):
            pass
    content = make_clip(tmp_path / "whole.mp4", frames=110, sound=None).read_bytes()
    index_first = _move_index_first(tmp_path / "whole.mp4", tmp_path / "first.mp4").read_bytes()
    (tmp_path / "no-index.mp4").write_bytes(content[: len(content) // 2])
    with pytest.raises(SourceError, match="cannot be opened"), open_source(str(tmp_path / "no-index.mp4")):
        pass
    (tmp_path / "cut.mp4").write_bytes(index_first[: int(len(index_first) * 0.7)])
    seen = []
    with pytest.raises(SourceError, match=r"ends after|damaged"), open_source(str(tmp_path / "cut.mp4")) as source:
        seen += source
    assert 0 < len(seen) < 110


def _move_index_first(path, out):
    import av

    with av.open(str(path)) as source, av.open(str(out), "w", options={"movflags": "faststart"}) as copy:
        stream = copy.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                copy.mux(packet)
    return out


def test_rejects_sound_only_files(tmp_path):
    import av

    from tests.conftest import _tone

    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        _tone(container, container.add_stream("aac", rate=44100, layout="mono"), 0.5)
    with pytest.raises(SourceError, match="no video"), open_source(str(tmp_path / "sound.mp4")):
        pass


def test_fractional_rates_stay_fractional(tmp_path, make_clip):
    with open_source(str(make_clip(tmp_path / "a.mp4", frames=4, fps=Fraction(247, 10)))) as source:
        assert source.fps == pytest.approx(24.7)


def test_every_written_image_format_can_be_read(tmp_path, portrait):
    for suffix in IMAGES_WRITTEN:
        write_image(tmp_path / f"a{suffix}", portrait)
    with ImageFiles(sorted(tmp_path.iterdir()), "images") as source:
        assert [frame.image.shape for frame in source] == [portrait.shape] * len(IMAGES_WRITTEN)
    assert set(IMAGES_WRITTEN) < IMAGES_READ
