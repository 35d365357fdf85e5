"""Who is in front of a kiosk: nobody for a while, somebody, somebody who has agreed to be recorded."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fer_live.types import Analysis

REPEAT_S = 0.7  # a press this soon after the last is the same one


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


class Consent:
    """A sink that has a recording made from a visitor's press to the next, for at most `seconds`, of those who have agreed.

    start, stop: begin and finish a recording; called by `press` and `poll`, never while sinks are written to. It stops when
    the visitors have been gone for `gone_s`, and when more people than at the press have been there for `joined_s`: the
    others have not agreed.
    """

    def __init__(self, start: Callable[[], None], stop: Callable[[], None], seconds: float, gone_s: float = 2.0,
                 joined_s: float = 0.5):
        self.start, self.stop = start, stop
        self.seconds, self.gone_s, self.joined_s = seconds, gone_s, joined_s
        self.is_over = False
        self.people, self.agreed = 0, 0  # how many are there; how many were at the press, 0 while nothing is recorded
        self.now_s = self.since_s = self.seen_s = self.alone_s = 0.0
        self.pressed_s = float("-inf")

    def __enter__(self) -> Consent:
        return self

    def __exit__(self, *exception) -> None:
        self.end()

    def press(self) -> None:
        """The button: begins a recording if somebody is there, or ends it. Held down, it repeats itself and counts once."""
        held, self.pressed_s = self.now_s - self.pressed_s < REPEAT_S, self.now_s
        if held:
            return
        if self.agreed:
            self.end()
        elif self.people:
            self.start()
            self.agreed, self.is_over = self.people, False
            self.since_s = self.seen_s = self.alone_s = self.now_s

    def end(self) -> None:
        """Stop recording, if a recording runs."""
        if self.agreed:
            self.agreed = 0
            self.stop()

    def write(self, image: np.ndarray, analysis: Analysis) -> None:
        """Look who is there, and whether it is time to stop."""
        self.now_s, self.people = analysis.frame.time_s, len(analysis.faces)
        if self.people:
            self.seen_s = self.now_s
        if self.people <= self.agreed:
            self.alone_s = self.now_s
        self.is_over = (self.now_s - self.since_s >= self.seconds or self.now_s - self.seen_s >= self.gone_s
                        or self.now_s - self.alone_s >= self.joined_s)

    def poll(self) -> None:
        """Stop if it is time."""
        if self.is_over:
            self.end()
