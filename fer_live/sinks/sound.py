"""The sound beside recorded pictures: a video file's own, copied or encoded again, or what a microphone hears."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2  # noqa: F401, before av; see sinks/recorder.py

# isort: split
import av
import numpy as np

from fer_live.sinks.sound_track import PICTURES_S, PREROLL_S, NoSound, SoundTrack, bitstream_filter
from fer_live.types import MOST_PIXELS

RATE = 48_000  # samples a second of what a microphone hears
PATIENCE_S = 1.0  # how long pictures wait for its sound; then there is silence
LOWEST_RATE = 32_000
LATE_S = 0.1  # sound that begins later beside its pictures gets silence before it, and so is encoded
GAP_S = 0.1  # between a frame's time and the end of the one before it: up to here it is how files round
BEHIND_S = 0.5  # decoders hold back less


def sound_beside(path: Path, output: av.container.OutputContainer, segments: Sequence[Any] | None = None) -> SoundCopy | None:
    """What brings the sound of the file at `path` into an open MP4; None, with a line that says why, where that cannot be.

    segments: of the pictures' time line; see SoundTrack.
    """
    try:
        track = SoundTrack(path, segments, MOST_PIXELS)
    except (NoSound, av.FFmpegError, OSError) as error:
        _say_without(path, error)
        return None
    try:
        copy = SoundCopy(track, output)
    except (NoSound, av.FFmpegError, OSError, ValueError) as error:
        track.close()
        _say_without(path, error)
        return None
    if track.note:
        print(f"the recording {track.note} of {path}", file=sys.stderr)
    return copy


def _say_without(path: Path, error: Exception) -> None:
    reason = (getattr(error, "strerror", "") or str(error)).splitlines()[0]
    print(f"the recording has no sound: that of {path} cannot be used ({reason})", file=sys.stderr)


class SoundCopy:
    """Brings a file's sound into an open MP4: copied packet by packet where MP4 takes them and they begin with the pictures,
    else encoded as AAC. It begins and ends with the pictures. Where it fails it ends, with a line; the pictures go on."""

    def __init__(self, track: SoundTrack, output: av.container.OutputContainer):
        self.track, self.packets = track, iter(track)
        self.ahead: tuple[av.Packet, float | Fraction | None] | None = None  # a packet, and when it is heard if that is known
        self.since_s = 0.0  # since when it waits for pictures
        self.segment = -1  # of the packet that was taken last
        self.is_over = False
        first_s = self._peek(0.0)
        if self.ahead is None:
            raise NoSound("the track is empty")
        is_prompt = first_s is not None and first_s <= LATE_S
        self.writer = (CopiedSound if is_prompt and track.can_be_copied() else EncodedSound)(track, output)

    def _peek(self, now_s: float) -> float | Fraction | None:
        """When the next packet is heard; None if there is none, or that is not known yet."""
        while True:
            if self.ahead is None:
                packet = next(self.packets, None)
                if packet is None:
                    return None
                self.ahead, self.since_s = (packet, None), now_s
            packet, heard_s = self.ahead
            if heard_s is None:
                heard_s = self.track.places.find(packet, now_s)
                self.ahead = packet, heard_s
            is_useless = now_s - self.since_s > PICTURES_S if heard_s is None else self._is_useless(packet, heard_s)
            if not is_useless:
                return heard_s
            self.ahead = None

    def _is_useless(self, packet: av.Packet, heard_s: float | Fraction) -> bool:
        end_s = heard_s + (packet.duration or 0) * packet.time_base
        return end_s < -PREROLL_S or self.track.places.is_past(heard_s)

    def copy_until(self, time_s: float) -> None:
        """Write the sound up to `time_s`."""
        with self._ending_with_errors():
            while not self.is_over and (heard_s := self._peek(time_s)) is not None and heard_s < time_s:
                packet, _ = self.ahead
                self.ahead = None
                is_jump, self.segment = self.track.places.index != self.segment, self.track.places.index
                self.writer.take(packet, heard_s, is_jump)
            if not self.is_over:
                self.writer.write_until(time_s)

    def copy_rest(self, last_s: float) -> None:
        """Write the rest up to `last_s`, at which the pictures end."""
        self.copy_until(last_s)
        with self._ending_with_errors():
            if not self.is_over:
                self.writer.finish(last_s)

    @contextlib.contextmanager
    def _ending_with_errors(self) -> Iterator[None]:
        """Sound that fails must not end the recording."""
        try:
            yield
        except (av.FFmpegError, OSError, ValueError) as error:
            self.is_over = True
            print(f"the recording goes on without sound: that of {self.track.path} is damaged ({error})", file=sys.stderr)

    def close(self) -> None:
        self.track.close()


class CopiedSound:
    """Writes packets as they are, at the times at which they are to be heard."""

    def __init__(self, track: SoundTrack, output: av.container.OutputContainer):
        self.output = output
        self.stream = output.add_stream_from_template(track.track)
        self.filter = bitstream_filter(track, track.track)
        self.last = -(1 << 62)

    def take(self, packet: av.Packet, heard_s: float | Fraction, is_jump: bool) -> None:
        for made in self.filter.filter(packet) if self.filter else [packet]:
            pts = round(heard_s / made.time_base)
            if pts > self.last:  # two packets at one time would be refused
                made.pts = made.dts = self.last = pts
                made.stream = self.stream
                self.output.mux(made)

    def write_until(self, time_s: float) -> None:
        """Nothing waits."""

    def finish(self, end_s: float) -> None:
        """Nothing waits."""


class EncodedSound:
    """Decodes packets and writes them as AAC, without gaps: silence from the first picture to the last where there is no sound."""

    def __init__(self, track: SoundTrack, output: av.container.OutputContainer):
        source = track.track.codec_context
        self.track, self.output, self.context = track, output, source
        self.rate = encoder_rate(source.sample_rate or RATE)  # of sound that begins late nothing may be known yet
        self.layout = "mono" if source.layout.nb_channels == 1 else "stereo"  # raw sound often names no layout
        self.stream = output.add_stream("aac", rate=self.rate, layout=self.layout)
        self.resampler, self.kind = None, None
        self.waiting = np.zeros((1 if self.layout == "mono" else 2, 0), np.float32)  # (C, n) samples to be written
        self.written = 0  # samples a channel, since the first picture
        self.shift_s: float | Fraction = 0  # from the file's times to the recording's
        self.is_damaged = False
        self.follows = False  # whether the next samples follow those before them, up to how files round

    def take(self, packet: av.Packet, heard_s: float | Fraction, is_jump: bool) -> None:
        self.follows &= not is_jump
        self.shift_s = heard_s - (packet.pts or 0) * packet.time_base
        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            if not self.is_damaged:
                print(f"the sound of {self.track.path} is damaged at {float(heard_s):.1f} s ({error.strerror}): silence there",
                      file=sys.stderr)
            self.is_damaged = True
            return
        for frame in frames:
            self._add(frame)

    def _add(self, frame: av.AudioFrame) -> None:
        at_s = None if frame.pts is None else frame.pts * frame.time_base + self.shift_s
        block = self._resampled(frame)
        end = self.written + self.waiting.shape[1]
        gap = 0 if at_s is None else round(at_s * self.rate) - end
        if self.follows and abs(gap) < GAP_S * self.rate:
            gap = 0
        block = block[:, max(0, -gap) :]
        self._silence(gap)
        self.waiting = np.concatenate([self.waiting, block], axis=1)
        self.follows |= block.shape[1] > 0

    def _resampled(self, frame: av.AudioFrame) -> np.ndarray:
        """(C, n) float32 at the encoder's rate."""
        kind = frame.format.name, frame.layout.name, frame.sample_rate
        if kind != self.kind:  # the sound of a broadcast may change on the way
            self.resampler, self.kind = av.AudioResampler("fltp", self.layout, self.rate), kind
        frame.pts = None  # counted here
        blocks = [made.to_ndarray() for made in self.resampler.resample(frame)]
        return np.concatenate([self.waiting[:, :0], *blocks], axis=1)

    def write_until(self, time_s: float) -> None:
        """Write what is there up to `time_s`, and silence for what has not come `BEHIND_S` later."""
        until = round(time_s * self.rate)
        self._silence(until - round(BEHIND_S * self.rate) - self.written - self.waiting.shape[1])
        self._write(until)

    def finish(self, end_s: float) -> None:
        """Write the rest, up to `end_s`."""
        with contextlib.suppress(av.FFmpegError):
            for frame in self.context.decode(None):
                self._add(frame)
        end = round(end_s * self.rate)
        self._silence(end - self.written - self.waiting.shape[1])
        self._write(end)
        self._encode(self.waiting[:, : max(0, end - self.written)])
        self._mux(None)

    def _silence(self, samples: int) -> None:
        """Append silence; a long one is written at once."""
        while samples > 0:
            some = min(samples, self.rate)
            self.waiting = np.concatenate([self.waiting, np.zeros((len(self.waiting), some), np.float32)], axis=1)
            samples -= some
            if samples:
                self._write(self.written + self.waiting.shape[1])

    def _write(self, until: int) -> None:
        size = self.stream.codec_context.frame_size or 1024
        while min(self.waiting.shape[1], until - self.written) >= size:
            block, self.waiting = self.waiting[:, :size], self.waiting[:, size:]
            self._encode(block)

    def _encode(self, block: np.ndarray) -> None:
        if block.shape[1]:
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format="fltp", layout=self.layout)
            frame.sample_rate, frame.pts, frame.time_base = self.rate, self.written, Fraction(1, self.rate)
            self.written += block.shape[1]
            self._mux(frame)

    def _mux(self, frame: av.AudioFrame | None) -> None:
        for packet in self.stream.encode(frame):
            self.output.mux(packet)


