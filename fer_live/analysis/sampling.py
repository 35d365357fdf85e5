"""Face detection in files: searches every third frame. In between, boxes are interpolated if the neighboring searches agree, and
searched for if not. Later frames of a file are available for this."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from fer_live.analysis.detection import MEMORY, Known, ScheduledDetector, alike
from fer_live.analysis.located import MOST_BUFFER_BYTES
from fer_live.analysis.patch import patch
from fer_live.handoff import HeldError
from fer_live.model.both import merged
from fer_live.model.detections import Detections, iou, same_face, touch
from fer_live.types import Frame

STEP = 3  # frames between searches
LONGER = 1.5  # whole-image searches are this much rarer than live, since new faces are tracked backward
WAITING = 2 * STEP  # frames between searches of the whole image while no face is known or one is missed
COMPLETE = 3  # one of so many searches of the whole image is by all parts of the searcher, if all known faces are found again
AGREE = 0.6  # IoU of a face's boxes in two searches from which the frames between them are interpolated


@dataclass
class Looked:
    """A frame and its known faces: face number -> one detection."""

    frame: Frame
    faces: dict[int, Detections] = field(default_factory=dict)


def detect_all(frames: Iterable[Frame], detector: ScheduledDetector) -> Iterator[tuple[Frame, Detections]]:
    """Yield each frame with its faces, in order, up to a dozen frames late. Errors of `frames` are raised at the end."""
    sampled, stream = SampledDetector(detector), HeldError(frames)
    for frame in stream:
        yield from sampled.take(frame)
    yield from sampled.finish()
    stream.raise_error()


class SampledDetector:
    """Face detection on buffered frames, with the settings of `detector`. Use one per video.

    The whole image is searched as by a ScheduledDetector, but less often. New faces are tracked backward through the frames since
    the previous search, so they appear earlier than in live video. Searches are complete, but while all known faces are found
    again, two of three are only the last part of the searcher's: YuNet misses few faces that Haar finds, in a third of the time.
    """

    def __init__(self, detector: ScheduledDetector):
        self.searcher, self.every = detector.searcher, round(LONGER * detector.every)
        self.known: dict[int, Known] = {}
        self.block: list[Looked] = []  # buffered frames; the last one was searched
        self.between: list[Looked] = []  # frames since then
        self.age = 0  # frames since the last search of the whole image
        self.partial = 0  # searches of the whole image since the last complete one
        self.new: set[int] = set()  # numbers of the faces first seen in the last search
        self.next_number = 0
        self.last: Frame | None = None

    def take(self, frame: Frame) -> Iterator[tuple[Frame, Detections]]:
        """Take the next frame; yield the frames that are complete."""
        last, self.last = self.last, frame
        if last and (frame.is_slate or frame.segment != last.segment or frame.time_s < last.time_s
                     or frame.image.shape != last.image.shape or frame.tiles != last.tiles):
            yield from self.finish()
        if frame.is_slate:
            yield frame, Detections.joined([])
            return
        self.between.append(Looked(frame))
        room = MOST_BUFFER_BYTES // frame.image.nbytes
        if not self.block or len(self.between) >= min(STEP, room):
            yield from self._search(min(self.every, room))

    def finish(self) -> Iterator[tuple[Frame, Detections]]:
        """Yield the buffered frames, and forget all faces."""
        if self.between:
            yield from self._search(self.every)
        yield from map(_given, self.block)
        self.known, self.block, self.new = {}, [], set()

    def _search(self, every: int) -> Iterator[tuple[Frame, Detections]]:
        """Search the newest frame, fill in the frames before it, and yield those that are complete."""
        looked, was_whole = self.between[-1], self.age == 0
        self.age += len(self.between)
        is_waiting = not self.known or any(face.misses for face in self.known.values())
        again: dict[int, Detections] = {}
        is_due, is_lost = not self.block or self.age >= (min(every, WAITING) if is_waiting else every), False
        if not is_due:
            again = self._near(looked.frame, {number: face.box for number, face in self.known.items()})
            is_lost = any(number not in again and not face.misses for number, face in self.known.items())
        if is_due or is_lost:
            is_complete = self.searcher.turns == 1 or is_waiting or is_lost or self.partial + 1 >= COMPLETE
            self.partial = 0 if is_complete else self.partial + 1
            self.age, looked.faces = 0, self._whole(looked.frame, again)
        else:
            looked.faces = {number: one for number, one in again.items() if not _is_among(one, again, number)}
        new = looked.faces.keys() - self.known.keys()
        self._remember(looked.faces, again, len(self.between))
        before, self.block, self.between = len(self.block), [*self.block, *self.between], []
        if before:
            self._fill(before - 1, len(self.block) - 1, new)
            for number in self.new & looked.faces.keys():
                if all(number in one.faces for one in self.block[before:]):  # false faces rarely repeat in every frame
                    self._follow(number, self.block[before - 1].faces[number], range(before - 2, -1, -1))
        self.new = new
        if was_whole and before:
            done, self.block = self.block[: before - 1], self.block[before - 1 :]
            yield from map(_given, done)

    def _near(self, frame: Frame, boxes: dict[int, np.ndarray]) -> dict[int, Detections]:
        """Return the faces found again near these boxes."""
        if not boxes:
            return {}
        found = self.searcher.detect_near(frame.image, np.array([*boxes.values()]).reshape(-1, 4), _side(frame))
        return {number: Detections.of(one) for number, one in zip(boxes, found, strict=True) if one is not None}

    def _whole(self, frame: Frame, again: dict[int, Detections]) -> dict[int, Detections]:
        """Search the whole image, and match the faces to known numbers. Faces found only by the nearby search are kept.

        again: faces found nearby, which are added if the search is not complete."""
        if not self.partial:
            found = Detections.of(self.searcher.detect(frame.image, _side(frame)))
        else:
            again.update(self._near(frame, {number: face.box for number, face in self.known.items()}))
            near = Detections.joined(again.values())
            last = self.searcher.detect_in_turn(frame.image, self.searcher.turns - 1, near, _side(frame), thorough=True)
            found = merged(Detections.of(last), near)
        places = {number: face.box for number, face in self.known.items()} | {n: one.boxes[0] for n, one in again.items()}
        faces: dict[int, Detections] = {}
        for i in range(len(found)):
            box = found.boxes[i]
            same = [number for number, place in places.items() if number not in faces and touch(place, box)]
            number = min(same, key=lambda number: float(np.abs(places[number] - box).sum()), default=self.next_number)
            self.next_number += number == self.next_number
            faces[number] = found[[i]]
        kept = {number: one for number, one in again.items() if number not in faces
                and not any(same_face(one.boxes[0], other) for other in found.boxes)}
        return faces | kept

    def _remember(self, faces: dict[int, Detections], again: dict[int, Detections], frames: int) -> None:
        """Update the known faces. frames: number of frames since the previous search."""
        lost = {number: Known(face.box, face.misses + frames) for number, face in self.known.items()
                if number not in faces and number not in again and face.misses < MEMORY
                and not any(same_face(face.box, one.boxes[0]) for one in faces.values())}
        self.known = {number: Known(one.boxes[0]) for number, one in faces.items()} | lost

    def _fill(self, start: int, stop: int, new: set[int]) -> None:
        """Fill in the frames between two searched ones of the block. new: numbers of the faces first seen in the second."""
        first, last = self.block[start].faces, self.block[stop].faces
        for number, one in first.items():
            other = last.get(number)
            if other is None or number in self.new:
                self._follow(number, one, range(start + 1, stop))
            elif iou(one.boxes[0], other.boxes[0]) >= AGREE:
                self._interpolate(number, start, stop)
            else:
                middle = (start + stop + 1) // 2
                self._follow(number, one, range(start + 1, middle))
                self._follow(number, other, range(stop - 1, middle - 1, -1))
        for number in last.keys() - first.keys() - new:  # found again after a miss
            self._follow(number, last[number], range(stop - 1, start, -1))

    def _interpolate(self, number: int, start: int, stop: int) -> None:
        """Interpolate a face between two frames in which it was found. Where the content differs, require a detection."""
        one, other = self.block[start].faces[number], self.block[stop].faces[number]
        look = patch(self.block[start].frame.image, one.boxes[0])
        for i in range(start + 1, stop):
            looked, face = self.block[i], _between(one, other, (i - start) / (stop - start))
            if not alike(look, patch(looked.frame.image, face.boxes[0])):
                found = self._near(looked.frame, {number: face.boxes[0]}).get(number)
                if found is None:
                    continue
                face = found
            looked.faces[number] = face

    def _follow(self, number: int, one: Detections, frames: Sequence[int]) -> None:
        """Track a face from frame to frame until it is not found or coincides with another."""
        for i in frames:
            looked = self.block[i]
            found = self._near(looked.frame, {number: one.boxes[0]}).get(number)
            if found is None or _is_among(found, looked.faces, number):
                return
            looked.faces[number] = one = found


def _side(frame: Frame) -> int | None:
    return frame.smallest_side if frame.tiles else None


def _given(looked: Looked) -> tuple[Frame, Detections]:
    return looked.frame, Detections.joined(looked.faces.values())


def _is_among(one: Detections, faces: dict[int, Detections], number: int) -> bool:
    """Whether it coincides with a face listed before `number` in `faces`, or with any face if `number` is not listed."""
    for other, face in faces.items():
        if other == number:
            return False
        if same_face(one.boxes[0], face.boxes[0]):
            return True
    return False


def _between(a: Detections, b: Detections, share: float) -> Detections:
    """Interpolate between two detections of a face; landmarks and scores are NaN if either has none."""
    boxes, landmarks, scores = (x + share * (y.astype(np.float32) - x) for x, y in
                                ((a.boxes, b.boxes), (a.landmarks, b.landmarks), (a.scores, b.scores)))
    return Detections(np.rint(boxes).astype(np.int32), landmarks.astype(np.float32), scores.astype(np.float32))
