"""Fits an image into another one of any size."""

from __future__ import annotations

import cv2
import numpy as np


def letterbox(image: np.ndarray, into: np.ndarray, area_below: float = 1.0) -> tuple[tuple[int, int, int, int], float]:
    """Draw `image` into the middle of `into`, both (H, W, 3) uint8, as large as it fits there, with black margins.

    area_below: pixels are averaged at scales below this, which avoids aliasing, and interpolated from it up, which is faster.
    Returns the box xyxy of the image in `into`, and the scale.
    """
    height, width = into.shape[:2]
    scale = min(height / image.shape[0], width / image.shape[1])
    h, w = (max(1, round(scale * side)) for side in image.shape[:2])
    x, y = (width - w) // 2, (height - h) // 2
    into[:y], into[y + h :], into[:, :x], into[:, x + w :] = 0, 0, 0, 0
    how = cv2.INTER_AREA if scale < area_below else cv2.INTER_LINEAR
    cv2.resize(image, (w, h), dst=into[y : y + h, x : x + w], interpolation=how)
    return (x, y, x + w, y + h), scale
