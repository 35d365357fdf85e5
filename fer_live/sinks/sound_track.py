"""The sound track of a video file: its packets, and their times relative to the displayed video."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import cast

import cv2  # noqa: F401, before av; see sinks/recorder.py

# isort: split
import av

from fer_live.types import Segment

MP4_SOUND = {"aac", "mp3", "ac3", "eac3", "opus", "flac", "alac"}  # codecs that MP4 supports and players can play
STEP_BACK_S, STEP_ON_S = 0.1, 1.0  # seconds between packets; larger steps are jumps or pauses
JUMP_S = 10.0  # seconds between frames; larger steps are jumps
SLACK_S = 1.0  # seconds by which sound may start before, or end after, the frames of its segment
FRAMES_S = 10.0  # seconds to keep a packet whose frames have not come yet
PREROLL_S = 0.02  # seconds; decoders need the packet before the first audible one
TRIED = 3  # packets used to test whether MP4 accepts them


class NoSound(Exception):
    """A file's sound cannot be used. The message says why."""


class SoundTrack:
    """The packets of a file's best decodable sound track. Raises NoSound, or OSError if the file cannot be read.

    segments: the video's timeline, which may still grow; None: frames keep the file's times.
    shown: index of the displayed video track among all tracks; None: the first video track.
    max_pixels: limit of the image size when the file is probed.
    """

    def __init__(self, path: Path, segments: Sequence[Segment] | None, max_pixels: int, shown: int | None = None):
        self.input = _opened(path, max_pixels)
        self.path, self.max_pixels, self.note = path, max_pixels, ""
        self.video = self.input.streams[shown] if shown is not None else next(iter(self.input.streams.video), None)
        try:
            self.track = self._best()
        except NoSound:
            self.input.close()
            raise
        self.codec = self.track.codec_context.codec.canonical_name
        flag: int = av.format.Flags.ts_discont.value  # type: ignore[assignment]  # the stubs take it for the flag itself
        may_jump = bool(self.input.format.flags & flag)
        self._watched = self.video if may_jump else None  # its jumps are counted
        self.places = Places([self._start()] if segments is None else segments)

    def _start(self) -> Segment:
        video = self.video
        if video is None or video.start_time is None or video.time_base is None:
            return Segment(Fraction(0))
        return Segment(video.start_time * video.time_base)

    def _best(self) -> av.AudioStream:
        tracks = [track for track in self.input.streams.audio if track.codec_context is not None]
        if not tracks:
            raise NoSound("no decoder for it is available")
        best = self.input.streams.best("audio", self.video)
        track = best if best in tracks else tracks[0]
        if len(self.input.streams.audio) > 1:
            number = self.input.streams.audio.index(track) + 1
            self.note = f"keeps sound track {number} of {len(self.input.streams.audio)}"
        return track

    def __iter__(self) -> Iterator[av.Packet]:
        """Yield the packets in order, until the file ends or is truncated."""
        tracks = [self.track] if self._watched is None else [self.track, self._watched]
        before_s: Fraction | None = None
        for packet in self._packets(tracks):
            if not packet.size:  # the last, empty packet only flushes
                continue
            if packet.stream is self.track:
                yield packet
                continue
            if packet.dts is None:
                continue
            time_s = packet.dts * packet.time_base
            if before_s is not None and not -STEP_BACK_S < time_s - before_s < JUMP_S:
                self.places.passed += 1  # video jumps before the next sound packet
            before_s = time_s

    def _packets(self, tracks: list) -> Iterator[av.Packet]:
        with contextlib.suppress(IndexError):  # raised by PyAV at the end if tracks appeared midway
            yield from self.input.demux(*tracks)

    def can_be_copied(self) -> bool:
        """Whether MP4 accepts its packets, with the bitstream filter they need; tested on a few packets."""
        if self.codec not in MP4_SOUND:
            return False
        try:
            with _opened(self.path, self.max_pixels) as trial:
                track = cast(av.AudioStream, trial.streams[self.track.index])
                with av.open(io.BytesIO(), "w", format="mp4", options={"movflags": "frag_keyframe+delay_moov"}) as output:
                    stream, filtered = output.add_stream_from_template(track), bitstream_filter(self, track)
                    packets = (packet for packet in trial.demux(track) if packet.size)
                    for _, packet in zip(range(TRIED), packets, strict=False):
                        for made in filtered.filter(packet) if filtered else [packet]:
                            made.stream = stream
                            output.mux(made)
        except (av.FFmpegError, OSError, ValueError):
            return False
        return True

    def close(self) -> None:
        self.input.close()


