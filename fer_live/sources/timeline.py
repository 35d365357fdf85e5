"""When the frames of a film are shown: seconds since its first frame, which never go back."""

from __future__ import annotations

from fractions import Fraction

import cv2  # noqa: F401  before av, whose own copy of libxcb otherwise makes OpenCV's windows hang (PyAV issue 978)

# isort: split
import av

from fer_live.types import Segment

CUT_S = 10.0  # a step forward that is a jump, where a format allows times to jump: transport streams put together
PAUSE_S = 600.0  # the same in all other formats, in which a long pause is meant
PAUSE_FRAMES = 10  # a time-lapse film of one frame a minute has no jumps of a minute
JITTER_FRAMES = 1.5  # a step back up to here is an error of a single frame
REORDERED_S = 0.5  # decoders reorder frames at most this far


class Timeline:
    """Times of decoded frames -> seconds since the first frame.

    Where time jumps or goes back, it goes on from the last frame by one frame's duration, and a new segment begins.
    segments: grows while frames are placed; other threads may read it. may_jump: whether the format allows jumps.
    """

    def __init__(self, fps: float, may_jump: bool):
        self.may_jump = may_jump
        self.frame_s = Fraction(1 / fps).limit_denominator(90_000)
        self.longest_s = max(Fraction(CUT_S if may_jump else PAUSE_S), PAUSE_FRAMES * self.frame_s)
        self.segments: list[Segment] = []
        self.by_dts = False  # files without presentation times, such as AVI with H.264, have only these in order
        self._source_s = self._shown_s = Fraction(0)  # of the last frame
        self._duration_s = self.frame_s
        self._dts: Fraction | None = None

    def place(self, frame: av.VideoFrame) -> tuple[float, int]:
        """When the frame is shown, in seconds, and the number of its segment. Frames must come in the order of showing."""
        source_s = self._stamp(frame)
        if source_s is None:  # nothing is said of it: it follows the one before
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
        """The frame's time in the file, by what has been in order so far."""
        if frame.time_base is None:
            return None
        pts, dts = (None if stamp is None else stamp * frame.time_base for stamp in (frame.pts, frame.dts))
        if pts is not None and dts is not None and self._dts is not None:
            self.by_dts |= -REORDERED_S < pts - self._source_s < 0 and dts > self._dts
        self._dts = dts
        return dts if self.by_dts else pts


def timeline_of(container: av.container.InputContainer, fps: float) -> Timeline:
    """A Timeline for the frames of an opened film."""
    flag: int = av.format.Flags.ts_discont.value  # type: ignore[assignment]  # the stubs take it for the flag itself
    return Timeline(fps, bool(container.format.flags & flag))
