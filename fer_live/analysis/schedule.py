"""Chooses which detected faces to classify. Labels are smoothed over a second, so that not every frame of a camera is needed."""

from __future__ import annotations

import math
from collections.abc import Sequence

# Seconds between classifications of a face, each of its crop and the mirrored crop. Labels agree with those of all frames by 0.96
# (phone clip), 0.90 (stage clip) and 0.99 (demo), on average over 16 starting times; 15 a second with one view each, which is the
# same number of crops, agree by 0.99, 0.78 and 0.99, and 6 a second with both views by 0.94, 0.87 and 0.98.
INTERVAL_S = 2 / 15
MEMORY_S = 2.0
GOLDEN = (math.sqrt(5) - 1) / 2  # its multiples, modulo 1, are spread evenly, however many there are


class ClassificationSchedule:
    """Remembers the last classification of each face. interval_s: mean seconds between two; 0 classifies every face each time.

    A new face is classified at once. The intervals of different faces begin at different times, so that the faces of a frame take
    turns, and batches are small.
    """

    def __init__(self, interval_s: float = INTERVAL_S):
        self.interval_s = interval_s
        self.last: dict[int, float] = {}  # seconds, by track id

    def choose(self, track_ids: Sequence[int], time_s: float) -> list[int]:
        """Return the indices of the faces to classify now, in order."""
        self.last = {track_id: last_s for track_id, last_s in self.last.items() if 0 <= time_s - last_s <= MEMORY_S}
        chosen = [i for i, track_id in enumerate(track_ids) if self._is_due(track_id, time_s)]
        self.last.update((track_ids[i], time_s) for i in chosen)
        return chosen

    def _is_due(self, track_id: int, time_s: float) -> bool:
        last_s = self.last.get(track_id)
        return last_s is None or not self.interval_s or self._turn(track_id, time_s) != self._turn(track_id, last_s)

    def _turn(self, track_id: int, time_s: float) -> int:
        """Return the number of the face's interval that contains `time_s`."""
        return math.floor(time_s / self.interval_s + GOLDEN * track_id)
