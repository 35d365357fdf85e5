"""Takes a person's resting answer out of their later answers, for faces that look sad or angry at rest.

Only a face that was asked to look neutral counts: taking out the mean of what a person happens to do makes the answers worse.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import numpy as np

from fer_live.analysis.checks import described, is_number

DEFAULT_S, SHORTEST_S, LONGEST_S = 3.0, 1.0, 30.0  # of looking neutral
SETTLING = 1 / 3  # share of that time in which the face is still coming to rest
FEWEST = 3  # answers that make a mean
LEAST = 1e-4  # probabilities below tell nothing more
LEAD = log(2.5)  # by how much neutral leads every other class at rest, in log-probability
BOUND = 2.0  # most that is taken from a class, in log-probability: a factor of 7.4


@dataclass
class Rest:
    """What is known of one track. C classes."""

    seen_s: float
    left_s: float | None = None  # None: not asked; above 0: seconds left to look neutral; 0: `offset` holds
    begun_s: float = 0.0
    seconds: float = 0.0
    total: np.ndarray | float = 0.0  # (C,) sum of log-probabilities
    count: int = 0
    offset: np.ndarray | None = None  # (C,) float32, to be taken from the log-probabilities


class RestingBaseline:
    """Resting answers by track, in memory only; a track that is gone is forgotten.

    The mean log-probabilities r over the last two thirds of the asked time give what is taken from class c:
    r_c - r_neutral + log 2.5, at least 0 and at most 2. Neutral itself is left as it is.

    labels: class names in the order of the probabilities. each_s: ask every new face for so many seconds; 0: only `ask` does.
    """

    def __init__(self, labels: tuple[str, ...], each_s: float = 0.0, memory_s: float = 2.0):
        self.labels, self.each_s, self.memory_s = labels, checked_s(each_s) if each_s else 0.0, memory_s
        self.rests: dict[int, Rest] = {}
        self.learned = 0  # faces whose resting answer was taken so far
        self._asked_s = 0.0

    def ask(self, seconds: float = DEFAULT_S) -> None:
        """Ask the faces of the next frame that has any to look neutral for so long. Any thread. Raises ValueError, TypeError."""
        self._asked_s = checked_s(seconds)

    def begin(self, track_ids: list[int], time_s: float) -> None:
        """A frame with these faces comes."""
        asked_s = 0.0
        if track_ids:
            asked_s, self._asked_s = self._asked_s, 0.0
        for track_id in track_ids:
            seconds = asked_s or (0.0 if track_id in self.rests else self.each_s)
            rest = self.rests.setdefault(track_id, Rest(time_s))
            if seconds:
                self.rests[track_id] = Rest(rest.seen_s, seconds, time_s, seconds)

    def update(
        self, track_id: int, probs: np.ndarray | None, time_s: float, is_readable: bool = True
    ) -> tuple[np.ndarray | None, bool]:
        """The probabilities (C,) of a track without what its rest shows, or None if it was not found this time.

        is_readable: the face was seen well enough to learn from.
        Also whether they are on a new footing from now on, so that earlier ones must not be averaged with them.
        """
        rest = self.rests[track_id]
        if probs is None:
            if rest.left_s:
                rest.left_s = max(rest.seconds - (time_s - rest.begun_s), 1e-3)
            return None, False
        rest.seen_s = time_s
        is_new = is_readable and bool(rest.left_s) and self._observe(rest, np.log(np.maximum(probs, LEAST)), time_s)
        if rest.offset is None:
            return probs, False
        adjusted = probs * np.exp(-rest.offset)
        return (adjusted / adjusted.sum()).astype(np.float32), is_new

    def _observe(self, rest: Rest, logs: np.ndarray, time_s: float) -> bool:
        """Take one answer of a face that was asked; whether it was the last."""
        passed_s = time_s - rest.begun_s
        rest.left_s = max(rest.seconds - passed_s, 1e-3)
        if passed_s < rest.seconds * SETTLING:
            return False
        rest.total, rest.count = rest.total + logs, rest.count + 1
        if passed_s < rest.seconds:
            return False
        if rest.count < FEWEST:  # it was out of sight for most of the time
            rest.begun_s, rest.left_s, rest.total, rest.count = time_s, rest.seconds, 0.0, 0
            return False
        mean = rest.total / rest.count
        neutral = self.labels.index("neutral")
        rest.offset = np.clip(mean - mean[neutral] + LEAD, 0.0, BOUND).astype(np.float32)
        rest.offset[neutral] = 0.0
        rest.left_s = 0.0
        self.learned += 1
        return True

    def left_s(self, track_id: int) -> float | None:
        """What `Face.calibration_s` says of a track."""
        return self.rests[track_id].left_s

    def forget(self, time_s: float) -> None:
        """Drop the tracks that have not been seen for `memory_s`."""
        self.rests = {key: rest for key, rest in self.rests.items() if time_s - rest.seen_s <= self.memory_s}

    def clear(self) -> None:
        """Forget everyone, and a question that nobody has heard."""
        self.rests.clear()
        self._asked_s = 0.0


def checked_s(seconds: float) -> float:
    """Raises ValueError for a time that is too short or too long to look neutral in, TypeError for what is no number."""
    if not is_number(seconds):
        raise TypeError(f"a face is asked to look neutral for a number of seconds; got {described(seconds)}")
    if not SHORTEST_S <= seconds <= LONGEST_S:
        raise ValueError(f"a face is asked to look neutral for {SHORTEST_S:g} to {LONGEST_S:g} seconds, not {seconds:g}")
    return float(seconds)
