"""Videos served over HTTP: short, damaged and truncated ones."""

import http.server
import itertools
import json
import threading
from contextlib import contextmanager
from fractions import Fraction

import cv2  # before av; see fer_live/sources/__init__.py

# isort: split
import av
import numpy as np
import pytest
from PIL import Image

from fer_live.sources.stream import Stream
from fer_live.types import SourceError
from tests.test_app import refused, run
from tests.test_shown import _video


@contextmanager
def served(folder):
    """URL of a server for this folder."""
    handler = lambda *given: http.server.SimpleHTTPRequestHandler(*given, directory=str(folder))  # noqa: E731
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("frames", [1, 2])
def test_short_videos_show_their_face(tmp_path, portrait, untrained, frames):
    _video(tmp_path / "a.mp4", portrait, frames)
    with served(tmp_path) as address:
        assert run("--source", f"{address}/a.mp4", "--no-window", "--log", tmp_path / "o.jsonl", "--model", untrained) == 0
    entries = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert entries[-1]["time_s"] < 3 and any(entry["faces"] for entry in entries)


@pytest.mark.parametrize("name", ["a.ts", "a.mpg", "a.gif"])
def test_video_of_unknown_length_ends(tmp_path, portrait, name):
    """Python's own server does not support range requests, so the end of the file cannot be probed."""
    with av.open(str(tmp_path / name), "w") as container:
        stream = container.add_stream({"a.gif": "gif", "a.ts": "libx264", "a.mpg": "mpeg2video"}[name], rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 64, "rgb8" if name == "a.gif" else "yuv420p"
        for shade in range(0, 200, 20):
            image = np.full((64, 64, 3), shade, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode(None))
    with served(tmp_path) as address, Stream(f"{address}/{name}") as source:
        assert source.ends and len(list(source)) >= 10


def test_avif_is_a_snapshot(tmp_path, portrait):
    Image.fromarray(portrait).save(tmp_path / "now.avif")
    with served(tmp_path) as address, Stream(f"{address}/now.avif") as source:
        assert not source.ends and len(list(itertools.islice(source, 2))) == 2


def _mjpeg(path, jpegs):
    """An AVI of these JPEGs; its header has the frame count."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=30)
        stream.height, stream.width, stream.pix_fmt = 512, 512, "yuvj420p"
        for i, jpeg in enumerate(jpegs):
            packet = av.Packet(jpeg)
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, i, i, Fraction(1, 30)
            packet.is_keyframe = True
            container.mux(packet)
    return path.read_bytes()


@pytest.fixture
def jpeg(portrait):
    return cv2.imencode(".jpg", portrait)[1].tobytes()


def test_undecodable_video_is_an_error(tmp_path, jpeg, capsys, untrained):
    whole = _mjpeg(tmp_path / "a.avi", [jpeg] * 30)
    (tmp_path / "a.avi").write_bytes(whole[: whole.index(b"movi") + 4])
    with served(tmp_path) as address:
        line = refused(capsys, "--source", f"{address}/a.avi", "--no-window", "--log", tmp_path / "o.jsonl", "--model", untrained)
    assert "ended without a decodable image" in line and not (tmp_path / "o.jsonl").exists()


def test_truncated_video_is_reported(tmp_path, jpeg):
    whole = _mjpeg(tmp_path / "a.avi", [jpeg] * 60)
    (tmp_path / "a.avi").write_bytes(whole[: int(0.6 * len(whole))])
    seen = []
    with served(tmp_path) as address, Stream(f"{address}/a.avi") as source, pytest.raises(SourceError, match=r"of 60 frames"):
        seen += source
    assert 30 < len(seen) < 60


def test_damaged_frame_does_not_end_a_video(tmp_path, jpeg, capsys):
    _mjpeg(tmp_path / "a.avi", [b"\xff\xd8\xff\xe0 no image" * 20 if i == 5 else jpeg for i in range(12)])
    with served(tmp_path) as address, Stream(f"{address}/a.avi") as source:
        assert sum(1 for _ in source) >= 11
    assert "damaged at frame 6" in capsys.readouterr().err
