"""The attract loop of a kiosk without visitors: a drawn face with changing expressions, and an invitation."""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np

from fer_live.kiosk.canvas import BLACK, SHIFT, Canvas
from fer_live.screen.palette import COLORS, PLATE, WHITE, Color
from fer_live.types import Box

EACH_S, CHANGE_S = 2.2, 0.6  # seconds; duration of an expression, and of the transition to it


class Look(NamedTuple):
    """An expression, in units of the face's radius; angles in radians."""

    smile: float  # height of the corners of the mouth above its middle
    mouth: float  # half the width of the mouth
    gape: float  # opening of the mouth
    brow: float  # height of the brows above their rest position
    tilt: float  # angle of the brows; positive values lower their inner ends
    eye: float  # height of an eye


LOOKS = {
    "happy": Look(0.30, 0.48, 0.16, 0.04, 0.0, 0.13), "surprise": Look(0.0, 0.20, 0.52, 0.18, 0.0, 0.23),
    "sad": Look(-0.22, 0.34, 0.0, 0.02, -0.40, 0.12), "angry": Look(-0.12, 0.36, 0.0, -0.08, 0.42, 0.11),
    "neutral": Look(0.0, 0.36, 0.0, 0.0, 0.0, 0.15), "fear": Look(-0.10, 0.38, 0.16, 0.14, -0.28, 0.21),
    "disgust": Look(-0.16, 0.30, 0.08, -0.05, 0.24, 0.08)}
ORDER = tuple(LOOKS)


def draw_attract(canvas: Canvas, box: Box, words: dict[str, str], time_s: float) -> None:
    """Draw the loop at `time_s` into the box xyxy."""
    x1, y1, x2, y2 = box
    wide, high = x2 - x1, y2 - y1
    sway = math.sin(time_s * 1.3) * 0.02
    if wide > high:
        radius = round(min(high * 0.36, wide * 0.19))
        center = x1 + round(wide * 0.26), y1 + high * (0.5 + sway)
        title = x1 + round(wide * 0.48), y1 + round(high * 0.16), x2 - canvas.px(40), y1 + round(high * 0.60)
        invite = title[0], title[3], title[2], y1 + round(high * 0.80)
    else:
        radius = round(min(high * 0.21, wide * 0.36))
        center = (x1 + x2) // 2, y1 + high * (0.31 + sway)
        title = x1 + canvas.px(40), y1 + round(high * 0.58), x2 - canvas.px(40), y1 + round(high * 0.78)
        invite = title[0], title[3], title[2], y1 + round(high * 0.90)
    _face(canvas.image, center, radius, *_at(time_s))
    canvas.middle(words["title"], title, canvas.px(84))
    shine = 185 + 70 * round(3 * math.sin(time_s * 2.2)) // 3  # in few steps, since each shade of a text is cached
    canvas.middle(words["invite"], invite, canvas.px(60), (shine, shine, shine))
    _chevrons(canvas, ((invite[0] + invite[2]) // 2, invite[3] + canvas.px(22)), time_s)


def _at(time_s: float) -> tuple[Look, Color]:
    """Return the expression and the color at `time_s`, interpolated during a transition."""
    number = int(time_s / EACH_S)
    share = min(1.0, (time_s - number * EACH_S) / CHANGE_S)
    share = share * share * (3 - 2 * share)
    before, after = ORDER[(number - 1) % len(ORDER)], ORDER[number % len(ORDER)]
    look = Look(*(a + share * (b - a) for a, b in zip(LOOKS[before], LOOKS[after], strict=True)))
    b, g, r = (round(a + share * (c - a)) for a, c in zip(COLORS[before], COLORS[after], strict=True))
    return look, (b, g, r)


def _face(image: np.ndarray, center: tuple[float, float], radius: int, look: Look, color: Color) -> None:
    def point(x: float, y: float) -> tuple[int, int]:
        return round((center[0] + x * radius) * 2**SHIFT), round((center[1] + y * radius) * 2**SHIFT)

    def size(length: float) -> int:
        return max(1, round(length * radius * 2**SHIFT))

    thick = max(2, round(radius * 0.075))
    cv2.circle(image, point(0, 0), size(1), color, cv2.FILLED, cv2.LINE_AA, SHIFT)
    for side in (-1, 1):
        axes = size(0.10), size(look.eye)
        cv2.ellipse(image, point(side * 0.36, -0.16), axes, 0, 0, 360, BLACK, cv2.FILLED, cv2.LINE_AA, SHIFT)
        inner, outer = -0.52 - look.brow + 0.30 * look.tilt, -0.52 - look.brow - 0.30 * look.tilt
        cv2.line(image, point(side * 0.18, inner), point(side * 0.56, outer), BLACK, thick, cv2.LINE_AA, SHIFT)
    across = np.linspace(-1, 1, 25)
    arch = np.sqrt(np.maximum(0, 1 - across**2)) * look.gape / 2
    bow = 0.44 - look.smile * (across**2 - 0.5)
    upper, lower = bow - arch * 0.6, bow + arch * 1.4
    points = [point(x * look.mouth, y) for x, y in zip((*across, *across[::-1]), (*upper, *lower[::-1]), strict=True)]
    if look.gape > 0.02:
        cv2.fillPoly(image, [np.array(points, np.int32)], BLACK, cv2.LINE_AA, SHIFT)
    cv2.polylines(image, [np.array(points, np.int32)], True, BLACK, thick, cv2.LINE_AA, SHIFT)


def _chevrons(canvas: Canvas, at: tuple[int, int], time_s: float) -> None:
    """Draw three chevrons that move toward the viewer."""
    for i in range(3):
        phase = (time_s * 0.7 + i / 3) % 1
        wide, y = canvas.px(14 + 26 * phase), at[1] + canvas.px(44 * phase)
        strength = math.sin(math.pi * phase)
        color = tuple(round(p + (w - p) * strength) for p, w in zip(PLATE, WHITE, strict=True))
        points = np.array([(at[0] - wide, y), (at[0], y + wide // 2), (at[0] + wide, y)], np.int32)
        cv2.polylines(canvas.image, [points], False, color, max(2, canvas.px(4)), cv2.LINE_AA)
