"""The contract of all sinks, and the behavior of each."""

import csv
import json
import time
from fractions import Fraction

import cv2  # before av; see fer_live/sources/video_file.py

# isort: split
import av
import numpy as np
import pytest

from fer_live.model.spec import EMOTIONS
from fer_live.sinks.disk import unused
from fer_live.sinks.image_writer import ImageWriter
from fer_live.sinks.log import Log
from fer_live.sinks.recorder import VideoRecorder
from fer_live.types import Analysis, Face, Frame, OutputError

FACE = Face((10, 12, 40, 42), 3, np.array([0.1, 0, 0, 0.6, 0.2, 0.1, 0], np.float32), "happy", 0.6)


def analysis(index, time_s, faces=(FACE,), name="", size_hw=(60, 80)):
    image = np.full((*size_hw, 3), (index * 40) % 200, np.uint8)
    return Analysis(Frame(image, index, time_s, name), faces)


def make(kind, folder):
    return {
        "video": lambda: VideoRecorder(folder / "out.mp4", 30.0),
        "live": lambda: VideoRecorder(folder / "out.mp4", 30.0, live=True),
        "jsonl": lambda: Log(folder / "out.jsonl", EMOTIONS), "csv": lambda: Log(folder / "out.csv", EMOTIONS),
        "images": lambda: ImageWriter(folder / "out", is_folder=True),
    }[kind]()


