"""Renders the contents of a window: the scaled image, a panel of bars beside it, key hints and short messages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import cv2
import numpy as np

from fer_live.letterbox import letterbox
from fer_live.screen import text
from fer_live.screen.faces import Faces
from fer_live.screen.overlay import draw_marks
from fer_live.screen.palette import WHITE, Color
from fer_live.screen.panel import MOST_WIDE, Panel
from fer_live.screen.pen import FIGURE, SMALLEST, Pen, Sprite, chip, plate
from fer_live.screen.smoothing import LOOK_NEUTRAL, DisplayedFace, DisplaySmoother
from fer_live.screen.words import phrase
from fer_live.types import Analysis, Rates, View

HINT_S = 6.0  # seconds; the key hints are shown this long after the start
GROUND: Color = (16, 16, 16)  # background of the panel
PANEL = 0.8  # font size of the panel, relative to the image's
KEYS = {"q": "key_quit", "r": "key_record", "s": "key_photo", "n": "key_calibrate", "b": "key_bars", "m": "key_mirror",
        "f": "key_full", "space": "key_next", "h": "key_help"}  # key -> phrase, in the order of the help


class Canvas:
    """Renders a window of any size.

    keys: the KEYS that are active in this run. smoother: see Overlay. mirrored: whether the frames are already mirrored, if that
    is independent of the view. Image files are read ahead, so the mirror key flips them only when they are shown.
    """

    def __init__(self, labels: tuple[str, ...], view: View, words: dict[str, str], keys: Iterable[str], smoother: DisplaySmoother,
                 mirrored: bool | None = None):
        self.labels, self.view, self.words, self.smoother, self.mirrored = labels, view, words, smoother, mirrored
        self.keys = [(key, phrase(words, name)) for key, name in KEYS.items() if key in keys]
        self.faces, self.panel = Faces(), Panel(labels, words, 11)
        self.flipped: tuple[Analysis, Analysis] | None = None
        self.image = np.zeros((0, 0, 3), np.uint8)
        self.hint_until_s = 0.0

    def seen(self, analysis: Analysis) -> Analysis:
        """Return the analysis as the view requires it, mirrored or not."""
        if self.mirrored is None or self.view.mirror == self.mirrored:
            return analysis
        if self.flipped is None or self.flipped[0] is not analysis:
            self.flipped = analysis, _flipped(analysis)
        return self.flipped[1]

    def draw(self, analysis: Analysis, rates: Rates, size_wh: tuple[int, int], now_s: float) -> np.ndarray:
        """Return the window as (H, W, 3) uint8 BGR; the next call overwrites the array. now_s: from time.monotonic()."""
        wide, high = size_wh
        if self.image.shape[:2] != (high, wide):
            self.image = np.zeros((high, wide, 3), np.uint8)
        self.hint_until_s = self.hint_until_s or now_s + HINT_S
        analysis = self.seen(analysis)
        pen = Pen(size_wh)
        panel_w = self._fit_panel(size_wh, pen) if self.view.bars else 0
        (x1, y1, x2, y2), scale = letterbox(analysis.frame.image, self.image[:, : wide - panel_w], area_below=0.5)
        part = self.image[y1:y2, x1:x2]
        shown = self.smoother(analysis)
        self.faces.draw(part, shown, scale, self.view.bars)
        if panel_w:
            self._panel(shown, wide - panel_w, pen.gap)
        low = high
        if taken := draw_marks(part, self.view, rates):
            low = (high + part.shape[0]) // 2 - taken
        if self.view.help:
            self._help(pen)
        if now_s < self.view.toast_until_s:
            self._bottom([chip(self.view.toast, pen.px)], wide - panel_w, low, pen.gap)
        elif now_s < self.hint_until_s and not self.view.help:
            self._bottom(self._hint(wide - panel_w, pen), wide - panel_w, low, pen.gap)
        return self.image

    def changes_s(self, now_s: float) -> float:
        """Return the time, as from time.monotonic(), at which a message or hint expires next; infinity if none is shown."""
        return min((t for t in (self.view.toast_until_s, self.hint_until_s) if t > now_s), default=float("inf"))

    def _fit_panel(self, size_wh: tuple[int, int], pen: Pen) -> int:
        """Return the panel's width in pixels."""
        px = max(SMALLEST, round(PANEL * pen.px))
        if self.panel.px != px:
            self.panel = Panel(self.labels, self.words, px)
        return min(self.panel.wide + 2 * self.panel.gap, round(MOST_WIDE * size_wh[0]))

    def _panel(self, shown: list[DisplayedFace], x: int, gap: int) -> None:
        panel, high = self.panel, self.image.shape[0]
        wide = self.image.shape[1] - x - 2 * panel.gap
        cv2.rectangle(self.image, (x, 0), (self.image.shape[1], high), GROUND, cv2.FILLED)
        if not shown:
            px = text.fit(phrase(self.words, "nobody"), panel.px, wide)
            text.write(self.image, phrase(self.words, "nobody"), x + panel.gap, gap + panel.row, px, FIGURE)
        faces = sorted(shown, key=lambda face: face.number)
        fitting = panel.fits(high - 2 * gap)
        if len(faces) > fitting:  # the last line shows how many are left out
            fitting = panel.fits(high - 2 * gap - panel.row)
            text.write(self.image, f"+{len(faces) - fitting}", x + panel.gap, high - gap, panel.px, WHITE)
        faces = faces[:fitting]
        panel.draw(self.image, panel.column(x + panel.gap, gap, len(faces)), faces, wide)

    def _help(self, pen: Pen) -> None:
        rows = [(key, f"{what}: {phrase(self.words, LOOK_NEUTRAL)}" if key == "n" else what) for key, what in self.keys]
        names = [_name(key) for key, _ in rows]
        keys_w = max(text.width(name, pen.px) for name in names) + 2 * pen.gap
        wide = keys_w + max(text.width(what, pen.px) for _, what in rows) + 4 * pen.gap
        high = len(rows) * pen.row + 2 * pen.gap
        x, y = 2 * pen.gap, (self.image.shape[0] - high) // 2
        plate(wide, high, pen.row // 3).lay(self.image, x, y)
        for i, (name, (_, what)) in enumerate(zip(names, rows, strict=True)):
            baseline = y + pen.gap + i * pen.row + (pen.row + text.cap_height(pen.px)) // 2
            text.write(self.image, name, x + 2 * pen.gap, baseline, pen.px, FIGURE)
            text.write(self.image, what, x + keys_w + 2 * pen.gap, baseline, pen.px, WHITE)

    def _hint(self, wide: int, pen: Pen) -> list[Sprite]:
        """Return chips for as many keys as fit; the help lists all of them."""
        px = max(SMALLEST, round(PANEL * pen.px))
        keys = [chip(f"{_name(key)}  {what}", px) for key, what in sorted(self.keys, key=lambda entry: entry[0] != "h")]
        while len(keys) > 1 and sum(key.w + pen.gap for key in keys) > wide - pen.gap:
            keys.pop()
        return keys

    def _bottom(self, chips: list[Sprite], wide: int, low: int, gap: int) -> None:
        """Draw chips in a row above y = `low`, centered in the first `wide` pixels."""
        x = max(0, (wide - sum(one.w + gap for one in chips) + gap) // 2)
        for one in chips:
            one.lay(self.image, x, low - one.h - 2 * gap)
            x += one.w + gap


def _name(key: str) -> str:
    return key.capitalize()


def _flipped(analysis: Analysis) -> Analysis:
    """Return a copy with left and right exchanged."""
    frame = replace(analysis.frame, image=cv2.flip(analysis.frame.image, 1))
    wide = frame.image.shape[1]
    faces = (replace(face, box=(wide - x2, y1, wide - x1, y2)) for face in analysis.faces for x1, y1, x2, y2 in [face.box])
    return replace(analysis, frame=frame, faces=tuple(faces))
