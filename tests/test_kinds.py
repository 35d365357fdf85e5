"""Kinds of videos and images: unused parts are reported, and colors and rotation match players."""

import io
import math
import struct
from fractions import Fraction
from pathlib import Path

import cv2  # before av; see fer_live/sources/__init__.py

# isort: split
import av
import numpy as np
import pytest
from PIL import Image

from fer_live.model.images import load_image
from fer_live.sinks.sound_track import SoundTrack
from fer_live.sources.images import ImageFiles
from fer_live.sources.open import open_source
from fer_live.sources.video_file import VideoFile
from fer_live.types import MOST_PIXELS, SourceError
from tests.conftest import _tone
from tests.test_app import refused, run
from tests.test_shown import ONE, _first, _video

PATCHES = np.array([[(0, 0, 200), (0, 200, 0), (200, 0, 0)], [(0, 0, 0), (128, 128, 128), (255, 255, 255)]], np.uint8)
PATCHES = np.repeat(np.repeat(PATCHES, 64, 0), 64, 1)  # (128, 192, 3) BGR: red, green, blue, and three grays below
TO_2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])  # of linear BT.709 RGB


def _linear_2020(portrait):
    """(H, W, 3) RGB, 1.0 is white."""
    return (portrait[..., ::-1] / 255.0) ** 2.2 @ TO_2020.T


def _coded(video):
    return np.round(np.clip(video, 0, 1) * 65535).astype(np.uint16)


def _difference(image, wanted):
    return np.abs(image.astype(int) - wanted).mean()


