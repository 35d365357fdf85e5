"""QR codes: an address to be scanned from a screen."""

from __future__ import annotations

import cv2
import numpy as np

QUIET = 4  # modules of white around a code, as ISO/IEC 18004 asks


def qr_code(address: str) -> np.ndarray:
    """A QR code (S, S) uint8, one pixel a module, black on white with a quiet zone. Raises ValueError if it does not fit."""
    try:
        code = cv2.QRCodeEncoder.create().encode(address)
    except cv2.error:
        raise ValueError(f"{address!r} does not fit a QR code; give a shorter address") from None
    border = int(np.argmax((code == 0).any(axis=1)))  # white modules that OpenCV's encoder has already left around it
    ring = QUIET - border
    return cv2.copyMakeBorder(code, ring, ring, ring, ring, cv2.BORDER_CONSTANT, value=255)
