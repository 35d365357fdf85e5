"""Whether anybody is in front of a kiosk."""

from __future__ import annotations

from collections.abc import Callable

from fer_live.types import Analysis


class Presence:
    """Analysis -> the same Analysis; notes when nobody has been there for `idle_s`, and then has everything forgotten.

    Belongs to the thread that analyses; `idle` may be read by others.
    """

    def __init__(self, idle_s: float, forget: Callable[[], None]):
        self.idle_s, self.forget = idle_s, forget
        self.idle = True  # until the first visitor comes
        self.left_s: float | None = None

    def __call__(self, analysis: Analysis) -> Analysis:
        time_s = analysis.frame.time_s
        if analysis.faces:
            self.idle, self.left_s = False, None
        elif self.left_s is None:
            self.left_s = time_s
        elif not self.idle and time_s - self.left_s >= self.idle_s:
            self.idle = True
            self.forget()
        return analysis