def _tagged(path, image, format, color):
    """A video of one frame. color: transfer, primaries, matrix and range, as numbered by FFmpeg."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "10"})
        stream.height, stream.width, stream.pix_fmt = *image.shape[:2], "yuv420p"
        frame = av.VideoFrame.from_ndarray(image, format=format).reformat(
            format="yuv420p", dst_colorspace=color[2], dst_color_range=color[3])
        for tagged in (stream.codec_context, frame):
            tagged.color_trc, tagged.color_primaries, tagged.colorspace, tagged.color_range = color
        frame.pts, frame.time_base = 0, Fraction(1, 10)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_hlg_has_the_intended_brightness(tmp_path, portrait):
    """ITU-R BT.2100 for a display of 1000 cd/m2, with white at 203 cd/m2 (BT.2408)."""
    shown = np.clip(_linear_2020(portrait), 1e-6, 1) * 203 / 1000
    luminance = shown @ np.array([0.2627, 0.6780, 0.0593])
    scene = shown / luminance[..., None] ** (0.2 / 1.2)
    bright = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-6)) + 0.55991073
    coded = np.where(scene <= 1 / 12, np.sqrt(3 * scene), bright)
    image = _first(_tagged(tmp_path / "a.mp4", _coded(coded), "rgb48le", (18, 9, 9, 1)))
    assert _difference(image, portrait) < 12


def test_bt2020_colors_are_not_desaturated(tmp_path):
    coded = _coded(np.clip(_linear_2020(PATCHES), 0, 1) ** (1 / 2.4))
    image = _first(_tagged(tmp_path / "a.mp4", coded, "rgb48le", (14, 9, 9, 1)))
    # 128 where the primaries are left as they are
    assert np.abs(image[32::64, 32::64].astype(int) - PATCHES[32::64, 32::64]).max() < 40


@pytest.mark.parametrize("color_range", [1, 2], ids=["limited", "full"])
@pytest.mark.parametrize("matrix", [1, 5], ids=["bt709", "bt601"])
def test_tagged_range_and_matrix_are_used(tmp_path, color_range, matrix):
    shown = _first(_tagged(tmp_path / "a.mp4", PATCHES, "bgr24", (1, matrix, matrix, color_range)))
    assert np.abs(shown[32::64, 32::64].astype(int) - PATCHES[32::64, 32::64]).max() < 8


@pytest.mark.parametrize("degrees", [7, 30, 135, -60])
def test_arbitrary_rotation_angles_are_applied(tmp_path, portrait, degrees):
    """Compared with Pillow, which turns counterclockwise."""
    stored = portrait[:320]
    content = _video(tmp_path / "a.mp4", stored).read_bytes()
    c, s = (round(ONE * f(math.radians(degrees))) for f in (math.cos, math.sin))
    at = content.index(struct.pack(">9i", ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30), content.index(b"tkhd"))
    (tmp_path / "a.mp4").write_bytes(content[:at] + struct.pack(">9i", c, s, 0, -s, c, 0, 0, 0, 1 << 30) + content[at + 36 :])
    image = _first(tmp_path / "a.mp4")
    wanted = np.asarray(Image.fromarray(stored).rotate(-degrees, Image.Resampling.BILINEAR, expand=True))
    assert np.abs(np.subtract(image.shape, wanted.shape)).max() <= 2
    height, width = np.minimum(image.shape[:2], wanted.shape[:2])
    assert _difference(image[:height, :width], wanted[:height, :width]) < 6


# ------------------------------------------------------------------------------------------------ unused parts


def test_animated_webp_is_rejected_with_a_hint(tmp_path, portrait, capsys):
    first, second = Image.fromarray(portrait[..., ::-1]), Image.fromarray(portrait[::-1, :, ::-1])
    first.save(tmp_path / "a.webp", save_all=True, append_images=[second], duration=100)
    with pytest.raises(SourceError, match=r"animated WebP.*convert"):
        open_source(str(tmp_path / "a.webp"))
    first.save(tmp_path / "b.webp")
    with open_source(str(tmp_path)) as source:
        assert [frame.name for frame in source] == ["b.webp"]
    assert "a.webp" in capsys.readouterr().err


def test_additional_tiff_pages_are_reported(tmp_path, portrait, capsys):
    page = Image.fromarray(portrait[..., ::-1])
    page.save(tmp_path / "a.tif", save_all=True, append_images=[page, page])
    page.save(tmp_path / "b.tif")
    with open_source(str(tmp_path)) as source:
        assert len(list(source)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "a.tif has 3 pages" in line and "first" in line


def _two_tracks(path, late=0.0, sound=False):
    """A video with two tracks, dark and bright; the second is the default and starts later."""
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("libx264", rate=10) for _ in range(2)]
        for stream, is_default in zip(streams, (False, True), strict=True):
            stream.height, stream.width, stream.pix_fmt = 64, 64, "yuv420p"
            stream.disposition = av.stream.Disposition.default if is_default else av.stream.Disposition(0)
        audio = container.add_stream("aac", rate=44100, layout="mono") if sound else None
        for stream, shade, start_s in zip(streams, (40, 200), (0.0, late), strict=True):
            for i in range(5):
                frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), shade, np.uint8), format="bgr24")
                frame.pts, frame.time_base = i + round(10 * start_s), Fraction(1, 10)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        if audio:
            _tone(container, audio, late + 0.5)
    return path


def test_unused_video_tracks_are_reported(tmp_path, portrait, capsys):
    with VideoFile(_two_tracks(tmp_path / "a.mkv")) as source:
        assert next(iter(source)).image.mean() > 150
    assert "2 video tracks; only track 2 is used" in capsys.readouterr().err
    first = Image.fromarray(portrait[..., ::-1])
    first.save(tmp_path / "b.avif", save_all=True, append_images=[first.rotate(90)], duration=100)
    with open_source(str(tmp_path / "b.avif")) as source:
        assert len(list(source)) == 2
    assert capsys.readouterr().err == "", "its still image is not a second track"


def test_sound_matches_the_displayed_track(tmp_path):
    path = _two_tracks(tmp_path / "a.mkv", late=1.0, sound=True)
    with VideoFile(path) as source:
        sound = SoundTrack(path, None, MOST_PIXELS, source.track.index)
    assert sound.video.index == 1 and float(sound.places.segments[0].source_s) == pytest.approx(1.0, abs=0.01)
    sound.close()


def test_single_frame_video_can_be_saved_as_image_or_video(tmp_path, portrait, untrained, capsys):
    one = _video(tmp_path / "one.mp4", portrait, 1)
    for name in ("o.png", "o.mp4"):
        assert run("--source", one, "--no-window", "--output", tmp_path / name, "--model", untrained) == 0
        assert capsys.readouterr().err.splitlines()[-1] == f"wrote {tmp_path / name}"
    drawn = cv2.imread(str(tmp_path / "o.png"))
    assert drawn.shape == portrait.shape and (drawn[60:180, 160:290] != portrait[60:180, 160:290]).any()
    two = _video(tmp_path / "two.mp4", portrait, 2)
    assert ".mp4 files" in refused(capsys, "--source", two, "--no-window", "--output", tmp_path / "p.png", "--model", untrained)


# ------------------------------------------------------------------------------------------------ AVIF of tiles


def _box(kind: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack(">I", 8 + len(content)) + kind + content


def _full(kind: bytes, version: int, *parts: bytes, flags: int = 0) -> bytes:
    return _box(kind, struct.pack(">I", version << 24 | flags), *parts)


def _avif_grid(left: np.ndarray, right: np.ndarray) -> bytes:
    """A tiled AVIF, as cameras write large images (ISO/IEC 23008-12, 6.6.2.3), here of two (H, W, 3) RGB tiles."""
    tiles = []
    for image in (left, right):
        made = io.BytesIO()
        Image.fromarray(image).save(made, "AVIF", quality=90)
        content = made.getvalue()
        at = content.index(b"mdat")
        tiles.append(content[at + 4 : at - 4 + struct.unpack(">I", content[at - 4 : at])[0]])
        start = content.index(b"av1C") - 4
        setup = content[start : start + struct.unpack(">I", content[start : start + 4])[0]]
    height, width = left.shape[:2]
    grid = struct.pack(">BBBBHH", 0, 0, 0, 1, 2 * width, height)
    items = _full(b"iinf", 0, struct.pack(">H", 3), *(
        _full(b"infe", 2, struct.pack(">HH", number, 0), kind, b"\0", flags=number > 1)
        for number, kind in ((1, b"grid"), (2, b"av01"), (3, b"av01"))))
    properties = _box(b"ipco", _full(b"ispe", 0, struct.pack(">II", 2 * width, height)),
                      _full(b"ispe", 0, struct.pack(">II", width, height)), setup, _full(b"pixi", 0, b"\3\x08\x08\x08"))
    uses = _full(b"ipma", 0, struct.pack(">I", 3), struct.pack(">HBBB", 1, 2, 1, 4),
                 *(struct.pack(">HBBBB", number, 3, 2, 0x83, 4) for number in (2, 3)))
    head = _box(b"ftyp", b"avif", bytes(4), b"avifmif1miaf")

    def meta(first: int) -> bytes:
        places = [(1, 1, 0, len(grid)), (2, 0, first, len(tiles[0])), (3, 0, first + len(tiles[0]), len(tiles[1]))]
        return _full(
            b"meta", 0, _full(b"hdlr", 0, bytes(4), b"pict", bytes(13)), _full(b"pitm", 0, struct.pack(">H", 1)),
            _full(b"iloc", 1, struct.pack(">HH", 0x4400, 3),
                  *(struct.pack(">HHHHII", number, how, 0, 1, at, size) for number, how, at, size in places)),
            items, _full(b"iref", 0, _box(b"dimg", struct.pack(">HHHH", 1, 2, 2, 3))), _box(b"iprp", properties, uses),
            _box(b"idat", grid))

    first = len(head) + len(meta(0)) + 8
    return head + meta(first) + _box(b"mdat", *tiles)


def test_tiled_avif_is_assembled(tmp_path, portrait):
    path = Path(tmp_path / "grid.avif")
    path.write_bytes(_avif_grid(np.ascontiguousarray(portrait[:, :256, ::-1]), np.ascontiguousarray(portrait[:, 256:, ::-1])))
    with open_source(str(path)) as source:
        assert isinstance(source, ImageFiles)
        (frame,) = source
    assert frame.image.shape == (512, 512, 3) and _difference(frame.image, portrait) < 6
    Image.fromarray(portrait[..., ::-1]).save(tmp_path / "tiles.avif", tile_rows=1, tile_cols=1, autotiling=False, quality=90)
    assert _difference(load_image(tmp_path / "tiles.avif"), portrait) < 6
