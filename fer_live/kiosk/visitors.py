"""Tracks the visitors of a kiosk: whether anybody is present, since when, and under which number."""

from __future__ import annotations

from collections.abc import Callable

from fer_live.types import Analysis, Face

MOST = 3  # maximum number of visitors with a number and a card
NOTICE_S, RISE_S = 3.0, 0.25  # seconds; how long the notice is enlarged when a visitor arrives, and how fast it slides in
AWAY_S, AGAIN_S = 2.0, 20.0  # seconds; minimum absence before a new arrival, and between enlargements when visitors join


class Presence:
    """A step that returns the Analysis unchanged. After `idle_s` without faces, it sets `idle` and calls `forget`.

    Called by the analysis thread; `idle` can be read by other threads.
    """

    def __init__(self, idle_s: float, forget: Callable[[], None]):
        self.idle_s, self.forget = idle_s, forget
        self.idle = True  # until the first visitor arrives
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


class Arrivals:
    """Enlarges the notice for NOTICE_S when a visitor arrives."""

    def __init__(self) -> None:
        self.began_s = self.seen_s = float("-inf")  # start of the last enlargement; last time anybody was present
        self.known: frozenset[int] = frozenset()  # track ids of the last frame with faces

    def rise(self, analysis: Analysis, may_begin: bool) -> float:
        """Return how far the notice has slid in, 0..1. may_begin: whether a visitor who joins others may enlarge it now."""
        time_s, here = analysis.frame.time_s, frozenset(face.track_id for face in analysis.faces)
        if time_s < self.seen_s:
            self.began_s = self.seen_s = float("-inf")
        if here:
            has_come = time_s - self.seen_s >= AWAY_S
            has_joined = may_begin and not here <= self.known and time_s - self.began_s >= AGAIN_S
            self.began_s = time_s if has_come or has_joined else self.began_s
            self.seen_s, self.known = time_s, here
        age_s = time_s - self.began_s
        return max(0.0, min(1.0, age_s / RISE_S, (NOTICE_S + 2 * RISE_S - age_s) / RISE_S))


class Seats:
    """Numbers for the visitors with the largest faces, at most MOST. Visitors keep their number."""

    def __init__(self) -> None:
        self.slots: list[int] = []  # track ids by number; 0: free

    def take(self, faces: tuple[Face, ...]) -> list[tuple[int, Face]]:
        """Return (number, face) of the visitors with a number."""
        largest = sorted(faces, key=lambda face: face.box[0] - face.box[2])[:MOST]
        here = {face.track_id: face for face in largest}
        self.slots = [slot if slot in here else 0 for slot in self.slots]
        for face in sorted(largest, key=lambda face: face.box[0]):
            if face.track_id not in self.slots:
                if 0 not in self.slots:
                    self.slots.append(0)
                self.slots[self.slots.index(0)] = face.track_id
        while self.slots and not self.slots[-1]:
            self.slots.pop()
        return [(number, here[slot]) for number, slot in enumerate(self.slots, 1) if slot]