def _opened(path: Path, max_pixels: int) -> av.container.InputContainer:
    return av.open(str(path.absolute()), metadata_errors="replace",  # FFmpeg would parse "a:b.mp4" as a protocol
                   options={"max_pixels": str(max_pixels)})


def bitstream_filter(sound: SoundTrack, track: av.AudioStream) -> av.bitstream.BitStreamFilterContext | None:
    """Return the filter that makes packets valid in MP4, if needed: AAC in transport streams has ADTS headers."""
    is_adts = sound.codec == "aac" and not track.codec_context.extradata
    return av.bitstream.BitStreamFilterContext("aac_adtstoasc", track) if is_adts else None


class Places:
    """Maps sound packets to the video's timeline. Sound and video jump independently in a file; a jump in the sound leads to
    the next video segment that contains its time.

    passed: number of video jumps in the file before the next sound packet.
    """

    def __init__(self, segments: Sequence[Segment]):
        self.segments, self.passed = segments, 0
        self.index = -1  # segment of the last packet; -1 before the first
        self.end_s = Fraction(0)  # end of the last packet in file time

    def find(self, packet: av.Packet, now_s: float) -> Fraction | None:
        """Return the packet's recording time in seconds, or None if it is not known yet. Updates the last packet.

        now_s: time of the newest frame.
        """
        source_s = self.end_s if packet.pts is None else packet.pts * packet.time_base
        if self.index < 0:
            found = self._segment(self.passed, source_s, now_s)
            if found is None and not self.passed and self.segments:
                found = 0  # sound that starts long before or after the video
        elif -STEP_BACK_S < source_s - self.end_s < STEP_ON_S:
            found = self.index
            if self.is_past(self._shown_s(found, source_s)):  # the video jumped but the sound did not: a damaged timestamp
                later = self._segment(found + 1, source_s, now_s, STEP_BACK_S)
                if later is None and self._shown_s(found, source_s) > now_s:
                    return None  # later frames may have its time again
                found = found if later is None else later
        else:
            is_back = source_s < self.end_s
            found = self._segment(max(self.index + is_back, self.passed), source_s, now_s)
        if found is None:
            return None
        self.index, self.end_s = found, source_s + (packet.duration or 0) * packet.time_base
        return self._shown_s(found, source_s)

    def is_past(self, heard_s: float | Fraction) -> bool:
        """Whether the time lies beyond its segment, where other frames are shown."""
        return self.index + 1 < len(self.segments) and heard_s >= self.segments[self.index + 1].shown_s

    def _shown_s(self, index: int, source_s: Fraction) -> Fraction:
        return self.segments[index].shown_s + source_s - self.segments[index].source_s

    def _end_s(self, index: int, now_s: float) -> float:
        return float(self.segments[index + 1].shown_s) if index + 1 < len(self.segments) else now_s

    def _segment(self, first: int, source_s: Fraction, now_s: float, slack_s: float = SLACK_S) -> int | None:
        """Return the first segment from `first` on that contains this time, as far as frames have been shown."""
        for index in range(first, len(self.segments)):
            shown_s = self._shown_s(index, source_s)
            if self.segments[index].shown_s - slack_s <= shown_s <= self._end_s(index, now_s) + slack_s:
                return index
        return None
