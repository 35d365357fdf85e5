"""The only pixel arithmetic between a picture and the network; training, evaluation and the live app all use it.

FER2013's 48x48 pictures are, by measurement, Haar boxes: OpenCV's frontal cascade, run on 1,275 of them inside a mirrored
border, gives a box with its centre at (0.50, 0.49) and a side of 0.98 of the picture (medians). So the live crop is the
box itself, grey, at the pictures' own 48 pixels: the network never learnt from finer detail than that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    import torch

    from fer_live.model.spec import ModelSpec


def crop_faces(image: np.ndarray, boxes: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """Cut squares around boxes out of a picture and bring them to the size of the crops.

    image: (H, W, 3) uint8 BGR, or (H, W) uint8 grey. boxes: (N, 4) int xyxy pixels, x2 and y2 exclusive; they may reach
    over the border, where the picture's edge is repeated. Returns (N, S, S, C) uint8, S = spec.input_size, C = spec.channels.
    """
    size, channels = spec.input_size, spec.channels
    crops = np.empty((len(boxes), size, size, channels), np.uint8)
    for i, box in enumerate(boxes):
        crop = _square(image, box, spec.crop_margin)
        if channels == 1 and crop.ndim == 3:
            crop = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)
        elif channels == 3 and crop.ndim == 2:
            crop = cv2.cvtColor(crop, cv2.COLOR_GRAY2BGR)
        crops[i] = resize_face(crop, size).reshape(size, size, channels)
    return crops


def resize_face(image: np.ndarray, size: int) -> np.ndarray:
    """(H, W[, C]) uint8 -> (size, size[, C]) uint8; unchanged if it has that size."""
    if image.shape[:2] == (size, size):
        return image
    shrink = image.shape[0] > size  # the mean over an area, so that noise and fine texture do not alias
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR)


def _square(image: np.ndarray, box: np.ndarray, margin: float) -> np.ndarray:
    """The square part of `image` centred on `box`, its side the longer side of the box times (1 + margin)."""
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


def normalize(crops: torch.Tensor, spec: ModelSpec) -> torch.Tensor:
    """Crops as the network takes them, on the device where they are.

    crops: (N, S, S, C) with values 0..255, uint8 (or float, from augmentation); C = 3 is BGR.
    Returns float32 (N, P, S, S) in channels_last, RGB order, scaled to 0..1, minus mean, by std; P = len(spec.mean).
    """
    x = crops.permute(0, 3, 1, 2).float()  # (N, C, S, S); a view with the channels last in memory
    if spec.channels == 3:
        x = x.flip(1)  # BGR -> RGB
    mean = x.new_tensor(spec.mean).view(1, -1, 1, 1)
    std = x.new_tensor(spec.std).view(1, -1, 1, 1)
    return (x / 255 - mean) / std  # one grey plane broadcasts to the planes of mean
