"""What the commands of this subpackage share: numbers above 0, and results whose place is asked before the work."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fer_live.model.checkpoint import write_atomically


class ResultsError(Exception):
    """Results cannot be written. The text says where, why, and what to do next."""


def whole_number(text: str) -> int:
    """A whole number above 0, for argparse."""
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 10**9):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


@contextmanager
def writing_to(place: Path, advice: str) -> Iterator[None]:
    """Inside, what cannot be written becomes a ResultsError with the reason and this advice."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "inline_container" not in str(error):
            raise  # a fault of ours; only torch's writer of files reports a full disk as a RuntimeError
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise ResultsError(f"cannot write to {place} ({reason}); {advice}") from None


def check_writable(folder: Path) -> None:
    """Make the folder where it is missing. Raises ResultsError if nothing can be written into it."""
    with writing_to(folder, "choose another place"):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass


def check_file(path: Path | None) -> None:
    """As `check_writable`, for a file that may be asked for. Raises ResultsError."""
    if path is None:
        return
    check_writable(path.parent)
    if path.is_dir():
        raise ResultsError(f"cannot write to {path} (it is a folder); give a file in it")


def write_json(path: Path | None, content: dict | list) -> None:
    """Write plain Python types as indented JSON where a file is asked for. Raises ResultsError."""
    if path is not None:
        with writing_to(path, "choose another place"):
            write_atomically(path, lambda temporary: temporary.write_text(json.dumps(content, indent=1) + "\n"))
