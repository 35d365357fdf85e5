"""Writes annotated images."""

from __future__ import annotations

import io
import os
from pathlib import Path

import cv2
import numpy as np

from fer_live.model.paths import why
from fer_live.sinks.disk import make_new
from fer_live.types import Analysis, OutputError


class ImageWriter:
    """A sink that writes images: to the file `path`, or under their own names below the folder `path`.

    Existing files are never overwritten; the name gets a numeric suffix. Formats that cannot be written become PNG, with
    .png appended to the name.
    """

    def __init__(self, path: Path, is_folder: bool):
        self.path, self.is_folder = path, is_folder
        self.written = self.numbered = 0
        self.last: Path | None = None  # path of the last image

    def __enter__(self) -> ImageWriter:
        return self

    def __exit__(self, *exception) -> None:
        pass

    def write(self, image: np.ndarray, analysis: Analysis) -> None:
        """Write (H, W, 3) uint8 BGR. Raises OutputError if it cannot be written."""
        path = self._place(analysis.frame.name) if self.is_folder else self.path
        self.last = write_image(path, image)
        self.written += 1
        self.numbered += self.last != path

    def _place(self, name: str) -> Path:
        if name in ("", ".") or Path(name).is_absolute() or Path(name).drive or ".." in Path(name).parts:  # outside the folder
            raise OutputError(f"cannot write an image named {name!r} into {self.path}; give frames plain file names")
        path = self.path / name
        return path if _keeps_color(path.suffix) else path.with_name(path.name + ".png")

    @property
    def summary(self) -> str:
        """What was written, for a message to the user; "" if nothing."""
        if not self.is_folder or not self.written:
            return str(self.last or "")
        images = "1 image" if self.written == 1 else f"{self.written:,} images"
        renamed = f", {self.numbered:,} with a numeric suffix; the last is {self.last}" if self.numbered else ""
        return f"{images} to {self.path}{os.sep}{renamed}"


def _keeps_color(suffix: str) -> bool:
    """Whether OpenCV can write this format in color."""
    return suffix.lower() not in ("", ".pgm", ".pbm") and cv2.haveImageWriter("image" + suffix)


def write_image(path: Path, image: np.ndarray) -> Path:
    """Write an image in the format of the file extension; returns its path, with a numeric suffix if `path` exists.

    Raises OutputError.
    """
    try:
        ok, content = cv2.imencode(path.suffix or ".png", image)
        if not ok:
            raise OutputError(f"cannot encode {path}; use .png or .jpg")
        path.parent.mkdir(parents=True, exist_ok=True)
        path, file = make_new(path)
        with file:
            _write_whole(path, file, content.tobytes())
    except cv2.error:
        raise OutputError(f"{path.suffix} is not a supported image format; use .png or .jpg") from None
    except OSError as error:
        raise OutputError(f"cannot write {path} ({why(error)}); choose another path") from None
    except ValueError:  # a null character
        raise OutputError(f"cannot write {str(path)!r}: the name is not valid; rename the image") from None
    return path


def _write_whole(path: Path, file: io.FileIO, content: bytes) -> None:
    """Write everything, or delete the file if it does not fit."""
    rest = memoryview(content)
    try:
        while len(rest):
            rest = rest[file.write(rest) :]
    except OSError:
        path.unlink(missing_ok=True)
        raise
