"""Cards with a face's number, its label, and bars for its strongest classes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

from fer_live.screen import text
from fer_live.screen.palette import COLORS, LIGHTEST_DARK, PLATE, WHITE, Color
from fer_live.screen.pen import FIGURE, KEPT, Pen, Sprite, chip, overlap, plate
from fer_live.screen.smoothing import TOP, DisplayedFace
from fer_live.types import Box

SETTLED_S = 1.0  # seconds; a border must be free of faces this long before cards appear there
VISIBLE = 0.005  # minimum length of a bar that is drawn
SMALL = 0.84  # font size of the bars, relative to the card's title
MOST_WIDE, MOST_HIGH = 0.42, 0.3  # maximum size relative to the image


class Panel:
    """Draws cards with a font size of `px` pixels per em. labels: all classes. words: their display names."""

    def __init__(self, labels: tuple[str, ...], words: dict[str, str], px: int):
        self.px, self.words = px, words
        self.small, self.gap, self.row = max(8, round(SMALL * px)), round(0.5 * px), round(1.65 * px)
        self.step = round(1.6 * self.small)
        self.names = max(text.width(words.get(name, name), self.small) for name in labels) if labels else 0
        self.figures = text.width("100%", self.small)
        self.wide = self.names + self.figures + round(5.5 * px) + 4 * self.gap
        self.high = self.row + TOP * self.step + self.gap

    def fits(self, high: int) -> int:
        """Return how many cards fit into `high` pixels."""
        return max(0, (high + self.gap) // (self.high + self.gap))

    def column(self, x: int, y: int, count: int) -> list[tuple[int, int]]:
        """Return the upper left corners of cards in a column."""
        return [(x, y + i * (self.high + self.gap)) for i in range(count)]

    def line(self, x: int, y: int, count: int) -> list[tuple[int, int]]:
        """Return the upper left corners of cards in a row."""
        return [(x + i * (self.wide + self.gap), y) for i in range(count)]

    def draw(self, image: np.ndarray, corners: Sequence[tuple[int, int]], shown: Sequence[DisplayedFace], wide: int = 0) -> None:
        """Draw a card for each face on (H, W, 3) uint8 BGR. wide: width of a card in pixels; 0 selects the default."""
        for (x, y), face in zip(corners, shown, strict=True):
            self._card(image, x, y, wide or self.wide, face)

    def _card(self, image: np.ndarray, x: int, y: int, wide: int, face: DisplayedFace) -> None:
        plate(wide, self.high, self.gap).lay(image, x, y)
        chip(face.short, self.px, face.label or None, face.figure, face.number, wide).lay(image, x, y)
        names = min(self.names, round(0.45 * wide))
        left, right = 2 * self.gap + names, wide - 2 * self.gap - self.figures
        for i, (name, length, percent) in enumerate(face.bars):
            top = y + self.row + i * self.step
            word, size_wh = self.words.get(name, name), (wide, self.step)
            _row(word, f"{percent}%", self.small, size_wh, (left, right), self.gap).lay(image, x, top)
            if length >= VISIBLE and left < right:
                middle, color = top + self.step // 2, COLORS.get(name, WHITE)
                _bar(image, x + left, x + right, middle, _thick(self.small), min(1.0, length), color)


@lru_cache(KEPT)
def _row(word: str, figure: str, px: int, size_wh: tuple[int, int], groove: tuple[int, int], gap: int) -> Sprite:
    """Render a bar's name, its empty track between two x coordinates, and its percentage."""
    wide, high = size_wh
    image, baseline = np.full((high, wide, 3), PLATE, np.uint8), (high + text.cap_height(px)) // 2
    text.write(image, word, gap, baseline, text.fit(word, px, groove[0] - 2 * gap), WHITE)
    text.write(image, figure, wide - gap - text.width(figure, px), baseline, px, FIGURE)
    if groove[0] < groove[1]:
        _bar(image, *groove, high // 2, _thick(px), 1.0, LIGHTEST_DARK)
    return Sprite(image, 0)


def _thick(px: int) -> int:
    return max(3, round(0.5 * px))


def _bar(image: np.ndarray, left: int, right: int, middle: int, thick: int, length: float, color: Color) -> None:
    """Draw a bar with round ends that fills `length` (0..1) of the way from `left` to `right`."""
    start, end = left + thick / 2, left + thick / 2 + length * max(0, right - left - thick)
    points = [(round(16 * start), 16 * middle), (round(16 * end), 16 * middle)]
    cv2.line(image, points[0], points[1], color, thick, cv2.LINE_AA, 4)


class Inset:
    """Cards inside an image that has no room beside it, such as a recording, along a border without faces: right, left or bottom.

    The cards stay at their border and are hidden while a face is there. They move to a border that was free for SETTLED_S.
    """

    def __init__(self, labels: tuple[str, ...], words: dict[str, str]):
        self.labels, self.words = labels, words
        self.busy_s: dict[str, float] = {}  # border -> time at which a face was last there
        self.side, self.panel = "", Panel(labels, words, 11)

    def draw(self, image: np.ndarray, shown: Sequence[DisplayedFace], taken: Sequence[Box], time_s: float) -> None:
        """Draw on (H, W, 3) uint8 BGR. taken: boxes and chips. time_s: frame time; if time goes back, the state is reset."""
        pen = Pen((image.shape[1], image.shape[0]), 0.75)
        if pen.px != self.panel.px:
            self.panel = Panel(self.labels, self.words, pen.px)
        if not self.busy_s or time_s < max(self.busy_s.values()):
            self.side, self.busy_s = "", {}
        places = self._places(image, len(shown), pen)
        for side, corners in places.items():
            box = (*corners[0], corners[-1][0] + self.panel.wide, corners[-1][1] + self.panel.high)
            if any(overlap(box, other) for other in taken):
                self.busy_s[side] = time_s
            else:
                self.busy_s.setdefault(side, -np.inf)
        free = [side for side in places if time_s - self.busy_s[side] >= SETTLED_S]
        if self.side not in free:
            self.side = free[0] if free else ""
        if self.side:
            self.panel.draw(image, places[self.side], shown[: len(places[self.side])])

    def _places(self, image: np.ndarray, count: int, pen: Pen) -> dict[str, list[tuple[int, int]]]:
        """Return the borders with room for `count` cards, or as many as fit, best first: border -> upper left corners."""
        panel, (height, width) = self.panel, image.shape[:2]
        top, right = 3 * pen.gap + pen.row, width - panel.wide - pen.gap  # below the marks that concern the whole image
        places = {}
        if panel.wide <= MOST_WIDE * width and (fitting := min(count, panel.fits(height - top - pen.gap))):
            places = {"right": panel.column(right, top, fitting), "left": panel.column(pen.gap, top, fitting)}
        fitting = min(count, (width - 2 * pen.gap + panel.gap) // (panel.wide + panel.gap))
        if fitting > 0 and panel.high <= MOST_HIGH * height:
            x = (width - fitting * (panel.wide + panel.gap) + panel.gap) // 2
            places["below"] = panel.line(x, height - panel.high - pen.gap, fitting)
        return places
