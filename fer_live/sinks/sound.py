"""Sound tracks of recordings: the source video's sound, copied or re-encoded, or a microphone."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import cv2  # noqa: F401, before av; see sinks/recorder.py

# isort: split
import av
import numpy as np

from fer_live.protocols import Microphone
from fer_live.sinks.encoded_sound import EncodedSound
from fer_live.sinks.sound_track import FRAMES_S, PREROLL_S, NoSound, SoundTrack, bitstream_filter
from fer_live.types import MOST_PIXELS, Segment

logger = logging.getLogger("fer_live")

PATIENCE_S = 1.0  # seconds to wait for microphone samples before writing silence
RATE = 48_000  # samples per second of microphone recordings
LATE_S = 0.1  # seconds; sound that starts later needs silence before it, so it is re-encoded


def sound_beside(path: Path, output: av.container.OutputContainer, segments: Sequence[Segment] | None = None,
                 shown: int | None = None) -> SoundCopy | None:
    """Prepare copying the sound of the file `path` into an open MP4. None, after a log line, if it cannot be used.

    segments, shown: timeline and track index of the video; see SoundTrack.
    """
    try:
        track = SoundTrack(path, segments, MOST_PIXELS, shown)
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
        logger.info(f"the recording {track.note} of {path}")
    return copy


def _say_without(path: Path, error: Exception) -> None:
    logger.warning(f"the recording has no sound: the sound of {path} cannot be used ({_reason(error)})")


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", "") or str(error) or type(error).__name__).splitlines()[0]


class SoundCopy:
    """Writes a file's sound into an open MP4, from the first image to the last.

    Packets are copied if MP4 supports the codec and the sound starts with the video, and else re-encoded as AAC. On an error
    the sound ends with a log line, and the video continues.
    """

    def __init__(self, track: SoundTrack, output: av.container.OutputContainer):
        self.track, self.packets = track, iter(track)
        self.ahead: tuple[av.Packet, float | Fraction | None] | None = None  # next packet and its recording time, if known
        self.since_s = 0.0  # time since when that packet has been waiting for video
        self.segment = -1  # segment of the last packet
        self.is_over = False
        first_s = self._peek(0.0)
        if self.ahead is None:
            raise NoSound("the sound track is empty")
        is_prompt = first_s is not None and first_s <= LATE_S
        self.writer: CopiedSound | EncodedSound = (
            CopiedSound(track, output) if is_prompt and track.can_be_copied() else EncodedSound(track, output))

    def _peek(self, now_s: float) -> float | Fraction | None:
        """Return the recording time of the next packet; None if there is none or its time is not known yet."""
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
            is_useless = now_s - self.since_s > FRAMES_S if heard_s is None else self._is_useless(packet, heard_s)
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
                assert self.ahead is not None  # set by _peek
                packet, _ = self.ahead
                self.ahead = None
                is_jump, self.segment = self.track.places.index != self.segment, self.track.places.index
                self.writer.take(packet, heard_s, is_jump)
            if not self.is_over:
                self.writer.write_until(time_s)

    def copy_rest(self, last_s: float) -> None:
        """Write the rest up to `last_s`, the end of the video."""
        self.copy_until(last_s)
        with self._ending_with_errors():
            if not self.is_over:
                self.writer.finish(last_s)

    @contextlib.contextmanager
    def _ending_with_errors(self) -> Iterator[None]:
        """End the sound on errors, but not the recording."""
        try:
            yield
        except (av.FFmpegError, OSError, ValueError) as error:
            self.is_over = True
            logger.warning(f"the recording continues without sound: that of {self.track.path} cannot be used ({_reason(error)})")

    def close(self) -> None:
        self.track.close()


class CopiedSound:
    """Copies packets unchanged, with new timestamps."""

    def __init__(self, track: SoundTrack, output: av.container.OutputContainer):
        self.output = output
        self.stream = output.add_stream_from_template(track.track)
        self.filter = bitstream_filter(track, track.track)
        self.format: tuple[int, int] | None = None  # sample rate and channels of AAC with ADTS headers
        self.last = -(1 << 62)

    def take(self, packet: av.Packet, heard_s: float | Fraction, is_jump: bool) -> None:
        if self.filter:
            self._check_format(bytes(packet)[2:4])
        for made in self.filter.filter(packet) if self.filter else [packet]:
            pts = round(heard_s / made.time_base)
            if pts > self.last:  # equal timestamps would be rejected
                made.pts = made.dts = self.last = pts
                made.stream = self.stream
                self.output.mux(made)

    def _check_format(self, header: bytes) -> None:
        """Raise ValueError if the sample rate or channels change, which broadcasts can do but MP4 cannot store."""
        if len(header) == 2:
            kind = header[0] & 0xFD, header[1] & 0xC0
            if self.format not in (None, kind):
                raise ValueError("its sample rate or channels change")
            self.format = kind

    def write_until(self, time_s: float) -> None:
        """Do nothing: packets are written at once."""

    def finish(self, end_s: float) -> None:
        """Do nothing: packets are written at once."""


class MicrophoneTrack:
    """Encodes a Microphone as AAC into an open MP4 that starts at `start_s` of time.monotonic()."""

    def __init__(self, microphone: Microphone, output: av.container.OutputContainer, start_s: float):
        self.microphone, self.output = microphone, output
        self.first = self.next = microphone.number(start_s)
        self.stream = output.add_stream("aac", rate=RATE, layout=microphone.layout)
        self.stream.bit_rate = 128_000

    def copy_until(self, time_s: float) -> None:
        """Write samples up to `time_s`; samples more than PATIENCE_S overdue become silence."""
        wanted = self.microphone.number(time_s)
        known = self.microphone.until(wanted, timeout_s=0.0)
        stop = min(wanted, max(known, wanted - round(PATIENCE_S * RATE)))
        size = self.stream.codec_context.frame_size or 1024
        while stop - self.next >= size:
            self._encode(size)

    def copy_rest(self, last_s: float) -> None:
        """Write everything up to `last_s`, after a short wait for late samples."""
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
        """Do nothing: the microphone stays open for the next recording."""
