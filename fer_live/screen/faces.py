"""Draws faces on an image: four box corners around each face, and a chip with its label beside it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from fer_live.screen.palette import COLORS, PLATE, WHITE, Color
from fer_live.screen.pen import Pen, Sprite, chip, overlap, place
from fer_live.screen.smoothing import DisplayedFace
from fer_live.types import Box

ARM, ROUND = 0.2, 0.07  # length of a corner's arms and radius of its bend, relative to the side of the box
USUAL = 0.23  # chips have full size for faces of at least this side, relative to the image's shorter side
SMALLEST_SHARE = 0.5  # minimum size of a chip, relative to the full size
BETTER = 0.15  # a chip moves only if that frees this share of its area
SHIFT = 4  # fractional bits of the coordinates passed to OpenCV
FAR = 1e8  # limit of coordinates that OpenCV still draws
TURN = np.linspace(0, np.pi / 2, 4)
BEND = ROUND * np.stack([1 - np.cos(TURN), 1 - np.sin(TURN)], axis=1)
CORNERS = (np.concatenate([[[0, ARM]], BEND, [[ARM, 0]]])  # (4, 6, 2) upper left, upper right, lower left, lower right
           * np.array([[1, 1], [-1, 1], [1, -1], [-1, -1]])[:, None])


class Faces:
    """Draws the faces of consecutive frames. It remembers where each chip was, so that chips stay in place."""

    def __init__(self) -> None:
        self.spots: dict[int, int] = {}
        self.drawn: list[Box] = []  # rectangles that contain all that was drawn on the last image

    def draw(self, image: np.ndarray, shown: Sequence[DisplayedFace], scale: float, with_numbers: bool) -> list[Box]:
        """Draw on (H, W, 3) uint8 BGR, which is the frame scaled by `scale`. Returns the covered rectangles: boxes and chips."""
        boxes = [tuple(scale * v for v in face.box) for face in shown]
        taken = [(round(x1), round(y1), round(x2), round(y2)) for x1, y1, x2, y2 in boxes]
        self.drawn = []
        for face, box in zip(shown, boxes, strict=True):
            self.drawn += _corners(image, box, COLORS.get(face.label, WHITE), _pen(image, box).line)
        spots = {}
        for face, box in zip(shown, boxes, strict=True):
            sprite = _chip(image, face, box, with_numbers)
            at, spots[face.track_id] = self._spot(image, face.track_id, box, sprite, taken)
            sprite.lay(image, at[0], at[1])
            taken.append(at)
            self.drawn.append(at)
        self.spots = spots
        return taken

    def _spot(self, image: np.ndarray, track_id: int, box: tuple[float, ...], sprite: Sprite, taken: list[Box],
              ) -> tuple[Box, int]:
        """Return the position of a chip and its index: above, below or shifted, whichever covers the least of faces and chips."""
        x1, y1, x2, y2 = box
        gap, size_wh = max(2, sprite.h // 5), (image.shape[1], image.shape[0])
        above, below, middle = round(y1) - sprite.h - gap, round(y2) + gap, round((x1 + x2 - sprite.w) / 2)
        corners = [(middle, above), (middle, below), (round(x1), above), (round(x2) - sprite.w, above), (round(x1), below),
                   (round(x2) - sprite.w, below)]
        places = [place(size_wh, x, y, sprite.w, sprite.h) for x, y in corners]
        left, top, right, bottom = zip(*places, strict=True)
        reach = min(left), min(top), max(right), max(bottom)
        near = [other for other in taken if overlap(reach, other)]  # of many faces, few are close enough to matter
        costs = [sum(overlap(spot, other) for other in near) for spot in places]
        best, last = int(np.argmin(costs)), self.spots.get(track_id)
        if last is not None and costs[last] <= costs[best] + BETTER * sprite.w * sprite.h:
            best = last
        return places[best], best


def _chip(image: np.ndarray, face: DisplayedFace, box: tuple[float, ...], with_numbers: bool) -> Sprite:
    return chip(face.word, _pen(image, box).px, face.label or None, face.figure, face.number if with_numbers else 0)


def _pen(image: np.ndarray, box: tuple[float, ...]) -> Pen:
    height, width = image.shape[:2]
    share = (box[2] - box[0]) / (USUAL * min(height, width * 9 / 16))
    return Pen((width, height), min(1.0, max(SMALLEST_SHARE, share)))


def _corners(image: np.ndarray, box: tuple[float, ...], color: Color, line: int) -> list[Box]:
    """Draw the corners of a box, and return the rectangles that contain them."""
    x1, y1, x2, y2 = box
    ends = np.array([[x1, y1], [x2, y1], [x1, y2], [x2, y2]])[:, None]
    corners = ((ends + min(x2 - x1, y2 - y1) * CORNERS) * (1 << SHIFT)).clip(-FAR, FAR).astype(np.int32)
    points, edge = list(corners), 2 * line + 2  # half of the line's width, and its soft border
    cv2.polylines(image, points, False, PLATE, 3 * line, cv2.LINE_AA, SHIFT)
    cv2.polylines(image, points, False, color, line + 1, cv2.LINE_AA, SHIFT)
    least, most = corners.min(1) >> SHIFT, corners.max(1) >> SHIFT
    return [tuple(sides) for sides in np.hstack([least - edge, most + edge]).tolist()]
