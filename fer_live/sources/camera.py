"""Webcams, through OpenCV."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2

from fer_live.sources.names import not_open
from fer_live.types import Frame, SourceError


class Camera:
    """A webcam, read with OpenCV. index_or_path: camera number, or a path such as /dev/video0. read_s: timeout per read."""

    is_live, ends = True, False

    def __init__(self, index_or_path: int | str, size_wh: tuple[int, int] = (1280, 720), fps: float = 30.0,
                 read_s: float = 5.0):
        self.name, self.size_wh, self.fps, self.read_s = index_or_path, size_wh, fps, read_s
        self.capture: cv2.VideoCapture | None = None

    def __enter__(self) -> Camera:
        self._check_exists()
        backend = cv2.CAP_V4L2 if sys.platform.startswith("linux") else cv2.CAP_ANY
        # timeout of OpenCV's reads in seconds; its default is ten
        os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", str(math.ceil(self.read_s)))
        self.capture = cv2.VideoCapture(os.path.realpath(self.name) if isinstance(self.name, str) else self.name, backend)
        self.capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))  # raw 720p exceeds the bandwidth of USB 2
        self.capture.set(cv2.CAP_PROP_FRAME_WIDTH, self.size_wh[0])
        self.capture.set(cv2.CAP_PROP_FRAME_HEIGHT, self.size_wh[1])
        self.capture.set(cv2.CAP_PROP_FPS, self.fps)
        self.capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        if not self.capture.isOpened():
            self.capture.release()
            raise SourceError(f"camera {self.name} cannot be opened; check that no other program uses it, and its permissions")
        self.fps = self.capture.get(cv2.CAP_PROP_FPS) or self.fps
        return self

    def _check_exists(self) -> None:
        """Raise SourceError if the device is missing, before OpenCV prints its own warnings."""
        if not sys.platform.startswith("linux"):
            return
        path = Path(f"/dev/video{self.name}" if isinstance(self.name, int) else self.name)
        if not path.exists():
            found = " ".join(sorted(str(p) for p in Path("/dev").glob("video*"))) or "none"
            raise SourceError(f"no camera {self.name} ({path} does not exist); available cameras: {found}")

    def __exit__(self, *exception) -> None:
        if self.capture is not None:
            self.capture.release()

    def __iter__(self) -> Iterator[Frame]:
        if self.capture is None:
            raise not_open(self.name)
        index = 0
        while True:
            try:
                ok, image = self.capture.read()
            except cv2.error:  # OpenCV failed to decode the image
                ok, image = False, None
            if not ok or image is None or not image.size:
                what = "stopped sending images; was it unplugged?" if index else "sends no image; is another program using it?"
                raise SourceError(f"camera {self.name} {what}")
            yield Frame(image, index, time.monotonic())
            index += 1
