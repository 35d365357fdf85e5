"""X11 functions that OpenCV lacks: find the monitor, hide the pointer, keep the wheel from zooming, map a black window again."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from contextlib import suppress

logger = logging.getLogger("fer_live")

WHEEL = (4, 5, 6, 7)  # X11 buttons of the wheel: up, down, left, right


class ScreenHold:
    """Context manager that hides the pointer and grabs the wheel; the server releases both when the program ends.

    xywh: the primary or first monitor; None if unknown.
    """

    def __init__(self) -> None:
        self.xywh: tuple[int, int, int, int] | None = None
        self.close: Callable[[], None] = lambda: None
        self.poll: Callable[[], None] = lambda: None

    def __enter__(self) -> ScreenHold:
        if sys.platform.startswith("linux"):
            try:
                self._hold()
            except ImportError:
                logger.warning("the pointer stays on the screen: hiding it needs python-xlib; pip install python-xlib")
            except Exception as error:  # optional feature: no failure of python-xlib may end the run
                logger.warning(f"the pointer stays on the screen: python-xlib failed ({error})")
        return self

    def __exit__(self, *exception) -> None:
        with suppress(Exception):  # the display may be gone
            self.close()

    def _hold(self) -> None:
        from Xlib import X
        from Xlib.display import Display
        from Xlib.error import XError

        server = Display()
        self.close = server.close
        root = server.screen().root
        self.xywh = _monitors(server, root)[0]
        if server.has_extension("XFIXES"):
            server.xfixes_query_version()
            root.xfixes_hide_cursor()
        else:
            logger.warning("the pointer stays on the screen: this X server has no XFIXES")
        refused: list[XError] = []
        for button in WHEEL:  # a window manager may have grabbed it already
            root.grab_button(button, X.AnyModifier, False, 0, X.GrabModeAsync, X.GrabModeAsync, X.NONE, X.NONE,
                             onerror=lambda error, _: refused.append(error))
        server.sync()

        def poll() -> None:
            while server.pending_events():
                server.next_event()

        self.poll = poll


def map_again_if_black(title: str) -> bool:
    """Unmap and map the window with this title if all of its middle row is black; return whether it was.

    Does nothing without python-xlib, if it fails, or on another system.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        from Xlib.display import Display

        server = Display()
        try:
            window = _window(server.screen().root, title)
            if not _is_black(window):
                return False
            window.unmap()
            window.map()
            server.sync()
            return True
        finally:
            server.close()
    except Exception:  # optional feature: no failure of python-xlib may end the run
        return False


def _window(parent, title: str):
    """Return the mapped window with this title below `parent`; window managers reparent windows."""
    from Xlib.error import XError

    try:
        for child in parent.query_tree().children:
            if child.get_wm_name() == title:
                return child
            if (found := _window(child, title)) is not None:
                return found
    except XError:  # the window is gone
        pass
    return None


def _is_black(window) -> bool:
    from Xlib import X
    from Xlib.error import XError

    if window is None:
        return False
    try:
        size = window.get_geometry()
        line = window.get_image(0, size.height // 2, size.width, 1, X.ZPixmap, 0xFFFFFFFF).data
    except XError:  # not on the screen now
        return False
    return not any(line[i::4].strip(b"\0") for i in range(3))  # the fourth byte is padding


def monitor() -> tuple[int, int, int, int] | None:
    """Return the primary monitor's position and size, xywh in pixels; None if unknown."""
    if sys.platform == "win32":
        import ctypes

        return 0, 0, ctypes.windll.user32.GetSystemMetrics(0), ctypes.windll.user32.GetSystemMetrics(1)
    if not sys.platform.startswith("linux"):
        return None
    try:
        from Xlib.display import Display

        server = Display()
        try:
            return _monitors(server, server.screen().root)[0]
        finally:
            server.close()
    except Exception:  # without python-xlib, or if it fails, a default size is used
        return None


def _monitors(server, root) -> list[tuple[int, int, int, int]]:
    """Return the monitors as xywh, the primary one first; the whole screen if the server lists none."""
    monitors = root.xrandr_get_monitors().monitors if server.has_extension("RANDR") else []
    found = [(m.x, m.y, m.width_in_pixels, m.height_in_pixels) for m in sorted(monitors, key=lambda m: not m.primary)
             if m.width_in_pixels and m.height_in_pixels]
    size = root.get_geometry()
    return found or [(0, 0, size.width, size.height)]