def encoder_rate(rate: int) -> int:
    """A rate that AAC has and that keeps all of `rate` samples a second, a multiple of it if there is one.

    Low ones are not used: the encoder's delay of 1024 samples would last up to an eighth of a second.
    """
    rates = sorted(known for known in av.codec.Codec("aac", "w").audio_rates if known >= max(rate, LOWEST_RATE))
    return next((known for known in rates if known % rate == 0), rates[0] if rates else RATE)


class MicrophoneTrack:
    """Encodes what a Microphone hears as AAC into an open MP4 that begins at `start_s` of time.monotonic()."""

    def __init__(self, microphone: Any, output: av.container.OutputContainer, start_s: float):
        self.microphone, self.output = microphone, output
        self.first = self.next = microphone.number(start_s)
        self.stream = output.add_stream("aac", rate=RATE, layout=microphone.layout)
        self.stream.bit_rate = 128_000

    def copy_until(self, time_s: float) -> None:
        """Write what has been heard up to `time_s`; silence for what should have been heard a second ago and was not."""
        wanted = self.microphone.number(time_s)
        known = self.microphone.until(wanted, timeout_s=0.0)
        stop = min(wanted, max(known, wanted - round(PATIENCE_S * RATE)))
        size = self.stream.codec_context.frame_size or 1024
        while stop - self.next >= size:
            self._encode(size)

    def copy_rest(self, last_s: float) -> None:
        """Write everything up to `last_s`, waiting a moment for what is still on its way."""
        wanted = self.microphone.number(last_s)
        self.microphone.until(wanted, timeout_s=0.3)
        size = self.stream.codec_context.frame_size or 1024
        while self.next < wanted:
            self._encode(min(size, wanted - self.next))
        self._mux(None)

    def _encode(self, samples: int) -> None:
        block = self.microphone.read(self.next, self.next + samples)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format="fltp", layout=self.microphone.layout)
        frame.sample_rate, frame.pts, frame.time_base = RATE, self.next - self.first, Fraction(1, RATE)
        self.next += samples
        self._mux(frame)

    def _mux(self, frame: av.AudioFrame | None) -> None:
        for packet in self.stream.encode(frame):
            self.output.mux(packet)

    def close(self) -> None:
        """The microphone goes on listening."""
