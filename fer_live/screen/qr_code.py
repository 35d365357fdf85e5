"""Encodes a URL as a QR code to be scanned from the screen."""

from __future__ import annotations

import cv2
import numpy as np

QUIET = 4  # modules of white around a code, as required by ISO/IEC 18004


def qr_code(url: str) -> np.ndarray:
    """Return a QR code (S, S) uint8, one pixel per module, with a quiet zone. Raises ValueError if the URL is too long."""
    try:
        code = cv2.QRCodeEncoder.create().encode(url)
    except cv2.error:
        raise ValueError(f"{url!r} does not fit in a QR code; give a shorter URL") from None
    border = int(np.argmax((code == 0).any(axis=1)))  # white modules already added by OpenCV's encoder
    ring = QUIET - border
    return cv2.copyMakeBorder(code, ring, ring, ring, ring, cv2.BORDER_CONSTANT, value=255)
