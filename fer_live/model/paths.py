"""Paths that a user gives: what is there, and in one line why one cannot be used.

`Path.exists` and its like say "nothing" for some of what cannot be looked at and raise for the rest, differently in each Python.
"""

from __future__ import annotations

import argparse
import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path


def named_path(text: str) -> Path:
    """A path for argparse, which refuses an empty one: Path("") is the working folder."""
    if not text:
        raise argparse.ArgumentTypeError("the path is empty; give a name, or leave the option out")
    return Path(text)


def status_of(path: str | Path) -> os.stat_result | None:
    """What is at the path, links followed; None for nothing. Raises OSError where that cannot be told: in a folder that may
    not be entered, for a name that is too long."""
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:  # a zero byte
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), str(path)) from None


def exists(path: str | Path) -> bool:
    """Whether anything is there. Raises OSError as `status_of` does."""
    return status_of(path) is not None


def is_file(path: str | Path) -> bool:
    """Whether a regular file is there. Raises OSError as `status_of` does."""
    status = status_of(path)
    return status is not None and stat.S_ISREG(status.st_mode)


def is_folder(path: str | Path) -> bool:
    """Whether a folder is there. Raises OSError as `status_of` does."""
    status = status_of(path)
    return status is not None and stat.S_ISDIR(status.st_mode)


def common_folder(paths: Iterable[Path]) -> Path:
    """The deepest folder that holds all of these files, absolute."""
    folders = {os.path.abspath(path.parent) for path in paths}
    try:
        return Path(os.path.commonpath(folders))
    except ValueError:  # on several drives of Windows
        return Path(min(folders))


def why(error: OSError) -> str:
    """What the system says, as "permission denied"."""
    text = error.strerror or str(error) or type(error).__name__
    return text[:1].lower() + text[1:]


def one_line(error: Exception) -> str:
    """An error as the user is to read it. For an OSError, which names neither what was tried nor what to do, both are added."""
    if not isinstance(error, OSError):
        return str(error)
    name = shortened(os.fsdecode(error.filename)) + " " if isinstance(error.filename, (str, bytes)) else "a file or device "
    return f"{name}cannot be used ({why(error)}); check the name and the rights to it"


def shortened(name: str | Path) -> str:
    """A name that fits into a line."""
    name = str(name)
    return name if len(name) <= 100 else name[:60] + "..." + name[-37:]
