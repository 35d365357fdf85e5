"""The only pixel arithmetic between a picture and the network; training, evaluation and the live app all use it.

FER2013's 48x48 pictures are, by measurement, Haar boxes: OpenCV's frontal cascade, run on 1,275 of them inside a mirrored
border, gives a box with its center at (0.50, 0.49) and a side of 0.98 of the picture (medians). So the live crop is the
box itself, gray, at the pictures' own 48 pixels: the network never learnt from finer detail than that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    import torch

    from fer_live.model.spec import ModelSpec


UPRIGHT = 5.0  # degrees up to which a face counts as upright; landmarks waver by two or three


def crop_faces(image: np.ndarray, boxes: np.ndarray, spec: ModelSpec, rolls: np.ndarray | None = None) -> np.ndarray:
    """Cut squares around boxes out of a picture and bring them to the size of the crops.

    image: (H, W, 3) uint8 BGR, or (H, W) uint8 gray. boxes: (N, 4) int xyxy pixels, x2 and y2 exclusive; they may reach
    over the border, where the picture's edge is repeated. rolls: (N,) degrees by which the faces are turned clockwise; their
    crops are turned back. Returns (N, S, S, C) uint8, S = spec.input_size, C = spec.channels.
    """
    size, channels = spec.input_size, spec.channels
    crops = np.empty((len(boxes), size, size, channels), np.uint8)
    for i, box in enumerate(boxes):
        if rolls is None or not abs(rolls[i]) > UPRIGHT:  # NaN: not known
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
    """(H, W[, C]) uint8 -> (size, size[, C]) uint8; unchanged if it has that size."""
    if image.shape[:2] == (size, size):
        return image
    shrink = image.shape[0] > size  # the mean over an area, so that noise and fine texture do not alias
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR)


def square_part(image: np.ndarray, box: np.ndarray, margin: float) -> np.ndarray:
    """The square part of `image` centered on `box`, its side the longer side of the box times (1 + margin)."""
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
    """The square of `square_part`, turned about its middle by `degrees` clockwise with what it shows, so that a face that is
    turned so far is upright in it. At the picture's own scale: what is reduced is reduced as any other crop."""
    x1, y1, x2, y2 = (int(v) for v in box)
    side = max(1, round(max(x2 - x1, y2 - y1) * (1 + margin)))
    middle = (side - 1) / 2
    matrix = cv2.getRotationMatrix2D((middle, middle), degrees, 1.0)  # positive degrees turn against the clock
    corner = np.array([(x1 + x2 - side) // 2, (y1 + y2 - side) // 2], float)
    matrix[:, 2] -= matrix[:, :2] @ corner
    return cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


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
    return (x / 255 - mean) / std  # one gray plane broadcasts to the planes of mean
