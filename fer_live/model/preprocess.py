"""Crops and normalizes faces for the network; shared by training, evaluation and the live app.

FER2013's 48x48 images are Haar boxes: run on 1,275 of them with mirrored borders, OpenCV's frontal cascade returns boxes
centered at (0.50, 0.49) with a side of 0.98 of the image (medians). So the live crop is the detected box itself, in gray, at
48 pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    import torch

    from fer_live.model.spec import ModelSpec


UPRIGHT = 5.0  # degrees; smaller rolls are not corrected, since landmarks jitter by two or three degrees


def crop_faces(image: np.ndarray, boxes: np.ndarray, spec: ModelSpec, rolls: np.ndarray | None = None) -> np.ndarray:
    """Crop squares around boxes and resize them for the network.

    image: (H, W, 3) uint8 BGR, or (H, W) uint8 gray. boxes: (N, 4) int xyxy pixels, x2 and y2 exclusive; parts outside the
    image repeat its edge. rolls: (N,) clockwise rotation of the faces in degrees, which the crops undo; NaN: unknown.
    Returns (N, S, S, C) uint8, S = spec.input_size, C = spec.channels.
    """
    size, channels = spec.input_size, spec.channels
    crops = np.empty((len(boxes), size, size, channels), np.uint8)
    for i, box in enumerate(boxes):
        if rolls is None or not abs(rolls[i]) > UPRIGHT:  # also true for NaN
            crop = square_part(image, box, spec.crop_margin)
        else:
            crop = _turned_part(image, box, spec.crop_margin, float(rolls[i]))
        if channels == 1 and crop.ndim == 3:
            crop = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)
        elif channels == 3 and crop.ndim == 2:
            crop = cv2.cvtColor(crop, cv2.COLOR_GRAY2BGR)
        crops[i] = resize_face(crop, size).reshape(size, size, channels)
    return crops


def resize_face(image: np.ndarray, size: int) -> np.ndarray:
    """Resize (H, W[, C]) uint8 to (size, size[, C]) uint8; returned unchanged if it has that size."""
    if image.shape[:2] == (size, size):
        return image
    shrink = image.shape[0] > size  # averages areas, to avoid aliasing
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR)


def square_part(image: np.ndarray, box: np.ndarray, margin: float) -> np.ndarray:
    """Return the square of `image` centered on `box`, with the longer side of the box times (1 + margin)."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = (int(v) for v in box)
    side = max(1, round(max(x2 - x1, y2 - y1) * (1 + margin)))
    left, top = (x1 + x2 - side) // 2, (y1 + y2 - side) // 2
    right, bottom = left + side, top + side
    pads = max(0, -top), max(0, bottom - height), max(0, -left), max(0, right - width)
    if not any(pads):
        return image[top:bottom, left:right]
    rows = np.clip(np.arange(top, bottom), 0, height - 1)
    columns = np.clip(np.arange(left, right), 0, width - 1)
    return image[np.ix_(rows, columns)]


def _turned_part(image: np.ndarray, box: np.ndarray, margin: float, degrees: float) -> np.ndarray:
    """Return the square of `square_part`, rotated about its center so that a face rolled by `degrees` clockwise is upright.

    Keeps the image's scale; `crop_faces` resizes it like any other crop.
    """
    x1, y1, x2, y2 = (int(v) for v in box)
    side = max(1, round(max(x2 - x1, y2 - y1) * (1 + margin)))
    middle = (side - 1) / 2
    matrix = cv2.getRotationMatrix2D((middle, middle), degrees, 1.0)  # positive angles rotate counterclockwise
    corner = np.array([(x1 + x2 - side) // 2, (y1 + y2 - side) // 2], float)
    matrix[:, 2] -= matrix[:, :2] @ corner
    return cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def normalize(crops: torch.Tensor, spec: ModelSpec) -> torch.Tensor:
    """Convert crops to network input, on their device.

    crops: (N, S, S, C) with values 0..255, uint8 (or float, from augmentation); C = 3 is BGR.
    Returns float32 (N, P, S, S) in channels_last, RGB order, scaled to 0..1, minus mean, by std; P = len(spec.mean).
    """
    x = crops.permute(0, 3, 1, 2).float()  # (N, C, S, S); a view with the channels last in memory
    if spec.channels == 3:
        x = x.flip(1)  # BGR -> RGB
    mean = x.new_tensor(spec.mean).view(1, -1, 1, 1)
    std = x.new_tensor(spec.std).view(1, -1, 1, 1)
    return (x / 255 - mean) / std  # a gray plane broadcasts to the planes of mean
