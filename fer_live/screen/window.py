"""Displays for a live run: a desktop window with keys, or a line of text per second without a display."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable

import cv2
import numpy as np

from fer_live.screen.canvas import Canvas
from fer_live.screen.display import settle_qt_platform
from fer_live.screen.x11 import map_again_if_black, monitor
from fer_live.types import Analysis, Rates

logger = logging.getLogger("fer_live")

TITLE = "fer_live"
UNKNOWN_WH = 1280, 720  # assumed screen size if it is unknown
SHARE = 0.7  # initial size of a window, relative to the screen
LEAST = 160  # minimum width and height in pixels
TAB, ENTER, ESCAPE, SPACE = 9, 13, 27, 32
SETTLE_S, TRIES = 0.7, 5  # seconds until a new window must be painted, and how often it is mapped again if it is not


class PaintCheck:
    """Maps a new window again if it stays black, for use by the main thread only.

    Without a window manager, OpenCV's Qt never paints about one in forty windows, and one in five that replace a closed one.
    """

    def __init__(self) -> None:
        self.tries = TRIES
        self.due_s: float | None = None  # time of the next check

    def drawn(self, image: np.ndarray) -> None:
        """Schedule a check, unless the image (H, W, 3) itself is black in the row that is compared."""
        if self.tries and self.due_s is None and image[len(image) // 2].any():
            self.due_s = time.monotonic() + SETTLE_S

    def poll(self) -> bool:
        """Check if it is time to; return whether the window was mapped again."""
        if self.due_s is None or time.monotonic() < self.due_s:
            return False
        self.due_s = None
        was_black = map_again_if_black(TITLE)
        self.tries = self.tries - 1 if was_black else 0
        return was_black


class Window:
    """An OpenCV window, for use by the main thread only. keys: key -> callback. quit: callback for closing the window.

    Draws its own contents at its own size, so it does not need the annotated image.
    """

    needs_image = False

    def __init__(self, keys: dict[str, Callable[[], None]], quit: Callable[[], None], canvas: Canvas):
        self.keys, self.quit, self.canvas = {**keys, "f": self._full_screen, " ": self._skip}, quit, canvas
        self.is_full, self.is_skipped, self.was_open, self.size_wh = False, False, False, UNKNOWN_WH
        self.last: tuple[Analysis, Rates] | None = None  # shown now
        self.drawn: tuple[object, ...] = ()  # state that the last drawing depended on
        self.due_s = float("inf")  # time of the next redraw
        self.paint_check = PaintCheck()

    def __enter__(self) -> Window:
        settle_qt_platform()
        cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_FREERATIO | cv2.WINDOW_GUI_NORMAL)
        return self

    def __exit__(self, *exception) -> None:
        cv2.destroyAllWindows()

    def show(self, image: np.ndarray, analysis: Analysis, rates: Rates) -> None:
        """Show a frame's analysis."""
        if self.last is None and not self.is_full:
            self.size_wh, at = opening(analysis.frame.image.shape[1::-1], monitor())
            cv2.resizeWindow(TITLE, *self.size_wh)
            if at is not None:
                cv2.moveWindow(TITLE, *at)
        self.last = analysis, rates
        self._draw()

    def _draw(self) -> None:
        assert self.last is not None
        now_s, size_wh = time.monotonic(), self._size()
        image = self.canvas.draw(*self.last, size_wh, now_s)
        cv2.imshow(TITLE, image)
        self.paint_check.drawn(image)
        self.drawn, self.due_s = self._state(), self.canvas.changes_s(now_s)

    def _size(self) -> tuple[int, int]:
        """Return the size (w, h) of the window's contents."""
        try:
            w, h = cv2.getWindowImageRect(TITLE)[2:]
        except cv2.error:  # the window is closing
            return self.size_wh
        if w > 0 and h > 0:
            self.size_wh = w, h
        return self.size_wh

    def _state(self) -> tuple[object, ...]:
        return self._size(), dataclasses.astuple(self.canvas.view)

    def hold(self, until_s: float, stop: threading.Event) -> None:
        """Keep the image and handle keys until `until_s` (time.monotonic()), the space bar or `stop`."""
        self.poll()
        while time.monotonic() < until_s and not (self.is_skipped or stop.is_set()):
            self.poll(wait_ms=round(1000 * min(0.02, max(0.001, until_s - time.monotonic()))))
        self.is_skipped = False

    def poll(self, wait_ms: int = 0) -> None:
        """Handle keys and the closing of the window. Returns at once, or after at most `wait_ms`."""
        code = typed(cv2.waitKeyEx(wait_ms) if wait_ms else cv2.pollKey())
        if code is not None:
            self.keys.get("esc" if code == ESCAPE else chr(code).lower(), lambda: None)()
        is_there = is_open()
        if self.was_open and not is_there:
            self.quit()
        self.was_open = is_there
        if is_there and self.last is not None and (time.monotonic() >= self.due_s or self._state() != self.drawn):
            self._draw()  # keys and resizing take effect at once, also on a still image
        self.paint_check.poll()

    def _skip(self) -> None:
        self.is_skipped = True

    def _full_screen(self) -> None:
        self.is_full = not self.is_full
        cv2.setWindowProperty(TITLE, cv2.WND_PROP_FULLSCREEN, cv2.WINDOW_FULLSCREEN if self.is_full else cv2.WINDOW_NORMAL)


