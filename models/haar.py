"""Finds faces with OpenCV's Haar cascade (Viola and Jones, 2001)."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

# alt2 gives, on our two clips, the same true faces as frontalface_default with fewer false ones, in two thirds of the time.
CASCADE = "haarcascade_frontalface_alt2.xml"
BASE = 20  # pixels; the side of the cascade's own window, the smallest face that it can find
MIN_FACE = 0.14  # of the frame's shorter side
# The votes of the cascade's last stage: no hit had fewer than 54. On our clips about a third of the false and doubled faces lie
# below 54.9, and at most a tenth of the true ones, which come back in the next frame.
MIN_WEIGHT = 54.9


class HaarFaceDetector:
    """A frontal-face cascade on a grey picture reduced so far that the smallest face asked for is as large as its window.

    min_face: side of the smallest face: pixels of the full frame from 1 up, below 1 a share of its shorter side.
    step: ratio between the sizes that are searched. neighbours: overlapping hits that make a face.
    """

    def __init__(self, min_face: float = MIN_FACE, step: float = 1.15, neighbours: int = 2, min_weight: float = MIN_WEIGHT):
        path = Path(cv2.data.haarcascades) / CASCADE
        self.cascade = cv2.CascadeClassifier(str(path))
        if self.cascade.empty():
            raise RuntimeError(f"OpenCV {cv2.__version__} has no {CASCADE}; install opencv-contrib-python==4.14.0.94")
        self.min_face, self.step, self.neighbours, self.min_weight = min_face, step, neighbours, min_weight

    def detect(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 BGR -> (N, 4) int32 xyxy inside the picture, the surest first; no face gives shape (0, 4)."""
        height, width = image.shape[:2]
        smallest = self.min_face if self.min_face >= 1 else self.min_face * min(height, width)
        scale = min(1.0, BASE / max(smallest, BASE))
        if min(height, width) * scale < BASE:
            return np.empty((0, 4), np.int32)
        if scale < 1:  # the colours are reduced with the picture: three small planes cost less than one large grey one
            size_wh = round(width * scale), round(height * scale)
            image = cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA if scale > 0.5 else cv2.INTER_LINEAR)
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        boxes_xywh, _, weights = self.cascade.detectMultiScale3(
            grey, scaleFactor=self.step, minNeighbors=self.neighbours, minSize=(BASE, BASE), outputRejectLevels=True
        )
        if not len(boxes_xywh):
            return np.empty((0, 4), np.int32)
        weights = np.asarray(weights, np.float64).ravel()
        order = np.argsort(-weights)
        x, y, w, h = _singled(np.asarray(boxes_xywh, np.float64)[order[weights[order] >= self.min_weight]]).T
        ratio_x, ratio_y = width / grey.shape[1], height / grey.shape[0]
        boxes = np.stack([x * ratio_x, y * ratio_y, (x + w) * ratio_x, (y + h) * ratio_y], axis=1)
        return np.clip(np.rint(boxes), 0, [width, height, width, height]).astype(np.int32)


def _singled(boxes_xywh: np.ndarray) -> np.ndarray:
    """Boxes (N, 4), the surest first, without those whose centre lies in a surer one: the same face, found twice."""
    kept: list[np.ndarray] = []
    for box in boxes_xywh:
        x, y = box[0] + box[2] / 2, box[1] + box[3] / 2
        if not any(a <= x < a + w and b <= y < b + h for a, b, w, h in kept):
            kept.append(box)
    return np.array(kept).reshape(-1, 4)
