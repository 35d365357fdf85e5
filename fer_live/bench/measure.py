"""Clocks and figures: percentiles, what each stage takes, and how busy the processor is."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np


def percentiles_ms(seconds: Iterable[float]) -> dict[str, float]:
    """p50, p95 and p99 of times in seconds, in milliseconds."""
    values = np.percentile(np.fromiter(seconds, float) * 1000, (50, 95, 99))
    return dict(zip(("p50_ms", "p95_ms", "p99_ms"), values.tolist(), strict=True))


def median_of(runs: list[dict], *names: str) -> dict[str, float]:
    """The median of each of the named figures over repeated runs."""
    return {name: statistics.median(run[name] for run in runs) for name in names}


class Stages:
    """Times what goes through the callables that it wraps, from any thread. A stage that calls another counts its time too."""

    def __init__(self) -> None:
        self._noted: list[tuple[float, str, float]] = []  # when it ended, which stage, seconds it took
        self._lock = threading.Lock()

    def timed(self, name: str, call: Callable) -> Callable:
        """`call`, its time noted under `name`."""

        def run(*arguments, **options):
            started_s = time.monotonic()
            try:
                return call(*arguments, **options)
            finally:
                ended_s = time.monotonic()
                with self._lock:
                    self._noted.append((ended_s, name, ended_s - started_s))

        return run

    def watch(self, analyzer: Any) -> None:
        """Time the stages inside an Analyzer; a stage that it does not have is left out."""
        for name, part, method in (("detect", "detector", "detect"), ("track", "tracker", "update"),
                                   ("smooth", "smoother", "update")):
            owner = getattr(analyzer, part, None)
            if hasattr(owner, method):
                setattr(owner, method, self.timed(name, getattr(owner, method)))
        analyzer.classifier = Watched(analyzer.classifier, self.timed("classify", analyzer.classifier))

    def totals_s(self, start_s: float, end_s: float) -> dict[str, float]:
        """Seconds spent in each stage in calls that ended between two times of time.monotonic()."""
        totals: dict[str, float] = {}
        for ended_s, name, took_s in self._noted:
            if start_s <= ended_s <= end_s:
                totals[name] = totals.get(name, 0.0) + took_s
        return totals


class Watched:
    """Stands in for an object that is called: calls go to `call`, all else to the object. (Calls pass by an instance's own
    attributes, so that a classifier cannot be wrapped in place as a method can.)"""

    def __init__(self, target: Any, call: Callable):
        self._target, self._call = target, call

    def __call__(self, *arguments, **options):
        return self._call(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)


def processor_s() -> tuple[float, float]:
    """Seconds of processor time used so far by this process, and by the whole machine."""
    import psutil

    times = psutil.cpu_times()
    idle_s = times.idle + getattr(times, "iowait", 0.0)
    guests_s = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # counted a second time under user and nice
    return time.process_time(), sum(times) - idle_s - guests_s
