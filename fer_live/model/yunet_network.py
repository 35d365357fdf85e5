"""The network of YuNet in OpenCV: pictures of any size, from any number of threads."""

from __future__ import annotations

import functools
import hashlib

import cv2
import numpy as np

from fer_live.model import WEIGHTS as FOLDER
from fer_live.model.spec import CheckpointError

WEIGHTS = FOLDER / "face_detection_yunet_2023mar.onnx"
SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
CANDIDATE = 0.3  # score of a hit that is returned
OVERLAP = 0.3  # of two hits beyond which they are one face
KEPT_PIXELS = 1_000_000  # a network that has searched more is not kept, for it holds their memory
MOST_SIZES = 8  # of pictures for which networks are kept
SMALLEST = 16  # pixels; a side below which no picture is searched


class YuNetNetwork:
    """Networks by the size of their pictures. Raises CheckpointError if the file is missing or damaged.

    size_wh: of the pictures that come most often.
    """

    def __init__(self, size_wh: tuple[int, int]):
        self.idle = {size_wh: [_new(size_wh)]}

    def run(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 BGR -> rows (N, 15) float32: x, y, width, height, five landmarks x, y, score; the surest first."""
        height, width = image.shape[:2]
        if min(height, width) < SMALLEST:
            return np.empty((0, 15), np.float32)
        if len(self.idle) > MOST_SIZES and (width, height) not in self.idle:
            self.idle = {}
        # A network serves one thread at a time; append and pop are atomic. It serves pictures of one size only: after others it
        # has returned hits of score 1 and any place.
        idle = self.idle.setdefault((width, height), [])
        try:
            network = idle.pop()
        except IndexError:  # all are at work in other threads
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
    """The bytes of the network's file, (L,) uint8, once they are known to be those that were measured."""
    try:
        content = WEIGHTS.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read {WEIGHTS} ({error.strerror}): install the program again, or use --detector haar")
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise CheckpointError(f"{WEIGHTS} is damaged (its SHA-256 is wrong): install the program again, or use --detector haar")
    return np.frombuffer(content, np.uint8)
