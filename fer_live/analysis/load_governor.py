"""Holds a target rate by searching for faces less often and less finely when the machine is too slow for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from fer_live.analysis.detection import ScheduledDetector
from fer_live.types import Analysis, Frame

PERIOD_S = 1.0  # between two decisions
TOO_BUSY, IDLE = 0.9, 0.5  # shares of the time there is for a frame
PATIENCE = 3  # idle periods before more is tried again: each try that fails costs a second of dropped frames
# (frames from one search of the whole picture to the next, factor on the smallest face), the best first
LEVELS = ((2, 1.0), (8, 1.0), (12, 1.0), (12, 1.5), (18, 2.0))
START = 1  # what runs without a target rate search, too


class Governor:
    """Wraps the analysis of frames; `note` says in words what was given up, for the HUD. Has one thread's calls, except for
    `presented`: what is slower, analysis or what follows it in the other thread, decides the rate, and both share the machine.

    detector: its `every` and its searcher's `min_face` are set. target_fps: the rate to hold.
    clock: seconds, for tests.
    """

    def __init__(self, analyze: Callable[[Frame], Analysis], detector: ScheduledDetector, target_fps: float,
                 clock: Callable[[], float] = time.perf_counter):
        self.analyze, self.detector, self.target_fps, self.clock = analyze, detector, target_fps, clock
        self.min_face = detector.searcher.min_face
        self.level, self.idle_periods = START, 0
        self.frames, self.busy_s, self.since_s = 0, 0.0, clock()
        self.shown, self.presenting_s, self._lock = 0, 0.0, threading.Lock()
        self._apply()

    def __call__(self, frame: Frame) -> Analysis:
        """The analysis of a frame, timed."""
        started_s = self.clock()
        analysis = self.analyze(frame)
        now_s = self.clock()
        self.busy_s, self.frames = self.busy_s + now_s - started_s, self.frames + 1
        if now_s - self.since_s >= PERIOD_S:
            self._decide(max(self.busy_s / self.frames, self._presenting_s()) * self.target_fps)
            self.frames, self.busy_s, self.since_s = 0, 0.0, now_s
        return analysis

    def presented(self, seconds: float) -> None:
        """Note how long it took to draw, write and show a picture. For the thread that shows."""
        with self._lock:
            self.shown, self.presenting_s = self.shown + 1, self.presenting_s + seconds

    def _presenting_s(self) -> float:
        """The mean since the last time, 0 where nothing was shown."""
        with self._lock:
            mean_s = self.presenting_s / self.shown if self.shown else 0.0
            self.shown, self.presenting_s = 0, 0.0
        return mean_s

    def _decide(self, load: float) -> None:
        """load: share of the time between two frames of the target rate that the slower of analysis and showing takes."""
        self.idle_periods = self.idle_periods + 1 if load < IDLE else 0
        if load > TOO_BUSY and self.level < len(LEVELS) - 1:
            self.level += 1
        elif self.idle_periods >= PATIENCE and self.level > 0:
            self.level, self.idle_periods = self.level - 1, 0
        self._apply()

    def _apply(self) -> None:
        every, factor = LEVELS[self.level]
        self.detector.every, self.detector.searcher.min_face = every, self.min_face * factor
        size = "" if factor == 1 else f", faces {factor:g} times larger"
        self.note = f"searching 1 frame in {every}{size}"
