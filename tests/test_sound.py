"""The sound of recorded videos: kept if possible, in sync, and without affecting the video."""

import contextlib
import itertools
from fractions import Fraction

import cv2  # noqa: F401, before av; see fer_live/sources/video_file.py

# isort: split
import av
import numpy as np
import pytest

from fer_live.sinks.encoded_sound import encoder_rate
from fer_live.sinks.recorder import VideoRecorder
from fer_live.sinks.sound_track import Places
from fer_live.sources.video_file import VideoFile
from fer_live.types import Analysis, Segment
from tests.test_timeline import shifted

RATE = 48_000
BEEP_S, BEEP_EVERY_S = 0.2, 0.5  # the image is white while it beeps


def scene(time_s: float) -> np.ndarray:
    return np.full((48, 64, 3), 255 if time_s % BEEP_EVERY_S < BEEP_S - 0.01 else 0, np.uint8)


def beeps(start_s: float, end_s: float, rate: int, channels: int) -> np.ndarray:
    """(C, n) float32."""
    times = np.arange(round(start_s * rate), round(end_s * rate)) / rate
    tone = np.where(times % BEEP_EVERY_S < BEEP_S, 0.5 * np.sin(times * 2 * np.pi * 880), 0.0)
    return np.ascontiguousarray(np.tile(tone.astype(np.float32), (channels, 1)))


