"""Chips and plates in sizes relative to the image. Rendered text is cached as sprites, which are cheap to draw."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from fer_live.screen import text
from fer_live.screen.emoji import icon
from fer_live.screen.palette import PLATE, WHITE, Color
from fer_live.types import Box

KEPT = 400  # maximum number of cached sprites; most take about 20 kilobytes
SMALLEST = 11  # pixels per em
FIGURE: Color = (205, 205, 205)
FINE = 4  # supersampling factor of masks


class Pen:
    """Sizes in pixels for an image of (w, h). px: font size. share: scale relative to the normal size, for small faces."""

    def __init__(self, size_wh: tuple[int, int], share: float = 1.0):
        unit = share * min(size_wh[1], size_wh[0] * 9 / 16) / 480  # 1 at 854x480
        self.px = max(SMALLEST, 2 * round(9 * unit))  # in steps, so that few sprites are rendered again as a face approaches
        self.row, self.gap, self.line = round(1.65 * self.px), round(0.4 * self.px), max(1, round(self.px / 9))


class Sprite:
    """An image (h, w, 3) uint8 BGR with round corners, rendered once and drawn many times."""

    __slots__ = ("edge", "h", "image", "ink", "keep", "w")

    def __init__(self, image: np.ndarray, radius: int):
        self.image, (self.h, self.w) = image, image.shape[:2]
        self.edge = min(radius, self.h // 2, self.w // 2)  # columns at both ends that are blended; the others are copied
        cover = rounded(self.w, self.h, radius)[..., None]
        self.ink = np.rint(image * cover).astype(np.uint8)
        self.keep = np.repeat(np.rint(255 * (1 - cover)).astype(np.uint8), 3, axis=2)

    def lay(self, image: np.ndarray, x: int, y: int) -> None:
        """Draw onto (H, W, 3) uint8 BGR with the upper left corner at (x, y), clipped to the image."""
        rows = slice(max(0, y), max(0, min(image.shape[0], y + self.h)))
        a, b = self.edge, self.w - self.edge
        for start, end, is_solid in ((0, a, False), (a, b, True), (b, self.w, False)):
            x1, x2 = max(0, x + start), min(image.shape[1], x + end)
            if x1 < x2 and rows.start < rows.stop:
                inner, part = (slice(rows.start - y, rows.stop - y), slice(x1 - x, x2 - x)), image[rows, x1:x2]
                if is_solid:
                    part[:] = self.image[inner]
                else:
                    cv2.add(cv2.multiply(part, self.keep[inner], scale=1 / 255), self.ink[inner], dst=part)


@lru_cache(KEPT)
def chip(word: str, px: int, label: str | None = None, figure: str = "", number: int = 0, wide: int = 0) -> Sprite:
    """Render words on a rounded plate.

    label: class whose icon precedes the words. figure: text after them, in a column wide enough for any percentage. number: of
    the face, in a circle at the front. wide: width of the plate in pixels; 0 fits the contents.
    """
    gap, high, side = round(0.5 * px), round(1.65 * px), round(1.3 * px)
    before = gap + (side + gap) * ((number > 0) + (label is not None))
    after = gap + (text.width("100%", px) + gap if figure else 0)
    fitting = text.fit(word, px, wide - before - after) if wide else px
    wide = wide or before + text.width(word, px) + after
    image = np.full((high, wide, 3), PLATE, np.uint8)
    x, top = gap, (high - side) // 2
    if number:
        _number(image, x, top, side, number)
        x += side + gap
    if label is not None:
        drawn, cover = icon(label, side)
        part = image[top : top + side, x : x + side]
        part[:] = part * (1 - cover) + drawn * cover
    text.write(image, word, before, (high + text.cap_height(fitting)) // 2, fitting, WHITE)
    if figure:
        text.write(image, figure, wide - gap - text.width(figure, px), (high + text.cap_height(px)) // 2, px, FIGURE)
    return Sprite(image, high // 3)


def _number(image: np.ndarray, x: int, y: int, side: int, number: int) -> None:
    Sprite(np.full((side, side, 3), WHITE, np.uint8), side // 2).lay(image, x, y)
    px = max(8, round(0.62 * side))
    name = str(number)
    text.write(image, name, x + (side - text.width(name, px)) // 2, y + (side + text.cap_height(px)) // 2, px, PLATE)


@lru_cache(64)
def rounded(wide: int, high: int, radius: int) -> np.ndarray:
    """Return a mask (high, wide) float32: 1 inside a rectangle with round corners, 0 outside."""
    mask = np.zeros((high * FINE, wide * FINE), np.uint8)
    r = max(1, min(radius, wide // 2, high // 2)) * FINE
    h, w = mask.shape
    cv2.rectangle(mask, (r, 0), (w - r - 1, h - 1), 255, cv2.FILLED)
    cv2.rectangle(mask, (0, r), (w - 1, h - r - 1), 255, cv2.FILLED)
    for center in ((r, r), (w - r - 1, r), (r, h - r - 1), (w - r - 1, h - r - 1)):
        cv2.circle(mask, center, r, 255, cv2.FILLED)
    return cv2.resize(mask, (wide, high), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


@lru_cache(64)
def plate(wide: int, high: int, radius: int) -> Sprite:
    """Render an empty plate with round corners."""
    return Sprite(np.full((high, wide, 3), PLATE, np.uint8), radius)


def place(size_wh: tuple[int, int], x: int, y: int, w: int, h: int) -> Box:
    """Return a rectangle (w, h) at (x, y), moved inside an image of `size_wh`; xyxy."""
    x, y = max(0, min(x, size_wh[0] - w)), max(0, min(y, size_wh[1] - h))
    return x, y, x + w, y + h


def overlap(a: Box, b: Box) -> int:
    """Return the area in pixels of the intersection of two rectangles."""
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return w * h if w > 0 and h > 0 else 0
