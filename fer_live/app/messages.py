"""Where the messages of the package go while it runs as a program: to stderr, as plain lines.

All modules log to the one logger `fer_live`. Importing the package installs no handler, so that a program that uses it as a
library decides itself what becomes of them.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger("fer_live")


class Stderr:
    """sys.stderr as it is at each message, since it may be replaced meanwhile; a program without a console has none."""

    def write(self, text: str) -> None:
        if sys.stderr is not None:
            sys.stderr.write(text)

    def flush(self) -> None:
        if sys.stderr is not None:
            sys.stderr.flush()


@contextmanager
def shown(level: int = logging.INFO) -> Iterator[None]:
    """Show messages from `level` on, meanwhile. Where the logger has a handler already, that one goes on to get them."""
    before = logger.level, logger.propagate
    handler = None if logger.handlers else logging.StreamHandler(Stderr())
    if handler is not None:
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
        logger.propagate = False  # a library that configures the root logger would show each of them again
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before[0])
        logger.propagate = before[1]
        if handler is not None:
            logger.removeHandler(handler)


def set_level(level: int) -> None:
    """Show messages from this level on, for as long as `shown` lasts."""
    logger.setLevel(level)
