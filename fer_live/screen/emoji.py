"""Emoji for each expression, drawn with OpenCV lines and ellipses, so that no font or image file is needed."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from fer_live.screen.palette import COLORS, WHITE
from fer_live.types import UNSURE

DARK, RED, BLUE = (40, 40, 60), (70, 70, 200), (240, 215, 160)
FINE = 4  # supersampling factor of icons


def draw_emoji(image: np.ndarray, center: tuple[int, int], radius: int, label: str) -> None:
    """Draw the emoji for `label` on (H, W, 3) uint8 BGR, in place; unknown labels get one without a mouth. radius: pixels."""
    face = _Face(image, center, radius)
    face.disc(0, 0, 1.0, DARK)
    face.disc(0, 0, 0.95, COLORS.get(label, WHITE))
    known = {"angry": _angry, "disgust": _disgust, "fear": _fear, "happy": _happy, "neutral": _neutral, "sad": _sad,
             "surprise": _surprise, "positive": _happy, "negative": _sad, "surprised": _surprise, UNSURE: _unsure}
    known.get(label, _plain)(face)


@lru_cache(64)
def icon(label: str, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the emoji for `label` as (side, side, 3) uint8 BGR, and its coverage as (side, side, 1) float32, 0..1."""
    drawn = np.zeros((side * FINE, side * FINE, 3), np.uint8)
    middle, radius = side * FINE // 2, side * FINE // 2 - 1
    disc = cv2.circle(np.zeros(drawn.shape[:2], np.uint8), (middle, middle), radius, 255, cv2.FILLED, cv2.LINE_AA)
    draw_emoji(drawn, (middle, middle), radius, label)
    small, cover = (cv2.resize(a, (side, side), interpolation=cv2.INTER_AREA) for a in (drawn, disc))
    return small, cover[..., None].astype(np.float32) / 255


class _Face:
    """Drawing functions in units of the radius. The center of the face is (0, 0); y points down."""

    def __init__(self, image: np.ndarray, center: tuple[int, int], radius: int):
        self.image, self.center, self.radius = image, center, max(2, radius)
        self.thick = max(1, round(0.09 * radius))

    def at(self, x: float, y: float) -> tuple[int, int]:
        return round(self.center[0] + x * self.radius), round(self.center[1] + y * self.radius)

    def disc(self, x: float, y: float, size: float, color) -> None:
        cv2.circle(self.image, self.at(x, y), max(1, round(size * self.radius)), color, cv2.FILLED, cv2.LINE_AA)

    def arc(self, x: float, y: float, wide: float, high: float, start: int, end: int, color=DARK, filled: bool = False) -> None:
        axes = max(1, round(wide * self.radius)), max(1, round(high * self.radius))
        cv2.ellipse(self.image, self.at(x, y), axes, 0, start, end, color, cv2.FILLED if filled else self.thick, cv2.LINE_AA)

    def line(self, *points: tuple[float, float], color=DARK) -> None:
        cv2.polylines(self.image, [np.array([self.at(*p) for p in points])], False, color, self.thick, cv2.LINE_AA)

    def eyes(self, size: float = 0.11, high: float = 1.5) -> None:
        for side in (-1, 1):
            self.arc(0.36 * side, -0.2, size, size * high, 0, 360, filled=True)

    def wide_eyes(self, pupil: float) -> None:
        for side in (-1, 1):
            self.disc(0.36 * side, -0.2, 0.22, WHITE)
            self.disc(0.36 * side, -0.2, pupil, DARK)

    def brows(self, inner: float, outer: float) -> None:
        for side in (-1, 1):
            self.line((0.16 * side, inner), (0.58 * side, outer))


def _angry(face: _Face) -> None:
    face.eyes()
    face.brows(-0.38, -0.62)
    face.arc(0, 0.62, 0.38, 0.22, 180, 360)


def _disgust(face: _Face) -> None:
    for side in (-1, 1):  # squinting eyes
        face.line((0.52 * side, -0.34), (0.24 * side, -0.2), (0.52 * side, -0.08))
    face.line((-0.42, 0.5), (-0.2, 0.34), (0.0, 0.5), (0.2, 0.34), (0.42, 0.5))
    face.arc(0.1, 0.5, 0.16, 0.34, 0, 180, RED, filled=True)


def _fear(face: _Face) -> None:
    face.wide_eyes(0.08)
    face.brows(-0.66, -0.52)
    face.line((-0.44, 0.52), (-0.22, 0.42), (0.0, 0.52), (0.22, 0.42), (0.44, 0.52))


def _happy(face: _Face) -> None:
    for side in (-1, 1):
        face.arc(0.36 * side, -0.12, 0.17, 0.2, 180, 360)
    face.arc(0, 0.14, 0.58, 0.55, 0, 180, filled=True)
    face.arc(0, 0.16, 0.5, 0.13, 0, 180, WHITE, filled=True)


def _neutral(face: _Face) -> None:
    face.eyes()
    face.line((-0.38, 0.42), (0.38, 0.42))


def _sad(face: _Face) -> None:
    face.eyes()
    face.brows(-0.58, -0.44)
    face.arc(0, 0.66, 0.36, 0.26, 190, 350)
    face.arc(0.42, 0.22, 0.1, 0.18, 0, 360, BLUE, filled=True)


def _surprise(face: _Face) -> None:
    face.wide_eyes(0.12)
    face.brows(-0.62, -0.6)
    face.arc(0, 0.5, 0.2, 0.28, 0, 360, filled=True)


def _unsure(face: _Face) -> None:
    face.eyes()
    face.line((-0.36, 0.5), (0.36, 0.32))


def _plain(face: _Face) -> None:
    face.eyes()
