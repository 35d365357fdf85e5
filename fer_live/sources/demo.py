"""The built-in demo: a moving scene made in code from one portrait, so that no camera or network is needed.

The portrait is NASA's picture of the astronaut Eileen Collins, in the public domain (from scikit-image's data).
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from fer_live.sources.names import not_open
from fer_live.types import Frame, SourceError

PORTRAIT = Path(__file__).parents[1] / "assets" / "portrait.jpg"
CYCLE_S = 16.0  # the portrait leaves the picture once in a cycle, so that a frame without a face is seen too


class Demo:
    """Behaves as a camera does: live, paced, endless."""

    is_live = True

    def __init__(self, size_wh: tuple[int, int] = (1280, 720), fps: float = 30.0):
        self.size_wh, self.fps = size_wh, fps
        self.is_open = False
        self._closed = threading.Event()

    def __enter__(self) -> Demo:
        portrait = cv2.imread(str(PORTRAIT))
        if portrait is None:
            raise SourceError(f"the demo's portrait {PORTRAIT} cannot be read; install the program again")
        self.portrait = portrait
        tiny = cv2.resize(portrait[:200], (8, 5), interpolation=cv2.INTER_AREA)  # its own colors, far out of focus
        self.backdrop = (cv2.resize(tiny, self.size_wh, interpolation=cv2.INTER_CUBIC) * 0.45).astype(np.uint8)
        self.is_open = True
        return self

    def __exit__(self, *exception) -> None:
        self._closed.set()

    def __iter__(self) -> Iterator[Frame]:
        if not self.is_open:
            raise not_open("demo")
        started_s, index = time.monotonic(), 0
        while not self._closed.wait(max(0.0, started_s + index / self.fps - time.monotonic())):
            yield Frame(self.render(index / self.fps), index, time.monotonic())
            late = int((time.monotonic() - started_s) * self.fps) - index  # a slow reader misses pictures, as with a camera
            index += max(1, late)

    def render(self, time_s: float) -> np.ndarray:
        """The scene at `time_s`: (H, W, 3) uint8 BGR."""
        width, height = self.size_wh
        phase = 2 * math.pi * (time_s / CYCLE_S + 0.2)  # it begins with the visitor in view
        scale = height / 512 * (1.6 + 0.4 * math.sin(2 * phase))
        angle = math.radians(7 * math.sin(3 * phase))
        away = max(0.0, math.cos(phase)) ** 16  # for about two seconds a cycle the visitor steps out to the right
        center = width * (0.5 + 0.2 * math.sin(phase) + 0.9 * away), height * (0.48 + 0.04 * math.sin(5 * phase))
        cos, sin = scale * math.cos(angle), scale * math.sin(angle)
        face = 224, 130  # the point of the portrait that stays at the center
        matrix = np.array([[cos, -sin, center[0] - cos * face[0] + sin * face[1]],
                           [sin, cos, center[1] - sin * face[0] - cos * face[1]]])
        scene = self.backdrop.copy()
        return cv2.warpAffine(self.portrait, matrix, self.size_wh, dst=scene, flags=cv2.INTER_LINEAR,
                              borderMode=cv2.BORDER_TRANSPARENT)
