"""Which of the faces found in a frame are read by the network: one that looks as it did a moment ago says nothing new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

LONGEST_S = 0.1  # from one reading of a face to the next; so much later than it appears an expression is seen at most
# Mean difference of two crops, as a share of their contrast. Of our clips' faces the probabilities of two such crops differ by
# 0.03 (phone) and 0.12 (stage), of all neighboring frames by 0.06 and 0.20; 64% and 23% of the faces are below it.
STILL = 0.15
MEMORY_S = 2.0


@dataclass(slots=True)
class Reading:
    """The last reading of a face."""

    crop: np.ndarray  # (S, S, C) uint8
    time_s: float
    plain_s: float  # for how long plain readings stood, less the same of mirrored ones


class Readings:
    """Remembers what was read of each face. longest_s: from one reading to the next, at most; 0 reads every face each time.

    A face is read mirrored for half of the time: a reading stands for the time since the one before. Smoothed over time that
    gives the mean of both views, which is the better answer (see models/README.md), for the price of one.
    """

    def __init__(self, longest_s: float = LONGEST_S):
        self.longest_s = longest_s
        self.last: dict[int, Reading] = {}

    def choose(self, track_ids: Sequence[int], crops: np.ndarray, time_s: float) -> tuple[list[int], np.ndarray]:
        """Which of the crops (N, S, S, C) uint8 of these faces are to be read now, and these M crops, some mirrored."""
        self.last = {key: old for key, old in self.last.items() if 0 <= time_s - old.time_s <= MEMORY_S}
        chosen = [i for i, track_id in enumerate(track_ids) if self._has_changed(track_id, crops[i], time_s)]
        views = crops[chosen]
        for row, i in enumerate(chosen):
            old = self.last.get(track_ids[i])
            # a face that was out of sight is not read from one side for long after it
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
