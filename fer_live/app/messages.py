"""Prints the package's log messages to stderr as plain lines while it runs as a program.

All modules log to the logger `fer_live`. Importing the package installs no handler, so programs that use it as a library
configure logging themselves.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger("fer_live")


class Stderr:
    """Writes to the current sys.stderr, which may be replaced during a run or be None without a console."""

    def write(self, text: str) -> None:
        if sys.stderr is not None:
            sys.stderr.write(text)

    def flush(self) -> None:
        if sys.stderr is not None:
            sys.stderr.flush()


@contextmanager
def shown(level: int = logging.INFO) -> Iterator[None]:
    """Show messages at or above `level` inside the context. An existing handler of the logger is used instead of a new one."""
    before = logger.level, logger.propagate
    handler = None if logger.handlers else logging.StreamHandler(Stderr())
    if handler is not None:
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
        logger.propagate = False  # avoids duplicates if a library configured the root logger
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before[0])
        logger.propagate = before[1]
        if handler is not None:
            logger.removeHandler(handler)


def set_level(level: int) -> None:
    """Set the lowest level to show while `shown` is active."""
    logger.setLevel(level)
