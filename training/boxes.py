"""Runs the live app's detector on a data set, since its boxes differ from the data set's own crops."""

from __future__ import annotations

import cv2
import numpy as np

from fer_live.model.haar import HaarFaceDetector


def detector_boxes(images: np.ndarray) -> np.ndarray:
    """Images (N, S, S) uint8 of one face each -> (N, 3) float32: center x, center y, side, as fractions of S.

    Each image is padded by reflection, so that the detector can return a larger box. If it finds no face, or a box far off the
    center or of a very different size, the whole image is the box.
    """
    detector = HaarFaceDetector(min_face=0.2)
    boxes = np.tile(np.array([0.5, 0.5, 1.0], np.float32), (len(images), 1))
    for i, image in enumerate(images):
        side = image.shape[0]
        border = side // 2
        scene = cv2.copyMakeBorder(image, border, border, border, border, cv2.BORDER_REFLECT_101)
        found = detector.detect(cv2.cvtColor(scene, cv2.COLOR_GRAY2BGR))
        if not len(found):
            continue
        x1, y1, x2, y2 = ((found - border) / side).T
        center_x, center_y, length = (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1
        nearest = int(np.argmin((center_x - 0.5) ** 2 + (center_y - 0.5) ** 2))
        box = np.array([center_x[nearest], center_y[nearest], length[nearest]], np.float32)
        if np.abs(box[:2] - 0.5).max() < 0.25 and 0.6 < box[2] < 1.6:
            boxes[i] = box
    return boxes
