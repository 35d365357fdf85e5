"""The placeholder image shown while a camera is lost."""

from __future__ import annotations

import cv2
import numpy as np

GROUND, INK, FAINT = (38, 34, 30), (240, 240, 240), (170, 160, 150)  # BGR
FONT = cv2.FONT_HERSHEY_SIMPLEX
TITLE = "camera lost, reconnecting"


def draw_slate(size_hw: tuple[int, int], note: str, title: str = TITLE) -> np.ndarray:
    """Draw a dark image (H, W, 3) uint8 BGR with the title in the middle and a note, such as "12 s", below it."""
    height, width = size_hw
    image = np.full((height, width, 3), GROUND, np.uint8)
    unit = cv2.getTextSize(title, FONT, 1.0, 2)[0][0]
    size = min(0.7 * width / unit, height / 120)  # 70% of the width, less for flat images
    _centered(image, title, 0.5 * height, size, INK)
    _centered(image, note, 0.5 * height + 60 * size, 0.7 * size, FAINT)
    return image


def _centered(image: np.ndarray, text: str, baseline: float, size: float, color: tuple[int, int, int]) -> None:
    thick = max(1, round(1.6 * size))
    left = (image.shape[1] - cv2.getTextSize(text, FONT, size, thick)[0][0]) // 2
    cv2.putText(image, text, (left, round(baseline)), FONT, size, color, thick, cv2.LINE_AA)
