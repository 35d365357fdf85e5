"""OpenCV cascade classifiers with bounded memory."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

KEPT = 16_000_000  # pixels; smaller buffers are always kept
WASTE = 4  # reload the cascade if its buffer exceeds the image by this factor


class Cascade:
    """An OpenCV cascade, by file name. Not thread-safe.

    OpenCV keeps a buffer as wide and as high as the largest image so far. After one very wide and one very tall image, every
    search would run out of memory, so the cascade is then reloaded (25 ms). Raises RuntimeError if OpenCV lacks the file.
    """

    def __init__(self, name: str):
        self.name = name
        self._load()

    def _load(self) -> None:
        self._wide = self._high = 0
        folder = Path(cv2.data.haarcascades)  # type: ignore[attr-defined]  # missing in the stubs
        self._loaded = cv2.CascadeClassifier(str(folder / self.name))
        if self._loaded.empty():
            raise RuntimeError(f"OpenCV {cv2.__version__} has no {self.name}; install opencv-contrib-python 4 (4.10 or later)")

    def ready_for(self, gray: np.ndarray) -> cv2.CascadeClassifier:
        """Return the cascade, ready to search this image (H, W) uint8."""
        high, wide = gray.shape
        if max(high, self._high) * max(wide, self._wide) > max(KEPT, WASTE * high * wide):
            self._load()
        self._high, self._wide = max(high, self._high), max(wide, self._wide)
        return self._loaded
