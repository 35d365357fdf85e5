"""The main loops for live sources and for files. The stages are the same in both."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import takewhile
from typing import cast

import cv2
import numpy as np

from fer_live.handoff import LatestItem, Prefetch
from fer_live.protocols import Draw, FileScreen, Recorder, Screen, Sink
from fer_live.types import NO_IMAGE, Analysis, Frame, OutputError, Rates, View

logger = logging.getLogger("fer_live")


FEWEST_AHEAD, MOST_AHEAD = 4, 16  # frames between two threads of a run over a file
AHEAD_BYTES = 16 << 20  # maximum bytes of their images, unless these are FEWEST_AHEAD
STAGES = 3  # threads of a run over a file: decoding, analysis, and drawing with encoding


class RateMeter:
    """Events per second over the last `window_s` seconds: n events span n - 1 intervals."""

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
    """Analyze and show the newest frames until `stop`, the end of the stream, or `max_seconds`. Return how many were shown.

    `sinks` may change during the run. failed: called with a sink whose write failed, to remove it; without it, the error ends the
    run. presented: called with the seconds taken to draw, write and show each frame. Sinks, screen and callbacks are used only in
    the calling thread, which must be the main thread.
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
                image = draw(analysis, rates) if _is_seen(screen, *sinks) else NO_IMAGE
                for sink in list(sinks):
                    if sink in sinks:  # a failing sink may have closed and removed another
                        _write(sink, image, analysis, failed)
                screen.show(image, analysis, rates)
                shown += 1
            elif analyzed.ended:
                break
            screen.poll()  # also redraws the window
            if analysis is not None and presented is not None:
                presented(time.perf_counter() - begun_s)
        ended_s = time.monotonic()  # stopping the threads can take seconds, which do not belong to recordings
        for sink in sinks:
            if getattr(sink, "end_s", 0.0) is None:
                cast(Recorder, sink).end_s = ended_s
    logger.debug(f"{shown} frames shown, {captured.dropped} dropped before analysis, {analyzed.dropped} after it")
    return shown


def _is_seen(*takers: Sink | Screen) -> bool:
    """Whether a sink or the screen needs the next image; otherwise drawing is skipped."""
    return any(getattr(taker, "needs_image", True) for taker in takers)


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
    pace: float = 0.0, ahead: int | None = None, progress: bool = True,
) -> int:
    """Analyze every frame in order. Return the number of frames. A damaged source raises SourceError after its readable frames.

    Decoding, analysis, and drawing with encoding run in one thread each; the result does not depend on timing.
    total: expected number of frames for the progress bar; 0 if unknown. progress: whether to show the bar.
    screen: a window to display the frames, or None.
    pace: 1.0 plays a video at its own speed, infinity waits for a key at each image, 0 runs as fast as possible.
    ahead: queue size in frames between two threads; None: by the size of the first frame, since large frames take memory.
    max_seconds: in the video's own time; for images, which have none, it counts from the first result.
    """
    from tqdm import tqdm  # live runs do not need it

    done, started_s, end_s = 0, time.monotonic(), float("inf")
    takers: list[Sink | Screen] = [*sinks, *([screen] if screen else [])]
    wanted = takewhile(lambda frame: not (stop.is_set() or (max_seconds and frame.time_s >= max_seconds)), frames)
    bar = tqdm(total=total or None, unit=" frames", file=sys.stderr, mininterval=0.5, disable=not progress)

    def depth(frame: Frame) -> int:
        return ahead or max(FEWEST_AHEAD, min(MOST_AHEAD, AHEAD_BYTES // max(1, frame.image.nbytes)))

    with bar, fewer_opencv_threads(), Prefetch(wanted, depth) as decoded, \
            Prefetch(analyze_all(decoded), lambda analysis: depth(analysis.frame)) as analyzed:
        for analysis in analyzed:
            if analysis.frame.name and max_seconds and end_s == float("inf"):
                end_s = time.monotonic() + max_seconds
            if stop.is_set() or time.monotonic() >= end_s:
                break
            image = draw(analysis) if _is_seen(*takers) else NO_IMAGE
            for sink in sinks:
                sink.write(image, analysis)
            if screen:
                screen.show(image, analysis, Rates())
                screen.hold(started_s + analysis.frame.time_s if pace == 1.0 else min(pace, end_s), stop)
            done += 1
            bar.update()
    return done


@contextmanager
def fewer_opencv_threads() -> Iterator[None]:
    """Leave each of the STAGES its share of the processor: OpenCV's own threads busy-wait, which slows down the other stages."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(max(1, min(before, (os.cpu_count() or 1) // STAGES)))
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def mirrored(frames: Iterable[Frame], view: View) -> Iterator[Frame]:
    """Yield the frames, flipped horizontally while `view.mirror` is set; boxes and logs then refer to the flipped image."""
    for frame in frames:
        flips = view.mirror and not frame.is_slate  # slates contain text
        yield replace(frame, image=cv2.flip(frame.image, 1)) if flips else frame
