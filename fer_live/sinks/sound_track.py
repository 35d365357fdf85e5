"""The sound track of a video file: its packets, and where each belongs beside the pictures that are shown."""

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

MP4_SOUND = {"aac", "mp3", "ac3", "eac3", "opus", "flac", "alac"}  # codecs that MP4 carries and players know
STEP_BACK_S, STEP_ON_S = 0.1, 1.0  # between packets; beyond these the sound jumps, or pauses
JUMP_S = 10.0  # between pictures
SLACK_S = 1.0  # sound may begin so much before the pictures of its segment, and end so much after them
PICTURES_S = 10.0  # how long a packet that belongs to no pictures yet is kept
PREROLL_S = 0.02  # decoders need the packet before the first that is heard
TRIED = 3  # packets that show whether MP4 takes them


class NoSound(Exception):
    """A file's sound cannot be used. The text says why."""


class SoundTrack:
    """The packets of a file's best sound track that can be decoded. Raises NoSound, and OSError where it cannot be read.

    segments: the segments of the pictures' time line; it may still grow. None: the pictures are shown at their own times.
    shown: the number of the video track that is shown, among all tracks of the file; None: the first one.
    max_pixels: of pictures in the file; larger ones are not looked at.
    """

    def __init__(self, path: Path, segments: Sequence[Segment] | None, max_pixels: int, shown: int | None = None):
        self.input = _opened(path, max_pixels)
        self.path, self.max_pixels, self.note = path, max_pixels, ""
        self.pictures = self.input.streams[shown] if shown is not None else next(iter(self.input.streams.video), None)
        try:
            self.track = self._best()
        except NoSound:
            self.input.close()
            raise
        self.codec = self.track.codec_context.codec.canonical_name
        flag: int = av.format.Flags.ts_discont.value  # type: ignore[assignment]  # the stubs take it for the flag itself
        may_jump = bool(self.input.format.flags & flag)
        self._video = self.pictures if may_jump else None
        self.places = Places([self._start()] if segments is None else segments)

    def _start(self) -> Segment:
        pictures = self.pictures
        if pictures is None or pictures.start_time is None or pictures.time_base is None:
            return Segment(Fraction(0))
        return Segment(pictures.start_time * pictures.time_base)

    def _best(self) -> av.AudioStream:
        tracks = [track for track in self.input.streams.audio if track.codec_context is not None]
        if not tracks:
            raise NoSound("nothing here can decode it")
        best = self.input.streams.best("audio", self.pictures)
        track = best if best in tracks else tracks[0]
        if len(self.input.streams.audio) > 1:
            number = self.input.streams.audio.index(track) + 1
            self.note = f"keeps sound track {number} of {len(self.input.streams.audio)}"
        return track

    def __iter__(self) -> Iterator[av.Packet]:
        """The packets in order, until the file ends or breaks off."""
        tracks = [self.track] if self._video is None else [self.track, self._video]
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
                self.places.passed += 1  # jumps of the pictures before the sound that follows
            before_s = time_s

    def _packets(self, tracks: list) -> Iterator[av.Packet]:
        with contextlib.suppress(IndexError):  # PyAV's at the end, where other tracks have appeared on the way
            yield from self.input.demux(*tracks)

    def can_be_copied(self) -> bool:
        """Whether MP4 takes its packets, with the bitstream filter they need: by trying."""
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
    return av.open(str(path.absolute()), metadata_errors="replace",  # "a:b.mp4" would be taken for a protocol
                   options={"max_pixels": str(max_pixels)})


def bitstream_filter(sound: SoundTrack, track: av.AudioStream) -> av.bitstream.BitStreamFilterContext | None:
    """What makes its packets fit for MP4: AAC in transport streams says in each packet what MP4 says once."""
    is_adts = sound.codec == "aac" and not track.codec_context.extradata
    return av.bitstream.BitStreamFilterContext("aac_adtstoasc", track) if is_adts else None


class Places:
    """Where on the pictures' time line a packet of sound belongs. Sound and pictures of a file jump each in their own packets:
    a jump of the sound leads to the next segment of the pictures that has its time.

    passed: how many jumps of the pictures stand in the file before the sound that comes next.
    """

    def __init__(self, segments: Sequence[Segment]):
        self.segments, self.passed = segments, 0
        self.index = -1  # of the segment of the last packet; -1 before the first
        self.end_s = Fraction(0)  # where the last packet ends, as the file counts

    def find(self, packet: av.Packet, now_s: float) -> Fraction | None:
        """When the packet is heard, in seconds; None if that is not known yet. Once found, it is the last packet.

        now_s: how far the pictures are.
        """
        source_s = self.end_s if packet.pts is None else packet.pts * packet.time_base
        if self.index < 0:
            found = self._segment(self.passed, source_s, now_s)
            if found is None and not self.passed and self.segments:
                found = 0  # sound that begins long before or after the pictures
        elif -STEP_BACK_S < source_s - self.end_s < STEP_ON_S:
            found = self.index
            if self.is_past(self._shown_s(found, source_s)):  # the pictures jumped and the sound does not: a damaged time
                later = self._segment(found + 1, source_s, now_s, STEP_BACK_S)
                if later is None and self._shown_s(found, source_s) > now_s:
                    return None  # the next pictures may be of its time again
                found = found if later is None else later
        else:
            is_back = source_s < self.end_s
            found = self._segment(max(self.index + is_back, self.passed), source_s, now_s)
        if found is None:
            return None
        self.index, self.end_s = found, source_s + (packet.duration or 0) * packet.time_base
        return self._shown_s(found, source_s)

    def is_past(self, heard_s: float | Fraction) -> bool:
        """Whether it is heard after the pictures of its segment: others are shown then."""
        return self.index + 1 < len(self.segments) and heard_s >= self.segments[self.index + 1].shown_s

    def _shown_s(self, index: int, source_s: Fraction) -> Fraction:
        return self.segments[index].shown_s + source_s - self.segments[index].source_s

    def _end_s(self, index: int, now_s: float) -> float:
        return float(self.segments[index + 1].shown_s) if index + 1 < len(self.segments) else now_s

    def _segment(self, first: int, source_s: Fraction, now_s: float, slack_s: float = SLACK_S) -> int | None:
        """The first segment from `first` on that has pictures of this time, as far as they have been shown."""
        for index in range(first, len(self.segments)):
            shown_s = self._shown_s(index, source_s)
            if self.segments[index].shown_s - slack_s <= shown_s <= self._end_s(index, now_s) + slack_s:
                return index
        return None