def opening(
    image_wh: tuple[int, int], screen: tuple[int, int, int, int] | None
) -> tuple[tuple[int, int], tuple[int, int] | None]:
    """Return the initial size (w, h) and position (x, y) of a window for images of `image_wh`.

    The window takes SHARE of the screen and is centered. screen: x, y, w, h; if None, so is the position.
    """
    x, y, screen_w, screen_h = screen or (0, 0, *UNKNOWN_WH)
    scale = SHARE * min(screen_w / image_wh[0], screen_h / image_wh[1])
    w, h = max(LEAST, round(scale * image_wh[0])), max(LEAST, round(scale * image_wh[1]))
    return (w, h), (x + (screen_w - w) // 2, y + (screen_h - h) // 2) if screen else None


def typed(code: int) -> int | None:
    """Return the ASCII character of a key code, or None for arrows, function keys and the like.

    The low byte of those codes can equal a letter. code: from `cv2.waitKeyEx` or `cv2.pollKey`; GTK encodes Shift and Num Lock
    above the low 16 bits.
    """
    code = -1 if code < 0 else code & 0xFFFF
    return ENTER if code == 10 else code if code in (TAB, ENTER, ESCAPE) or 32 <= code < 127 else None


def is_open() -> bool:
    """Return whether the window exists and is visible."""
    try:
        return cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) >= 1
    except cv2.error:  # OpenCV's Qt ends with its last window
        return False


class StatusLines:
    """Prints a status line per second for runs without a window, unless quiet: fps, faces and the strongest label."""

    needs_image = False

    def __init__(self, is_quiet: bool = False):
        self.due_s = float("inf") if is_quiet else 0.0

    def __enter__(self) -> StatusLines:
        return self

    def __exit__(self, *exception) -> None:
        pass

    def show(self, image: np.ndarray, analysis: Analysis, rates: Rates) -> None:
        """Print a line if a second has passed."""
        now_s = time.monotonic()
        if now_s < self.due_s:
            return
        self.due_s = now_s + 1.0
        best = max(analysis.faces, key=lambda face: face.confidence, default=None)
        strongest = f"{best.label} {best.confidence:.0%}" if best else "-"
        print(f"{rates.fps:5.1f} fps  {len(analysis.faces)} faces  {strongest}  {rates.dropped} dropped", flush=True)

    def poll(self) -> None:
        """Do nothing: there are no keys."""
