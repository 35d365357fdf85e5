"""Timing helpers: percentiles, time per stage, and CPU usage."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from fer_live.analysis.analyzer import Analyzer


def percentiles_ms(seconds: Iterable[float]) -> dict[str, float]:
    """Return p50, p95 and p99 in milliseconds of times in seconds."""
    values = np.percentile(np.fromiter(seconds, float) * 1000, (50, 95, 99))
    return dict(zip(("p50_ms", "p95_ms", "p99_ms"), values.tolist(), strict=True))


def median_of(runs: list[dict], *names: str) -> dict[str, float]:
    """Return the medians of the named values over repeated runs."""
    return {name: statistics.median(run[name] for run in runs) for name in names}


class Stages:
    """Measures calls of wrapped callables, from any thread. The time of a stage includes that of stages it calls."""

    def __init__(self) -> None:
        self._noted: list[tuple[float, str, float]] = []  # end time, stage, duration in seconds
        self._lock = threading.Lock()

    def timed(self, name: str, call: Callable) -> Callable:
        """Wrap `call` so that its duration is recorded under `name`."""

        def run(*arguments, **options):
            started_s = time.monotonic()
            try:
                return call(*arguments, **options)
            finally:
                ended_s = time.monotonic()
                with self._lock:
                    self._noted.append((ended_s, name, ended_s - started_s))

        return run

    def watch(self, analyzer: Analyzer) -> None:
        """Measure the stages inside an Analyzer."""
        owners: dict[str, tuple[Any, str]] = {
            "detect": (analyzer.detector, "detect"), "track": (analyzer.state.tracker, "update"),
            "smooth": (analyzer.state.smoother, "update")}
        for name, (owner, method) in owners.items():
            setattr(owner, method, self.timed(name, getattr(owner, method)))
        analyzer.classifier = Watched(analyzer.classifier, self.timed("classify", analyzer.classifier))

    def totals_s(self, start_s: float, end_s: float) -> dict[str, float]:
        """Return the seconds spent in each stage by calls that ended between two times of time.monotonic()."""
        totals: dict[str, float] = {}
        for ended_s, name, took_s in self._noted:
            if start_s <= ended_s <= end_s:
                totals[name] = totals.get(name, 0.0) + took_s
        return totals


class Watched:
    """A proxy for a callable object: calls go to `call`, attributes to the object.

    Needed for a classifier: Python looks up __call__ on the class, so it cannot be replaced on an instance like a method.
    """

    def __init__(self, target: Any, call: Callable):
        self._target, self._call = target, call

    def __call__(self, *arguments, **options):
        return self._call(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)


def processor_s() -> tuple[float, float]:
    """Return the CPU seconds used so far by this process, and by the whole machine."""
    import psutil

    times = psutil.cpu_times()
    idle_s = times.idle + getattr(times, "iowait", 0.0)
    guests_s = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # also included in user and nice
    return time.process_time(), sum(times) - idle_s - guests_s
