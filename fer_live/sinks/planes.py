"""Converts images to the encoder's format, 4:2:0; with the decoded frame, only what was drawn on it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2  # noqa: F401  before av: otherwise its bundled libxcb makes OpenCV windows hang (PyAV issue 978)

# isort: split
import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from fer_live.types import Box, Decoded

AROUND = 2  # pixels converted around a drawn part, so that its border mixes colors with its true neighbors
MOST = 0.4  # drawn share of the image above which it is converted as a whole


class Planes:
    """Makes the encoder's frames, all with one color matrix and range: those of the first decoded frame, or else BT.709, 16..235.

    Keeping the decoded frame is faster than converting an image to BGR and back, and leaves its colors as they were.
    """

    def __init__(self, decoded: Decoded | None = None):
        self.matrix: int = decoded.matrix if decoded else Colorspace.ITU709
        self.range = ColorRange.JPEG if decoded and decoded.is_full_range else ColorRange.MPEG
        self._reformatter = VideoReformatter()

    def whole(self, image: np.ndarray) -> av.VideoFrame:
        """Convert (H, W, 3) uint8 BGR with even sides."""
        drawn = av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(image), format="bgr24")  # from_ndarray copies row by row
        return self._reformatter.reformat(drawn, format="yuv420p", dst_colorspace=self.matrix, dst_color_range=self.range,
                                          threads=1)

    def drawn(self, image: np.ndarray, decoded: Decoded, boxes: Sequence[Box]) -> av.VideoFrame:
        """Convert an image that differs from a decoded frame at most inside the boxes (N, 4)."""
        height, width = image.shape[:2]
        parts = [part for box in boxes if (part := _even(box, width, height))]
        is_same = decoded.matrix == self.matrix and decoded.is_full_range == (self.range == ColorRange.JPEG)
        if not is_same or sum((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in parts) > MOST * height * width:
            return self.whole(image)
        frame = av.VideoFrame(width, height, "yuv420p")  # a copy, since the decoder still refers to its own
        planes = _arrays(frame)
        for plane, stored in zip(planes, _arrays(decoded.frame), strict=True):
            plane[:] = stored
        if parts:
            self._draw(planes, image, parts)
        return frame

    def _draw(self, planes: list[np.ndarray], image: np.ndarray, parts: Sequence[Box]) -> None:
        """Convert parts of the image and copy them into the planes. All parts are converted at once, one above the other."""
        height, width = image.shape[:2]
        around = [(max(0, x1 - AROUND), max(0, y1 - AROUND), min(width, x2 + AROUND), min(height, y2 + AROUND))
                  for x1, y1, x2, y2 in parts]
        strip = np.zeros((sum(y2 - y1 for _, y1, _, y2 in around), max(x2 - x1 for x1, _, x2, _ in around), 3), np.uint8)
        places, top = [], 0  # of the parts in the strip
        for (x1, y1, x2, y2), (left, upper, _, _) in zip(around, parts, strict=True):
            strip[top : top + y2 - y1, : x2 - x1] = image[y1:y2, x1:x2]
            places.append((left - x1, top + upper - y1))
            top += y2 - y1
        for plane, converted, scale in zip(planes, _arrays(self.whole(strip)), (1, 2, 2), strict=True):
            for (x1, y1, x2, y2), (left, upper) in zip(parts, places, strict=True):
                a, b, w, h = left // scale, upper // scale, (x2 - x1) // scale, (y2 - y1) // scale
                plane[y1 // scale : y2 // scale, x1 // scale : x2 // scale] = converted[b : b + h, a : a + w]


def _arrays(frame: av.VideoFrame) -> list[np.ndarray]:
    """Return the planes of a 4:2:0 frame, (H, W), (H/2, W/2) and (H/2, W/2) uint8, without copying."""
    return [np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
            for plane in frame.planes]


def _even(box: Box, width: int, height: int) -> Box | None:
    """Extend a box to even coordinates inside an image with even sides, or return None if it lies outside."""
    x1, y1 = (max(0, 2 * math.floor(side / 2)) for side in box[:2])
    x2, y2 = min(width, 2 * math.ceil(box[2] / 2)), min(height, 2 * math.ceil(box[3] / 2))
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None
