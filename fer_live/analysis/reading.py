"""Chooses which detected faces to classify: an unchanged face would give the same result again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

LONGEST_S = 0.1  # seconds between classifications of a face, and so the maximum delay before a change of expression is noticed
# Mean difference of two crops as a fraction of their contrast. Below it, the probabilities of the two crops differ by 0.03 (phone
# clip) and 0.12 (stage clip), and those of all neighboring frames by 0.06 and 0.20; 64% and 23% of the faces are below it.
STILL = 0.15
MEMORY_S = 2.0


@dataclass(slots=True)
class Reading:
    """The last classification of a face."""

    crop: np.ndarray  # (S, S, C) uint8
    time_s: float
    plain_s: float  # seconds covered by plain crops minus seconds covered by mirrored ones


class Readings:
    """Remembers the last classification of each face. longest_s: maximum seconds between two; 0 classifies every face each time.

    Crops are mirrored for half of the time, where each classification covers the time since the previous one. Smoothed over time
    this averages both views, which is more accurate (see models/README.md), at the cost of one.
    """

    def __init__(self, longest_s: float = LONGEST_S):
        self.longest_s = longest_s
        self.last: dict[int, Reading] = {}

    def choose(self, track_ids: Sequence[int], crops: np.ndarray, time_s: float) -> tuple[list[int], np.ndarray]:
        """Return the indices of the crops (N, S, S, C) uint8 to classify now, and these M crops, some mirrored."""
        self.last = {key: old for key, old in self.last.items() if 0 <= time_s - old.time_s <= MEMORY_S}
        chosen = [i for i, track_id in enumerate(track_ids) if self._has_changed(track_id, crops[i], time_s)]
        views = crops[chosen]
        for row, i in enumerate(chosen):
            old = self.last.get(track_ids[i])
            # after a gap, do not use the same view for long
            stands_s, plain_s = (min(time_s - old.time_s, LONGEST_S), old.plain_s) if old else (1e-6, 0.0)
            if plain_s > 0:
                views[row] = crops[i, :, ::-1]
            self.last[track_ids[i]] = Reading(crops[i], time_s, plain_s + (-stands_s if plain_s > 0 else stands_s))
        return chosen, views

    def _has_changed(self, track_id: int, crop: np.ndarray, time_s: float) -> bool:
        old = self.last.get(track_id)
        if old is None or time_s - old.time_s >= self.longest_s - 1e-3:
            return True
        return cv2.norm(crop, old.crop, cv2.NORM_L1) / crop.size > STILL * max(1.0, float(cv2.meanStdDev(crop)[1][0, 0]))
