"""Decides whether to open a window, and sets its initial view and texts."""

from __future__ import annotations

import logging

from fer_live.app.config import Config, ScreenConfig
from fer_live.screen import text
from fer_live.screen.display import missing_display
from fer_live.screen.words import read_words
from fer_live.types import OutputError, View

logger = logging.getLogger("fer_live")


def wants_window(config: Config) -> bool:
    """Whether to open a window. Logs a warning if one is wanted but there is no display; a kiosk raises OutputError."""
    missing = missing_display() if config.screen.has_window else None
    if missing and config.kiosk:
        raise OutputError(f"{missing}: a kiosk needs one; start it in the desktop session, or leave out --kiosk")
    if missing:
        logger.warning(f"{missing}: running without a window")
    return config.screen.has_window and not missing


def screen_words(config: ScreenConfig, language: int = 0) -> dict[str, str]:
    """Return the on-screen texts of classes and phrases. Raises OutputError if they cannot be read or drawn.

    language: index in `config.languages`. The user's own texts are in the first of them.
    """
    words = read_words(config.languages[language], None if language else config.words)
    text.check(words.values())
    return words


def make_view(config: ScreenConfig, mirror: bool, badge: str, numbers: bool = False) -> View:
    """Return the initial view, which keys can change."""
    return View(mirror=mirror, badge=badge, numbers=numbers, fps="fps" in config.show, bars="bars" in config.show,
                help="help" in config.show)
