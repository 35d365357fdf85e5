"""The demo: a clip that behaves like a camera, and whose people the released network classifies as intended."""

import itertools
import json
import time

import numpy as np
import pytest

from fer_live.__main__ import main
from fer_live.analysis.analyzer import Analyzer
from fer_live.sources import demo
from fer_live.sources.demo import CLIP, Demo
from fer_live.sources.open import open_source
from fer_live.types import UNSURE, Frame, SourceError


@pytest.fixture(scope="module")
def seen():
    """The times and analyses of every third frame of the clip."""
    analyze = Analyzer.from_checkpoint(device="cpu")
    with open_source(CLIP) as clip:
        return [analyze(Frame(frame.image, frame.index // 3, frame.time_s)) for frame in itertools.islice(clip, 0, None, 3)]


def shown_s(seen, label):
    """The seconds for which a face has this label."""
    return sum(any(face.label == label for face in one.faces) for one in seen) / 10


def test_released_network_recognizes_the_scripted_expressions(seen):
    labels = {face.label for one in seen for face in one.faces} - {UNSURE}
    assert len(labels) >= 4, labels
    for label in ("happy", "surprise", "sad", "angry", "neutral"):
        assert shown_s(seen, label) >= 1.0, label
        strongest = max(face.confidence for one in seen for face in one.faces if face.label == label)
        assert strongest > 0.65, "slightly different weights agree"


def test_two_faces_are_present_at_once_and_one_leaves(seen):
    """A face is present from the first frame, on which tests and benchmarks depend."""
    assert any(one.faces for one in seen[:5])
    assert max(len(one.faces) for one in seen) == 2
    together = [one.frame.time_s for one in seen if len({face.track_id for face in one.faces}) == 2]
    assert len(together) > 50
    left = [ended for one in seen for ended in one.ended if ended.because == "left"]
    assert left and all(len(one.faces) < 2 for one in seen if one.frame.time_s > 19.5)


def test_one_face_turns_away_and_the_light_goes_out(seen):
    brightness = [one.frame.image.mean() for one in seen]
    dark = [one for one, value in zip(seen, brightness, strict=True) if value < 0.2 * max(brightness)]
    assert 0.5 < len(dark) / 10 < 3
    turned = [one for one in seen if 12.4 <= one.frame.time_s <= 13.7]
    width = turned[0].frame.image.shape[1]
    sides = [{face.track_id: face.box[0] > width / 2 for face in one.faces} for one in turned]
    assert sides[0] == sides[-1] and all(side == sides[0] and set(side.values()) == {False, True} for side in sides)
    away = [face for one in turned for face in one.faces if face.unsure_because == "turned"]
    assert len(away) >= 5 and all(face.label == UNSURE and face.box[0] < width / 2 for face in away)


def test_clip_loops_seamlessly():
    with open_source(CLIP) as clip:
        frames = [frame.image.astype(int) for frame in clip if frame.index in (0, 120) or frame.index == clip.frames - 1]
    first, other, last = frames
    assert np.abs(last - first).mean() < 2 < 5 < np.abs(other - first).mean()


@pytest.fixture
def counted(tmp_path, monkeypatch):
    """A clip of ten frames whose gray level encodes the frame number: 20 * i."""
    import av

    path = tmp_path / "demo.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "1"})
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for i in range(10):
            image = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 20 * i, np.uint8), format="bgr24")
            for packet in stream.encode(image):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    monkeypatch.setattr(demo, "CLIP", path)
    return path


def number(frame):
    return round(frame.image.mean() / 20)


def test_clip_repeats_without_missing_frames(counted):
    with Demo() as source:
        frames = list(itertools.islice(source, 25))
    assert [number(frame) for frame in frames] == [frame.index % 10 for frame in frames]


def test_slow_reader_misses_frames_and_the_clip_stays_in_real_time(counted):
    frames = []
    with Demo() as source:
        for frame in source:
            frames.append(frame)
            if len(frames) == 6:
                break
            time.sleep(0.12)
    gaps = [b.index - a.index for a, b in itertools.pairwise(frames)]
    assert min(gaps) >= 3 and [number(frame) for frame in frames] == [frame.index % 10 for frame in frames]


@pytest.mark.parametrize("content", [None, b"", b"\0\0\0\x20ftypisom no film"])
def test_missing_or_damaged_clip_is_a_one_line_error(content, tmp_path, monkeypatch, capsys):
    path = tmp_path / "demo.mp4"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setattr(demo, "CLIP", path)
    with pytest.raises(SourceError, match="install the program again"), Demo():
        pass


def test_damaged_frames_of_the_clip_are_a_one_line_error(counted):
    content = counted.read_bytes()
    start, end = content.index(b"mdat") + 4, content.index(b"moov")
    counted.write_bytes(content[:start] + bytes(end - start) + content[end:])
    with pytest.raises(SourceError, match="install the program again"), Demo() as source:
        next(iter(source))


@pytest.mark.slow
def test_program_logs_the_scripted_expressions(tmp_path):
    """More than one loop in real time: at least four labels, two faces at once, and one that leaves."""
    log = tmp_path / "o.jsonl"
    assert main(["--source", "demo", "--no-window", "--max-seconds", "24", "--log", str(log)]) == 0
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    faces = [entry["faces"] for entry in entries if "faces" in entry]
    assert len({face["label"] for some in faces for face in some} - {UNSURE}) >= 4
    assert max(map(len, faces)) == 2 and entries[-1]["time_s"] == pytest.approx(24, abs=1)
