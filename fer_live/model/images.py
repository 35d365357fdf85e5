"""Reads untrusted image files; damaged, unsupported and oversized ones are rejected with a reason."""

from __future__ import annotations

import os
import stat
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np

# OpenCV rejects images above OPENCV_IO_MAX_IMAGE_PIXELS before decoding; see the packages' __init__.py.
MOST_BYTES = 400_000_000  # per file; 64 megapixels at 48 bits need less
MOST_IMAGE_PIXELS = 64_000_000
# Formats that Pillow tries. TGA is last: it has no signature, so any file can match it.
PILLOW = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "JPEG2000", "PPM", "ICO", "ICNS", "AVIF", "QOI", "PCX", "SGI",
          "DDS", "PSD", "TGA")
# EXIF orientation -> quarter turns counterclockwise, then whether to flip horizontally
TURNS = {2: (0, True), 3: (2, False), 4: (2, True), 5: (3, True), 6: (3, False), 7: (1, True), 8: (1, False)}


class ImageError(Exception):
    """An image cannot be read. The message is a short reason without the file name."""


def read_image(path: Path, gray: bool = False) -> np.ndarray | None:
    """Like `load_image`, but returns None on errors."""
    try:
        return load_image(path, gray)
    except ImageError:
        return None


def load_image(path: Path, gray: bool = False) -> np.ndarray:
    """Read an upright image, (H, W, 3) uint8 BGR or (H, W) uint8 gray; the first one of multi-page files. Raises ImageError."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ImageError("not a file")
        if not 0 < status.st_size <= MOST_BYTES:
            raise ImageError("larger than 400 MB" if status.st_size else "the file is empty")
        content = np.fromfile(path, np.uint8)
    except OSError as error:
        raise ImageError((error.strerror or str(error)).lower()) from None
    return decode_image(content, gray)


def decode_image(content: np.ndarray, gray: bool = False) -> np.ndarray:
    """Like `load_image`, from the bytes (N,) uint8 of a file. Raises ImageError."""
    if not 0 < len(content) <= MOST_BYTES:
        raise ImageError("larger than 400 MB" if len(content) else "it is empty")
    if not _chunks_fit(content):
        raise ImageError("damaged")
    image = _decode(content, gray)
    if image is None:
        raise ImageError(_why(content))
    return image


def _decode(content: np.ndarray, gray: bool) -> np.ndarray | None:
    try:
        image = cv2.imdecode(content, cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR)
    except cv2.error:  # OpenCV raises for invalid sizes and returns None for other damage
        image = None
    if image is None:
        return _decode_with_pillow(content, gray)
    if is_avif(content[:64].tobytes()):  # OpenCV ignores AVIF's rotation property
        image = _turned(image, _orientation(content))
    return image


def is_avif(head: bytes) -> bool:
    """Whether these first bytes of a file are AVIF."""
    return head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis", b"mif1", b"miaf") and b"avi" in head[:64]


def _orientation(content: np.ndarray) -> int:
    from PIL import Image

    try:
        with Image.open(BytesIO(content.data), formats=PILLOW) as opened:
            return int(opened.getexif().get(0x0112, 1))
    except Exception:  # decoders raise anything for damaged files
        return 1


def _turned(image: np.ndarray, orientation: int) -> np.ndarray:
    quarters, is_mirrored = TURNS.get(orientation, (0, False))
    image = np.rot90(image, quarters)
    return np.ascontiguousarray(image[:, ::-1] if is_mirrored else image)


def _decode_with_pillow(content: np.ndarray, gray: bool) -> np.ndarray | None:
    """Decode formats that OpenCV does not support: ICO, TGA, QOI, JPEG 2000 with subsampled color, and more."""
    from PIL import Image, ImageOps

    try:
        with Image.open(BytesIO(content.data), formats=PILLOW) as opened:
            if opened.width * opened.height > MOST_IMAGE_PIXELS:
                return None
            opened.load()
            upright = ImageOps.exif_transpose(opened)
            if upright.mode.startswith("I;16"):
                shades = (np.asarray(upright) >> 8).astype(np.uint8)
                return shades if gray else cv2.cvtColor(shades, cv2.COLOR_GRAY2BGR)
            if upright.mode in ("I", "F"):
                return None
            if gray:
                return np.asarray(upright.convert("L")).copy()
            return np.ascontiguousarray(np.asarray(upright.convert("RGB"))[:, :, ::-1])
    except Exception:  # decoders raise anything for damaged files
        return None


def _why(content: np.ndarray) -> str:
    """Return why neither decoder could read the file."""
    from PIL import Image

    if content[:2].tobytes() == b"\xff\x0a" or content[:12].tobytes() == b"\0\0\0\x0cJXL \r\n\x87\n":
        return "JPEG XL is not supported; convert it to JPEG"
    if content[4:8].tobytes() == b"ftyp" and not is_avif(content[:64].tobytes()):
        return "HEIC is not supported; convert it to JPEG"
    try:
        with Image.open(BytesIO(content.data), formats=PILLOW) as opened:
            megapixels = opened.width * opened.height / 1e6
    except Image.DecompressionBombError:
        megapixels = float("inf")
    except Exception:  # decoders raise anything for damaged files
        megapixels = 0.0
    limit = int(os.environ.get("OPENCV_IO_MAX_IMAGE_PIXELS", MOST_IMAGE_PIXELS))
    return "more than 64 megapixels" if megapixels * 1e6 > limit else "damaged, or an unknown format"


def _chunks_fit(content: np.ndarray) -> bool:
    """Whether a PNG is as long as its chunks declare. OpenCV allocates up to 4 GB per declared chunk before reading it."""
    if content[:8].tobytes() != b"\x89PNG\r\n\x1a\n":
        return True
    start = 8
    while start + 12 <= len(content):
        kind = content[start + 4 : start + 8].tobytes()
        start += 12 + int.from_bytes(content[start : start + 4].tobytes())  # length, type, content, checksum
        if kind == b"IEND":
            break
    return start <= len(content)
