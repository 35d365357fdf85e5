"""The order of the stages, live and for files. The stages themselves do not know which of the two they serve."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from fer_live.detector import EVERY, ScheduledDetector
from fer_live.links import Ahead, Newest
from fer_live.tracker import FaceTracker, Smoother
from fer_live.types import Analysis, Face, FaceDetector, Frame, OutputError, Rates, Sink, View
from models.checkpoint import DEFAULT_WEIGHTS
from models.haar import MIN_FACE, HaarFaceDetector
from models.preprocess import crop_faces

STILL_MIN_FACE = 0.06  # of the shorter side: a group photograph has small faces and all the time it needs


class Analyzer:
    """Picture -> Analysis. The only place where the order of the stages is written.

    classifier: an EmotionClassifier, or anything that maps crops (N, S, S, C) uint8 to probabilities (N, 7) and has `spec`.
    """

    def __init__(self, classifier: Any, detector: FaceDetector, still_detector: FaceDetector):
        self.classifier, self.detector, self.still_detector = classifier, detector, still_detector
        self.tracker = FaceTracker()
        self.smoother = Smoother(classifier.spec.labels)

    @classmethod
    def from_checkpoint(
        cls, path: str | Path | None = None, device: str = "auto", head: str | None = None, min_face: float | None = None,
        runtime: str = "auto", search_every: int = EVERY,
    ) -> Analyzer:
        """The shipped model, or the one at `path`, behind the Haar detector. Raises CheckpointError, DeviceError.

        min_face: side of the smallest face, in pixels or, below 1, as a share of the frame's shorter side.
        runtime: what computes on the CPU: auto, torch, onnx or openvino. search_every: frames from one search of the whole
        picture to the next; in between faces are looked for where they were. 1 searches every frame whole.
        """
        from fer_live.classifier import EmotionClassifier

        live = ScheduledDetector(HaarFaceDetector(min_face or MIN_FACE), search_every)
        still = HaarFaceDetector(min_face or STILL_MIN_FACE, step=1.05, neighbours=5)  # finer steps find each face more often
        return cls(EmotionClassifier(path or DEFAULT_WEIGHTS, device, head, runtime), live, still)

    def __call__(self, frame: Frame | np.ndarray) -> Analysis:
        """Analyse a frame of a video, followed over time; or one picture (H, W, 3) uint8 BGR that stands alone."""
        if isinstance(frame, np.ndarray):
            return self.analyze_still(Frame(frame, 0, 0.0))
        return self._analyze(frame, self.detector, self.tracker, self.smoother)

    def analyze_still(self, frame: Frame) -> Analysis:
        """Analyse a picture that has nothing to do with those before it."""
        return self._analyze(frame, self.still_detector, FaceTracker(confirm_hits=1), Smoother(self.classifier.spec.labels))

    def _analyze(self, frame: Frame, detector: FaceDetector, tracker: FaceTracker, smoother: Smoother) -> Analysis:
        if frame.is_slate:  # who comes after it need not be who was there before
            tracker.tracks.clear()
            return Analysis(frame, ())
        boxes = detector.detect(frame.image)  # (N, 4)
        tracks = tracker.update(boxes, frame.time_s, frame.image)
        fresh = [track for track in tracks if track.fresh]  # a remembered face is shown as it was, not guessed anew
        boxes = np.array([track.box for track in fresh]).reshape(-1, 4).round().astype(np.int32)
        probs = self.classifier(crop_faces(frame.image, boxes, self.classifier.spec))  # (N, 7)
        found = {track.track_id: p for track, p in zip(fresh, probs, strict=True)}
        faces = []
        for track in tracks:
            smoothed, label, confidence = smoother.update(track.track_id, found.get(track.track_id), frame.time_s)
            box = tuple(int(v) for v in track.box.round())
            faces.append(Face(box, track.track_id, smoothed, label, confidence))
        smoother.forget(frame.time_s)
        return Analysis(frame, tuple(faces))


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
    frames: Iterable[Frame], analyze: Callable[[Frame], Analysis], draw: Callable[[Analysis, Rates], np.ndarray],
    sinks: list[Sink], screen: Any, stop: threading.Event, max_seconds: float | None = None,
    failed: Callable[[Sink, OutputError], None] | None = None,
) -> int:
    """Analyse and show the newest frames until `stop`, the end of the stream, or `max_seconds`; returns how many were shown.

    `sinks` may change while it runs. failed: is told of a sink that cannot be written, and takes it out; without it the run
    ends with the sink's error. Drawing, showing and writing belong to the calling thread, which must be the main one.
    """
    end_s = time.monotonic() + max_seconds if max_seconds else float("inf")
    meter, shown = RateMeter(), 0
    captured = Newest(frames)
    analysed: Newest[Analysis] = Newest(map(analyze, captured))
    with captured, analysed:
        while not stop.is_set() and time.monotonic() < end_s:
            analysis = analysed.get(timeout_s=0.02)
            if analysis is not None:
                rates = Rates(meter.tick(time.monotonic()), captured.dropped + analysed.dropped)
                image = draw(analysis, rates)
                for sink in list(sinks):
                    _write(sink, image, analysis, failed)
                screen.show(image, analysis, rates)
                shown += 1
            elif analysed.ended:
                break
            screen.poll()
    return shown


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
    frames: Iterable[Frame], analyze: Callable[[Frame], Analysis], draw: Callable[[Analysis], np.ndarray], sinks: list[Sink],
    stop: threading.Event, total: int = 0, max_seconds: float | None = None, screen: Any = None, pace: float = 0.0,
    ahead: int = 4,
) -> int:
    """Analyse every frame in order; returns how many. A damaged source raises SourceError after what could be read.

    Decoding, analysis, and drawing with encoding each have a thread; the result does not depend on which of them is faster.
    total: how many frames are expected, for the progress bar; 0 if unknown. screen: a Window to show them in.
    pace: 1.0 shows a video at its own speed, infinity waits at each picture for a key, 0 goes as fast as it can.
    ahead: how many frames wait between two threads; large ones take memory.
    """
    done, started_s = 0, time.monotonic()
    wanted = takewhile(lambda frame: not (stop.is_set() or (max_seconds and frame.time_s >= max_seconds)), frames)
    bar = tqdm(total=total or None, unit=" frames", file=sys.stderr, mininterval=0.5)
    with bar, Ahead(wanted, ahead) as decoded, Ahead(map(analyze, decoded), ahead) as analysed:
        for analysis in analysed:
            if stop.is_set():
                break
            image = draw(analysis)
            for sink in sinks:
                sink.write(image, analysis)
            if screen:
                screen.show(image, analysis, Rates())
                screen.hold(started_s + analysis.frame.time_s if pace == 1.0 else pace, stop)
            done += 1
            bar.update()
    return done


def mirrored(frames: Iterable[Frame], view: View) -> Iterator[Frame]:
    """The frames, flipped left to right while `view.mirror` says so; boxes and log then speak of the flipped picture."""
    for frame in frames:
        flips = view.mirror and not frame.is_slate  # a slate is to be read
        yield replace(frame, image=cv2.flip(frame.image, 1)) if flips else frame
