"""--virtual-camera: the shown picture as a camera of this computer, for video calls and OBS."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from fer_live.outgoing.events import Event, Values
from fer_live.outgoing.packages import optional
from fer_live.outgoing.worker import Lost
from fer_live.types import OutputError

SIZE_WH, FPS = (1280, 720), 30.0  # fixed: programs that read a camera do not expect its size to change


class VirtualCamera:
    """The picture in SIZE_WH, with black bars where its shape is another. Raises OutputError where there is no such device."""

    option, kinds, depth, takes_pictures, settle_s = "--virtual-camera", frozenset[str](), 1, True, 0.0

    def __init__(self) -> None:
        self.pyvirtualcam = optional("--virtual-camera")
        self.camera: Any = None
        try:
            self.connect()
        except Lost as error:
            raise OutputError(f"--virtual-camera: there is no virtual camera here ({error}); install v4l2loopback on Linux, "
                              "or OBS on Windows and macOS") from None

    def connect(self) -> None:
        """Open the device. Raises Lost."""
        if self.camera is None:
            try:
                self.camera = self.pyvirtualcam.Camera(*SIZE_WH, FPS, fmt=self.pyvirtualcam.PixelFormat.BGR)
            except (RuntimeError, OSError) as error:
                raise Lost(" ".join(str(error).split()).rstrip(".")) from None

    def send_values(self, values: Values) -> None:
        """Show the frame's picture. Raises Lost."""
        assert values.image is not None
        try:
            self.camera.send(fit(values.image))
        except (RuntimeError, OSError) as error:
            raise Lost(" ".join(str(error).split()).rstrip(".")) from None

    def send_event(self, event: Event) -> None:
        """A camera shows pictures only."""

    def check(self) -> None:
        """Nothing is known until a picture is sent."""

    def close(self) -> None:
        """Give the device back."""
        camera, self.camera = self.camera, None
        if camera is not None:
            try:
                camera.close()
            except RuntimeError as error:
                raise Lost(str(error)) from None


def fit(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 BGR -> the same picture in SIZE_WH, as large as it fits."""
    scale = min(SIZE_WH[0] / image.shape[1], SIZE_WH[1] / image.shape[0])
    w, h = round(image.shape[1] * scale), round(image.shape[0] * scale)
    if scale != 1:
        image = cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    if (w, h) == SIZE_WH:
        return np.ascontiguousarray(image)
    made = np.zeros((SIZE_WH[1], SIZE_WH[0], 3), np.uint8)
    left, top = (SIZE_WH[0] - w) // 2, (SIZE_WH[1] - h) // 2
    made[top : top + h, left : left + w] = image
    return made
