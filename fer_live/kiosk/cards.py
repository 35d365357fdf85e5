"""Draws outlines and labels on the mirrored faces, and a card with the most probable classes for each visitor."""

from __future__ import annotations

import math

import cv2
import numpy as np

from fer_live.kiosk.canvas import BLACK, GRAY, Canvas, ink_on
from fer_live.screen import text
from fer_live.screen.palette import COLORS, PLATE, WHITE, Color
from fer_live.screen.smoothing import LOOK_NEUTRAL
from fer_live.types import UNSURE, Box, Face

ROWS = 3  # classes on a card
BADGE = 24  # radius of a number, on a screen with a shorter side of 720
CHIP = 0.30  # height of a chip's letters, in sides of the face
SMALLER = (1.0, 0.8, 0.65, 0.5, 0.4)  # font sizes to try, as shares of the full size


def draw_outline(canvas: Canvas, box: Box, color: Color) -> None:
    """Draw a rounded frame around a face; its dark edge keeps it visible on any background."""
    x1, y1, x2, y2 = box
    radius = max(2, (x2 - x1) // 6)
    for line, shade in ((canvas.px(10), PLATE), (canvas.px(5), color)):
        line = max(2, line)
        for a, b in (((x1 + radius, y1), (x2 - radius, y1)), ((x1 + radius, y2), (x2 - radius, y2)),
                     ((x1, y1 + radius), (x1, y2 - radius)), ((x2, y1 + radius), (x2, y2 - radius))):
            cv2.line(canvas.image, a, b, shade, line, cv2.LINE_AA)
        for x, y, start in ((x1, y1, 180), (x2, y1, 270), (x2, y2, 0), (x1, y2, 90)):
            center = x + (radius if x == x1 else -radius), y + (radius if y == y1 else -radius)
            cv2.ellipse(canvas.image, center, (radius, radius), 0, start, start + 90, shade, line, cv2.LINE_AA)


def draw_chip(canvas: Canvas, words: str, face: Box, color: Color, taken: list[Box], area: Box, most: int = 64) -> None:
    """Draw words on a plate above, below or beside a face.

    If they would overlap `taken` boxes or leave the area, smaller sizes are tried; if none fits, nothing is drawn.
    most: largest font size, for a screen with a shorter side of 720 pixels.
    """
    px = max(canvas.least, min(canvas.px(most), round(CHIP * (face[2] - face[0]))))
    px = max(canvas.least, text.fit(words, px, area[2] - area[0] - 2 * px))
    for share in SMALLER:
        if _placed(canvas, words, max(canvas.least, round(share * px)), face, color, taken, area):
            return


def _placed(canvas: Canvas, words: str, px: int, face: Box, color: Color, taken: list[Box], area: Box) -> bool:
    """Draw the words at this size if they fit; return whether they did."""
    wide, high = text.width(words, px) + round(1.1 * px), round(1.5 * px)
    gap = canvas.px(12)
    left = max(area[0] + gap, min(area[2] - gap - wide, (face[0] + face[2] - wide) // 2))
    middle = (face[1] + face[3] - high) // 2
    spots = (left, face[1] - gap - high), (left, face[3] + gap), (face[2] + 3 * gap, middle), (face[0] - 3 * gap - wide, middle)
    for x, y in spots:
        place = x, y, x + wide, y + high
        if holds(area, place) and not any(meet(place, other) for other in taken):
            taken.append(place)
            canvas.plate(place, color, high // 2)
            canvas.write(words, x + round(0.55 * px), (place[1] + place[3]) // 2, px, ink_on(color))
            return True
    return False


def face_words(face: Face, words: dict[str, str]) -> str:
    """Return the label shown for a face."""
    if face.calibration_s:
        return f"{words[LOOK_NEUTRAL]} {math.ceil(face.calibration_s)}"
    return words.get(face.label, face.label)


def face_color(face: Face) -> Color:
    """Return the color of a face's outline and label."""
    return WHITE if face.calibration_s else COLORS.get(face.label, WHITE)


def draw_cards(canvas: Canvas, box: Box, faces: list[tuple[int, Face]], labels: tuple[str, ...], words: dict[str, str],
               taken: list[Box]) -> list[Box]:
    """Draw a card for each (number, face), side by side in the middle of the box, except where it would overlap `taken`.

    A single card has no number. Returns the boxes of the cards.
    """
    made: list[Box] = []
    gap, radius = canvas.px(14), canvas.px(BADGE)
    wide = min(canvas.px(430), (box[2] - box[0] - gap * (len(faces) - 1)) // len(faces))
    left = (box[0] + box[2] - wide * len(faces) - gap * (len(faces) - 1)) // 2
    for i, (number, face) in enumerate(faces):
        x1 = left + i * (wide + gap)
        if any(meet((x1, box[1], x1 + wide, box[3]), other) for other in taken):
            continue
        made.append((x1, box[1], x1 + wide, box[3]))
        if len(faces) > 1:
            canvas.number(number, (x1 + radius + canvas.px(6), box[1] + radius), radius, face_color(face))
        place = x1, box[1] + (2 * radius + canvas.px(6) if len(faces) > 1 else 0), x1 + wide, box[3]
        canvas.plate(place)
        if face.label == UNSURE or face.calibration_s:
            canvas.middle(face_words(face, words), place, canvas.px(44), GRAY if face.label == UNSURE else WHITE)
        else:
            _rows(canvas, place, face, labels, words)
    return made


def _rows(canvas: Canvas, place: Box, face: Face, labels: tuple[str, ...], words: dict[str, str]) -> None:
    """Draw the most probable classes, each as a label above its bar."""
    x1, y1, x2, y2 = place[0] + canvas.px(16), place[1] + canvas.px(10), place[2] - canvas.px(16), place[3] - canvas.px(8)
    order = np.argsort(-face.probs)[:ROWS]
    high = (y2 - y1) / len(order)
    for i, index in enumerate(order):
        label, top = labels[index], round(y1 + i * high)
        word = words.get(label, label)
        px = max(canvas.least, min(round(high * 0.62), text.fit(word, canvas.px(40), x2 - x1)))
        canvas.write(word, x1, top + round(high * 0.40), px)
        bar = top + round(high * 0.80), top + round(high * 0.80) + max(4, round(high * 0.16))
        canvas.plate((x1, bar[0], x2, bar[1]), BLACK)
        end = x1 + max(canvas.px(6), round(float(face.probs[index]) * (x2 - x1)))
        canvas.plate((x1, bar[0], end, bar[1]), COLORS.get(label, WHITE))


def holds(outer: Box, inner: Box) -> bool:
    """Return whether one box contains another."""
    return outer[0] <= inner[0] and outer[1] <= inner[1] and inner[2] <= outer[2] and inner[3] <= outer[3]


def meet(a: Box, b: Box) -> bool:
    """Return whether two boxes overlap."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
