"""The order of the stages, live and for files. The stages themselves do not know which of the two they serve."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import takewhile
from typing import cast

import cv2
import numpy as np

from fer_live.handoff import LatestItem, Prefetch
from fer_live.protocols import Draw, FileScreen, Recorder, Screen, Sink
from fer_live.types import NO_PICTURE, Analysis, Frame, OutputError, Rates, View

logger = logging.getLogger("fer_live")


class RateMeter:
    """Events a second over the last `window_s`: n events span n - 1 intervals."""

    def __init__(self, window_s: float = 2.0):
        self.window_s = window_s
        self.times: deque[float] = deque()

    def tick(self, now_s: float) -> float:
        self.times.append(now_s)
        while now_s - self.times[0] > self.window_s:
            self.times.popleft()
        span_s = now_s - self.times[0]
        return (len(self.times) - 1) / span_s if span_s > 0 else 0.0


def run_live(
    frames: Iterable[Frame], analyze: Callable[[Frame], Analysis], draw: Draw, sinks: list[Sink],
    screen: Screen, stop: threading.Event, max_seconds: float | None = None,
    failed: Callable[[Sink, OutputError], None] | None = None, presented: Callable[[float], None] | None = None,
) -> int:
    """Analyze and show the newest frames until `stop`, the end of the stream, or `max_seconds`; returns how many were shown.

    `sinks` may change while it runs. failed: is given a sink that cannot be written, and takes it out; without it the run
    ends with the sink's error. presented: is told how many seconds it took to draw, write and show a picture. All this belongs
    to the calling thread, which must be the main one.
    """
    end_s = time.monotonic() + max_seconds if max_seconds else float("inf")
    meter, shown = RateMeter(), 0
    captured = LatestItem(frames)
    analyzed: LatestItem[Analysis] = LatestItem(map(analyze, captured))
    with captured, analyzed:
        while not stop.is_set() and time.monotonic() < end_s:
            analysis = analyzed.get(timeout_s=0.02)
            begun_s = time.perf_counter()
            if analysis is not None:
                rates = Rates(meter.tick(time.monotonic()), captured.dropped + analyzed.dropped)
                image = draw(analysis, rates) if _is_seen(screen, *sinks) else NO_PICTURE
                for sink in list(sinks):
                    if sink in sinks:  # one that failed may have taken another with it: that one is closed now
                        _write(sink, image, analysis, failed)
                screen.show(image, analysis, rates)
                shown += 1
            elif analyzed.ended:
                break
            screen.poll()  # paints, too
            if analysis is not None and presented is not None:
                presented(time.perf_counter() - begun_s)
        ended_s = time.monotonic()  # to leave the threads may take seconds, which are no part of a recording
        for sink in sinks:
            if getattr(sink, "end_s", 0.0) is None:
                cast(Recorder, sink).end_s = ended_s
    logger.debug(f"{shown} frames shown, {captured.dropped} dropped before analysis, {analyzed.dropped} after it")
    return shown


def _is_seen(*takers: Sink | Screen) -> bool:
    """Whether any of them looks at the next picture: what nobody sees need not be drawn."""
    return any(getattr(taker, "needs_picture", True) for taker in takers)


def _write(
    sink: Sink, image: np.ndarray, analysis: Analysis, failed: Callable[[Sink, OutputError], None] | None
) -> None:
    try:
        sink.write(image, analysis)
    except OutputError as error:
        if failed is None:
            raise
        failed(sink, error)


def run_file(
    frames: Iterable[Frame], analyze_all: Callable[[Iterable[Frame]], Iterable[Analysis]], draw: Callable[[Analysis], np.ndarray],
    sinks: list[Sink], stop: threading.Event, total: int = 0, max_seconds: float | None = None, screen: FileScreen | None = None,
    pace: float = 0.0, ahead: int = 4, progress: bool = True,
) -> int:
    """Analyze every frame in order; returns how many. A damaged source raises SourceError after what could be read.

    Decoding, analysis, and drawing with encoding each have a thread; the result does not depend on which of them is faster.
    total: how many frames are expected, for the progress bar; 0 if unknown. progress: whether there is one.
    screen: a Window to show them in.
    pace: 1.0 shows a video at its own speed, infinity waits at each picture for a key, 0 goes as fast as it can.
    ahead: how many frames wait between two threads; large ones take memory.
    max_seconds: of a video's own time; pictures have none, so for them it counts from when the first is ready.
    """
    from tqdm import tqdm  # a live run has no use for it

    done, started_s, end_s = 0, time.monotonic(), float("inf")
    takers: list[Sink | Screen] = [*sinks, *([screen] if screen else [])]
    wanted = takewhile(lambda frame: not (stop.is_set() or (max_seconds and frame.time_s >= max_seconds)), frames)
    bar = tqdm(total=total or None, unit=" frames", file=sys.stderr, mininterval=0.5, disable=not progress)
    with bar, Prefetch(wanted, ahead) as decoded, Prefetch(analyze_all(decoded), ahead) as analyzed:
        for analysis in analyzed:
            if analysis.frame.name and max_seconds and end_s == float("inf"):
                end_s = time.monotonic() + max_seconds
            if stop.is_set() or time.monotonic() >= end_s:
                break
            image = draw(analysis) if _is_seen(*takers) else NO_PICTURE
            for sink in sinks:
                sink.write(image, analysis)
            if screen:
                screen.show(image, analysis, Rates())
                screen.hold(started_s + analysis.frame.time_s if pace == 1.0 else min(pace, end_s), stop)
            done += 1
            bar.update()
    return done


def mirrored(frames: Iterable[Frame], view: View) -> Iterator[Frame]:
    """The frames, flipped left to right while `view.mirror` says so; boxes and log then speak of the flipped picture."""
    for frame in frames:
        flips = view.mirror and not frame.is_slate  # a slate is to be read
        yield replace(frame, image=cv2.flip(frame.image, 1)) if flips else frame
