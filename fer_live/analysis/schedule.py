"""Chooses which detected faces to classify. Labels are smoothed over a second, so that not every frame of a camera is needed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

# Seconds between classifications of a face. On 16 variants each of our two clips, labels agree with those of all frames by 0.99
# (phone clip) and 0.86 (stage clip): no less than those of all frames agree if the other half of the crops is mirrored, 0.98 and
# 0.83. At half the rate these are 0.93 and 0.77.
INTERVAL_S = 1 / 15
LONGEST_S = 0.1  # seconds that a classification covers at most: a longer interval is a gap
MEMORY_S = 2.0
GOLDEN = (math.sqrt(5) - 1) / 2  # its multiples, modulo 1, are spread evenly, however many there are


@dataclass(slots=True)
class Classified:
    """The last classification of a face."""

    time_s: float
    plain_s: float  # seconds covered by plain crops minus seconds covered by mirrored ones


class ClassificationSchedule:
    """Remembers the last classification of each face. interval_s: mean seconds between two; 0 classifies every face each time.

    A new face is classified at once. The intervals of different faces begin at different times, so that the faces of a frame take
    turns, and batches are small.

    Crops are mirrored for half of the time, where each classification covers the time since the previous one. Smoothed over time
    this averages both views, which is more accurate (see models/README.md), at the cost of one.
    """

    def __init__(self, interval_s: float = INTERVAL_S):
        self.interval_s = interval_s
        self.last: dict[int, Classified] = {}

    def choose(self, track_ids: Sequence[int], time_s: float) -> dict[int, bool]:
        """Return the indices of the faces to classify now, in order, and whether to mirror the crop of each."""
        self.last = {key: old for key, old in self.last.items() if 0 <= time_s - old.time_s <= MEMORY_S}
        chosen = {}
        for i, track_id in enumerate(track_ids):
            old = self.last.get(track_id)
            if old and self.interval_s and self._turn(track_id, time_s) == self._turn(track_id, old.time_s):
                continue
            covered_s, plain_s = (min(time_s - old.time_s, LONGEST_S), old.plain_s) if old else (1e-6, 0.0)
            chosen[i] = plain_s > 0
            self.last[track_id] = Classified(time_s, plain_s + (-covered_s if plain_s > 0 else covered_s))
        return chosen

    def _turn(self, track_id: int, time_s: float) -> int:
        """Return the number of the face's interval that contains `time_s`."""
        return math.floor(time_s / self.interval_s + GOLDEN * track_id)
