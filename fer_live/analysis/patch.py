"""Compares what two images show at a place."""

from __future__ import annotations

import math

import cv2
import numpy as np

SIDE = 16  # pixels of a patch


def patch(image: np.ndarray, box: np.ndarray | tuple[int, ...]) -> np.ndarray | None:
    """Return the part of (H, W, 3) uint8 BGR inside the box (4,) xyxy as (SIDE, SIDE) float32 gray with mean 0; None if the box
    has less than 2x2 pixels of the image."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = (round(float(side)) for side in box)
    x1, y1, x2, y2 = max(0, x1), max(0, y1), min(width, x2), min(height, y2)
    if x2 - x1 < 2 or y2 - y1 < 2:
        return None
    # subsampling is enough for a patch, and cheaper than averaging a large face
    part = image[y1 : y2 : max(1, (y2 - y1) // (4 * SIDE)), x1 : x2 : max(1, (x2 - x1) // (4 * SIDE))]
    gray = cv2.cvtColor(cv2.resize(part, (SIDE, SIDE), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY).astype(np.float32)
    return gray - gray.mean()


def contrast(a: np.ndarray) -> float:
    """Return the standard deviation of a patch, in gray levels."""
    return math.sqrt(float(np.vdot(a, a)) / a.size)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return the correlation of two patches, -1 to 1; 0 if one is flat."""
    return float(np.vdot(a, b)) / max(1e-3, math.sqrt(float(np.vdot(a, a)) * float(np.vdot(b, b))))
