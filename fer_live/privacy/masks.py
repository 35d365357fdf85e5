"""Masks faces in the frame itself, so that every later stage sees only masked faces."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from fer_live.model.cascade import Cascade
from fer_live.model.detections import same_face
from fer_live.model.yunet import YuNetFaceDetector
from fer_live.screen.emoji import draw_emoji
from fer_live.types import Analysis, Box

MASKS = ("blur", "pixelate", "emoji")
PATCHES_WH, SMOOTH_WH = (6, 7), (4, 5)  # mean colors kept of a face; fewer for blur, since interpolation reveals more
MARGIN, ABOVE = 0.3, 0.45  # fractions of the box side; a Haar box covers the face, a head is larger
MEMORY_S = 1.0  # seconds a lost face stays masked
GROWTH = 0.5  # fraction of the box side per second by which the mask of a lost face grows, since the face may move
SEARCHED = 0.14  # fraction of the image's shorter side; default for the smallest face of the second search
BASE = 20  # pixels; window side of the cascades
YUNET_SCORE = 0.5  # score from which a hit is masked; displayed faces need more


class Mask:
    """Masks every face in the frame of an Analysis.

    kind: "blur" and "pixelate" keep only a few mean colors, so sharpening cannot restore the face; "emoji" also draws the
    expression on top. Masks cover all candidate boxes: detections, tentative tracks, coasting tracks, and the hits of a more
    lenient second search that also finds profiles and tilted faces.
    look: whether to run the second search. memory_s: 0 for independent images. min_face: smallest face of the main detector,
    in pixels or, below 1, as a fraction of the shorter side; the second search goes down to this or SEARCHED, if smaller.
    """

    def __init__(self, kind: str, memory_s: float = MEMORY_S, look: bool = True, min_face: float = SEARCHED):
        assert kind in MASKS
        self.kind, self.memory_s, self.min_face = kind, memory_s, min_face
        self.look = SecondLook(thorough=memory_s == 0, min_face=min_face) if look else None
        self.lost: list[Lost] = []

    def __call__(self, analysis: Analysis) -> Analysis:
        frame = analysis.frame
        boxes = [*analysis.seen, *(face.box for face in analysis.faces)]
        if self.look:
            boxes += self.look(frame.image, frame.smallest_side)
        image = frame.image.copy()
        for box in (*boxes, *self._remembered(boxes, frame.time_s)):
            _coarsen(image, widened(box), smooth=self.kind == "blur")
        if self.kind == "emoji":
            for face in sorted(analysis.faces, key=lambda face: face.box[2] - face.box[0]):  # the nearest on top
                x1, y1, x2, y2 = face.box
                radius = round(0.8 * max(x2 - x1, y2 - y1))  # half the box's diagonal is 0.71 sides
                draw_emoji(image, ((x1 + x2) // 2, (y1 + y2) // 2), radius, face.label)
        return replace(analysis, frame=replace(frame, image=image))

    def for_new_video(self) -> Mask:
        """Return a fresh copy for another video."""
        return Mask(self.kind, self.memory_s, self.look is not None, self.min_face)

    def forget(self) -> None:
        """Stop masking the places of lost faces."""
        self.lost.clear()

    def _remembered(self, boxes: list[Box], time_s: float) -> list[Box]:
        """Return the boxes of recently lost faces, grown with the time since they were lost, and remember `boxes`."""
        kept = [lost for lost in self.lost if time_s - lost.seen_s < self.memory_s and not any(_near(lost.box, b) for b in boxes)]
        self.lost = kept + [Lost(box, time_s) for box in boxes] if self.memory_s else []
        return [_grown(lost.box, GROWTH * (time_s - lost.seen_s)) for lost in kept]


@dataclass(frozen=True, slots=True)
class Lost:
    """Where and when a face was last found."""

    box: Box
    seen_s: float


class SecondLook:
    """A lenient face search for masks, which prefer false positives to misses. Independent of the main detector.

    Counts every hit of the frontal cascade, the profile cascade and YuNet. The profile search costs twice as much as the
    frontal one. So each side's profiles and YuNet run on every fourth frame, well within a mask's memory, unless `thorough`.
    min_face: as for `Mask`.
    """

    def __init__(self, thorough: bool = False, min_face: float = SEARCHED):
        self.front, self.side = Cascade("haarcascade_frontalface_alt2.xml"), Cascade("haarcascade_profileface.xml")
        self.yunet = YuNetFaceDetector(min_score=YUNET_SCORE)
        self.thorough, self.min_face, self.turn = thorough, min_face, 0

    def __call__(self, image: np.ndarray, side: int) -> list[Box]:
        """Return xyxy boxes in (H, W, 3) uint8 BGR. side: reference length in pixels for relative face sizes."""
        height, width = image.shape[:2]
        smallest = min(SEARCHED * side, self.min_face if self.min_face >= 1 else self.min_face * side)
        scale = min(1.0, BASE / max(smallest, BASE))
        size_wh = max(1, round(width * scale)), max(1, round(height * scale))
        small = cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA if scale > 0.5 else cv2.INTER_LINEAR)
        gray = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
        found = self._hits(self.front, gray, 1)
        self.turn = (self.turn + 1) % 4
        if self.thorough or self.turn == 0:
            found += self._hits(self.side, gray, 2)
        if self.thorough or self.turn == 2:  # the cascade detects profiles in one direction only
            found += [(size_wh[0] - x - w, y, w, h) for x, y, w, h in self._hits(self.side, cv2.flip(gray, 1), 2)]
        boxes = [(int(x / scale), int(y / scale), round((x + w) / scale), round((y + h) / scale)) for x, y, w, h in found]
        if self.thorough or self.turn == 1:
            self.yunet.min_face = max(1, smallest)
            boxes += map(tuple, self.yunet.detect(image).boxes.tolist())
        return boxes

    def _hits(self, cascade: Cascade, gray: np.ndarray, neighbors: int) -> list:
        if min(gray.shape) < BASE:
            return []
        found = cascade.ready_for(gray).detectMultiScale(gray, scaleFactor=1.15, minNeighbors=neighbors, minSize=(BASE, BASE))
        return list(found)


def widened(box: Box) -> Box:
    """Extend the box of a face to the box of the head."""
    x1, y1, x2, y2 = box
    w, h = x2 - x1, y2 - y1
    return round(x1 - MARGIN * w), round(y1 - ABOVE * h), round(x2 + MARGIN * w), round(y2 + MARGIN * h)


def _grown(box: Box, share: float) -> Box:
    x1, y1, x2, y2 = box
    dx, dy = round(share * (x2 - x1)), round(share * (y2 - y1))
    return x1 - dx, y1 - dy, x2 + dx, y2 + dy


def _near(lost: Box, box: Box) -> bool:
    """Whether `box` is probably the lost face: its center is inside and it has a similar size."""
    return 0.5 < (box[2] - box[0]) / max(1, lost[2] - lost[0]) < 2.0 and same_face(box, lost)


def _coarsen(image: np.ndarray, box: Box, smooth: bool) -> None:
    """Reduce this part of the image to a few mean colors, in place: as patches or, if `smooth`, interpolated."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = max(0, box[0]), max(0, box[1]), min(width, box[2]), min(height, box[3])
    if x1 >= x2 or y1 >= y2:
        return
    part = image[y1:y2, x1:x2]
    few = cv2.resize(part, SMOOTH_WH if smooth else PATCHES_WH, interpolation=cv2.INTER_AREA)
    part[:] = cv2.resize(few, (x2 - x1, y2 - y1), interpolation=cv2.INTER_CUBIC if smooth else cv2.INTER_NEAREST)
