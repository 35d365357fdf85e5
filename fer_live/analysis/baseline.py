"""Corrects a face's results for its resting expression, for people who look sad or angry at rest.

Requires a calibration in which the person looks neutral: subtracting the mean of spontaneous expressions makes results worse.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import numpy as np

from fer_live.analysis.checks import described, is_number

DEFAULT_S, SHORTEST_S, LONGEST_S = 3.0, 1.0, 30.0  # seconds; duration of a calibration
SETTLING = 1 / 3  # fraction of the duration to skip while the face relaxes
FEWEST = 3  # results needed for a mean
LEAST = 1e-4  # lower bound of probabilities; smaller ones carry no information
LEAD = log(2.5)  # log-probability; lead of neutral over every other class at rest
BOUND = 2.0  # log-probability; maximum correction of a class, a factor of 7.4


@dataclass
class Rest:
    """State of one track, with C classes."""

    seen_s: float
    left_s: float | None = None  # None: not calibrating; above 0: seconds left; 0: done, `offset` is valid
    begun_s: float = 0.0
    seconds: float = 0.0
    total: np.ndarray | float = 0.0  # (C,) sum of log-probabilities
    count: int = 0
    offset: np.ndarray | None = None  # (C,) float32, subtracted from the log-probabilities


class RestingBaseline:
    """Resting expressions by track, kept in memory only while the track exists.

    With r as the mean log-probabilities over the last two thirds of the calibration, the correction of class c is
    r_c - r_neutral + log 2.5, clipped to 0..2. Neutral is not corrected.

    labels: class names in the order of the probabilities. each_s: seconds; calibrate every new face for this long; 0: only `ask`
    starts a calibration.
    """

    def __init__(self, labels: tuple[str, ...], each_s: float = 0.0, memory_s: float = 2.0):
        self.labels, self.each_s, self.memory_s = labels, checked_s(each_s) if each_s else 0.0, memory_s
        self.rests: dict[int, Rest] = {}
        self.learned = 0  # number of faces calibrated so far
        self._asked_s = 0.0

    def ask(self, seconds: float = DEFAULT_S) -> None:
        """Calibrate the faces of the next frame that has any. Callable from any thread. Raises ValueError, TypeError."""
        self._asked_s = checked_s(seconds)

    def begin(self, track_ids: list[int], time_s: float) -> None:
        """Begin a frame that contains these tracks."""
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
        """Return the corrected probabilities (C,), or None if the face was not found, and whether a correction begins.

        When a correction begins, earlier probabilities must not be averaged with later ones.
        is_readable: whether the face is seen well enough to calibrate on.
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
        """Add one result to a running calibration. Return whether it completes it."""
        passed_s = time_s - rest.begun_s
        rest.left_s = max(rest.seconds - passed_s, 1e-3)
        if passed_s < rest.seconds * SETTLING:
            return False
        rest.total, rest.count = rest.total + logs, rest.count + 1
        if passed_s < rest.seconds:
            return False
        if rest.count < FEWEST:  # the face was hidden for most of the time: start over
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
        """Return the value for `Face.calibration_s`."""
        return self.rests[track_id].left_s

    def expire(self, time_s: float) -> None:
        """Drop tracks not seen for `memory_s`."""
        self.rests = {key: rest for key, rest in self.rests.items() if time_s - rest.seen_s <= self.memory_s}

    def clear(self) -> None:
        """Forget all tracks and any pending request to calibrate."""
        self.rests.clear()
        self._asked_s = 0.0


def checked_s(seconds: float) -> float:
    """Return `seconds` as a float. Raises ValueError outside the valid range, TypeError if it is not a number."""
    if not is_number(seconds):
        raise TypeError(f"a face is asked to look neutral for a number of seconds; got {described(seconds)}")
    if not SHORTEST_S <= seconds <= LONGEST_S:
        raise ValueError(f"a face is asked to look neutral for {SHORTEST_S:g} to {LONGEST_S:g} seconds, not {seconds:g}")
    return float(seconds)
