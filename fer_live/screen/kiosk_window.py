"""The kiosk's full-screen window, and the sequence of keys that ends it."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping

import cv2
import numpy as np

from fer_live.screen.display import settle_qt_platform
from fer_live.screen.window import ESCAPE, TITLE, PaintCheck, is_open, typed
from fer_live.types import Analysis, Rates

logger = logging.getLogger("fer_live")


class Chord:
    """Calls `act` when a sequence of letters and digits is typed within `within_s`, ignoring case."""

    def __init__(self, keys: str, act: Callable[[], None]):
        self.keys, self.act = keys.lower(), act
        self.within_s = max(2.0, 0.7 * len(keys))
        self.typed: deque[tuple[str, float]] = deque(maxlen=len(keys))

    def take(self, key: str, now_s: float) -> None:
        """Process a key pressed at `now_s` (time.monotonic())."""
        self.typed.append((key.lower(), now_s))
        if "".join(k for k, _ in self.typed) == self.keys and now_s - self.typed[0][1] <= self.within_s:
            self.typed.clear()
            self.act()


class KioskWindow:
    """A full-screen window that a visitor can neither close nor leave, for use by the main thread only.

    keys: key code -> callback; all other keys except the chord are ignored. press: called with (x, y) in the image on a click or
    touch. rest: renders the image shown when no frame has arrived for `still_s` seconds. screen_xywh: the monitor to fill, if
    known. between: called between images.
    """

    def __init__(self, chord: Chord, keys: Mapping[int, Callable[[], None]], press: Callable[[int, int], None],
                 rest: Callable[[], np.ndarray], still_s: float, screen_xywh: tuple[int, int, int, int] | None,
                 between: list[Callable[[], None]]):
        self.chord, self.keys, self.press, self.rest = chord, keys, press, rest
        self.still_s, self.screen_xywh, self.between = still_s, screen_xywh, between
        self.due_s = time.monotonic() + still_s

    def __enter__(self) -> KioskWindow:
        settle_qt_platform()
        self._open()
        return self

    def __exit__(self, *exception) -> None:
        cv2.destroyAllWindows()

    def _open(self) -> None:
        cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        cv2.setMouseCallback(TITLE, self._mouse)
        self.paint_check = PaintCheck()
        self._fill()

    def _fill(self) -> None:
        if self.screen_xywh:  # an X server without a window manager does not support full screen
            x, y, w, h = self.screen_xywh
            cv2.moveWindow(TITLE, x, y)
            cv2.resizeWindow(TITLE, w, h)
        cv2.setWindowProperty(TITLE, cv2.WND_PROP_FULLSCREEN, cv2.WINDOW_FULLSCREEN)

    def _mouse(self, event: int, x: int, y: int, flags: int, _) -> None:
        if event == cv2.EVENT_LBUTTONDOWN:
            self.press(x, y)

    def show(self, image: np.ndarray, analysis: Analysis, rates: Rates) -> None:
        """Show the kiosk's screen (H, W, 3) uint8 BGR."""
        self.due_s = time.monotonic() + self.still_s
        self._show(image)

    def _show(self, image: np.ndarray) -> None:
        if not is_open():  # closed by the window manager or by its failure
            logger.warning("the window was closed; reopening it")
            self._open()
        cv2.imshow(TITLE, image)
        self.paint_check.drawn(image)

    def poll(self) -> None:
        """Handle keys; returns at once."""
        code, now_s = typed(cv2.pollKey()), time.monotonic()
        if code is not None and code in self.keys:
            self.keys[code]()
        elif code is not None and code != ESCAPE:
            self.chord.take(chr(code), now_s)
        if now_s >= self.due_s:  # no frames arrive: the last visitor must not stay on the screen
            self.due_s = now_s + 1.0
            self._show(self.rest())
        if self.paint_check.poll():
            self._fill()
        for act in self.between:
            act()
