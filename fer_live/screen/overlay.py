"""Draws an analysis on a copy of its frame. The result is recorded, saved, served, and returned by the library."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from fer_live.screen import text
from fer_live.screen.faces import Faces
from fer_live.screen.palette import PLATE, WHITE
from fer_live.screen.panel import Inset
from fer_live.screen.pen import Pen, Sprite, chip, place
from fer_live.screen.smoothing import DisplaySmoother
from fer_live.types import Analysis, Box, Rates, View

RED = (40, 40, 230)


class Overlay:
    """Draws what the view enables.

    labels: class names in the order of the probabilities. words: display names of the classes; missing ones keep their class
    name. smoother: smooths what is shown; can be shared with others that show the same frames.
    """

    def __init__(self, labels: tuple[str, ...], view: View, words: dict[str, str] | None = None,
                 smoother: DisplaySmoother | None = None):
        self.view = view
        self.smoother = smoother or DisplaySmoother(labels, words or {})
        self.faces, self.inset = Faces(), Inset(labels, words or {})
        self._last: tuple[np.ndarray | None, list[Box] | None] = None, None

    def draw(self, analysis: Analysis, rates: Rates | None = None) -> np.ndarray:
        """Return a new image (H, W, 3) uint8 BGR: the frame with its faces and, if `rates` is given and enabled, the fps."""
        image = analysis.frame.image.copy()
        shown = self.smoother(analysis)
        taken = self.faces.draw(image, shown, 1.0, self.view.bars or self.view.numbers)
        if self.view.bars:
            self.inset.draw(image, shown, taken, analysis.frame.time_s)
        draw_marks(image, self.view, rates)
        self._last = image, None if self.view.bars or has_marks(self.view, rates) else self.faces.drawn
        return image

    def drawn_on(self, image: np.ndarray) -> list[Box] | None:
        """Return boxes that contain all that was drawn on an image, or None if it is not the last one or they are unknown."""
        last, boxes = self._last
        return boxes if image is last else None


def has_marks(view: View, rates: Rates | None) -> bool:
    """Whether `draw_marks` draws anything."""
    return bool(view.badge or view.recording or view.notice or (rates is not None and view.fps))


def draw_marks(image: np.ndarray, view: View, rates: Rates | None) -> int:
    """Draw what concerns the whole image: badge, fps, recording mark and notice. Returns the height of the notice in pixels."""
    height, width = image.shape[:2]
    pen = Pen((width, height))
    corner = [view.badge] if view.badge else []
    if rates is not None and view.fps:
        corner.append(f"{rates.fps:.0f} fps, {rates.dropped} dropped")
        corner += [view.quality] if view.quality else []
    if corner:
        chip("   ".join(corner), pen.px).lay(image, pen.gap, pen.gap)
    if view.recording:
        mark = _record_mark(pen.px)
        x, y, _, _ = place((width, height), width - mark.w - pen.gap, pen.gap, mark.w, mark.h)
        mark.lay(image, x, y)
    lines = _lines(view.notice, pen.px, max(8 * pen.px, width - 5 * pen.gap)) if view.notice else []
    step = pen.row + pen.gap // 2
    for i, line in enumerate(lines):
        chip(line, pen.px).lay(image, pen.gap, height - pen.gap - (len(lines) - i) * step)
    return len(lines) * step


@lru_cache(4)
def _record_mark(px: int) -> Sprite:
    high, dot = round(1.65 * px), round(1.7 * px)
    image = np.full((high, dot + text.width("REC", px) + round(0.5 * px), 3), PLATE, np.uint8)
    cv2.circle(image, (dot // 2 + px // 10, high // 2), round(0.42 * px), RED, cv2.FILLED, cv2.LINE_AA)
    text.write(image, "REC", dot, (high + text.cap_height(px)) // 2, px, WHITE)
    return Sprite(image, high // 3)


@lru_cache(4)
def _lines(words: str, px: int, most: int) -> list[str]:
    return text.wrap(words, px, most)
