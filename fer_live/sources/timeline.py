"""Maps frame timestamps of a video to monotonic seconds since its first frame."""

from __future__ import annotations

from fractions import Fraction

import cv2  # noqa: F401  before av: otherwise its bundled libxcb makes OpenCV windows hang (PyAV issue 978)

# isort: split
import av

from fer_live.types import Segment

CUT_S = 10.0  # seconds; a longer step is a jump in formats with discontinuities, such as concatenated transport streams
PAUSE_S = 600.0  # seconds; the same for all other formats, where long pauses are intended
PAUSE_FRAMES = 10  # frames; a step up to here is never a jump, for time-lapse videos
JITTER_FRAMES = 1.5  # frames; a smaller step back is a timestamp error
REORDERED_S = 0.5  # seconds; decoders reorder frames at most this far


class Timeline:
    """Converts timestamps of decoded frames to seconds since the first frame.

    After a jump or a step back, time continues one frame after the last, and a new segment starts.
    segments: grows as frames are placed; other threads may read it. may_jump: whether the format allows discontinuities.
    """

    def __init__(self, fps: float, may_jump: bool):
        self.may_jump = may_jump
        self.frame_s = Fraction(1 / fps).limit_denominator(90_000)
        self.longest_s = max(Fraction(CUT_S if may_jump else PAUSE_S), PAUSE_FRAMES * self.frame_s)
        self.segments: list[Segment] = []
        self.by_dts = False  # for files without valid presentation times, such as AVI with H.264
        self._source_s = self._shown_s = Fraction(0)  # of the last frame
        self._duration_s = self.frame_s
        self._dts: Fraction | None = None

    def place(self, frame: av.VideoFrame) -> tuple[float, int]:
        """Return the display time in seconds and the segment number. Frames must be passed in display order."""
        source_s = self._stamp(frame)
        if source_s is None:  # no timestamp: it follows the previous frame
            source_s = self._source_s + (self._duration_s if self.segments else Fraction(0))
        if not self.segments:
            self.segments.append(Segment(source_s, Fraction(0)))
        elif self._is_jump(source_s - self._source_s):
            self._shown_s += self._duration_s
            self.segments.append(Segment(source_s, self._shown_s))
        else:
            source_s = max(source_s, self._source_s)
            self._shown_s = self.segments[-1].shown_s + source_s - self.segments[-1].source_s
        self._source_s = source_s
        self._duration_s = Fraction((frame.duration or 0) * (frame.time_base or 0)) or self.frame_s
        return float(self._shown_s), len(self.segments) - 1

    def _is_jump(self, step_s: Fraction) -> bool:
        return step_s > self.longest_s or step_s < -min(JITTER_FRAMES * self.frame_s, REORDERED_S)

    def _stamp(self, frame: av.VideoFrame) -> Fraction | None:
        """Return the frame's time in the file: its pts, or its dts if the pts turned out to be out of order."""
        if frame.time_base is None:
            return None
        pts, dts = (None if stamp is None else stamp * frame.time_base for stamp in (frame.pts, frame.dts))
        if pts is not None and dts is not None and self._dts is not None:
            self.by_dts |= -REORDERED_S < pts - self._source_s < 0 and dts > self._dts
        self._dts = dts
        return dts if self.by_dts else pts


def timeline_of(container: av.container.InputContainer, fps: float) -> Timeline:
    """Create the Timeline for an open container."""
    flag: int = av.format.Flags.ts_discont.value  # type: ignore[assignment]  # wrong type in the stubs
    return Timeline(fps, bool(container.format.flags & flag))
