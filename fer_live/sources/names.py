"""Converts source arguments of the Python API to command-line text."""

from __future__ import annotations

import os

import numpy as np

from fer_live.types import SourceError


def source_text(source: object) -> str:
    """Return the text of a source. An int is a camera number; a Path is always a file, even if named like a camera.

    Raises TypeError for other types, ValueError for negative numbers.
    """
    if isinstance(source, int | np.integer) and not isinstance(source, bool):
        if source < 0:
            raise ValueError(f"camera numbers start at 0; got {source}")
        return str(source)
    text = os.fspath(source) if isinstance(source, os.PathLike) else source
    if not isinstance(text, str):
        raise TypeError("a source is a camera number (int), or a str or Path: a camera name, URL, video, image, folder or glob "
                        f"of images, or demo; got {type(source).__name__}")
    if isinstance(source, os.PathLike) and not os.path.isabs(text) and text != os.curdir:
        return os.path.join(os.curdir, text)  # a file named 0 or demo
    return text


def not_open(name: object) -> SourceError:
    """Return the error for reading a source that was not entered."""
    return SourceError(f"the source {name} is not open; use it as in: with open_source(...) as source")
