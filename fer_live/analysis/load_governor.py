"""Keeps a target frame rate on slow machines by detecting faces less often and at a lower resolution."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from fer_live.analysis.detection import ScheduledDetector
from fer_live.types import Analysis, Frame

PERIOD_S = 1.0  # seconds between decisions
TOO_BUSY, IDLE = 0.9, 0.5  # fractions of the time available per frame
PATIENCE = 3  # idle periods before the next better level is tried; each failed attempt drops frames for a second
# (frames between searches of the whole image, factor on the smallest face), best first
LEVELS = ((2, 1.0), (8, 1.0), (12, 1.0), (12, 1.5), (18, 2.0))
START = 1  # index of the level with the default settings


class Governor:
    """Wraps the analyzer and adapts the detector. `note` describes the current level for the HUD.

    Call it from one thread; `presented` may be called from another. The slower of analysis and presentation, which share the
    CPU, limits the rate.

    detector: its `every` and its searcher's `min_face` are changed. target_fps: frames per second. clock: seconds, for tests.
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
        """Analyze a frame and measure the time."""
        started_s = self.clock()
        analysis = self.analyze(frame)
        now_s = self.clock()
        self.busy_s, self.frames = self.busy_s + now_s - started_s, self.frames + 1
        if now_s - self.since_s >= PERIOD_S:
            self._decide(max(self.busy_s / self.frames, self._presenting_s()) * self.target_fps)
            self.frames, self.busy_s, self.since_s = 0, 0.0, now_s
        return analysis

    def presented(self, seconds: float) -> None:
        """Record the time taken to draw, write and show a frame. Call it from the display thread."""
        with self._lock:
            self.shown, self.presenting_s = self.shown + 1, self.presenting_s + seconds

    def _presenting_s(self) -> float:
        """Return the mean presentation time since the last call, or 0 if nothing was shown."""
        with self._lock:
            mean_s = self.presenting_s / self.shown if self.shown else 0.0
            self.shown, self.presenting_s = 0, 0.0
        return mean_s

    def _decide(self, load: float) -> None:
        """Choose the level. load: time for the slower of analysis and display, as a fraction of the target frame interval."""
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