KINDS = ["video", "live", "jsonl", "csv", "images"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_sink_meets_the_contract(kind, tmp_path):
    with make(kind, tmp_path) as sink:
        assert list(tmp_path.iterdir()) == []  # no file is created before the first write
        for i in range(3):
            item = analysis(i, i / 30, name=f"{i}.png")
            before = item.frame.image.copy()
            sink.write(item.frame.image, item)
            assert np.array_equal(before, item.frame.image)  # a sink does not draw
    out = list(tmp_path.iterdir())
    assert len(out) == 1 and (out[0].is_dir() or out[0].stat().st_size > 0)


@pytest.mark.parametrize("kind", KINDS)
def test_unused_sink_leaves_no_file(kind, tmp_path):
    with make(kind, tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_unwritable_path_is_an_output_error(kind, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError) as caught, make(kind, tmp_path / "file") as sink:
        sink.write(analysis(0, 0.0).frame.image, analysis(0, 0.0, name="a.png"))
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------------------------------------ video


def decoded(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [(float(f.time), f.to_ndarray(format="bgr24")) for f in container.decode(stream)], stream.codec_context


def test_video_keeps_timestamps_size_codec_and_colors(tmp_path):
    times = [0.0, 0.1, 0.15, 0.4, 0.45]
    colors = [(30, 40, 200), (200, 60, 20), (20, 180, 40), (0, 0, 0), (255, 255, 255)]
    with VideoRecorder(tmp_path / "o.mp4", 29.97, Fraction(1, 1000)) as sink:
        for i, (t, color) in enumerate(zip(times, colors, strict=True)):
            sink.write(np.full((60, 80, 3), color, np.uint8), analysis(i, t))
    frames, codec = decoded(tmp_path / "o.mp4")
    assert [t for t, _ in frames] == pytest.approx(times, abs=1e-6)
    assert (codec.name, codec.pix_fmt, codec.width, codec.height) == ("h264", "yuv420p", 80, 60)
    for (_, image), color in zip(frames, colors, strict=True):
        assert np.abs(image.reshape(-1, 3).mean(0) - color).max() < 8, "colors must be preserved; the matrix is tagged and used"


def test_accepts_odd_sizes_and_size_changes(tmp_path):
    with VideoRecorder(tmp_path / "o.mp4", 30.0) as sink:
        for i, size in enumerate([(61, 81), (61, 81), (120, 160)]):
            item = analysis(i, i / 30, size_hw=size)
            sink.write(item.frame.image, item)
    frames, codec = decoded(tmp_path / "o.mp4")
    assert len(frames) == 3 and (codec.width, codec.height) == (82, 62)


def test_two_images_with_equal_timestamps_are_kept(tmp_path):
    with VideoRecorder(tmp_path / "o.mp4", 30.0) as sink:
        for i, t in enumerate([0.0, 0.0, 0.1]):
            sink.write(analysis(i, t).frame.image, analysis(i, t))
    assert len(decoded(tmp_path / "o.mp4")[0]) == 3


def test_live_recording_has_real_time_duration(tmp_path):
    started = time.monotonic()
    with VideoRecorder(tmp_path / "o.mp4", 30.0, live=True) as sink:
        for i in range(4):
            sink.write(analysis(i, 0).frame.image, analysis(i, time.monotonic()))
            time.sleep(0.11)
        time.sleep(0.2)
    wall_s = time.monotonic() - started
    frames, _ = decoded(tmp_path / "o.mp4")
    assert frames[0][0] == 0.0 and frames[-1][0] == pytest.approx(wall_s, abs=0.1)


def test_recording_without_its_end_is_playable(tmp_path):
    """Simulates a power cut by copying the file while the recorder runs."""
    with VideoRecorder(tmp_path / "o.mp4", 30.0) as sink:
        for i in range(150):
            sink.write(analysis(i, i / 30).frame.image, analysis(i, i / 30))
        (tmp_path / "cut.mp4").write_bytes((tmp_path / "o.mp4").read_bytes())
    frames, _ = decoded(tmp_path / "cut.mp4")
    assert frames[-1][0] >= 150 / 30 - 2.0


@pytest.mark.parametrize("sound", ["aac", "ac3"])
def test_source_sound_is_copied_packet_by_packet(tmp_path, make_clip, sound):
    clip = make_clip(tmp_path / "clip.mp4", frames=30, sound=sound)
    with VideoRecorder(tmp_path / "o.mp4", 29.97, sound_from=clip) as sink:
        for i in range(30):
            sink.write(analysis(i, i * 1001 / 30000).frame.image, analysis(i, i * 1001 / 30000))
    assert packets(tmp_path / "o.mp4") == packets(clip)


def test_sound_unsupported_by_mp4_is_encoded(tmp_path, make_clip):
    clip = make_clip(tmp_path / "clip.mkv", frames=30, sound="pcm_s16le")
    with VideoRecorder(tmp_path / "o.mp4", 29.97, sound_from=clip) as sink:
        for i in range(30):
            sink.write(analysis(i, i / 30).frame.image, analysis(i, i / 30))
    with av.open(str(tmp_path / "o.mp4")) as container:
        samples = np.concatenate([f.to_ndarray().ravel() for f in container.decode(audio=0)])
        assert container.streams.audio[0].codec_context.name == "aac"
    assert len(samples) / 44100 == pytest.approx(1.0, abs=0.1)
    assert np.abs(np.fft.rfft(samples[4410:26460])).argmax() / 0.5 == pytest.approx(440, abs=4)  # it is still the original tone


def test_sound_ends_with_the_video_of_an_interrupted_run(tmp_path, make_clip):
    clip = make_clip(tmp_path / "clip.mp4", frames=120)
    with VideoRecorder(tmp_path / "o.mp4", 29.97, sound_from=clip) as sink:
        for i in range(30):
            sink.write(analysis(i, i / 30).frame.image, analysis(i, i / 30))
    assert max(p[0] for p in packets(tmp_path / "o.mp4")) <= 1.1


def packets(path):
    with av.open(str(path)) as container:
        track = container.streams.audio[0]
        return [(round(float(p.pts * p.time_base), 4), bytes(p)) for p in container.demux(track) if p.dts is not None]


# ------------------------------------------------------------------------------------------------ logs and images


def test_jsonl_has_one_object_per_frame(tmp_path):
    with Log(tmp_path / "o.jsonl", EMOTIONS) as sink:
        sink.write(None, analysis(0, 0.0, faces=()))
        sink.write(None, analysis(12, 0.4))
        assert len((tmp_path / "o.jsonl").read_text().splitlines()) == 2  # flushed line by line
    empty, full = map(json.loads, (tmp_path / "o.jsonl").read_text().splitlines())
    assert empty == {"frame": 0, "time_s": 0.0, "faces": []}
    assert full == {"frame": 12, "time_s": 0.4, "faces": [{
        "track_id": 3, "box": [10, 12, 40, 42], "label": "happy", "confidence": 0.6,
        "probs": {"angry": 0.1, "disgust": 0.0, "fear": 0.0, "happy": 0.6, "neutral": 0.2, "sad": 0.1, "surprise": 0.0},
    }]}


def test_csv_has_one_row_per_face_and_live_times_start_at_zero(tmp_path):
    with Log(tmp_path / "o.csv", EMOTIONS, live=True) as sink:
        sink.write(None, analysis(0, 1000.0, faces=()))
        sink.write(None, analysis(3, 1000.25, faces=(FACE, FACE)))
    text = (tmp_path / "o.csv").read_text()
    assert text.splitlines()[0] == ("frame,time_s,track_id,x1,y1,x2,y2,label,confidence,"
                                    "angry,disgust,fear,happy,neutral,sad,surprise,size,sharpness,darkness,yaw,score,unsure_because")
    rows = list(csv.DictReader(text.splitlines()))
    assert len(rows) == 2 and rows[0]["time_s"] == "0.25" and rows[0]["label"] == "happy" and rows[0]["happy"] == "0.6"


def test_images_keep_their_names_and_overwrite_nothing(tmp_path):
    for _ in range(2):
        with ImageWriter(tmp_path / "out", is_folder=True) as sink:
            sink.write(np.zeros((20, 20, 3), np.uint8), analysis(0, 0.0, name="a.png"))
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a-2.png", "a.png"]
    assert unused(tmp_path / "out" / "a.png").name == "a-3.png"
    assert cv2.imread(str(tmp_path / "out" / "a.png")).shape == (20, 20, 3)
