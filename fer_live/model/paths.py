"""Checks of user-supplied paths, with one-line error messages.

`Path.exists` and similar methods return False for some inaccessible paths and raise for others, depending on the Python version.
"""

from __future__ import annotations

import argparse
import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path


def named_path(text: str) -> Path:
    """Path type for argparse that rejects an empty path, since Path("") is the working directory."""
    if not text:
        raise argparse.ArgumentTypeError("the path is empty; give a path, or leave out the option")
    return Path(text)


def status_of(path: str | Path) -> os.stat_result | None:
    """Return the status of the path, following links; None if nothing exists there.

    Raises OSError if that is unknown, such as in an inaccessible folder or for a name that is too long.
    """
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:  # a null character
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), str(path)) from None


def exists(path: str | Path) -> bool:
    """Whether the path exists. Raises OSError as `status_of` does."""
    return status_of(path) is not None


def is_file(path: str | Path) -> bool:
    """Whether the path is a regular file. Raises OSError as `status_of` does."""
    status = status_of(path)
    return status is not None and stat.S_ISREG(status.st_mode)


def is_folder(path: str | Path) -> bool:
    """Whether the path is a folder. Raises OSError as `status_of` does."""
    status = status_of(path)
    return status is not None and stat.S_ISDIR(status.st_mode)


def common_folder(paths: Iterable[Path]) -> Path:
    """Return the deepest common folder of these files, absolute."""
    folders = {os.path.abspath(path.parent) for path in paths}
    try:
        return Path(os.path.commonpath(folders))
    except ValueError:  # on different Windows drives
        return Path(min(folders))


def why(error: OSError) -> str:
    """Return the system's error text, such as "permission denied"."""
    text = error.strerror or str(error) or type(error).__name__
    return text[:1].lower() + text[1:]


def one_line(error: Exception) -> str:
    """Return a user-facing message. For an OSError, adds the file name and what to do."""
    if not isinstance(error, OSError):
        return str(error)
    name = shortened(os.fsdecode(error.filename)) + " " if isinstance(error.filename, (str, bytes)) else "a file or device "
    return f"{name}cannot be used ({why(error)}); check the path and its permissions"


def shortened(name: str | Path) -> str:
    """Shorten a name to at most 100 characters."""
    name = str(name)
    return name if len(name) <= 100 else name[:60] + "..." + name[-37:]
