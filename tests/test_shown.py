"""Images and videos are recognized by content and displayed as in players."""

import http.server
import itertools
import struct
import threading
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from fer_live.model.images import ImageError, load_image
from fer_live.report.thumbnails import thumbnails
from fer_live.sources.images import ImageFiles
from fer_live.sources.open import open_source
from fer_live.sources.shown import upright
from fer_live.sources.video_file import VideoFile
from fer_live.types import SourceError

ONE = 1 << 16  # 1.0 in a display matrix


def _video(path, image, frames=3, aspect=None, color=None, pixels="yuv420p"):
    """color: (transfer, primaries, matrix) tags of an image in uint16 RGB with that transfer."""
    format = "bgr24" if color is None else "rgb48le"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = *image.shape[:2], pixels
        if color is not None:
            context = stream.codec_context
            context.color_trc, context.color_primaries, context.colorspace, context.color_range = *color, 1
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(image, format=format)
            if color is not None:
                frame = frame.reformat(format=pixels, dst_colorspace=color[2], dst_color_range=1)
                frame.color_trc, frame.color_primaries, frame.colorspace, frame.color_range = *color, 1
            frame.pts, frame.time_base = i, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _first(path):
    with open_source(str(path)) as source:
        return next(iter(source)).image


@pytest.mark.parametrize("aspect", [Fraction(2), Fraction(1, 2)])
def test_pixels_become_square_without_losing_detail(tmp_path, portrait, aspect):
    stored = cv2.resize(portrait, (256, 512) if aspect > 1 else (512, 256), interpolation=cv2.INTER_AREA)
    image = _first(_video(tmp_path / "a.mp4", stored, aspect=aspect))
    assert image.shape == (512, 512, 3)
    assert np.abs(image.astype(int) - portrait).mean() < 6


def test_thumbnails_use_the_displayed_image(tmp_path, portrait):
    path = _video(tmp_path / "a.mp4", cv2.resize(portrait, (256, 512)), aspect=Fraction(2))
    assert thumbnails(path, [(0.0, (300.0, 100.0, 500.0, 300.0))])[0]  # beyond the stored width


MATRICES = {"mirrored": ((-1, 0), (0, 1)), "upside down and mirrored": ((1, 0), (0, -1)), "transposed": ((0, 1), (1, 0)),
            "clockwise": ((0, 1), (-1, 0))}
EXPECTED = {"mirrored": lambda a: a[:, ::-1], "upside down and mirrored": lambda a: a[::-1],
            "transposed": lambda a: a.transpose(1, 0, 2), "clockwise": lambda a: np.rot90(a, -1)}


@pytest.mark.parametrize("name", MATRICES)
def test_whole_display_matrix_is_applied(tmp_path, portrait, name):
    stored = portrait[:320]
    content = _video(tmp_path / "a.mp4", stored).read_bytes()
    (a, b), (c, d) = MATRICES[name]
    straight = struct.pack(">9i", ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30)
    at = content.index(straight, content.index(b"tkhd"))
    matrix = struct.pack(">9i", a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, 0, 0, 1 << 30)
    (tmp_path / "a.mp4").write_bytes(content[:at] + matrix + content[at + 36 :])
    image, wanted = _first(tmp_path / "a.mp4"), EXPECTED[name](stored)
    assert image.shape == wanted.shape and np.abs(image.astype(int) - wanted).mean() < 6


def test_damaged_display_matrix_is_ignored(portrait):
    for matrix in (np.zeros((2, 2)), np.array([[1.0, 0.0], [1.0, 0.0]])):
        assert upright(portrait, matrix).shape == portrait.shape


@pytest.mark.parametrize("orientation", [1, 5, 6])
def test_motion_jpeg_exif_orientation_is_applied(tmp_path, portrait, orientation):
    """FFmpeg passes EXIF as side data of a type that PyAV does not know, together with the display matrix."""
    stored = {1: portrait, 5: portrait.transpose(1, 0, 2), 6: np.rot90(portrait)}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    with open(tmp_path / "a.mjpeg", "wb") as file:
        for _ in range(3):
            Image.fromarray(np.ascontiguousarray(stored[:, :, ::-1])).save(file, "JPEG", quality=95, exif=exif)
    assert np.abs(_first(tmp_path / "a.mjpeg").astype(int) - portrait).mean() < 6


def test_hdr10_has_the_intended_brightness(tmp_path, portrait):
    """White is 203 cd/m2 in HDR (ITU-R BT.2408)."""
    to_2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
    linear = (portrait[..., ::-1] / 255.0) ** 2.2 @ to_2020.T * 203 / 10_000
    power = np.clip(linear, 0, 1) ** (2610 / 16384)
    coded = ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)
    video = np.round(coded * 65535).astype(np.uint16)
    image = _first(_video(tmp_path / "a.mp4", video, 1, color=(16, 9, 9), pixels="yuv420p10le"))
    assert np.abs(image.astype(int) - portrait).mean() < 12


@pytest.mark.parametrize("name", ["a.jfif", "a.jpe", "a.gif", "a.avif", "a.jp2", "a.ppm", "a.tga", "a.ico", "a.qoi", "a.data"])
def test_images_are_recognized_by_content(tmp_path, portrait, name):
    kinds = {".jfif": "JPEG", ".jpe": "JPEG", ".data": "PNG", ".jp2": "JPEG2000"}
    small = Image.fromarray(portrait[::2, ::2, ::-1])
    small.save(tmp_path / name, kinds.get((tmp_path / name).suffix))
    with open_source(str(tmp_path / name)) as source:
        assert isinstance(source, ImageFiles)
        (frame,) = source
    assert frame.image.shape == (256, 256, 3) and np.abs(frame.image.astype(int) - portrait[::2, ::2]).mean() < 12


