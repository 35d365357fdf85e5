"""Records visitors who agreed to it, and nobody else."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from fer_live.analysis.patch import correlation, patch
from fer_live.model.detections import touch
from fer_live.protocols import Recorder
from fer_live.types import Analysis, Box, OutputError, View

logger = logging.getLogger("fer_live")

REPEAT_S = 0.7  # seconds; further presses within this time are key repeats
SHOWN_S = 1.0  # seconds a visitor must be on screen before agreeing, so that new arrivals do not agree by accident
GONE_S = 0.7  # seconds without a detection after which a face counts as gone
SILENT_S = 2.0  # seconds without a frame that end a recording
# Frames are held until it is certain who is in them: a new face is detected within 18 frames, the longest interval between two
# searches of the whole image, and confirmed two frames later; a face counts as gone after GONE_S.
HOLD_S, HOLD_FRAMES = 0.8, 22
STEP_S = 1 / 30 - 0.005  # seconds; minimum between recorded frames, so at most 25 are held (70 MB at 1280x720)
LOOK_S = 1.0  # seconds to keep the patches that identify a face
# Minimum correlation of a face with its last second. On our clips the same face falls below it once in five seconds, when the
# head turns; of pairs of different people photographed in the same place and light, 84% do.
ALIKE = 0.8
OTHER_S = 0.3  # seconds of different appearance after which a face counts as another person's
KEPT = 16  # frames whose patches are kept; at most two are in flight between analysis and here
Patches = dict[int, np.ndarray]  # patches by track id


@dataclass
class Visitor:
    """The visitor of one track: first and last time seen, position, and appearance in the last second."""

    since_s: float
    seen_s: float
    box: Box
    looks: deque[tuple[float, np.ndarray]]
    other_s: float | None = None  # time since when the face looks like another person's

    def is_other(self, time_s: float) -> bool:
        """Whether the face has looked different for OTHER_S."""
        return self.other_s is not None and time_s - self.other_s >= OTHER_S


class Consent:
    """A sink that records from one press of the button to the next, for at most `seconds`.

    Everybody on screen at the press agrees together. The recording ends when one of them leaves, when anybody else appears,
    when a different face replaces one that agreed, when the camera is lost, and when time goes back. Only frames captured
    after the press are recorded. Frames are held until it is certain who is in them; frames still held at the end are dropped.

    open_recorder: creates the recorder at the first recorded frame; nothing else writes to it. view: its `recording` flag is
    set. tell: called if the recording cannot be written. looks: returns the patches of an analysis by track id; use
    `Looks.of` if faces are masked in its image. clock: clock of the frames, in seconds.
    `press`, `poll` and `write` must be called from one thread.
    """

    def __init__(self, open_recorder: Callable[[], Recorder], view: View, seconds: float, tell: Callable[[str, str], None],
                 looks: Callable[[Analysis], Patches] | None = None, clock: Callable[[], float] = time.monotonic):
        self.open_recorder, self.view, self.seconds, self.tell, self.clock = open_recorder, view, seconds, tell, clock
        self.looks = looks or patches
        self.here: dict[int, Visitor] = {}  # by track id: visitors on screen now or until recently
        self.agreed: frozenset[int] = frozenset()  # track ids; empty if not recording
        self.now_s = self.began_s = self.pressed_s = float("-inf")  # newest frame; start of recording; last press
        self.held: deque[tuple[int, Analysis]] = deque()  # held frames: frame number, and the annotated image as its image
        self.count, self.taken_s, self.written_s = 0, float("-inf"), float("-inf")
        self.recorder: Recorder | None = None

    def __enter__(self) -> Consent:
        return self

    def __exit__(self, *exception) -> None:
        self.end("the program ends")

    @property
    def may_begin(self) -> bool:
        """Whether a press would start a recording: there are visitors, and all have been on screen for SHOWN_S."""
        return bool(self.here) and all(
            visitor.seen_s == self.now_s and self.now_s - visitor.since_s >= SHOWN_S and visitor.other_s is None
            for visitor in self.here.values())

    def press(self) -> None:
        """Handle a press of the button: start a recording if `may_begin`, or end it. Key repeats count once."""
        now_s = self.clock()
        is_held, self.pressed_s = now_s - self.pressed_s < REPEAT_S, now_s
        if is_held:
            return
        if self.agreed:
            self.end("the button was pressed")
        elif self.may_begin:
            self.agreed, self.began_s, self.taken_s = frozenset(self.here), now_s, float("-inf")
            self.view.recording, self.view.notice = True, ""

    def end(self, why: str) -> None:
        """End the recording, if there is one; held frames are dropped."""
        if not self.agreed:
            return
        self.agreed, self.view.recording = frozenset(), False
        self.held.clear()
        recorder, self.recorder = self.recorder, None
        logger.info(f"recording ended: {why}" + ("" if recorder else "; nothing was recorded"))
        if recorder is not None:
            recorder.end_s = self.written_s  # do not extend the last frame into the dropped part
            try:
                recorder.__exit__(None, None, None)
            except OutputError as error:
                self.tell("recording stopped", str(error))

    def poll(self) -> None:
        """End the recording if no frames arrive."""
        if self.agreed and self.clock() - max(self.now_s, self.began_s) >= SILENT_S:
            self.end(f"no frame for {SILENT_S:g} s")

    def write(self, image: np.ndarray, analysis: Analysis) -> None:
        """Update the visitors; then hold the image (H, W, 3) uint8 BGR for recording, or end the recording."""
        time_s = analysis.frame.time_s
        if time_s < self.now_s:
            self.end("time went back")
            self.here.clear()
        self.now_s = time_s
        self._look(analysis)
        if self.agreed:
            why = self._objection(analysis)
            if why:
                self.end(why)
            elif time_s > self.began_s:
                self._take(image, analysis)

    def _look(self, analysis: Analysis) -> None:
        """Update the visitors on screen."""
        time_s, looks = analysis.frame.time_s, self.looks(analysis)
        for face in analysis.faces:
            visitor = self.here.setdefault(face.track_id, Visitor(time_s, time_s, face.box, deque()))
            visitor.seen_s, visitor.box = time_s, face.box
            if face.track_id in looks:
                _compare(visitor, looks[face.track_id], time_s)
        if not self.agreed:  # a different face at the same place counts as a new visitor
            self.here = {i: Visitor(time_s, time_s, visitor.box, deque()) if visitor.is_other(time_s) else visitor
                         for i, visitor in self.here.items() if time_s - visitor.seen_s < GONE_S}

    def _objection(self, analysis: Analysis) -> str:
        """Return why the recording must end with this frame; empty if it can continue."""
        time_s = analysis.frame.time_s
        agreed = [self.here[i] for i in self.agreed]
        if analysis.frame.is_slate:
            return "the camera is lost"
        if any(face.track_id not in self.agreed for face in analysis.faces):
            return "a visitor without consent is present"
        if any(time_s - visitor.seen_s >= GONE_S for visitor in agreed):
            return "a visitor who agreed has left"
        if any(visitor.is_other(time_s) for visitor in agreed):
            return "a face looks different from the visitor who agreed"
        return f"after {self.seconds:g} s" if time_s - self.began_s >= self.seconds else ""

    def _take(self, image: np.ndarray, analysis: Analysis) -> None:
        """Hold the image, and write images held long enough."""
        time_s = analysis.frame.time_s
        self.count += 1
        places = [self.here[i].box for i in self.agreed]
        if not all(any(touch(box, place) for place in places) for box in analysis.seen):
            self.held.clear()  # a candidate face whose identity is unknown unless it is detected again
            return
        if time_s - self.taken_s >= STEP_S:
            self.taken_s = time_s
            kept = replace(analysis, frame=replace(analysis.frame, image=image))  # the camera's own image can be much larger
            self.held.append((self.count, kept))
        while self.held and self.count - self.held[0][0] >= HOLD_FRAMES and time_s - self.held[0][1].frame.time_s >= HOLD_S:
            self._record(self.held.popleft()[1])

    def _record(self, analysis: Analysis) -> None:
        try:
            if self.recorder is None:
                self.recorder = self.open_recorder().__enter__()
            self.recorder.write(analysis.frame.image, analysis)
            self.written_s = analysis.frame.time_s
        except OutputError as error:
            self.tell("recording stopped", str(error))
            self.end("writing failed")


class Looks:
    """A step that returns the Analysis unchanged and keeps patches of its faces, for use after masking.

    Called by the analysis thread; `of` can be called by other threads.
    """

    def __init__(self) -> None:
        self.kept: tuple[tuple[tuple[int, float], Patches], ...] = ()  # of the last frames, by frame number and time

    def __call__(self, analysis: Analysis) -> Analysis:
        made = (analysis.frame.index, analysis.frame.time_s), patches(analysis)
        self.kept = (*self.kept[1 - KEPT :], made)
        return analysis

    def forget(self) -> None:
        """Delete all patches."""
        self.kept = ()

    def for_new_video(self) -> Looks:
        """Return a fresh copy for another video."""
        return Looks()

    def of(self, analysis: Analysis) -> Patches:
        """Return the patches of a recent analysis, by track id."""
        key = analysis.frame.index, analysis.frame.time_s
        return next((looks for known, looks in self.kept if known == key), {})


def _compare(visitor: Visitor, look: np.ndarray, time_s: float) -> None:
    """Compare a face with its last second of patches, which are kept unchanged while it looks different."""
    if visitor.looks and max(correlation(look, known) for _, known in visitor.looks) < ALIKE:
        visitor.other_s = time_s if visitor.other_s is None else visitor.other_s
        return
    visitor.other_s = None
    visitor.looks.append((time_s, look))
    while time_s - visitor.looks[0][0] > LOOK_S:
        visitor.looks.popleft()


def patches(analysis: Analysis) -> Patches:
    """Return patches of the faces by track id."""
    made = {face.track_id: patch(analysis.frame.image, face.box) for face in analysis.faces}
    return {track_id: look for track_id, look in made.items() if look is not None}
