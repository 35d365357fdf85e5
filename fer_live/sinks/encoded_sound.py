"""Re-encodes sound as AAC if MP4 cannot store the original codec."""

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

USUAL_RATE = 48_000  # samples per second; used if the rate is unknown or too high for AAC
LOWEST_RATE = 32_000  # samples per second
GAP_S = 0.1  # seconds; smaller gaps between audio frames are rounding errors of timestamps
BEHIND_S = 0.5  # seconds; upper bound of decoder delay


class EncodedSound:
    """Decodes packets and writes them as AAC from the first image to the last, filling gaps with silence."""

    def __init__(self, track: SoundTrack, output: av.container.OutputContainer):
        source = track.track.codec_context
        self.track, self.output, self.context = track, output, source
        self.rate = encoder_rate(source.sample_rate or USUAL_RATE)  # unknown if the sound starts late
        self.layout = "mono" if source.layout.nb_channels == 1 else "stereo"  # raw sound often has no named layout
        self.stream = output.add_stream("aac", rate=self.rate, layout=self.layout)
        self.resampler: av.AudioResampler | None = None
        self.kind: tuple[str, str, int] | None = None
        self.waiting = np.zeros((1 if self.layout == "mono" else 2, 0), np.float32)  # (C, n) samples not yet written
        self.written = 0  # samples per channel since the first image
        self.shift_s: float | Fraction = 0  # offset from source to recording time
        self.is_damaged = False
        self.follows = False  # whether the next samples directly follow the previous ones

    def take(self, packet: av.Packet, heard_s: float | Fraction, is_jump: bool) -> None:
        self.follows &= not is_jump
        if packet.pts is not None:
            self.shift_s = heard_s - packet.pts * packet.time_base
        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            if not self.is_damaged:
                logger.warning(f"the sound of {self.track.path} is damaged at {float(heard_s):.1f} s ({error.strerror}); "
                               "replaced with silence")
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
        """Convert to (C, n) float32 at the encoder's sample rate."""
        kind = frame.format.name, frame.layout.name, frame.sample_rate
        if self.resampler is None or kind != self.kind:  # broadcasts can change format midway
            self.resampler, self.kind = av.AudioResampler("fltp", self.layout, self.rate), kind
        frame.pts = None  # timestamps are counted here
        blocks = [made.to_ndarray() for made in self.resampler.resample(frame)]
        return np.concatenate([self.waiting[:, :0], *blocks], axis=1)

    def write_until(self, time_s: float) -> None:
        """Write samples up to `time_s`; samples more than `BEHIND_S` overdue become silence."""
        until = round(time_s * self.rate)
        self._silence(until - round(BEHIND_S * self.rate) - self.written - self.waiting.shape[1])
        self._write(until)

    def finish(self, end_s: float) -> None:
        """Write the remaining samples up to `end_s`."""
        with contextlib.suppress(av.FFmpegError):
            for frame in self.context.decode(None):
                self._add(frame)
        end = round(end_s * self.rate)
        self._silence(end - self.written - self.waiting.shape[1])
        self._write(end)
        self._encode(self.waiting[:, : max(0, end - self.written)])
        self._mux(None)

    def _silence(self, samples: int) -> None:
        """Append this many samples of silence, writing long stretches in blocks."""
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
    """Return an AAC sample rate of at least `rate`, preferably a multiple of it.

    Rates below LOWEST_RATE are avoided: there, the encoder's delay of 1024 samples lasts up to an eighth of a second.
    """
    rates = sorted(known for known in av.codec.Codec("aac", "w").audio_rates or () if known >= max(rate, LOWEST_RATE))
    return next((known for known in rates if known % rate == 0), rates[0] if rates else USUAL_RATE)
