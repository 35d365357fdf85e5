"""Video files as iterators of frames."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2  # noqa: F401  before av, whose own copy of libxcb otherwise makes OpenCV's windows hang (PyAV issue 978)

# isort: split
import av
import numpy as np

from fer_live.sources.container import declared_frames, film_tracks, frame_rate, open_video, packets_of, reason
from fer_live.sources.names import not_open
from fer_live.sources.shown import Shown
from fer_live.sources.timeline import Timeline, timeline_of
from fer_live.types import Frame, SourceError

logger = logging.getLogger("fer_live")


class VideoFile:
    """Every frame of a video file, in order, with its time since the first one.

    time_base: the unit in which the file counts its times, so that a copy can keep them exactly.
    timeline: tells how these times and the file's own belong together, as far as the frames have been read.
    """

    is_live = False

    def __init__(self, path: Path):
        self.path, self.name = path, str(path)
        self.container: av.container.InputContainer | None = None
        self.fps, self.time_base, self.has_audio = 30.0, Fraction(1, 90_000), False
        self.declared = self.frames = 0  # how many frames the file says it has, and how many are expected; 0: unknown
        self.timeline = Timeline(self.fps, may_jump=False)
        self._told = False  # that times jump
        self._packets, self._reached_s = 0, 0.0  # what has been read: frames before decoding, and up to which time

    def __enter__(self) -> VideoFile:
        self.container, stream = open_video(str(self.path.absolute()))  # "a:b.mp4" would be taken for a protocol
        self.track, self.shown = stream, Shown(stream)
        stream.thread_type = "AUTO"
        self.fps = frame_rate(stream)
        self.timeline = timeline_of(self.container, self.fps)
        self.declared = declared_frames(self.container, stream)
        self.frames = stream.frames or round((self.container.duration or 0) / av.time_base * self.fps)
        self.time_base = stream.time_base or self.time_base
        self.has_audio = bool(self.container.streams.audio)
        self._tell_tracks()
        return self

    def _tell_tracks(self) -> None:
        """Say which video track is shown, where there are others. The first picture of an animated AVIF is no other."""
        assert self.container is not None
        films = [track for track in film_tracks(self.container) if track.index == self.track.index or track.frames != 1]
        if len(films) > 1:
            number = [track.index for track in films].index(self.track.index) + 1
            logger.warning(f"{self.name} has {len(films)} video tracks; track {number} is shown, the others are left out")

    def __exit__(self, *exception) -> None:
        if self.container is not None:
            self.container.close()
            self.container = None

    def __iter__(self) -> Iterator[Frame]:
        count, time_s = 0, 0.0
        try:
            for image, time_s, segment in self._decode():
                yield Frame(image, count, time_s, segment=segment)
                count += 1
        except (av.FFmpegError, OSError) as error:
            raise SourceError(f"{self.name} is damaged after {time_s:.1f} s ({reason(error)}); {_kept(count)}") from None
        if not count or self._breaks_off():
            raise SourceError(f"{self.name} breaks off after {count} of {self.declared} frames; {_kept(count)}")

    def _breaks_off(self) -> bool:
        """Whether less was read than the file says it has. Frames that are not shown are there as well: an edit list hides
        some, and in AVI a missing frame repeats the one before."""
        reached = max(self._packets, round(self._reached_s * self.fps))
        return reached < 0.98 * self.declared - 2  # indexes are sometimes off by a frame or two

    def _frames(self) -> Iterator[av.VideoFrame]:
        """All that can be decoded, also beyond damaged places and before a cut; then the error, if there was one."""
        if self.container is None:
            raise not_open(self.name)
        stream = self.track
        packets, error = packets_of(self.container, stream), None
        while True:
            try:
                packet = next(packets, None)
            except (av.FFmpegError, OSError) as caught:  # the file breaks off; the decoder still holds frames
                packet, error = None, caught
            if packet is not None and packet.dts is not None:
                self._note(packet, stream)
                if not packet.size:  # the frame before is shown on
                    continue
            try:
                frames = packet.decode() if packet is not None else stream.decode(None) if error else []
            except av.FFmpegError as caught:
                frames, error = [], error or caught
            yield from frames
            if packet is None:
                break
        if error:
            raise error

    def _note(self, packet: av.Packet, stream: av.VideoStream) -> None:
        self._packets += 1
        stamp = packet.dts if packet.pts is None else packet.pts
        assert stamp is not None and packet.time_base is not None  # a packet without a time is not noted
        end = stamp + (packet.duration or 0) - (stream.start_time or 0)
        self._reached_s = max(self._reached_s, float(end * packet.time_base))

    def _decode(self) -> Iterator[tuple[np.ndarray, float, int]]:
        """Pictures (H, W, 3) BGR, as a player shows them, with their times in seconds and the numbers of their segments."""
        for frame in self._frames():
            time_s, segment = self.timeline.place(frame)
            if segment and not self._told:
                self._told = True
                logger.warning(f"{self.name}: its times jump after {time_s:.1f} s; frames go on from there, and faces get "
                               "new ids")
            yield self.shown(frame), time_s, segment


def _kept(count: int) -> str:
    return f"the {count} frames before that were processed" if count else "nothing could be read; copy it again"
