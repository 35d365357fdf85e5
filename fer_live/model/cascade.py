"""OpenCV's cascades, kept usable whatever pictures they are given."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

KEPT = 16_000_000  # pixels of a buffer that does not justify reloading the cascade
WASTE = 4  # times the size of the picture: a larger buffer is let go


class Cascade:
    """A cascade of OpenCV's, by the name of its file, for one thread at a time.

    It keeps a buffer as wide as the widest and as high as the highest picture that it was given: after a very wide and a very
    tall one every search would fail for lack of memory. It is then reloaded, which takes 25 ms. Raises RuntimeError where
    OpenCV has no such file.
    """

    def __init__(self, name: str):
        self.name = name
        self._load()

    def _load(self) -> None:
        self._wide = self._high = 0
        folder = Path(cv2.data.haarcascades)  # type: ignore[attr-defined]  # not in its stubs
        self._loaded = cv2.CascadeClassifier(str(folder / self.name))
        if self._loaded.empty():
            raise RuntimeError(f"OpenCV {cv2.__version__} has no {self.name}; install opencv-contrib-python==4.14.0.94")

    def ready_for(self, gray: np.ndarray) -> cv2.CascadeClassifier:
        """The cascade, to search this picture (H, W) uint8 with."""
        high, wide = gray.shape
        if max(high, self._high) * max(wide, self._wide) > max(KEPT, WASTE * high * wide):
            self._load()
        self._high, self._wide = max(high, self._high), max(wide, self._wide)
        return self._loaded
