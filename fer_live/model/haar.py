"""Finds faces with OpenCV's Haar cascade (Viola and Jones, 2001)."""

from __future__ import annotations

import os

import cv2
import numpy as np

from fer_live.model.cascade import Cascade
from fer_live.model.pool import Pool

# alt2 gives, on our two clips, the same true faces as frontalface_default with fewer false ones, in two thirds of the time.
CASCADE = "haarcascade_frontalface_alt2.xml"
BASE = 20  # pixels; the side of the cascade's own window, the smallest face that it can find
NEAR = 0.3  # how far around a known face it is looked for again, in sides of its box
NEAR_SIZE = 1.25  # how much larger or smaller it may have become
NONE = np.empty((0, 4))
MIN_FACE = 0.14  # of the frame's shorter side
# The votes of the cascade's last stage: no hit had fewer than 54. On our clips about a third of the false and doubled faces lie
# below 54.9, and at most a tenth of the true ones, which come back in the next frame.
MIN_WEIGHT = 54.9


class HaarFaceDetector:
    """A frontal-face cascade on a gray picture reduced so far that the smallest face asked for is as large as its window.

    min_face: side of the smallest face: pixels of the full frame from 1 up, below 1 a share of its shorter side, or of the `side`
    (in pixels) that is given, where the frame is made of smaller pictures.
    step: ratio between the sizes that are searched. neighbors: overlapping hits that make a face.

    Many threads may use it at once. A shallow copy shares the cascades and has settings of its own.
    """

    def __init__(self, min_face: float = MIN_FACE, step: float = 1.15, neighbors: int = 2, min_weight: float = MIN_WEIGHT):
        # a cascade keeps the picture that it searches: two threads in one find each other's faces, or none
        self.cascades = Pool(lambda: Cascade(CASCADE), os.cpu_count() or 2)
        self.min_face, self.step, self.neighbors, self.min_weight = min_face, step, neighbors, min_weight

    def detect(self, image: np.ndarray, side: int | None = None) -> np.ndarray:
        """(H, W, 3) uint8 BGR -> (N, 4) int32 xyxy inside the picture, the surest first; no face gives shape (0, 4)."""
        gray, ratio_xy = self._reduced(image, side)
        if gray is None:
            return np.empty((0, 4), np.int32)
        hits_xywh, weights = self._search(gray)
        return _full_boxes(_singled(hits_xywh[weights >= self.min_weight]), ratio_xy, image.shape)

    def detect_near(self, image: np.ndarray, boxes: np.ndarray, side: int | None = None) -> list[np.ndarray | None]:
        """Look for known faces again where they were, in sizes near its own: for each of the boxes (N, 4)
        its new box (4,) int32 xyxy, or None. Hits are those of `detect`, at a tenth of its work, but for a face that is known
        to be there a weaker one will do."""
        gray, ratio_xy = self._reduced(image, side)
        return [self._again(gray, ratio_xy, image.shape, box) if gray is not None else None for box in boxes]

    def _again(
        self, gray: np.ndarray, ratio_xy: tuple[float, float], shape: tuple[int, ...], box: np.ndarray
    ) -> np.ndarray | None:
        x1, y1, x2, y2 = box / [*ratio_xy, *ratio_xy]
        side = x2 - x1
        left, top = max(0, round(x1 - NEAR * side)), max(0, round(y1 - NEAR * side))
        part = gray[top : round(y2 + NEAR * side), left : round(x2 + NEAR * side)]
        if min(part.shape) < BASE:
            return None
        hits_xywh, _ = self._search(part, round(side / NEAR_SIZE), round(side * NEAR_SIZE))
        return _nearest(_full_boxes(hits_xywh + np.array([left, top, 0, 0]), ratio_xy, shape), box)

    def _reduced(self, image: np.ndarray, side: int | None) -> tuple[np.ndarray | None, tuple[float, float]]:
        """The gray picture that is searched, or None if it is too small, and how much larger the full one is in x and y."""
        height, width = image.shape[:2]
        smallest = self.min_face if self.min_face >= 1 else self.min_face * (side or min(height, width))
        scale = min(1.0, BASE / max(smallest, BASE))
        if min(height, width) * scale < BASE:
            return None, (1.0, 1.0)
        if scale < 1:  # the colors are reduced with the picture: three small planes cost less than one large gray one
            size_wh = round(width * scale), round(height * scale)
            image = cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA if scale > 0.5 else cv2.INTER_LINEAR)
        gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        return gray, (width / gray.shape[1], height / gray.shape[0])

    def _search(self, gray: np.ndarray, smallest: int = BASE, largest: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Hits (N, 4) float xywh and their weights (N,), the surest first. Sizes are pixels of `gray`; 0 sets no limit."""
        with self.cascades.lent() as cascade:
            boxes_xywh, _, weights = cascade.ready_for(gray).detectMultiScale3(
                gray, scaleFactor=self.step, minNeighbors=self.neighbors, minSize=(max(BASE, smallest),) * 2,
                maxSize=(largest, largest), outputRejectLevels=True,
            )
        if not len(boxes_xywh):
            return NONE, np.empty(0)
        sure = np.asarray(weights, np.float64).ravel()
        order = np.argsort(-sure)
        return np.asarray(boxes_xywh, np.float64)[order], sure[order]


def _full_boxes(hits_xywh: np.ndarray, ratio_xy: tuple[float, float], shape: tuple[int, ...]) -> np.ndarray:
    """Hits in the reduced picture -> (N, 4) int32 xyxy in the picture of `shape` (H, W, 3), inside it."""
    x, y, w, h = (hits_xywh * [*ratio_xy, *ratio_xy]).T
    size_wh = shape[1::-1]
    boxes: np.ndarray = np.clip(np.rint(np.stack([x, y, x + w, y + h], axis=1)), 0, [*size_wh, *size_wh])
    return boxes.astype(np.int32)


def _nearest(boxes: np.ndarray, box: np.ndarray) -> np.ndarray | None:
    """The box whose center is nearest to that of `box`, if it is nearer than half a side: others are other faces."""
    if not len(boxes):
        return None
    ways = np.abs(boxes[:, :2] + boxes[:, 2:] - box[:2] - box[2:]).max(1) / 2
    best = int(ways.argmin())
    return boxes[best] if ways[best] < 0.5 * (box[2] - box[0]) else None


def _singled(boxes_xywh: np.ndarray) -> np.ndarray:
    """Boxes (N, 4), the surest first, without those whose center lies in a surer one: the same face, found twice."""
    kept: list[np.ndarray] = []
    for box in boxes_xywh:
        x, y = box[0] + box[2] / 2, box[1] + box[3] / 2
        if not any(a <= x < a + w and b <= y < b + h for a, b, w, h in kept):
            kept.append(box)
    return np.array(kept).reshape(-1, 4)
