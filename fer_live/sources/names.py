"""What programs give for a source, as the command line would name it; and what they forget."""

from __future__ import annotations

import os

import numpy as np

from fer_live.types import SourceError


def source_text(source: object) -> str:
    """The text that names this source: a str as it is, an int as the number of a camera, a Path never as a number or name.

    Raises TypeError for other objects, ValueError for a number that no camera has.
    """
    if isinstance(source, int | np.integer) and not isinstance(source, bool):
        if source < 0:
            raise ValueError(f"cameras are numbered from 0 up; got {source}")
        return str(source)
    text = os.fspath(source) if isinstance(source, os.PathLike) else source
    if not isinstance(text, str):
        raise TypeError("a source is a camera's number (int), or as str or Path a camera's name, an address, a video, a picture, "
                        f"a folder or glob of pictures, or demo; got {type(source).__name__}")
    if isinstance(source, os.PathLike) and not os.path.isabs(text) and text != os.curdir:
        return os.path.join(os.curdir, text)  # a file called 0 or demo is meant
    return text


def not_open(name: object) -> SourceError:
    """The error for a source that is read without having been entered."""
    return SourceError(f"the source {name} is not open; use it as in: with open_source(...) as source")
