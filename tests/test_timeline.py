"""Frame times of videos: monotonic from zero for any timestamps."""

import http.server
import struct
import threading
from fractions import Fraction
from functools import partial

import cv2  # before av; see fer_live/sources/video_file.py

# isort: split
import av
import numpy as np
import pytest

from fer_live.__main__ import main
from fer_live.report.thumbnails import thumbnails
from fer_live.sinks.log_reader import read_log
from fer_live.sources.open import open_source
from fer_live.sources.stream import Stream
from fer_live.sources.timeline import Timeline
from fer_live.sources.video_file import VideoFile
from fer_live.types import SourceError

RATE = Fraction(25)


@pytest.fixture
def part(tmp_path, make_clip):
    """A transport stream of ten frames at 25 fps, without sound."""
    return make_clip(tmp_path / "part.ts", frames=10, fps=RATE, sound=None)


def shifted(path, out, by_s):
    """The same video with timestamps shifted by this many seconds."""
    with av.open(str(path)) as source, av.open(str(out), "w") as copy:
        streams = {stream.index: copy.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                shift = round(by_s / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, streams[packet.stream.index]
                copy.mux(packet)
    return out


def read(path):
    with open_source(str(path)) as source:
        return [(round(frame.time_s, 6), frame.segment) for frame in source]


def steady(count, segments=1):
    return [(round(i / 25, 6), i // count) for i in range(count * segments)]


def test_video_that_starts_at_one_hour_begins_at_zero(part, tmp_path):
    assert read(shifted(part, tmp_path / "late.ts", 3600)) == steady(10)
    assert read(shifted(part, tmp_path / "late.mkv", 30)) == steady(10)


@pytest.mark.parametrize("starts_s", [(0, 0), (0, 3600), (3600, 0, 0), (0, 100, 20)])
def test_concatenated_videos_continue_from_the_last_frame(part, tmp_path, starts_s, capsys):
    whole = tmp_path / "whole.ts"
    whole.write_bytes(b"".join(shifted(part, tmp_path / "one.ts", start_s).read_bytes() for start_s in starts_s))
    assert read(whole) == steady(10, len(starts_s))
    output = [line for line in capsys.readouterr().err.splitlines() if "timestamps jump" in line]
    assert len(output) == 1 and "whole.ts" in output[0]


def test_limits_logs_and_recordings_count_from_the_first_frame(part, tmp_path, untrained):
    late = tmp_path / "late.ts"
    late.write_bytes(shifted(part, tmp_path / "one.ts", 3600).read_bytes() + part.read_bytes())
    assert main(["--no-window", "--source", str(late), "--output", str(tmp_path / "o.mp4"), "--log", str(tmp_path / "o.jsonl"),
                 "--max-seconds", "0.6", "--model", str(untrained)]) == 0
    assert [round(entry["time_s"], 6) for entry in read_log(tmp_path / "o.jsonl")] == [i / 25 for i in range(15)]
    with av.open(str(tmp_path / "o.mp4")) as container:
        assert [round(frame.time, 6) for frame in container.decode(video=0)] == [i / 25 for i in range(15)]


def test_pauses_are_kept(tmp_path, make_clip):
    """A pause of eight seconds in a transport stream, of two minutes in other files, and a time-lapse video."""
    for name, fps, skip, pause_s in (("a.ts", 25, range(3, 202), 8.0), ("b.mkv", 2, range(3, 242), 120.0),
                                     ("c.mkv", Fraction(1, 100), (), 100.0)):
        path = make_clip(tmp_path / name, frames=max(skip, default=3) + 3, fps=Fraction(fps), sound=None, face=False, skip=skip)
        times = read(path)
        assert {segment for _, segment in times} == {0}
        assert max(np.diff([time_s for time_s, _ in times])) == pytest.approx(pause_s, abs=0.05), name


class Stamped:
    """A fake decoded frame."""

    def __init__(self, pts, dts=None, duration=1, unit=Fraction(1, 25)):
        self.pts, self.dts, self.duration, self.time_base = pts, dts, duration, unit


def placed(frames, may_jump=True):
    timeline = Timeline(25.0, may_jump)
    return [(round(float(time_s * 25), 3), segment) for time_s, segment in map(timeline.place, frames)]


def test_single_timestamp_errors_are_not_jumps():
    assert placed(map(Stamped, [0, 1, 2, 2, 3, 4])) == [(0, 0), (1, 0), (2, 0), (2, 0), (3, 0), (4, 0)]
    assert placed(map(Stamped, [0, 1, 2, None, None, 5])) == [(i, 0) for i in range(6)]
    assert placed(map(Stamped, [None, None, None])) == [(i, 0) for i in range(3)]


def test_frames_without_valid_pts_are_shown_in_order():
    """H.264 with B-frames in AVI: only the decoding timestamps are in order."""
    stamps = [(2, 4), (6, 6), (8, 8), (4, 10), (10, 12), (12, 14), (16, 16), (18, 18), (14, 20)]
    times = placed(Stamped(*stamp) for stamp in stamps)
    assert {segment for _, segment in times} == {0} and times[2:] == [(2.0 * i, 0) for i in range(3, 10)]


def test_thumbnails_use_the_times_of_the_log(tmp_path):
    """Frames get brighter; a thumbnail is looked up by its time since the first frame."""
    with av.open(str(tmp_path / "a.ts"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"bf": "2", "g": "50"})
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for i in range(200):
            frame = av.VideoFrame.from_ndarray(np.full((120, 160, 3), 20 + i, np.uint8), format="bgr24")
            frame.pts, frame.time_base = i, 1 / RATE
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    (tmp_path / "two.ts").write_bytes((tmp_path / "a.ts").read_bytes() * 2)
    with VideoFile(tmp_path / "a.ts") as source:
        shades = [frame.image.mean() for frame in source]
    wanted = [3, 30, 190]
    for path, numbers in ((tmp_path / "a.ts", wanted), (shifted(tmp_path / "a.ts", tmp_path / "late.ts", 3600), wanted),
                          (shifted(tmp_path / "a.ts", tmp_path / "late.mkv", 30), wanted),
                          (tmp_path / "two.ts", [*wanted, 203, 390])):
        found = thumbnails(path, [(i / 25, (40.0, 40.0, 90.0, 90.0)) for i in numbers])
        light = [cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).mean() for jpeg in found]
        assert light == pytest.approx([shades[i % 200] for i in numbers], abs=1.1), path.name


# ------------------------------------------------------------------------------------------------ truncated files


def test_frames_hidden_by_an_edit_list_are_not_reported_missing(tmp_path, make_clip):
    """As in videos trimmed without re-encoding: the header declares 40 frames, 25 are displayed."""
    path = make_clip(tmp_path / "a.mp4", frames=40, fps=RATE, sound=None)
    content = bytearray(path.read_bytes())
    at = content.index(b"elst") + 12
    (timescale,) = struct.unpack(">I", content[content.index(b"mdhd") + 16 :][:4])
    (movie,) = struct.unpack(">I", content[content.index(b"mvhd") + 16 :][:4])
    content[at : at + 8] = struct.pack(">Ii", round(1.0 * movie), round(0.6 * timescale))
    path.write_bytes(content)
    assert read(path) == steady(25)


def test_repeated_avi_frames_are_not_reported_missing(tmp_path, make_clip):
    """AVI has no timestamps; empty packets repeat the previous frame."""
    path = make_clip(tmp_path / "a.avi", frames=60, fps=RATE, sound=None, skip=tuple(range(10, 50)))
    with VideoFile(path) as source:
        assert source.declared == 60 or source.container.streams.video[0].frames >= 55
        times = [frame.time_s for frame in source]
    assert len(times) == 20 and times[-1] == pytest.approx(59 / 25, abs=0.05)


def test_truncated_avi_is_reported(tmp_path, make_clip):
    path = make_clip(tmp_path / "a.avi", frames=60, fps=RATE, sound=None)
    path.write_bytes(path.read_bytes()[: int(0.6 * path.stat().st_size)])
    with pytest.raises(SourceError, match=r"ends after|damaged"):
        read(path)


# ------------------------------------------------------------------------------------------------ over http


def test_concatenated_videos_play_at_their_own_pace(part, tmp_path):
    (tmp_path / "whole.ts").write_bytes(part.read_bytes() * 2)
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with Stream(f"http://127.0.0.1:{server.server_port}/whole.ts") as source:
            source.ends = True  # as from a server that supports range requests
            frames = list(source)
        server.shutdown()
    assert [frame.segment for frame in frames] == [0] * 10 + [1] * 10
    assert frames[-1].time_s - frames[0].time_s == pytest.approx(19 / 25, abs=0.3)
