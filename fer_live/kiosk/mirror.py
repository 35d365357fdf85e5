"""Selects the part of the camera image that fills the screen: as large as possible, with no face behind text."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from fer_live.types import Box

STEADY_S = 0.35  # seconds; time constant of following the faces
BLUR_WH, DIM = (32, 18), 0.4  # background beside the image: the image itself, blurred and darkened


@dataclass(frozen=True)
class Place:
    """Position of the image: its point (x, y) is shown at (left + scale * x, top + scale * y) on the screen."""

    scale: float
    left: float
    top: float

    def box(self, box: Box) -> Box:
        """Convert a box from image to screen coordinates."""
        x1, y1, x2, y2 = box
        return (round(self.left + self.scale * x1), round(self.top + self.scale * y1),
                round(self.left + self.scale * x2), round(self.top + self.scale * y2))


class Mirror:
    """Follows the faces smoothly. area_wh: size of the area that it fills, at the top of the screen."""

    def __init__(self, area_wh: tuple[int, int]):
        self.w, self.h = area_wh
        self.place = Place(1.0, 0.0, 0.0)
        self.image_wh = 0, 0
        self.time_s: float | None = None

    def follow(self, image_wh: tuple[int, int], faces: list[Box], margin: float, free: Box, time_s: float) -> Place:
        """Update and return the position of the image.

        Without faces, all of the image is shown. With faces, it fills the area, or less if the faces would not all be visible,
        and is placed so that they lie in `free`, if they fit. margin: space around each face, in sides of the largest.
        """
        wanted = self._wanted(image_wh, faces, margin, free)
        if self.time_s is None or time_s < self.time_s or image_wh != self.image_wh:
            self.place = wanted
        else:
            share = 1 - math.exp((self.time_s - time_s) / STEADY_S)
            now = self.place
            self.place = Place(*(a + share * (b - a) for a, b in ((now.scale, wanted.scale), (now.left, wanted.left),
                                                                  (now.top, wanted.top))))
        self.image_wh, self.time_s = image_wh, time_s
        return self.place

    def _wanted(self, image_wh: tuple[int, int], faces: list[Box], margin: float, free: Box) -> Place:
        w, h = image_wh
        whole, filled = min(self.w / w, self.h / h), max(self.w / w, self.h / h)
        if not faces:
            return Place(whole, (self.w - whole * w) / 2, (self.h - whole * h) / 2)
        m = margin * max(box[2] - box[0] for box in faces)
        x1, y1 = max(0.0, min(box[0] for box in faces) - m), max(0.0, min(box[1] for box in faces) - m)
        x2, y2 = min(float(w), max(box[2] for box in faces) + m), min(float(h), max(box[3] for box in faces) + m)
        scale = max(whole, min(filled, (free[2] - free[0]) / (x2 - x1), (self.h - free[1]) / (y2 - y1)))
        if scale * (y2 - y1) > free[3] - free[1]:
            free = free[0], free[1], free[2], self.h
        left, top = (self.w - scale * w) / 2, (self.h - scale * h) / 2
        if scale * w > self.w:
            left = min(0.0, max(self.w - scale * w, self.w / 2 - scale * (x1 + x2) / 2))
        top = min(max(top, free[1] - scale * y1), free[3] - scale * y2)
        return Place(scale, left, max(top, -scale * y1))

    def paint(self, screen: np.ndarray, image: np.ndarray) -> None:
        """Draw the image (H, W, 3) uint8 BGR onto the screen at its current position."""
        h, w = image.shape[:2]
        place = self.place
        x1, y1 = max(0, math.ceil(place.left)), max(0, math.ceil(place.top))
        x2, y2 = min(self.w, math.floor(place.left + place.scale * w)), min(self.h, math.floor(place.top + place.scale * h))
        if (x1, y1, x2, y2) != (0, 0, self.w, self.h):
            blurred = cv2.resize(cv2.resize(image, BLUR_WH, interpolation=cv2.INTER_AREA), (self.w, self.h))
            screen[: self.h] = cv2.convertScaleAbs(blurred, alpha=DIM)
        if x2 <= x1 or y2 <= y1:
            return
        # Crop to the visible part, rounded outward to whole pixels; the matrix applies the remaining offset.
        a, b = max(0, int((x1 - place.left) / place.scale) - 1), max(0, int((y1 - place.top) / place.scale) - 1)
        c, d = min(w, int((x2 - place.left) / place.scale) + 2), min(h, int((y2 - place.top) / place.scale) + 2)
        part = image[b:d, a:c]
        if place.scale < 0.6:  # averaging avoids flicker in a large image
            part = cv2.resize(part, None, fx=place.scale, fy=place.scale, interpolation=cv2.INTER_AREA)
            factor = part.shape[1] / (c - a), part.shape[0] / (d - b)
        else:
            factor = 1.0, 1.0
        scale_x, scale_y = place.scale / factor[0], place.scale / factor[1]
        matrix = np.array([[scale_x, 0, place.left + place.scale * a - x1], [0, scale_y, place.top + place.scale * b - y1]])
        cv2.warpAffine(part, matrix, (x2 - x1, y2 - y1), screen[y1:y2, x1:x2], cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
