"""Runs the YuNet network with OpenCV, on images of any size and from any number of threads."""

from __future__ import annotations

import functools
import hashlib

import cv2
import numpy as np

from fer_live.model import WEIGHTS as FOLDER
from fer_live.model.spec import CheckpointError

WEIGHTS = FOLDER / "face_detection_yunet_2023mar.onnx"
SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
CANDIDATE = 0.3  # lowest score of a returned detection
OVERLAP = 0.3  # IoU above which two detections are the same face
KEPT_PIXELS = 1_000_000  # networks for larger images are not cached, because they keep that much memory
MOST_SIZES = 8  # image sizes with cached networks
SMALLEST = 16  # pixels; images with a shorter side are not searched


class YuNetNetwork:
    """A cache of networks, one list per image size. Raises CheckpointError if the file is missing or damaged.

    size_wh: the most frequent image size.
    """

    def __init__(self, size_wh: tuple[int, int]):
        self.idle = {size_wh: [_new(size_wh)]}

    def run(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 BGR -> rows (N, 15) float32: x, y, width, height, five landmarks x, y, score; highest score first."""
        height, width = image.shape[:2]
        if min(height, width) < SMALLEST:
            return np.empty((0, 15), np.float32)
        if len(self.idle) > MOST_SIZES and (width, height) not in self.idle:
            self.idle = {}
        # A network is used by one thread at a time; append and pop are atomic. It is used for one image size only: after other
        # sizes, it returned detections with score 1 at arbitrary positions.
        idle = self.idle.setdefault((width, height), [])
        try:
            network = idle.pop()
        except IndexError:  # all are in use by other threads
            network = _new((width, height))
        rows = network.detect(np.ascontiguousarray(image))[1]
        if width * height <= KEPT_PIXELS:
            idle.append(network)
        if rows is None:
            return np.empty((0, 15), np.float32)
        rows = rows[np.isfinite(rows).all(1) & (np.abs(rows[:, :14]).max(1) < 4 * max(width, height))]
        return np.asarray(rows[np.argsort(-rows[:, 14], kind="stable")])


def _new(size_wh: tuple[int, int]) -> cv2.FaceDetectorYN:
    return cv2.FaceDetectorYN.create("onnx", _weights(), np.empty(0, np.uint8), size_wh, CANDIDATE, OVERLAP, 5000)


@functools.cache
def _weights() -> np.ndarray:
    """Return the bytes of the network file, (L,) uint8, after checking their hash."""
    try:
        content = WEIGHTS.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read {WEIGHTS} ({error.strerror}): install the program again, or use --detector haar")
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise CheckpointError(f"{WEIGHTS} is damaged (its SHA-256 is wrong): install the program again, or use --detector haar")
    return np.frombuffer(content, np.uint8)
