"""Reads picture files that may be anything: what is no whole picture of sensible size is None, never an error."""

from __future__ import annotations

import stat
from pathlib import Path

import cv2
import numpy as np

# OpenCV itself refuses pictures of more than OPENCV_IO_MAX_IMAGE_PIXELS before it decodes them, see the packages' __init__.py.
MOST_BYTES = 400_000_000  # of a file: beyond 64 megapixels in 48 bits


def read_picture(path: Path, grey: bool = False) -> np.ndarray | None:
    """(H, W, 3) uint8 BGR, or (H, W) uint8 grey; None for what is damaged, no picture, too large, or cannot be read."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or not 0 < status.st_size <= MOST_BYTES:
            return None
        content = np.fromfile(path, np.uint8)
        if not _chunks_fit(content):
            return None
        return cv2.imdecode(content, cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR)
    except (OSError, cv2.error):  # OpenCV raises for impossible sizes, and gives None for other damage
        return None


def _chunks_fit(content: np.ndarray) -> bool:
    """Whether a PNG holds what its chunks claim: OpenCV takes the memory for a chunk, up to 4 GB, before it looks."""
    if content[:8].tobytes() != b"\x89PNG\r\n\x1a\n":
        return True
    start = 8
    while start + 12 <= len(content):
        kind = content[start + 4 : start + 8].tobytes()
        start += 12 + int.from_bytes(content[start : start + 4].tobytes())  # length, kind, the content itself, check sum
        if kind == b"IEND":
            break
    return start <= len(content)
