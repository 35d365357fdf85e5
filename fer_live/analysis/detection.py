"""When to search for faces: the whole picture every few frames, in between only around those that are known."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import cv2
import numpy as np

from fer_live.model.detections import Detections, same_face
from fer_live.protocols import FaceDetector, TileDetector
from fer_live.types import Frame

EVERY = 8  # frames from one search of the whole picture to the next while all known faces are found again
EVERY_WAITING = 2  # the same while none is known, or one is missed: who comes or turns back should not wait
MOST_EACH = 8  # known faces up to which each is looked for in every frame; of more, in turn, in every other frame
GRID, ALIKE = 12, 0.5  # points a side by which two patches are compared, and the correlation of those that show one face
MEMORY = 12  # frames through which a lost face is still looked for where it was


class Searcher(Protocol):
    """What a schedule needs of a detector. Shallow copies of it search at the same time in several threads."""

    min_face: float  # side of the smallest face, in pixels, or below 1 as a share of the shorter side of the frame

    def detect(self, image: np.ndarray, side: int | None = None) -> np.ndarray | Detections:
        """(H, W, 3) uint8 BGR -> the faces in the whole picture, or only their boxes (N, 4) int32 xyxy. side: see
        `ScheduledDetector.detect`."""
        ...

    def detect_near(self, image: np.ndarray, boxes: np.ndarray, side: int | None = None
                    ) -> Sequence[np.ndarray | Detections | None]:
        """For each of the boxes (N, 4) the face that was there, or only its new box (4,), or None."""
        ...


@dataclass
class Known:
    """A face that was found, and how many frames ago."""

    box: np.ndarray  # (4,) int32 xyxy
    misses: int = 0
    found: Detections | None = None  # what was found; None where it is missed
    is_carried: bool = False  # it was not looked for in the last frame


class ScheduledDetector:
    """A detector of faces in video: remembers where they were. For each video its own.

    The whole picture is searched when it is due and as soon as a known face is not found again. `every` may be changed while
    it runs; 1 searches every frame whole.
    """

    def __init__(self, searcher: Searcher, every: int = EVERY):
        self.searcher, self.every = searcher, every
        self.known: list[Known] = []
        self.last: np.ndarray | None = None  # the picture before
        self.age = EVERY  # frames since the last search of the whole picture

    def detect(self, image: np.ndarray, side: int | None = None) -> Detections:
        """(H, W, 3) uint8 BGR -> the faces. side: by which the smallest face is measured, in pixels; None: the picture's shorter
        side."""
        more = () if side is None else (side,)
        self.age += 1
        is_waiting = not self.known or any(face.misses for face in self.known)
        again: list[Detections | None] = [None] * len(self.known)
        if self.age < (min(self.every, EVERY_WAITING) if is_waiting else self.every):
            again, carried = self._near(image, more)
            if not any(one is None and not face.misses for face, one in zip(self.known, again, strict=True)):
                found = Detections.joined(one for one in again if one is not None)
                return self._remember(image, found.singled(), again, carried)  # two that were known may be found in one place
        self.age = 0
        found = Detections.of(self.searcher.detect(image, *more))
        # what only the look nearby found is kept: it sees small faces in more detail
        kept = [one for one in again if one is not None and not any(same_face(one.boxes[0], other) for other in found.boxes)]
        return self._remember(image, Detections.joined([found, *kept]), again)

    def _near(self, image: np.ndarray, more: tuple[int, ...]) -> tuple[list[Detections | None], list[np.ndarray]]:
        """The known faces where they are found again, and the boxes of those that were not looked for this time."""
        again: list[Detections | None] = [None] * len(self.known)
        is_any_carried = any(face.is_carried for face in self.known)
        for i, face in enumerate(self.known if len(self.known) > MOST_EACH else []):
            is_free = not face.is_carried and not face.misses and (is_any_carried or i % 2)
            if is_free and self.last is not None and alike(patch(self.last, face.box), patch(image, face.box)):
                again[i] = face.found
        due, carried = [i for i, one in enumerate(again) if one is None], [one.boxes[0] for one in again if one is not None]
        near = self.searcher.detect_near(image, np.array([self.known[i].box for i in due]).reshape(-1, 4), *more)
        for i, one in zip(due, near, strict=True):
            again[i] = None if one is None else Detections.of(one)
        return again, carried

    def for_new_video(self) -> ScheduledDetector:
        """The same for another video, with settings of its own."""
        return ScheduledDetector(copy.copy(self.searcher), self.every)

    def forget(self) -> None:
        """Forget where faces were: the next picture is searched whole."""
        self.known, self.age, self.last = [], EVERY, None

    def _remember(self, image: np.ndarray, found: Detections, again: list[Detections | None],
                  carried: Sequence[np.ndarray] = ()) -> Detections:
        lost = [Known(face.box, face.misses + 1) for face, one in zip(self.known, again, strict=True) if one is None
                and face.misses < MEMORY and not any(same_face(face.box, other) for other in found.boxes)]
        self.last = image if len(found) > MOST_EACH else None
        self.known = [Known(box, 0, found[[i]], any(np.array_equal(box, other) for other in carried))
                      for i, box in enumerate(found.boxes)] + lost
        return found


def for_new_video(detector: FaceDetector) -> FaceDetector:
    """The same for another video; what has no memory is shared."""
    return detector.for_new_video() if isinstance(detector, ScheduledDetector) else detector


def detect(detector: FaceDetector, frame: Frame, is_anew: bool) -> Detections:
    """The faces in one frame. is_anew: it has nothing to do with those before."""
    if is_anew and isinstance(detector, ScheduledDetector):
        detector.forget()
    return Detections.of(cast(TileDetector, detector).detect(frame.image, frame.smallest_side) if frame.tiles else
                         detector.detect(frame.image))


def patch(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """A grid of GRID x GRID points of the box (4,) in a picture (H, W, 3) uint8 BGR; of mean 0 and length 1, or all 0."""
    x1, y1, x2, y2 = (max(0, int(side)) for side in box)
    if not image[y1:y2, x1:x2].size:
        return np.zeros((GRID, GRID), np.float32)
    points = cv2.resize(image[y1:y2, x1:x2, 1], (GRID, GRID), interpolation=cv2.INTER_NEAREST).astype(np.float32)
    points -= points.mean()
    return points / max(1e-3, float(np.sqrt(np.vdot(points, points))))


def alike(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two patches show the same, as far as the first shows anything."""
    return not a.any() or float(np.vdot(a, b)) >= ALIKE