def test_videos_are_recognized_by_content(tmp_path, portrait):
    _video(tmp_path / "a.mp4", portrait).rename(tmp_path / "a.jpg")
    first, second = Image.fromarray(portrait[..., ::-1]), Image.fromarray(portrait[::-1, :, ::-1])
    first.save(tmp_path / "b.gif", save_all=True, append_images=[second], duration=100)
    for name in ("a.jpg", "b.gif"):
        assert isinstance(open_source(str(tmp_path / name)), VideoFile)
    assert _first(tmp_path / "a.jpg").shape == portrait.shape


def test_avif_rotation_is_applied(tmp_path, portrait):
    image = Image.fromarray(portrait[:300, :, ::-1])
    for orientation in range(1, 9):
        for name in ("a.avif", "a.jpg"):
            exif = Image.Exif()  # saving as AVIF removes the orientation
            exif[0x0112] = orientation
            image.save(tmp_path / name, exif=exif, quality=95)
        ours, wanted = load_image(tmp_path / "a.avif"), load_image(tmp_path / "a.jpg")
        assert ours.shape == wanted.shape and np.abs(ours.astype(int) - wanted).mean() < 6, orientation


def test_heic_is_rejected_with_a_hint(tmp_path):
    (tmp_path / "a.heic").write_bytes(struct.pack(">I", 24) + b"ftypheic\0\0\0\0mif1heic" + bytes(100))
    with pytest.raises(ImageError, match="convert it to JPEG"):
        load_image(tmp_path / "a.heic")
    assert isinstance(open_source(str(tmp_path / "a.heic")), ImageFiles)


@pytest.mark.parametrize("head", [b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"])
def test_jpeg_xl_is_rejected_with_a_hint(tmp_path, head):
    (tmp_path / "a.jxl").write_bytes(head + bytes(64))
    with pytest.raises(SourceError, match="JPEG XL is not supported; convert"), open_source(str(tmp_path / "a.jxl")):
        pass


@pytest.mark.parametrize("name", ["a.nfo", "a.ans", "a.diz"])
def test_rejects_text_files_as_video(tmp_path, name):
    (tmp_path / name).write_text("a few lines of text\n" * 40)
    with pytest.raises(SourceError, match="is a text file"), open_source(str(tmp_path / name)):
        pass


def test_skipped_files_of_a_folder_are_counted_and_named(tmp_path, portrait, capsys):
    cv2.imwrite(str(tmp_path / "a.png"), portrait)
    (tmp_path / "notes.txt").write_text("no image")
    with open_source(str(tmp_path)) as source:
        assert [frame.name for frame in source] == ["a.png"]
    output = capsys.readouterr().err
    assert "skipped 1 of 2 files" in output and "notes.txt" in output


def test_rejects_audio_with_cover_art(tmp_path, portrait):
    ok, jpeg = cv2.imencode(".jpg", portrait)
    assert ok
    with av.open(str(tmp_path / "a.m4a"), "w", format="mp4") as container:
        cover = container.add_stream("mjpeg", rate=1)
        cover.height, cover.width, cover.pix_fmt = 512, 512, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        packet = av.Packet(jpeg.tobytes())
        packet.stream, packet.pts, packet.dts = cover, 0, 0
        container.mux(packet)
    with pytest.raises(SourceError, match="no video"), open_source(str(tmp_path / "a.m4a")):
        pass


def test_videos_of_one_and_two_frames_show_their_faces(tmp_path, portrait, untrained):
    from fer_live import Analyzer

    analyzer = Analyzer.from_checkpoint(untrained, "cpu", runtime="torch")
    for frames in (1, 2):
        with open_source(str(_video(tmp_path / f"{frames}.mp4", portrait, frames))) as source:
            assert [len(analysis.faces) for analysis in analyzer.analyze_all(source)] == [1] * frames


def test_default_video_track_is_used(tmp_path, portrait):
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        streams = [container.add_stream("libx264", rate=10) for _ in range(2)]
        for stream, is_default in zip(streams, (False, True), strict=True):
            stream.height, stream.width, stream.pix_fmt = 64, 64, "yuv420p"
            stream.disposition = av.stream.Disposition.default if is_default else av.stream.Disposition(0)
        for stream, shade in zip(streams, (40, 200), strict=True):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), shade, np.uint8), format="bgr24")
            frame.pts, frame.time_base = 0, Fraction(1, 10)
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    assert _first(tmp_path / "a.mkv").mean() > 150


def test_snapshot_url_is_polled(tmp_path, portrait):
    cv2.imwrite(str(tmp_path / "now.jpg"), portrait)
    serve = lambda *given: http.server.SimpleHTTPRequestHandler(*given, directory=str(tmp_path))  # noqa: E731
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with open_source(f"http://127.0.0.1:{server.server_port}/now.jpg") as source:
            frames = list(itertools.islice(source, 3))
            assert not source.ends
    finally:
        server.shutdown()
        server.server_close()
    assert [frame.image.shape for frame in frames] == [(512, 512, 3)] * 3


def test_file_named_like_a_protocol_is_opened(tmp_path, portrait, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _video(tmp_path / "a.mp4", portrait).rename(tmp_path / "concat:a.mp4")
    assert _first("concat:a.mp4").shape == portrait.shape
