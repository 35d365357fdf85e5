"""--virtual-camera: provides the annotated image as a camera device, for video calls and OBS."""

from __future__ import annotations

from typing import Any

import numpy as np

from fer_live.letterbox import letterbox
from fer_live.outgoing.events import Event, Values
from fer_live.outgoing.packages import optional
from fer_live.outgoing.worker import Lost
from fer_live.types import OutputError

SIZE_WH, FPS = (1280, 720), 30.0  # fixed, because programs do not expect a camera's size to change


class VirtualCamera:
    """Shows the image at SIZE_WH, letterboxed. Raises OutputError if no virtual camera device exists."""

    option, kinds, depth, takes_images, settle_s = "--virtual-camera", frozenset[str](), 1, True, 0.0

    def __init__(self) -> None:
        self.pyvirtualcam = optional("--virtual-camera")
        self.camera: Any = None
        try:
            self.connect()
        except Lost as error:
            raise OutputError(f"--virtual-camera: no virtual camera device was found ({error}); install v4l2loopback on Linux, "
                              "or OBS on Windows and macOS") from None

    def connect(self) -> None:
        """Open the device. Raises Lost."""
        if self.camera is None:
            try:
                self.camera = self.pyvirtualcam.Camera(*SIZE_WH, FPS, fmt=self.pyvirtualcam.PixelFormat.BGR)
            except (RuntimeError, OSError) as error:
                raise Lost(" ".join(str(error).split()).rstrip(".")) from None

    def send_values(self, values: Values) -> None:
        """Show the frame's image. Raises Lost."""
        assert values.image is not None
        image = np.empty((SIZE_WH[1], SIZE_WH[0], 3), np.uint8)
        letterbox(values.image, image)
        try:
            self.camera.send(image)
        except (RuntimeError, OSError) as error:
            raise Lost(" ".join(str(error).split()).rstrip(".")) from None

    def send_event(self, event: Event) -> None:
        """Do nothing: a camera shows images only."""

    def check(self) -> None:
        """Do nothing: errors show up only when an image is sent."""

    def close(self) -> None:
        """Release the device."""
        camera, self.camera = self.camera, None
        if camera is not None:
            try:
                camera.close()
            except RuntimeError as error:
                raise Lost(str(error)) from None
