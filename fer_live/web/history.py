"""The last three minutes of a run, second by second, kept in memory so that a page that is loaded anew shows them."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

import numpy as np

from fer_live.types import Analysis

SECONDS = 180


@dataclass(slots=True)
class _Second:
    number: int  # counts from the first frame, as the log's time_s does
    sums: np.ndarray  # (C,) of the faces' probabilities
    frames: int = 0
    faces: int = 0  # in all of these frames together
    lost: bool = False


class History:
    """labels: class names in the order of the probabilities. forget_s: after so long without a face all is forgotten; None:
    never.

    `add` belongs to the thread that writes, the rest to any. No face is told from another: only means are kept.
    """

    def __init__(self, labels: tuple[str, ...], forget_s: float | None = None):
        self.labels, self.forget_s = labels, forget_s
        self._seconds: deque[_Second] = deque(maxlen=SECONDS)
        self._seen_s = 0.0
        self._lock = threading.Lock()

    def add(self, analysis: Analysis, time_s: float) -> None:
        """Count a frame in. time_s: since the first frame; where it goes back, it counts as the newest second."""
        with self._lock:
            if analysis.faces:
                self._seen_s = time_s
            elif self.forget_s is not None and time_s - self._seen_s >= self.forget_s:
                self._seconds.clear()
            number = int(time_s)
            if not self._seconds or number > self._seconds[-1].number:
                self._seconds.append(_Second(number, np.zeros(len(self.labels))))
            second = self._seconds[-1]
            second.frames += 1
            second.faces += len(analysis.faces)
            second.lost |= analysis.frame.is_slate
            for face in analysis.faces:
                second.sums += face.probs

    def seconds(self, now_s: float, after: int = -1) -> list[dict]:
        """The finished seconds after number `after`, oldest first, of the three minutes before `now_s`; as objects.

        second: its number. faces: how many were in view on average. probs: their mean probabilities; empty without a face.
        camera_lost: true where there was no camera; such a second has no faces. Seconds without a frame are left out.
        """
        now = int(now_s)
        with self._lock:
            return [self._object(one) for one in self._seconds if max(after, now - SECONDS - 1) < one.number < now]

    def _object(self, one: _Second) -> dict:
        made: dict = {"second": one.number, "faces": round(one.faces / one.frames, 2), "probs": {}}
        if one.faces:
            made["probs"] = {name: round(float(p) / one.faces, 3) for name, p in zip(self.labels, one.sums, strict=True)}
        if one.lost:
            made["camera_lost"] = True
        return made
