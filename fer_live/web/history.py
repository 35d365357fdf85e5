"""The last three minutes of a run by second, kept in memory so that a reloaded page can show them."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

import numpy as np

from fer_live.types import Analysis

SECONDS = 180


@dataclass(slots=True)
class _Second:
    number: int  # seconds since the first frame, like time_s in the log
    sums: np.ndarray  # (C,) summed probabilities of the faces
    frames: int = 0
    faces: int = 0  # summed over these frames
    lost: bool = False


class History:
    """Statistics of the last SECONDS seconds. Faces are not distinguished: only means are stored.

    labels: class names in the order of the probabilities. forget_s: seconds without a face after which everything is deleted;
    None: never. `add` is called by the writing thread; everything else can be called by any thread.
    """

    def __init__(self, labels: tuple[str, ...], forget_s: float | None = None):
        self.labels, self.forget_s = labels, forget_s
        self._seconds: deque[_Second] = deque(maxlen=SECONDS)
        self._seen_s = 0.0
        self._lock = threading.Lock()

    def add(self, analysis: Analysis, time_s: float) -> None:
        """Add a frame. time_s: since the first frame; if it goes back, the frame counts toward the newest second."""
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
        """Return the finished seconds with a number above `after` from the three minutes before `now_s`, oldest first, as dicts.

        second: its number. faces: mean number of faces in view. probs: their mean probabilities; empty without a face.
        camera_lost: true if the camera was lost; such a second has no faces. Seconds without a frame are omitted.
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
