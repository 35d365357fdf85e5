"""Drawing functions for a kiosk's screen: plates, text and signs in sizes relative to the screen."""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np

from fer_live.screen import text
from fer_live.screen.palette import PLATE, WHITE, Color, luminance
from fer_live.types import Box

BLACK: Color = (0, 0, 0)
GRAY: Color = (170, 170, 170)
MAIN = 0.025  # minimum font size of essential text, legible from three meters, relative to the screen's height
SHIFT = 4  # fractional bits of the coordinates passed to OpenCV
LEADING = 1.25  # line height, relative to the font size


class Canvas:
    """image: (H, W, 3) uint8 BGR, drawn on in place."""

    def __init__(self, image: np.ndarray):
        self.image = image
        self.h, self.w = image.shape[:2]
        self.unit = min(self.w, self.h) / 720
        self.least = math.ceil(MAIN * self.h)

    def px(self, size: float) -> int:
        """Scale a length given for a screen with a shorter side of 720 to pixels."""
        return round(size * self.unit)

    def plate(self, box: Box, color: Color = PLATE, corner: int | None = None) -> None:
        """Draw a filled rectangle with round corners."""
        x1, y1, x2, y2 = box
        radius = min(self.px(14) if corner is None else corner, (x2 - x1) // 2, (y2 - y1) // 2)
        if x2 <= x1 or y2 <= y1:
            return
        outline: list[np.ndarray] = []
        left, top, right, bottom = x1 + radius, y1 + radius, x2 - 1 - radius, y2 - 1 - radius
        for x, y, start in ((right, bottom, 0), (left, bottom, 90), (left, top, 180), (right, top, 270)):
            angles = np.radians(start + np.linspace(0, 90, 10))
            outline.append(np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], axis=1))
        points = np.round(np.concatenate(outline) * 2**SHIFT).astype(np.int32)
        cv2.fillPoly(self.image, [points], color, cv2.LINE_AA, SHIFT)

    def write(self, words: str, x: int, middle: int, px: int, color: Color = WHITE) -> None:
        """Write one line of text with its capitals centered vertically at `middle`."""
        text.write(self.image, words, x, middle + text.cap_height(px) // 2, px, color)

    def middle(self, words: str, box: Box, px: int, color: Color = WHITE, most: int = 2) -> None:
        """Write text centered in a box, in up to `most` lines, at the largest size up to `px` that fits."""
        x1, y1, x2, y2 = box
        px, lines = fitted(words, x2 - x1, y2 - y1, px, most)
        top = (y1 + y2 - round(LEADING * px * len(lines))) // 2
        for i, line in enumerate(lines):
            left = x1 + (x2 - x1 - text.width(line, px)) // 2
            self.write(line, left, top + round(LEADING * px * (i + 0.5)), px, color)

    def number(self, number: int, center: tuple[int, int], radius: int, color: Color) -> None:
        """Draw a number in a disk."""
        cv2.circle(self.image, center, radius + self.px(3), PLATE, cv2.FILLED, cv2.LINE_AA)
        cv2.circle(self.image, center, radius, color, cv2.FILLED, cv2.LINE_AA)
        px = round(radius * 1.35)
        self.write(str(number), center[0] - text.width(str(number), px) // 2, center[1], px, ink_on(color))

    def tick(self, center: tuple[int, int], size: int, color: Color) -> None:
        """Draw a check mark."""
        points = np.array([(-0.45, 0.0), (-0.12, 0.34), (0.48, -0.36)]) * size + center
        cv2.polylines(self.image, [np.round(points).astype(np.int32)], False, color, max(2, size // 6), cv2.LINE_AA)


@lru_cache(200)
def fitted(words: str, wide: int, high: int, px: int, most: float = math.inf) -> tuple[int, list[str]]:
    """Return the largest size up to `px` at which the words fit into `wide` x `high` pixels and `most` lines, and the lines."""
    while True:
        lines = text.wrap(words, px, wide)
        is_low = len(lines) <= most and LEADING * px * len(lines) <= high
        if px <= 8 or (is_low and all(text.width(line, px) <= wide for line in lines)):
            return px, lines
        px -= 1


def ink_on(color: Color) -> Color:
    """Return black or white, whichever has more contrast with `color`: at least 4.5:1 for any color."""
    return BLACK if luminance(color) > 0.179 else WHITE  # both have 4.58:1 at this luminance
