"""Sound that is decoded and written as AAC, where MP4 does not take it as it is."""

from __future__ import annotations

import contextlib
import logging
from fractions import Fraction
from typing import cast

import cv2  # noqa: F401, before av; see sinks/recorder.py

# isort: split
import av
import numpy as np

from fer_live.sinks.sound_track import SoundTrack

logger = logging.getLogger("fer_live")

USUAL_RATE = 48_000  # samples a second, where nothing is said or AAC has no rate as high
LOWEST_RATE = 32_000
GAP_S = 0.1  # between a frame's time and the end of the one before it: up to here it is how files round
BEHIND_S = 0.5  # decoders hold back less


class EncodedSound:
    """Decodes packets and writes them as AAC from the first picture to the last, with silence where there is no sound."""

    def __init__(self, track: SoundTrack, output: av.container.OutputContainer):
        source = track.track.codec_context
        self.track, self.output, self.context = track, output, source
        self.rate = encoder_rate(source.sample_rate or USUAL_RATE)  # of sound that begins late nothing may be known yet
        self.layout = "mono" if source.layout.nb_channels == 1 else "stereo"  # raw sound often names no layout
        self.stream = output.add_stream("aac", rate=self.rate, layout=self.layout)
        self.resampler: av.AudioResampler | None = None
        self.kind: tuple[str, str, int] | None = None
        self.waiting = np.zeros((1 if self.layout == "mono" else 2, 0), np.float32)  # (C, n) samples to be written
        self.written = 0  # samples a channel, since the first picture
        self.shift_s: float | Fraction = 0  # from the file's times to the recording's
        self.is_damaged = False
        self.follows = False  # whether the next samples follow those before them, up to how files round

    def take(self, packet: av.Packet, heard_s: float | Fraction, is_jump: bool) -> None:
        self.follows &= not is_jump
        if packet.pts is not None:
            self.shift_s = heard_s - packet.pts * packet.time_base
        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            if not self.is_damaged:
                logger.warning(f"the sound of {self.track.path} is damaged at {float(heard_s):.1f} s ({error.strerror}): "
                               "silence there")
            self.is_damaged = True
            return
        for frame in cast(list[av.AudioFrame], frames):
            self._add(frame)

    def _add(self, frame: av.AudioFrame) -> None:
        at_s = None if frame.pts is None or frame.time_base is None else frame.pts * frame.time_base + self.shift_s
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
        if self.resampler is None or kind != self.kind:  # the sound of a broadcast may change on the way
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
    rates = sorted(known for known in av.codec.Codec("aac", "w").audio_rates or () if known >= max(rate, LOWEST_RATE))
    return next((known for known in rates if known % rate == 0), rates[0] if rates else USUAL_RATE)
