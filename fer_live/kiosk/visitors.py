"""Who is in front of a kiosk: whether anybody is, since when, and under which number."""

from __future__ import annotations

from collections.abc import Callable

from fer_live.types import Analysis, Face

MOST = 3  # visitors with a number and a card
NOTICE_S, RISE_S = 3.0, 0.25  # how long the notice is enlarged when somebody comes, and how fast it rises
AWAY_S, AGAIN_S = 2.0, 20.0  # who comes after nobody for so long has come; who joins others, so long after the last


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


class Arrivals:
    """Enlarges the notice for NOTICE_S when somebody comes."""

    def __init__(self) -> None:
        self.began_s = self.seen_s = float("-inf")  # the last enlargement; when anybody was there
        self.known: frozenset[int] = frozenset()  # track ids of who was there in the last frame

    def rise(self, analysis: Analysis, may_begin: bool) -> float:
        """How far the notice has risen, 0 to 1. may_begin: whether it may be enlarged now for who joins others."""
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
    """Numbers for the visitors with the largest faces, at most MOST; a visitor keeps the number that he or she has."""

    def __init__(self) -> None:
        self.slots: list[int] = []  # track ids by number; 0 is free

    def take(self, faces: tuple[Face, ...]) -> list[tuple[int, Face]]:
        """(number, face) of those who have one."""
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
