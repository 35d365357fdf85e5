"""Draws faces, labels and figures on a copy of the frame."""

from __future__ import annotations

import math
import textwrap

import cv2
import numpy as np

from fer_live.screen import text
from fer_live.screen.palette import COLORS, PLATE, WHITE, Color
from fer_live.types import UNSURE, Analysis, Face, Rates, View

LOOK_NEUTRAL = "look neutral"  # what a face is asked; the key of the phrase in languages.json
Box = tuple[int, int, int, int]  # xyxy
HELP = (("q, Esc", "quit"), ("r", "record"), ("s", "save a picture"), ("n", "calibrate: look neutral"), ("b", "bars"),
        ("m", "mirror"), ("f", "full screen"), ("h", "help"))


class Overlay:
    """Draws what the view asks for.

    labels: class names in the order of the probabilities. words: what they are called on the screen, if not by their names.
    dead: keys of HELP that do nothing in this run.
    """

    def __init__(self, labels: tuple[str, ...], view: View, words: dict[str, str] | None = None, dead: str = ""):
        self.labels, self.view, self.words = labels, view, words or {}
        self.help = [(key, what) for key, what in HELP if key not in dead]

    def draw(self, analysis: Analysis, rates: Rates | None = None) -> np.ndarray:
        """A new picture (H, W, 3) uint8 BGR: the frame with its faces, and the HUD when rates are given."""
        image = analysis.frame.image.copy()
        pen = Pen(image)
        faces = [(face, Pen(image, face.box), self._label(face, image)) for face in analysis.faces]
        if self.view.bars:
            taken = [face.box for face in analysis.faces] + [plate for _, _, plate in faces]
            for face, own, _ in faces:
                self._bars(own, face, taken)
        for face, own, plate in faces:
            self._face(own, face, plate)
        corner = []
        if self.view.badge:
            corner.append(self.view.badge)
        if rates is not None and self.view.fps:
            corner.append(f"{rates.fps:.0f} fps, {rates.dropped} dropped")
            corner += [self.view.quality] if self.view.quality else []
        if corner:
            pen.plate("   ".join(corner), pen.gap, pen.gap)
        if self.view.recording:
            self._recording(pen)
        if self.view.notice:
            self._notice(pen)
        if self.view.help:
            self._help(pen)
        return image

    def _label(self, face: Face, image: np.ndarray) -> Box:
        """Where the face's label goes: above it, or below it at the upper border."""
        pen = Pen(image, face.box)
        x1, y1, _, y2 = face.box
        return pen.place(x1, y1 - pen.row if y1 >= pen.row else y2, pen.width(self._said(face)) + 3 * pen.gap, pen.row)

    def _face(self, pen: Pen, face: Face, plate: Box) -> None:
        x1, y1, x2, y2 = face.box
        color = WHITE if face.calibration_s else COLORS.get(face.label, WHITE)
        cv2.rectangle(pen.image, (x1, y1), (x2 - 1, y2 - 1), PLATE, pen.line * 3, cv2.LINE_AA)
        cv2.rectangle(pen.image, (x1, y1), (x2 - 1, y2 - 1), color, pen.line, cv2.LINE_AA)
        pen.plate(self._said(face), plate[0], plate[1], color)

    def _said(self, face: Face) -> str:
        if face.calibration_s:
            return f"{self.words.get(LOOK_NEUTRAL, LOOK_NEUTRAL)} {math.ceil(face.calibration_s)}"
        word = self.words.get(face.label, face.label)
        return word if face.label == UNSURE else f"{word} {face.confidence:.0%}"

    def _bars(self, pen: Pen, face: Face, taken: list[Box]) -> None:
        """All probabilities as bars, beside the face or under it; left out where they would cover a face or a label."""
        row, length = round(pen.row * 0.72), pen.row * 3
        names = max(pen.width(self.words.get(name, name), 0.7) for name in self.labels) + 2 * pen.gap
        w, h = names + length + pen.gap, row * len(self.labels) + pen.gap
        x1, y1, x2, y2 = face.box
        spots = [(x2 + pen.gap, y1), (x1 - w - pen.gap, y1), (x1, y2 + pen.gap), (x1, y1 - pen.row - h)]
        free = [spot for spot in (pen.place(x, y, w, h) for x, y in spots) if not any(_meet(spot, other) for other in taken)]
        if not free:
            return
        left, top, right, bottom = free[0]
        taken.append(free[0])
        pen.shade(left, top, right - left, bottom - top)
        for i, (name, prob) in enumerate(zip(self.labels, face.probs, strict=True)):
            y = top + pen.gap // 2 + i * row
            pen.text(self.words.get(name, name), left + pen.gap, y + round(row * 0.75), WHITE, 0.7)
            start = left + names
            end = start + max(1, round(float(prob) * length))
            cv2.rectangle(pen.image, (start, y + row // 5), (end, y + row - row // 5), COLORS.get(name, WHITE), cv2.FILLED)

    def _help(self, pen: Pen) -> None:
        keys = max(pen.width(key) for key, _ in self.help) + 3 * pen.gap
        width = keys + max(pen.width(what) for _, what in self.help) + 2 * pen.gap
        top = 2 * pen.gap + pen.row
        pen.shade(pen.gap, top, width, len(self.help) * pen.row + pen.gap)
        for i, (key, what) in enumerate(self.help):
            y = top + round((i + 0.85) * pen.row)
            pen.text(key, 2 * pen.gap, y, WHITE)
            pen.text(what, pen.gap + keys, y, WHITE)

    def _notice(self, pen: Pen) -> None:
        """At the lower border, in as many lines as it takes."""
        letters = max(10, (pen.image.shape[1] - 4 * pen.gap) // pen.width("n"))
        lines = textwrap.wrap(self.view.notice, letters)
        for i, line in enumerate(lines):
            pen.plate(line, pen.gap, pen.image.shape[0] - pen.gap - (len(lines) - i) * pen.row)

    def _recording(self, pen: Pen) -> None:
        right = pen.image.shape[1] - pen.gap
        left = right - pen.width("REC") - 2 * pen.gap
        pen.plate("REC", left, pen.gap)
        radius = pen.row // 4
        cv2.circle(pen.image, (left - radius - pen.gap, pen.gap + pen.row // 2), radius, (0, 0, 230), cv2.FILLED, cv2.LINE_AA)


def _meet(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


class Pen:
    """Text and plates in sizes that follow the picture's, and, for what belongs to a small face, the face's."""

    def __init__(self, image: np.ndarray, box: Box | None = None):
        self.image = image
        unit = min(image.shape[0], image.shape[1] * 9 / 16) / 480  # 1 at 854x480
        if box is not None:
            unit *= min(1.0, max(0.5, (box[2] - box[0]) / (110 * unit)))
        self.px = max(10, round(18 * unit))
        self.line = max(1, round(2 * unit))
        self.gap = max(3, round(7 * unit))
        self.row = max(14, round(28 * unit))

    def width(self, words: str, share: float = 1.0) -> int:
        """Pixels that `words` take."""
        return text.width(words, max(9, round(self.px * share)))

    def text(self, words: str, x: int, y: int, color: Color, share: float = 1.0) -> None:
        """Write with the left end of the baseline at (x, y)."""
        text.write(self.image, words, x, y, max(9, round(self.px * share)), color)

    def place(self, x: int, y: int, w: int, h: int) -> Box:
        """A rectangle of this size at (x, y), moved into the picture; xyxy."""
        height, width = self.image.shape[:2]
        x, y = max(0, min(x, width - w)), max(0, min(y, height - h))
        return x, y, x + w, y + h

    def plate(self, words: str, x: int, y: int, color: Color | None = None) -> None:
        """White text on a dark plate with its upper left corner at (x, y), moved into the picture; a strip in `color`."""
        w = self.width(words) + 2 * self.gap + (self.gap if color else 0)
        x, y, _, _ = self.place(x, y, w, self.row)
        cv2.rectangle(self.image, (x, y), (x + w - 1, y + self.row - 1), PLATE, cv2.FILLED)
        if color:
            cv2.rectangle(self.image, (x, y), (x + self.gap - 1, y + self.row - 1), color, cv2.FILLED)
            x += self.gap
        self.text(words, x + self.gap, y + round(self.row * 0.72), WHITE)

    def shade(self, x: int, y: int, w: int, h: int) -> None:
        """Darken a rectangle, so that what is written on it can be read on any background."""
        part = self.image[max(0, y) : y + h, max(0, x) : x + w]
        part[:] = part // 4
