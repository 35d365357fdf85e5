"""Combines several cameras into one image, so that they are analyzed and shown together."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack

import numpy as np

from fer_live.handoff import LatestItem
from fer_live.letterbox import letterbox
from fer_live.protocols import Source
from fer_live.types import Box, Frame


class Grid:
    """A live source that tiles other live sources.

    The first image of the first camera sets the tile size for the whole run. If it is a slate or takes longer than `wait_s`,
    the first camera with an image does. A frame is composed once every camera has a new image, or after the frame interval of
    the fastest camera; cameras without a new image repeat the last one. Ends when all sources have ended. Boxes are in pixels
    of the whole image.
    """

    is_live = True

    def __init__(self, sources: list[Source], wait_s: float = 1.0):
        self.sources, self.wait_s = sources, wait_s
        self.fps = 30.0
        self.tile_hw: tuple[int, int] | None = None  # None until known
        self.columns = math.ceil(math.sqrt(len(sources)))
        self.rows = math.ceil(len(sources) / self.columns)
        self._stack = ExitStack()

    def __enter__(self) -> Grid:
        with ExitStack() as stack:
            for source in self.sources:
                stack.enter_context(source)
            self._stack = stack.pop_all()
        self.fps = max(source.fps for source in self.sources)
        return self

    def __exit__(self, *exception) -> None:
        self._stack.__exit__(*exception)

    @property
    def is_lost(self) -> bool:
        """Whether all cameras are lost."""
        return all(getattr(source, "is_lost", False) for source in self.sources)

    def __iter__(self) -> Iterator[Frame]:
        return self.frames()

    def frames(self, through: Callable[[Iterable[Frame]], Iterable[Frame]] = iter) -> Iterator[Frame]:
        """Yield composed frames. through: applied to each camera's frames first, for per-camera processing."""
        with ExitStack() as stack:
            cameras = [stack.enter_context(LatestItem(through(source))) for source in self.sources]
            last: list[Frame | None] = [None] * len(cameras)
            index, begun_s, time_s = 0, time.monotonic(), float("-inf")
            while True:
                due_s = time.monotonic() + 1.0 / self.fps
                fresh = [camera.get(max(0.0, due_s - time.monotonic())) for camera in cameras]
                last = [new or old for new, old in zip(fresh, last, strict=True)]
                waited_s = float("inf") if cameras[0].ended else time.monotonic() - begun_s
                if any(fresh) and self._is_settled(last, waited_s):
                    time_s = max(time_s, *(frame.time_s for frame in fresh if frame))  # monotonic even with a late camera
                    whole, tiles = self._compose(last)
                    slates = [frame.is_slate for frame in last if frame]
                    lost = tuple(tile for tile, is_lost in zip(tiles, slates, strict=True) if is_lost)
                    yield Frame(whole, index, time_s, is_slate=all(slates), tiles=tiles, lost_tiles=lost)
                    index += 1
                elif all(camera.ended for camera in cameras):
                    return

    def _is_settled(self, frames: list[Frame | None], waited_s: float) -> bool:
        """Whether the tile size is fixed; it cannot change later because recordings cannot change size."""
        if self.tile_hw is None:
            first = frames[0]
            if (first and not first.is_slate) or waited_s >= self.wait_s:
                present = [frame for frame in frames if frame]
                chosen = next((frame for frame in present if not frame.is_slate), present[0])
                self.tile_hw = chosen.image.shape[:2]
        return self.tile_hw is not None

    def _compose(self, frames: list[Frame | None]) -> tuple[np.ndarray, tuple[Box, ...]]:
        """Letterbox the images into tiles; returns (H, W, 3) uint8 BGR and the xyxy box of each image."""
        assert self.tile_hw is not None
        height, width = self.tile_hw
        whole, tiles = np.zeros((self.rows * height, self.columns * width, 3), np.uint8), []
        for i, frame in enumerate(frames):
            if frame is None:
                continue
            y, x = i // self.columns * height, i % self.columns * width
            (x1, y1, x2, y2), _ = letterbox(frame.image, whole[y : y + height, x : x + width])
            tiles.append((x + x1, y + y1, x + x2, y + y2))
        return whole, tuple(tiles)
