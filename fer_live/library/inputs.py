"""Converts any supported image input to (H, W, 3) uint8 BGR."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fer_live.analysis.checks import described
from fer_live.model.images import MOST_IMAGE_PIXELS, ImageError, decode_image, load_image
from fer_live.model.paths import exists, is_folder, shortened
from fer_live.sources.kinds import kind_of
from fer_live.types import SourceError

COLORS = ("bgr", "rgb")
TOLERANCE = 1e-3  # float values may exceed 0..1 by this much, because cubic resizing overshoots
KINDS = "an image is a path, an array (H, W), (H, W, 3) or (H, W, 4), a PIL image, or the bytes of an image file"
ADDRESSES = ("http://", "https://", "rtsp://", "rtsps://", "ftp://", "data:")


def to_image(given: Any, color: str | None = None) -> tuple[np.ndarray, str | None]:
    """Return the upright image (H, W, 3) uint8 BGR, and its path if it came from a file.

    color: channel order of an array, "bgr" (default) or "rgb". Raises SourceError for unreadable files, and TypeError or
    ValueError for unsupported or ambiguous input.
    """
    check_color(color)
    if isinstance(given, np.ndarray):
        return from_array(given, color or "bgr"), None
    if color is not None:
        raise ValueError(f"color is the channel order of an array; leave it out for {described(given)}")
    if isinstance(given, str | os.PathLike):
        return _from_path(given), os.fspath(given)
    if isinstance(given, bytes | bytearray | memoryview):
        return _from_bytes(bytes(given)), None
    if hasattr(given, "getexif") and hasattr(given, "convert"):  # a PIL image, checked without importing Pillow
        return _from_pil(given), None
    if callable(getattr(given, "read", None)):
        content = given.read()
        if isinstance(content, bytes):
            return _from_bytes(content), None
        raise TypeError(f"{KINDS}; got a file that is not in binary mode; open it with open(path, 'rb')")
    if given is None:
        raise TypeError(f"{KINDS}; got None, which cv2.imread returns for an unreadable file")
    hint = "; convert a tensor (3, H, W) with tensor.permute(1, 2, 0).numpy()" if hasattr(given, "numpy") else ""
    raise TypeError(f"{KINDS}; got {described(given)}{hint}")


def check_color(color: Any) -> None:
    """Raise ValueError unless `color` is None, "bgr" or "rgb"."""
    if color is not None and color not in COLORS:
        raise ValueError(f"color must be 'bgr' (OpenCV) or 'rgb' (PIL, imageio, matplotlib); got {color!r}")


def from_array(array: np.ndarray, color: str) -> np.ndarray:
    """Convert (H, W[, 1, 3 or 4]) of any numeric type to a copy (H, W, 3) uint8 BGR, dropping alpha. Raises ValueError."""
    image = _eight_bits(_shaped(np.asarray(array)))
    channels = 1 if image.ndim == 2 else image.shape[2]
    if channels == 1:
        return cv2.cvtColor(np.ascontiguousarray(image).reshape(image.shape[:2]), cv2.COLOR_GRAY2BGR)
    image = image[:, :, :3]
    return np.array(image[:, :, ::-1] if color == "rgb" else image, order="C")  # copied, since capture loops reuse their array


def _shaped(array: np.ndarray) -> np.ndarray:
    if array.size and (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))):
        return array
    advice = ""
    if not array.size:
        advice = "; it is empty"
    elif array.ndim == 3 and array.shape[0] in (1, 3, 4):
        advice = "; move the channels last with array.transpose(1, 2, 0)"
    elif array.ndim == 4:
        advice = "; pass a batch as a list, with list(array)"
    raise ValueError(f"an array must be (H, W), (H, W, 3) or (H, W, 4); got {described(array)}{advice}")


def _eight_bits(array: np.ndarray) -> np.ndarray:
    """Convert the values to uint8. Raises ValueError if their range is ambiguous."""
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind not in "uif":
        raise ValueError(f"array values must be numbers, 0..255 or float 0..1; got {described(array)}")
    least, most = float(array.min()), float(array.max())
    if array.dtype.kind == "f" and least >= -TOLERANCE and most <= 1 + TOLERANCE:
        return np.rint(np.clip(array, 0, 1) * 255).astype(np.uint8)
    if least >= 0 and most <= 255 and (array.dtype.kind != "f" or most >= 2):
        return np.rint(array).astype(np.uint8)
    advice = "divide 16-bit values by 256, 12-bit values by 16" if array.dtype.kind == "u" else "scale them to one of these"
    raise ValueError(f"array values must be 0..255 or float 0..1; got {array.dtype} from {least:g} to {most:g}; {advice}")


def _from_path(path: str | os.PathLike) -> np.ndarray:
    text = os.fspath(path)
    if not isinstance(text, str):
        raise TypeError(f"{KINDS}; got a path of {described(text)}")
    if text.lower().startswith(ADDRESSES):
        raise SourceError(f"{text} is a URL; download the image and pass its bytes, or use stream() for a camera")
    try:
        return load_image(Path(text))
    except (ImageError, ValueError) as error:  # ValueError: the path contains a null character
        raise SourceError(f"cannot read {shortened(text)}: {_advice(text, str(error))}") from None


def _advice(text: str, reason: str) -> str:
    """Return what to do if the path is a folder, pattern or video; else `reason`."""
    try:
        if is_folder(text) or (not exists(text) and any(c in text for c in "*?[")):
            return "it is not a single image; use stream() for a folder or pattern"
        return "it is a video; use stream() or video()" if kind_of(Path(text)) == "video" else reason
    except OSError:
        return reason


def _from_bytes(content: bytes) -> np.ndarray:
    try:
        return decode_image(np.frombuffer(content, np.uint8))
    except ImageError as error:
        raise SourceError(f"cannot read an image of {len(content):,} bytes: {error}") from None


def _from_pil(given: Any) -> np.ndarray:
    from PIL import Image, ImageOps

    if given.width * given.height > MOST_IMAGE_PIXELS:
        raise SourceError("the PIL image has more than 64 megapixels; resize it first")
    try:
        upright = ImageOps.exif_transpose(given)
        if upright.mode.startswith("I;16"):
            upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
        pixels = np.asarray(upright if upright.mode in ("I", "F") else upright.convert("RGB"))
    except Exception as error:  # decoded lazily here, and decoders raise anything for damaged files
        raise SourceError(f"cannot read a PIL image: {' '.join(str(error).split()) or type(error).__name__}") from None
    return from_array(pixels, "rgb")
