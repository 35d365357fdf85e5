"""The microphone: in sync despite clock drift, silence after a loss, and one-line errors."""

import time
import wave
from types import SimpleNamespace

import cv2  # noqa: F401, before av; see fer_live/sources/video_file.py

# isort: split
import av
import numpy as np
import pytest

from fer_live.__main__ import main
from fer_live.sinks.microphone import RATE, ArrivalClock, Microphone
from fer_live.sinks.recorder import VideoRecorder
from fer_live.sinks.segments import SegmentedRecorder
from fer_live.types import MOST_PIXELS, Analysis, Frame, SourceError


def beeps(path, seconds: float, rate: int = 44_100, channels: int = 1):
    """A sound file with 100 ms of 1 kHz at the start of each second."""
    t = np.arange(int(seconds * rate)) / rate
    samples = (np.sin(2 * np.pi * 1000 * t) * (t % 1 < 0.1) * 20_000).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, 2, rate, 0, "NONE", ""))
        file.writeframes(np.repeat(samples, channels).tobytes())
    return path


def onsets_s(samples: np.ndarray, rate: int = RATE) -> np.ndarray:
    """Start times of the beeps in seconds, in (n,) samples."""
    loud = np.convolve(np.abs(samples), np.ones(rate // 500), "same") > 0.1 * rate // 500
    starts = np.flatnonzero(loud[1:] & ~loud[:-1]) / rate
    return starts[np.diff(starts, prepend=-1.0) > 0.5]


def heard(path) -> tuple[np.ndarray, float, float]:
    """The sound track's first channel aligned to time, its end, and the end of the video, in seconds."""
    with av.open(str(path)) as container:
        assert container.streams.audio[0].codec_context.name == "aac"
        frames = [(frame.time, frame.to_ndarray()[0]) for frame in container.decode(audio=0)]
        video = container.streams.video[0]
        images_s = float(video.duration * video.time_base)
    samples = np.zeros(round((frames[-1][0] + 1) * RATE), np.float32)
    for time_s, block in frames:
        at = max(0, round(time_s * RATE))
        samples[at : at + len(block)] = block
    return samples, frames[-1][0] + len(frames[-1][1]) / RATE, images_s


def record(recorder, seconds: float, fps: float = 15.0) -> float:
    """Write gray images for this long; returns the time of the first."""
    image, started = np.full((64, 64, 3), 90, np.uint8), time.monotonic()
    with recorder:
        for i in range(round(seconds * fps)):
            recorder.write(image, Analysis(Frame(image, i, time.monotonic()), ()))
            time.sleep(max(0.0, started + (i + 1) / fps - time.monotonic()))
    return started


@pytest.mark.parametrize("channels", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_sound_is_in_sync_with_the_video(tmp_path, channels):
    with Microphone(str(beeps(tmp_path / "b.wav", 9, channels=channels))) as microphone:
        entered = time.monotonic()
        time.sleep(0.6)
        started = record(VideoRecorder(tmp_path / "o.mp4", 30.0, live=True, microphone=microphone), 3.2)
    samples, sound_s, images_s = heard(tmp_path / "o.mp4")
    assert sound_s == pytest.approx(images_s, abs=0.05)
    late = (onsets_s(samples) + started - entered + 0.5) % 1 - 0.5  # beeps come at whole seconds after the first
    assert len(late) == 3 and np.abs(late).max() < 0.08


def test_sound_continues_across_segments(tmp_path):
    opened = []

    def open_recorder(path):
        opened.append(VideoRecorder(tmp_path / f"{len(opened)}.mp4", 30.0, live=True, microphone=microphone))
        return opened[-1]

    with Microphone(str(beeps(tmp_path / "b.wav", 9))) as microphone:
        time.sleep(0.6)
        record(SegmentedRecorder(tmp_path / "o.mp4", open_recorder, 1.3), 3.5)
    whole, begin = [], 0.0
    for recorder in opened:
        samples, _, images_s = heard(recorder.path)
        whole += [samples[: round(images_s * RATE)]]
        begin += images_s
    whole = np.concatenate(whole)
    assert len(opened) == 3 and begin == pytest.approx(3.5, abs=0.2)
    assert np.diff(onsets_s(whole)) == pytest.approx([1.0] * (len(onsets_s(whole)) - 1), abs=0.01)


def test_lost_microphone_becomes_silence_and_is_reported(tmp_path):
    output = []
    with Microphone(str(beeps(tmp_path / "b.wav", 1.5))) as microphone:
        microphone.lost = output.append
        record(VideoRecorder(tmp_path / "o.mp4", 30.0, live=True, microphone=microphone), 2.5)
    samples, sound_s, images_s = heard(tmp_path / "o.mp4")
    assert len(output) == 1 and "it ended" in output[0] and "silence" in output[0]
    assert sound_s == pytest.approx(images_s, abs=0.05) and images_s > 2.4
    assert np.abs(samples[RATE : round(1.2 * RATE)]).max() > 0.1 and np.abs(samples[round(1.8 * RATE) :]).max() < 0.01


def test_ffmpeg_inputs_can_replace_a_microphone(tmp_path):
    """An endless device that is not a file: FFmpeg's signal generator."""
    with Microphone("sine=frequency=440:sample_rate=16000,arealtime", "lavfi") as microphone:
        record(VideoRecorder(tmp_path / "o.mp4", 30.0, live=True, microphone=microphone), 1.5)
    samples, sound_s, images_s = heard(tmp_path / "o.mp4")
    assert sound_s == pytest.approx(images_s, abs=0.05)
    middle = samples[RATE // 2 : RATE]
    assert np.abs(np.fft.rfft(middle)).argmax() * 2 == pytest.approx(440, abs=4)


@pytest.mark.parametrize("off", [-0.001, 0.001])
def test_clock_drift_is_bounded(monkeypatch, off):
    """Two minutes on a fake clock: a microphone 0.1% fast or slow, whose sound arrives up to 80 ms late."""
    chance, seconds, size = np.random.default_rng(0), 120, 2048
    t = np.arange((seconds + 1) * RATE) / (RATE * (1 + off))  # actual rate when its clock counts RATE samples per second
    sound = (0.5 * np.sin(2 * np.pi * 1000 * t) * (t % 1 < 0.1)).astype(np.float32)
    clock = SimpleNamespace(now=100.0)

    def decode(audio):
        for i in range(int(seconds * RATE / size)):
            clock.now = 100.0 + t[(i + 1) * size] + chance.uniform(0, 0.08) * (chance.random() < 0.5)
            frame = av.AudioFrame.from_ndarray(sound[None, i * size : (i + 1) * size], format="fltp", layout="mono")
            frame.sample_rate = RATE
            yield frame

    microphone = Microphone("fake", "fake")
    microphone.container, microphone.rate, microphone.start_s = SimpleNamespace(decode=decode), RATE, 90.0
    monkeypatch.setattr("fer_live.sinks.microphone.time", SimpleNamespace(monotonic=lambda: clock.now))
    chunks = list(microphone._on_time())
    numbers = [number for number, _ in chunks]
    assert all(abs(a + block.shape[1] - b) <= 1 for (a, block), b in zip(chunks, numbers[1:], strict=False)), "without gaps"
    whole = np.concatenate([block[0] for _, block in chunks])
    found = onsets_s(whole) + numbers[0] / RATE - 10.0
    errors = found - np.round(found)
    assert len(found) == pytest.approx(seconds, abs=2) and found[0] < 1.1 and np.abs(errors).max() < 0.04
    assert abs(np.median(errors[-30:])) < 0.03  # uncorrected it would be 0.12


def test_arrival_clock_uses_the_earliest_arrival_and_follows_gaps():
    clock = ArrivalClock(1000)
    assert [clock.began_s(100, 0.1 * i + late) for i, late in [(1, 0.05), (2, 0.0), (3, 0.07)]] == pytest.approx([0.05, 0.1, 0.2])
    for i in range(4, 60):  # from here on the device has lost 300 samples
        began = clock.began_s(100, 0.1 * i + 0.3)
    assert began == pytest.approx(0.1 * 58 + 0.3)


def test_missing_microphone_is_a_one_line_error(tmp_path, capfd):
    (tmp_path / "text.wav").write_text("this is not sound")
    for device in ("no-such-microphone", str(tmp_path / "text.wav")):
        assert main(["--source", "demo", "--no-window", "--audio", device, "--output", str(tmp_path / "o.mp4")]) == 2
        output = capfd.readouterr().err.strip().splitlines()
        assert len(output) == 1 and f"no microphone {device}" in output[0] and "--audio" in output[0], output
    with pytest.raises(SourceError, match="no microphone"), Microphone("nothing", "lavfi"):
        pass


def test_rejects_live_recording_options_for_files(tmp_path, make_clip, capsys):
    clip = make_clip(tmp_path / "clip.mp4", frames=3)
    for option in (["--audio"], ["--segment-minutes", "5"], ["--keep-gb", "1"], ["--keep-days", "1"]):
        assert main(["--source", str(clip), "--no-window", "--output", str(tmp_path / "o.mp4"), *option]) == 2
        assert option[0] in capsys.readouterr().err.splitlines()[-1]


def test_sound_file_is_opened_by_path_with_the_pixel_limit(tmp_path, monkeypatch):
    """A video can replace a microphone; probing its images must not use too much memory."""
    opened, real = [], av.open
    monkeypatch.setattr(av, "open", lambda *given, **options: opened.append((given, options)) or real(*given, **options))
    monkeypatch.chdir(tmp_path)
    beeps(tmp_path / "b.wav", 1).rename("concat:b.wav")
    with Microphone("concat:b.wav") as microphone:
        assert microphone.rate == 44_100
    assert int(opened[0][1]["options"]["max_pixels"]) == MOST_PIXELS


def test_microphone_names_are_not_restricted(tmp_path):
    with pytest.raises(SourceError, match="no microphone"), Microphone("a" * 300):
        pass
