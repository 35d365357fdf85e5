"""Video files as sources."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2  # noqa: F401  before av: otherwise its bundled libxcb makes OpenCV windows hang (PyAV issue 978)

# isort: split
import av

from fer_live.sources.container import declared_frames, frame_rate, open_video, packets_of, playable_tracks, reason
from fer_live.sources.names import not_open
from fer_live.sources.shown import Shown
from fer_live.sources.timeline import Timeline, timeline_of
from fer_live.types import Frame, SourceError

logger = logging.getLogger("fer_live")


class VideoFile:
    """Every frame of a video file, in order, with its time since the first frame.

    time_base: the file's unit of time in seconds, so that a copy can keep exact timestamps.
    timeline: maps the file's times to frame times, for the frames read so far.
    """

    is_live = False

    def __init__(self, path: Path):
        self.path, self.name = path, str(path)
        self.container: av.container.InputContainer | None = None
        self.fps, self.time_base, self.has_audio = 30.0, Fraction(1, 90_000), False
        self.declared = self.frames = 0  # frames declared by the file, and frames expected; 0: unknown
        self.timeline = Timeline(self.fps, may_jump=False)
        self._keeps_decoded = False
        self._is_jump_logged = False
        self._packets, self._reached_s = 0, 0.0  # packets read, and the time reached

    def __enter__(self) -> VideoFile:
        self.container, stream = open_video(str(self.path.absolute()))  # FFmpeg would parse "a:b.mp4" as a protocol
        self.track, self.shown = stream, Shown(stream)
        stream.thread_type = "AUTO"
        self.fps = frame_rate(stream)
        self.timeline = timeline_of(self.container, self.fps)
        self.declared = declared_frames(self.container, stream)
        self.frames = stream.frames or round((self.container.duration or 0) / av.time_base * self.fps)
        self.time_base = stream.time_base or self.time_base
        self.has_audio = bool(self.container.streams.audio)
        self._log_tracks()
        return self

    def keep_decoded(self) -> None:
        """Let frames carry the decoded frames, for a VideoRecorder; they take half as much memory as the images."""
        self._keeps_decoded = True

    def _log_tracks(self) -> None:
        """Log which of several video tracks is shown. The still image of an animated AVIF does not count."""
        assert self.container is not None
        tracks = [track for track in playable_tracks(self.container) if track.index == self.track.index or track.frames != 1]
        if len(tracks) > 1:
            number = [track.index for track in tracks].index(self.track.index) + 1
            logger.warning(f"{self.name} has {len(tracks)} video tracks; only track {number} is used")

    def __exit__(self, *exception) -> None:
        if self.container is not None:
            self.container.close()
            self.container = None

    def __iter__(self) -> Iterator[Frame]:
        count, time_s = 0, 0.0
        try:
            for stored, time_s, segment in self._decode():
                image = self.shown(stored)
                decoded = self.shown.decoded(stored, image) if self._keeps_decoded else None
                yield Frame(image, count, time_s, segment=segment, decoded=decoded)
                count += 1
        except (av.FFmpegError, OSError) as error:
            raise SourceError(f"{self.name} is damaged after {time_s:.1f} s ({reason(error)}); {_kept(count)}") from None
        if not count or self._breaks_off():
            raise SourceError(f"{self.name} ends after {count} of {self.declared} frames; {_kept(count)}")

    def _breaks_off(self) -> bool:
        """Whether the file ends before its declared length. Hidden frames count too: edit lists hide some, and in AVI an empty
        packet repeats the previous frame."""
        reached = max(self._packets, round(self._reached_s * self.fps))
        return reached < 0.98 * self.declared - 2  # indexes can be off by a frame or two

    def _frames(self) -> Iterator[av.VideoFrame]:
        """Yield all decodable frames, including those after damaged parts; then raise the first error, if any."""
        if self.container is None:
            raise not_open(self.name)
        stream = self.track
        packets, error = packets_of(self.container, stream), None
        while True:
            try:
                packet = next(packets, None)
            except (av.FFmpegError, OSError) as caught:  # truncated file; the decoder still holds frames
                packet, error = None, caught
            if packet is not None and packet.dts is not None:
                self._note(packet, stream)
                if not packet.size:  # an empty packet repeats the previous frame
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
        assert stamp is not None and packet.time_base is not None  # packets without a timestamp are not counted
        end = stamp + (packet.duration or 0) - (stream.start_time or 0)
        self._reached_s = max(self._reached_s, float(end * packet.time_base))

    def _decode(self) -> Iterator[tuple[av.VideoFrame, float, int]]:
        """Yield decoded frames with time in seconds and segment number."""
        for frame in self._frames():
            time_s, segment = self.timeline.place(frame)
            if segment and not self._is_jump_logged:
                self._is_jump_logged = True
                logger.warning(f"{self.name}: timestamps jump at {time_s:.1f} s; time continues from there, and faces get "
                               "new ids")
            yield frame, time_s, segment


def _kept(count: int) -> str:
    return f"the {count} frames before that were processed" if count else "no frame could be read; copy the file again"
