"""Face detection with OpenCV's Haar cascade (Viola and Jones, 2001)."""

from __future__ import annotations

import os

import cv2
import numpy as np

from fer_live.model.cascade import Cascade
from fer_live.model.detections import Detections
from fer_live.model.pool import Pool

# On our two clips, alt2 finds the same true faces as frontalface_default with fewer false ones, in two thirds of the time.
CASCADE = "haarcascade_frontalface_alt2.xml"
BASE = 20  # pixels; side of the cascade's window, and so of the smallest face it can find
NEAR = 0.3  # search margin around a known face, in sides of its box
NEAR_SIZE = 1.25  # maximum change in size of a known face between searches
NONE = np.empty((0, 4))
MIN_FACE = 0.14  # fraction of the frame's shorter side
STILL_MIN_FACE = 0.06  # the same for single images; group photos have small faces, and there is time to search for them
# Votes of the cascade's last stage; no hit has fewer than 54. On our clips, about a third of the false and duplicate faces are
# below 54.9, and at most a tenth of the true ones, which are found again in the next frame.
MIN_WEIGHT = 54.9


class HaarFaceDetector:
    """Frontal-face cascade on a grayscale image, scaled down so that the smallest requested face matches the cascade's window.

    min_face: side of the smallest face: from 1 up in pixels of the full frame, below 1 as a fraction of its shorter side, or of
    `side` (in pixels) if given, for frames composed of tiles.
    step: scale factor between searched sizes. neighbors: overlapping hits required for a face.

    Thread-safe. A shallow copy shares the cascades but has independent settings.
    """

    turns = 1  # see Searcher in analysis/detection.py

    def __init__(self, min_face: float = MIN_FACE, step: float = 1.15, neighbors: int = 2, min_weight: float = MIN_WEIGHT):
        # cascades are not thread-safe: they store the image being searched
        self.cascades = Pool(lambda: Cascade(CASCADE), os.cpu_count() or 2)
        self.min_face, self.step, self.neighbors, self.min_weight = min_face, step, neighbors, min_weight

    def detect(self, image: np.ndarray, side: int | None = None) -> np.ndarray:
        """(H, W, 3) uint8 BGR -> (N, 4) int32 xyxy inside the image, highest score first; without faces the shape is (0, 4)."""
        gray, ratio_xy = self._reduced(image, side)
        if gray is None:
            return np.empty((0, 4), np.int32)
        hits_xywh, weights = self._search(gray)
        return _full_boxes(_singled(hits_xywh[weights >= self.min_weight]), ratio_xy, image.shape)

    def detect_in_turn(self, image: np.ndarray, turn: int, near: Detections, side: int | None = None, thorough: bool = False
                       ) -> np.ndarray:
        """The same as `detect`, which is a single search."""
        return self.detect(image, side)

    def detect_near(self, image: np.ndarray, boxes: np.ndarray, side: int | None = None) -> list[np.ndarray | None]:
        """Search for known faces near their boxes (N, 4), at similar sizes. For each, return a new box (4,) int32 xyxy or None.

        Uses the same cascade as `detect` at a tenth of the work, and accepts weaker hits, since the face is known to be there."""
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
        """Return the grayscale image to search, or None if it is too small, and the scale factors (x, y) to the full image."""
        height, width = image.shape[:2]
        smallest = self.min_face if self.min_face >= 1 else self.min_face * (side or min(height, width))
        scale = min(1.0, BASE / max(smallest, BASE))
        if min(height, width) * scale < BASE:
            return None, (1.0, 1.0)
        if scale < 1:  # scaling in color first is cheaper than converting the full image to gray
            size_wh = round(width * scale), round(height * scale)
            image = cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA if scale > 0.5 else cv2.INTER_LINEAR)
        gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        return gray, (width / gray.shape[1], height / gray.shape[0])

    def _search(self, gray: np.ndarray, smallest: int = BASE, largest: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Return hits (N, 4) float xywh and weights (N,), highest weight first. Sizes are pixels of `gray`; 0: no limit."""
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
    """Convert hits in the scaled image to (N, 4) int32 xyxy inside the full image of `shape` (H, W, 3)."""
    x, y, w, h = (hits_xywh * [*ratio_xy, *ratio_xy]).T
    size_wh = shape[1::-1]
    boxes: np.ndarray = np.clip(np.rint(np.stack([x, y, x + w, y + h], axis=1)), 0, [*size_wh, *size_wh])
    return boxes.astype(np.int32)


def _nearest(boxes: np.ndarray, box: np.ndarray) -> np.ndarray | None:
    """Return the box with the center nearest to that of `box`, or None if it is half a side or more away: another face."""
    if not len(boxes):
        return None
    ways = np.abs(boxes[:, :2] + boxes[:, 2:] - box[:2] - box[2:]).max(1) / 2
    best = int(ways.argmin())
    return boxes[best] if ways[best] < 0.5 * (box[2] - box[0]) else None


def _singled(boxes_xywh: np.ndarray) -> np.ndarray:
    """Remove duplicates from boxes (N, 4), highest score first: those whose center lies in a box with a higher score."""
    kept: list[np.ndarray] = []
    for box in boxes_xywh:
        x, y = box[0] + box[2] / 2, box[1] + box[3] / 2
        if not any(a <= x < a + w and b <= y < b + h for a, b, w, h in kept):
            kept.append(box)
    return np.array(kept).reshape(-1, 4)
