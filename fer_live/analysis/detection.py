"""Schedules face detection: the whole image every few frames, in between only near known faces."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np

from fer_live.analysis.patch import correlation, patch
from fer_live.model.both import is_same, merged
from fer_live.model.detections import Detections, same_face
from fer_live.protocols import FaceDetector, TileDetector
from fer_live.types import Frame

EVERY = 8  # frames between searches of the whole image while all known faces are found again
EVERY_WAITING = 2  # the same while no face is known or one is missed, to notice new and returning faces soon
IN_TURN = 0.75  # factor on both if a complete search takes several turns, since one of them may have to find a new face alone
# With more known faces than this, each is searched for in every other frame, in turn, and otherwise assumed where it was if its
# patch is ALIKE. With fewer, so is a face that does not move: one whose patch is THE_SAME. Not in the first frames after a change
# in their number, since a new face is shown only after it was found several times.
MOST_EACH, CALM = 8, 3
ALIKE, THE_SAME = 0.5, 0.95  # correlation of the patches of two frames; from 0.95, the box moves by less than Haar's jitter
MEMORY = 12  # frames during which a lost face is searched for at its last position


class Searcher(Protocol):
    """What ScheduledDetector needs of a detector. Shallow copies may search at the same time in several threads."""

    min_face: float  # side of the smallest face, in pixels, or below 1 as a fraction of the frame's shorter side
    turns: int  # calls of `detect_in_turn` that make a complete search, one per frame; the last of them finds the most faces

    def detect(self, image: np.ndarray, side: int | None = None) -> np.ndarray | Detections:
        """(H, W, 3) uint8 BGR -> the faces in the whole image, or only their boxes (N, 4) int32 xyxy. side: see
        `ScheduledDetector.detect`."""
        ...

    def detect_in_turn(self, image: np.ndarray, turn: int, near: Detections, side: int | None = None, thorough: bool = False
                       ) -> np.ndarray | Detections:
        """Do a part of `detect`: part `turn % turns`. turn: counts up, so that one part can alternate between several ways to
        search; `thorough`: it takes all of them. near: known faces already found in this image, which need no second look."""
        ...

    def detect_near(self, image: np.ndarray, boxes: np.ndarray, side: int | None = None
                    ) -> Sequence[np.ndarray | Detections | None]:
        """For each of the boxes (N, 4), return the face found there, only its new box (4,), or None."""
        ...


@dataclass
class Known:
    """A known face and how long ago it was found."""

    box: np.ndarray  # (4,) int32 xyxy
    misses: int = 0  # frames since it was found
    found: Detections | None = None  # None if missed
    is_carried: bool = False  # whether it was not searched for in the last frame


class ScheduledDetector:
    """Face detector for video that remembers where faces were. Use one per video.

    The whole image is searched on schedule, and at once when a known face is not found again. A searcher with several detectors
    uses one at a time, in turn, since all in one frame would delay that frame. `every` may be changed at any time; 1 searches the
    whole image in every frame, completely.
    """

    def __init__(self, searcher: Searcher, every: int = EVERY):
        self.searcher, self.every = searcher, every
        self.known: list[Known] = []
        self.last: np.ndarray | None = None  # the previous image
        self.age = EVERY  # frames since the last search of the whole image
        self.turn = 0  # of the next search of the whole image; see Searcher.detect_in_turn
        self.calm = 0  # frames since the number of faces changed

    def detect(self, image: np.ndarray, side: int | None = None) -> Detections:
        """(H, W, 3) uint8 BGR -> the faces. side: reference length in pixels for a relative `min_face`; None: the image's shorter
        side."""
        self.age += 1
        if self.every == 1:
            found = Detections.of(self.searcher.detect(image, side))
            return self._remember(image, found, [None] * len(self.known))
        is_waiting = not self.known or any(face.misses for face in self.known)
        every = min(self.every, EVERY_WAITING) if is_waiting else self.every
        if self.age >= (round(IN_TURN * every) if self.searcher.turns > 1 else every):
            return self._whole(image, side)
        again, carried = self._find_again(image, side)
        if any(one is None and not face.misses for face, one in zip(self.known, again, strict=True)):
            # a lost face has probably turned or tilted, and then only the last detector can find it
            self.turn += self.searcher.turns - 1 - self.turn % self.searcher.turns
            return self._whole(image, side, again, carried)
        return self._remember(image, _found(again).singled(), again, carried)  # two known faces may be found at the same place

    def _whole(self, image: np.ndarray, side: int | None, again: list[Detections | None] | None = None,
               carried: Sequence[np.ndarray] = ()) -> Detections:
        """Search the whole image, and near the known faces that this misses. again, carried: results of `_find_again`, if a
        face is lost."""
        turn, part, is_lost = self.turn, self.turn % self.searcher.turns, again is not None
        self.age, self.turn = 0, self.turn + 1
        if again is None and part:  # the first part does not need the known faces
            again, carried = self._find_again(image, side)
        found = Detections.of(self.searcher.detect_in_turn(image, turn, _found(again or []), side, is_lost))
        if again is None:
            again = [None] * len(self.known)
            missed = [i for i, face in enumerate(self.known) if not any(is_same(face.box, box) for box in found.boxes)]
            self._search_near(image, missed, again, side)
        found = self._remember(image, merged(found, _found(again)), again, carried)
        if part < self.searcher.turns - 1 and any(face.misses == 1 for face in self.known):
            self.age = self.every  # a known face is not found, so the next detector searches the next frame
        return found

    def _find_again(self, image: np.ndarray, side: int | None) -> tuple[list[Detections | None], list[np.ndarray]]:
        """Return the known faces that are found again, and the boxes of those not searched for this time."""
        again: list[Detections | None] = [None] * len(self.known)
        is_any_carried, are_many = any(face.is_carried for face in self.known), len(self.known) > MOST_EACH
        last = self.last if are_many or self.calm >= CALM else None
        for i, face in enumerate(self.known):
            if last is None or face.is_carried or face.misses or (are_many and not is_any_carried and not i % 2):
                continue
            before, now = patch(last, face.box), patch(image, face.box)
            if alike(before, now) if are_many else is_same_patch(before, now):
                again[i] = face.found
        carried = [one.boxes[0] for one in again if one is not None]
        self._search_near(image, [i for i, one in enumerate(again) if one is None], again, side)
        return again, carried

    def _search_near(self, image: np.ndarray, due: list[int], again: list[Detections | None], side: int | None) -> None:
        """Search near the known faces with the indices `due`, and enter what is found in `again`."""
        if due:
            near = self.searcher.detect_near(image, np.array([self.known[i].box for i in due]).reshape(-1, 4), side)
            for i, one in zip(due, near, strict=True):
                again[i] = None if one is None else Detections.of(one)

    def for_new_video(self) -> ScheduledDetector:
        """Return a detector for another video, with the same searcher and independent settings."""
        return ScheduledDetector(copy.copy(self.searcher), self.every)

    def forget(self) -> None:
        """Forget all faces; the next image is searched completely."""
        self.known, self.age, self.last, self.turn, self.calm = [], EVERY, None, 0, 0

    def _remember(self, image: np.ndarray, found: Detections, again: list[Detections | None],
                  carried: Sequence[np.ndarray] = ()) -> Detections:
        lost = [Known(face.box, face.misses + 1) for face, one in zip(self.known, again, strict=True) if one is None
                and face.misses < MEMORY and not any(same_face(face.box, other) for other in found.boxes)]
        self.calm = self.calm + 1 if len(found) == sum(not face.misses for face in self.known) else 0
        self.last = image if len(found) else None
        self.known = [Known(box, 0, found[[i]], any(np.array_equal(box, other) for other in carried))
                      for i, box in enumerate(found.boxes)] + lost
        return found


def _found(again: Sequence[Detections | None]) -> Detections:
    return Detections.joined(one for one in again if one is not None)


def for_new_video(detector: FaceDetector) -> FaceDetector:
    """Return a detector for another video; stateless detectors are shared."""
    return detector.for_new_video() if isinstance(detector, ScheduledDetector) else detector


def detect(detector: FaceDetector, frame: Frame, is_new_video: bool) -> Detections:
    """Return the faces in one frame. is_new_video: the frame starts a new video or segment."""
    if is_new_video and isinstance(detector, ScheduledDetector):
        detector.forget()
    return Detections.of(cast(TileDetector, detector).detect(frame.image, frame.smallest_side) if frame.tiles else
                         detector.detect(frame.image))


def is_same_patch(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    """Whether two patches show the same content at the same place; False if one is missing or flat."""
    return a is not None and b is not None and correlation(a, b) >= THE_SAME


def alike(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    """Whether two patches show the same content; True if one is missing or the first has no texture."""
    return a is None or b is None or not a.any() or correlation(a, b) >= ALIKE
