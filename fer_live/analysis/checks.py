"""Argument checks of the library, with one-line messages in place of OpenCV's assertions."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from fer_live.analysis.label_sets import LABEL_SETS
from fer_live.types import Frame

IMAGE = "an image is a numpy array (H, W, 3) uint8, BGR, as cv2.imread returns it"


def check_image(image: Any) -> np.ndarray:
    """Return the image if it is (H, W, 3) uint8 and not empty. Raises TypeError for non-arrays, ValueError for other arrays."""
    if not isinstance(image, np.ndarray):
        raise TypeError(f"{IMAGE}; got {described(image)}{_advice(image)}")
    if image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8 and image.size:
        return image
    advice = ""
    if image.dtype != np.uint8:
        advice = "; convert it with astype(numpy.uint8), after multiplying by 255 if the values are 0 to 1"
    elif not image.size:
        advice = "; it has no pixels"
    elif image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 1):
        advice = "; convert gray with cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)"
    elif image.ndim == 3 and image.shape[2] == 4:
        advice = "; convert it with cv2.cvtColor(image, cv2.COLOR_BGRA2BGR)"
    elif image.ndim == 3 and image.shape[0] == 3:
        advice = "; move its channels to the end with image.transpose(1, 2, 0)"
    elif image.ndim == 4:
        advice = "; give one image at a time"
    raise ValueError(f"{IMAGE}; got {described(image)}{advice}")


def check_frame(frame: Any) -> Frame:
    """Return the frame if its image, index, time and tiles are valid. Raises TypeError, ValueError."""
    if not isinstance(frame, Frame):
        raise TypeError(f"a frame of a video is a fer_live.Frame(image, index, time_s); got {described(frame)}{_advice(frame)}")
    check_image(frame.image)
    if not isinstance(frame.index, int | np.integer) or isinstance(frame.index, bool):
        raise TypeError(f"a frame's index is an int that counts frames; got {described(frame.index)}")
    if not is_number(frame.time_s):
        raise TypeError(f"a frame's time_s is an int or float, in seconds; got {described(frame.time_s)}")
    if not math.isfinite(frame.time_s):
        raise ValueError(f"a frame's time_s is a finite int or float, in seconds; got {frame.time_s}")
    _check_tiles(frame)
    return frame


def _check_tiles(frame: Frame) -> None:
    what = "a frame's tiles are boxes (x1, y1, x2, y2) of pixels in its image, as a tuple; got"
    if not isinstance(frame.tiles, tuple):
        raise TypeError(f"{what} {described(frame.tiles)}")
    height, width = frame.image.shape[:2]
    for box in frame.tiles:
        if not (isinstance(box, tuple) and len(box) == 4 and all(is_number(side) for side in box)):
            raise TypeError(f"{what} {described(box)} as one of them")
        if not (0 <= box[0] < box[2] <= width and 0 <= box[1] < box[3] <= height):
            raise ValueError(f"{what} {box} in an image of {width}x{height}")


def check_frames(frames: Any) -> Iterable[Frame]:
    """Return the frames, each checked as it is read. Raises TypeError at once if `frames` is not an iterable of frames."""
    if isinstance(frames, Frame | np.ndarray):
        raise TypeError(f"analyze_all takes an iterable of frames; got one, {described(frames)}: call the analyzer with it")
    if isinstance(frames, str | bytes | os.PathLike):
        raise TypeError(f"analyze_all takes an iterable of frames; got {described(frames)}: open it with fer_live.open_source")
    try:
        return map(check_frame, frames)
    except TypeError:
        raise TypeError(f"analyze_all takes an iterable of frames; got {described(frames)}") from None


def check_parts(classifier: object, *detectors: object) -> None:
    """Check the parts of an Analyzer. Raises TypeError."""
    if not (callable(classifier) and hasattr(classifier, "spec")):
        raise TypeError("an Analyzer's classifier is an EmotionClassifier, or a callable like it that has a `spec`; got "
                        f"{described(classifier)}; Analyzer.from_checkpoint(path) makes all parts")
    for detector in detectors:
        if not callable(getattr(detector, "detect", None)):
            raise TypeError(f"an Analyzer's detectors have detect(image); got {described(detector)}; "
                            "Analyzer.from_checkpoint(path) makes all parts")


def check_search(min_face: Any, search_every: Any) -> None:
    """Check from_checkpoint's detection arguments. Raises TypeError, ValueError."""
    if min_face is not None:
        what = "min_face is a size in pixels, or below 1 a fraction of the frame's shorter side, or None"
        if not is_number(min_face):
            raise TypeError(f"{what}; got {described(min_face)}")
        if not 0 < min_face < math.inf:
            raise ValueError(f"{what}; got {min_face}")
    if not isinstance(search_every, int | np.integer) or isinstance(search_every, bool):
        raise TypeError(f"search_every is an int, the number of frames between searches; got {described(search_every)}")
    if search_every < 1:
        raise ValueError(f"search_every is 1 or more, the number of frames between searches; got {search_every}")


def check_label_set(name: Any) -> None:
    """Check the name of a label set. Raises TypeError, ValueError."""
    if not isinstance(name, str):
        raise TypeError(f"label_set is one of full, {', '.join(LABEL_SETS)}; got {described(name)}")
    if name != "full" and name not in LABEL_SETS:
        raise ValueError(f"label_set is one of full, {', '.join(LABEL_SETS)}; got {name!r}")


def described(value: Any) -> str:
    """Describe a value's type for an error message."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    if value is None:
        return "None"
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def is_number(value: Any) -> bool:
    """Whether `value` is an int or float, including numpy's."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _advice(value: Any) -> str:
    """Return how to convert `value` to an image, or an empty string."""
    if value is None:
        return ", which is what cv2.imread returns for a file that it cannot read"
    if isinstance(value, str | os.PathLike):
        return "; read an image file with cv2.imread, a video with fer_live.open_source"
    if hasattr(value, "getbands"):  # Pillow's
        return "; convert it with numpy.asarray(image.convert('RGB'))[:, :, ::-1]"
    return ""