def clip_video(path, video="libx264", sound="aac", rate=RATE, layout="mono", images=(0.0, 2.0), heard=(0.0, 2.0), tracks=1):
    """A video at 25 fps that flashes and beeps; images and heard: start and end of video and sound."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(video, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p" if video == "mjpeg" else "yuv420p"
        audio = [container.add_stream(sound, rate=rate, layout=layout, bit_rate=128_000, options={"strict": "-2"})
                 for _ in range(tracks)]
        channels = audio[0].codec_context.layout.nb_channels
        resampler = av.AudioResampler(audio[0].codec_context.format, layout, rate)
        step = audio[0].codec_context.frame_size or 1024
        made = []
        for i in range(round(images[0] * 25), round(images[1] * 25)):
            frame = av.VideoFrame.from_ndarray(scene(i / 25), format="bgr24")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            made.append((i / 25, stream, frame))
        samples = beeps(*heard, rate, channels)
        for start in range(0, samples.shape[1], step):
            block = np.ascontiguousarray(samples[:, start : start + step])
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
            frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
            frame.pts = round(heard[0] * rate) + start
            made += [(frame.pts / rate, track, out) for track in audio for out in resampler.resample(frame)]
        for _, track, frame in sorted(made, key=lambda entry: entry[0]):
            for packet in track.encode(frame):
                container.mux(packet)
        for track in (stream, *audio):
            for packet in track.encode(None):
                container.mux(packet)
    return path


def recorded(path, out, max_s=float("inf")):
    """The video, re-recorded by a VideoRecorder with its sound."""
    with VideoFile(path) as source, VideoRecorder(
            out, source.fps, source.time_base, sound_from=path, segments=source.timeline.segments) as recorder:
        for frame in source:
            if frame.time_s >= max_s:
                break
            recorder.write(frame.image, Analysis(frame, ()))
    return out


class Heard:
    """Contents of a recording: spans of video and sound in seconds, sound codec, times of flashes and beeps."""

    def __init__(self, path):
        with av.open(str(path)) as container:
            frames = [(frame.time, frame.to_ndarray(format="gray").mean() > 127) for frame in container.decode(video=0)]
        self.images = frames[0][0], frames[-1][0] + 0.04
        self.count = len(frames)
        self.flashes = [time_s for (_, was), (time_s, now) in itertools.pairwise(frames) if now and not was]
        self.codec, self.sound, self.beeps = None, None, []
        with av.open(str(path)) as container:
            if container.streams.audio:
                self._listen(container)

    def _listen(self, container):
        track = container.streams.audio[0]
        self.codec, self.rate = track.codec_context.codec.canonical_name, track.codec_context.sample_rate
        resampler, loud = av.AudioResampler("flt", "mono", 8000), np.zeros(8000 * 30, bool)
        packets = []
        for packet in container.demux(track):
            if packet.size:
                packets.append((float(packet.pts * packet.time_base), float((packet.pts + packet.duration) * packet.time_base)))
            with contextlib.suppress(av.FFmpegError):
                for frame in packet.decode():
                    at = round(frame.time * 8000)
                    for block in resampler.resample(frame):
                        samples = np.abs(block.to_ndarray().ravel())
                        keep = samples[max(0, -at) :]
                        loud[max(0, at) : max(0, at) + len(keep)] = keep > 0.1
                        at += len(samples)
        self.sound = packets[0][0], packets[-1][1]
        quiet = int(0.15 * 8000)
        self.beeps = [i / 8000 for i in np.flatnonzero(loud) if i > quiet and not loud[i - quiet : i].any()]

    def check(self, early_s=0.05, late_s=0.11):
        """Sound starts and ends with the video, and beeps coincide with flashes, within one packet."""
        assert -early_s <= self.sound[0] - self.images[0] <= late_s
        assert -0.03 <= self.sound[1] - self.images[1] <= late_s
        assert len(self.beeps) == len(self.flashes) > 0
        assert np.abs(np.array(self.beeps) - self.flashes).max() < 0.05


KINDS = [  # ending, images, sound, rate, layout -> sound in the recording
    ("ts", "libx264", "aac", 48000, "mono", "aac"), ("m2ts", "libx264", "aac", 44100, "stereo", "aac"),
    ("ts", "mpeg2video", "mp2", 48000, "stereo", "aac"), ("ts", "libx264", "ac3", 48000, "5.1", "ac3"),
    ("ts", "libx264", "libopus", 48000, "mono", "opus"), ("mpg", "mpeg2video", "mp2", 44100, "mono", "aac"),
    ("avi", "mpeg4", "libmp3lame", 44100, "mono", "mp3"), ("avi", "mpeg4", "pcm_s16le", 11025, "mono", "aac"),
    ("avi", "mjpeg", "pcm_u8", 8000, "mono", "aac"), ("avi", "mpeg4", "ac3", 48000, "stereo", "ac3"),
    ("mp4", "libx264", "libmp3lame", 48000, "mono", "mp3"), ("mkv", "libx264", "libmp3lame", 44100, "stereo", "mp3"),
    ("mkv", "libx264", "aac", 96000, "mono", "aac"), ("mkv", "libx264", "flac", 48000, "stereo", "flac"),
    ("mkv", "libx264", "pcm_s16le", 192000, "mono", "aac"), ("mkv", "libx264", "pcm_f32le", 37000, "5.1", "aac"),
    ("mov", "libx264", "pcm_s24le", 48000, "stereo", "aac"), ("mov", "libx264", "alac", 44100, "mono", "alac"),
    ("flv", "libx264", "aac", 44100, "mono", "aac"), ("flv", "flv", "libmp3lame", 22050, "mono", "mp3"),
    ("webm", "libvpx", "libopus", 48000, "mono", "opus"), ("webm", "libvpx", "vorbis", 44100, "stereo", "aac"),
    ("nut", "mpeg4", "pcm_mulaw", 8000, "mono", "aac"), ("wmv", "wmv2", "wmav2", 44100, "mono", "aac"),
]


@pytest.mark.parametrize("ending, video, sound, rate, layout, kept", KINDS, ids=[f"{k[0]}-{k[2]}-{k[3]}" for k in KINDS])
def test_sound_stays_in_sync_for_every_container(tmp_path, ending, video, sound, rate, layout, kept):
    path = clip_video(tmp_path / f"a.{ending}", video, sound, rate, layout)
    whole = Heard(recorded(path, tmp_path / "o.mp4"))
    assert whole.codec == kept and whole.count == 50
    whole.check()
    cut = Heard(recorded(path, tmp_path / "p.mp4", max_s=1.2))
    assert cut.codec == kept and cut.count in (29, 30)
    cut.check()


ENDINGS = [("mp4", "aac"), ("mkv", "aac"), ("mkv", "pcm_s16le"), ("ts", "aac"), ("ts", "mp2"), ("flv", "aac")]


@pytest.mark.parametrize("ending, sound", ENDINGS)
@pytest.mark.parametrize("images, heard", [((1.0, 2.8), (0.0, 2.8)), ((0.0, 1.8), (0.7, 1.8)), ((0.0, 1.8), (0.0, 2.8)),
                                             ((1.5, 2.8), (1.3, 3.8))])
def test_sound_starts_and_ends_with_the_video(tmp_path, ending, sound, images, heard):
    found = Heard(recorded(clip_video(tmp_path / f"a.{ending}", sound=sound, images=images, heard=heard), tmp_path / "o.mp4"))
    found.flashes = [flash for flash in found.flashes if flash >= heard[0] - images[0]]
    found.check()


def test_sound_that_ends_early_is_kept(tmp_path):
    found = Heard(recorded(clip_video(tmp_path / "a.mp4", images=(0.0, 3.0), heard=(0.0, 1.2)), tmp_path / "o.mp4"))
    assert found.count == 75 and found.sound[1] == pytest.approx(1.2, abs=0.06) and len(found.beeps) == 2


@pytest.mark.parametrize("sound, kept", [("aac", "aac"), ("ac3", "ac3"), ("mp2", "aac")])
@pytest.mark.parametrize("starts_s", [(0, 0), (0, 3600), (3600, 0)])
def test_concatenated_videos_keep_their_sound(tmp_path, sound, kept, starts_s):
    part = clip_video(tmp_path / "part.ts", sound=sound)
    whole = tmp_path / "whole.ts"
    whole.write_bytes(b"".join(shifted(part, tmp_path / "one.ts", start_s).read_bytes() for start_s in starts_s))
    found = Heard(recorded(whole, tmp_path / "o.mp4"))
    assert found.codec == kept and found.count == 100
    found.check()


class Stamped:
    """A fake sound packet of 0.02 s."""

    def __init__(self, time_s):
        self.pts, self.duration, self.time_base = round(time_s * 1000), 20, Fraction(1, 1000)


def test_damaged_frame_timestamp_does_not_end_the_sound():
    segments = [Segment(Fraction(1), Fraction(0))]
    places = Places(segments)
    for i in range(62):
        assert places.find(Stamped(1 + i / 50), i / 50) == Fraction(i, 50)
    segments.append(Segment(Fraction(9000), Fraction(124, 100)))  # one frame, then time continues as before
    assert places.find(Stamped(2.24), 1.25) == Fraction(124, 100) and places.is_past(Fraction(124, 100))
    assert places.find(Stamped(2.26), 1.25) is None, "it waits for frames with its time"
    segments.append(Segment(Fraction(228, 100), Fraction(128, 100)))
    assert places.find(Stamped(2.28), 1.28) == Fraction(128, 100) and not places.is_past(Fraction(128, 100))


def test_sound_of_the_second_part_starts_there(tmp_path):
    clip_video(tmp_path / "sound.ts", sound="mp2")
    with av.open(str(tmp_path / "sound.ts")) as source, av.open(str(tmp_path / "silent.ts"), "w") as copy:
        stream = copy.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                copy.mux(packet)
    (tmp_path / "whole.ts").write_bytes((tmp_path / "silent.ts").read_bytes() + (tmp_path / "sound.ts").read_bytes())
    found = Heard(recorded(tmp_path / "whole.ts", tmp_path / "o.mp4"))
    assert found.count == 100 and all(beep > 1.9 for beep in found.beeps) and len(found.beeps) >= 3


def test_default_sound_track_is_kept_and_reported(tmp_path, capsys):
    recorded(clip_video(tmp_path / "a.mkv", tracks=3), tmp_path / "o.mp4")
    assert "sound track 1 of 3" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------ unusable sound


def lines_said(capsys):
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("the recording")]


def test_undecodable_sound_does_not_end_a_recording(tmp_path, capsys):
    path = clip_video(tmp_path / "a.mkv", sound="aac")
    path.write_bytes(path.read_bytes().replace(b"A_AAC", b"A_XYZ"))
    found = Heard(recorded(path, tmp_path / "o.mp4"))
    assert found.codec is None and found.count == 50
    assert [("no sound" in line, "a.mkv" in line) for line in lines_said(capsys)] == [(True, True)]


@pytest.mark.parametrize("name, sound", [("a.ts", "aac"), ("a.mkv", "libopus"), ("a.avi", "libmp3lame"), ("a.mkv", "flac")])
def test_damaged_sound_does_not_end_a_recording(tmp_path, name, sound):
    path = clip_video(tmp_path / name, "mpeg4", sound)
    content, rng = bytearray(path.read_bytes()), np.random.default_rng(0)
    with av.open(str(path)) as container:
        places = [packet.pos for packet in container.demux(audio=0) if packet.size > 80 and packet.pos and packet.pos > 0][4::5]
    for at in places:
        content[at + 40 : at + 60] = rng.bytes(20)
    path.write_bytes(content)
    out = tmp_path / "o.mp4"
    with contextlib.suppress(Exception):  # this can damage the video too; the frames read so far are written
        recorded(path, out)
    assert Heard(out).count >= 40


def test_failing_sound_ends_and_the_video_continues(tmp_path, monkeypatch, capsys):
    path = clip_video(tmp_path / "a.mp4")
    with VideoFile(path) as source, VideoRecorder(tmp_path / "o.mp4", 25.0, source.time_base, sound_from=path) as recorder:
        for i, frame in enumerate(source):
            recorder.write(frame.image, Analysis(frame, ()))
            if i == 10:
                def refuse(packet, heard_s, is_jump):
                    raise av.error.InvalidDataError(1, "cannot be muxed")
                monkeypatch.setattr(recorder.sound.writer, "take", refuse)
    assert Heard(tmp_path / "o.mp4").count == 50
    assert [("continues without sound" in line, "a.mp4" in line) for line in lines_said(capsys)] == [(True, True)]


@pytest.mark.parametrize("sound, kept_s", [("aac", 2.0), ("mp2", 4.0)])
def test_sound_with_changing_rate_is_never_played_too_fast(tmp_path, sound, kept_s, capsys):
    parts = [clip_video(tmp_path / f"{rate}.ts", sound=sound, rate=rate) for rate in (48_000, 32_000)]
    (tmp_path / "a.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    found = Heard(recorded(tmp_path / "a.ts", tmp_path / "o.mp4"))
    assert found.count == 100 and found.sound[1] == pytest.approx(kept_s, abs=0.15)
    assert ["rate" in line for line in lines_said(capsys)] == ([True] if kept_s == 2.0 else [])


def test_encoder_rates():
    rates = {rate: encoder_rate(rate) for rate in (5_000, 8_000, 11_025, 37_000, 44_100, 48_000, 96_000, 192_000)}
    assert rates == {5_000: 32_000, 8_000: 32_000, 11_025: 44_100, 37_000: 44_100, 44_100: 44_100, 48_000: 48_000,
                     96_000: 96_000, 192_000: 48_000}
