"""Picture -> Analysis: find the faces, follow them, cut them out, name what they express, steady it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from fer_live.analysis.baseline import DEFAULT_S, RestingBaseline
from fer_live.analysis.checks import check_frame, check_frames, check_parts, check_picture, check_search
from fer_live.analysis.detection import EVERY, ScheduledDetector
from fer_live.analysis.endings import endings
from fer_live.analysis.smoothing import Smoother
from fer_live.analysis.tracker import FaceTracker
from fer_live.analysis.visibility import Readability, see_all
from fer_live.handoff import Ahead, grouped
from fer_live.model import DEFAULT_WEIGHTS
from fer_live.model.both import face_detectors
from fer_live.model.detections import DEFAULT_DETECTOR, Detections
from fer_live.model.haar import MIN_FACE
from fer_live.model.preprocess import crop_faces
from fer_live.model.spec import ModelSpec
from fer_live.types import UNCLEAR, UNSURE, Analysis, Ended, Face, FaceDetector, Frame, Visibility

Box = tuple[int, int, int, int]  # xyxy, pixels of the frame
FRAMES_A_BATCH = 8  # of a file: a batch of 8 faces takes half of the time of 8 batches of one
FEWEST = 3  # frames of a film in which faces are followed; a shorter one is so many pictures
MOST_BYTES = 64 << 20  # that frames of a batch may hold: three times as many wait
STILL_MIN_FACE = 0.06  # of the shorter side: a group photograph has small faces and all the time it needs


class Analyzer:
    """Picture -> Analysis. The only place where the order of the stages is written.

    Single pictures may come from many threads at once. Frames are of one video: for another one at the same time, of a second
    camera or client, take `new_stream()`.

    classifier: an EmotionClassifier, or anything that maps crops (N, S, S, C) uint8 to probabilities (N, 7) and has `spec`.
    detector: a ScheduledDetector, or one without memory. Streams share the classifier and what a detector searches with, so these
    must be safe to call from several threads, as those of this package are.
    """

    def __init__(self, classifier: Any, detector: FaceDetector, still_detector: FaceDetector):
        check_parts(classifier, detector, still_detector)
        self.classifier, self.detector, self.still_detector = classifier, detector, still_detector
        self.tracker = FaceTracker()
        self.smoother = Smoother(classifier.spec.labels)
        self.baseline = RestingBaseline(classifier.spec.labels)
        self.readability = Readability()
        self._unused_detector = _anew(detector)  # as it was given: a load governor changes the settings of the one at work
        self._busy = threading.Lock()

    @classmethod
    def from_checkpoint(
        cls, path: str | Path | None = None, device: str = "auto", head: str | None = None, min_face: float | None = None,
        runtime: str = "auto", search_every: int = EVERY, detector: str = DEFAULT_DETECTOR,
    ) -> Analyzer:
        """The shipped model, or the one at `path`, behind a face detector. Raises CheckpointError, DeviceError.

        min_face: side of the smallest face, in pixels or, below 1, as a share of the shorter side of the frame, or of its
        smallest tile.
        runtime: what computes on the CPU: auto, torch, onnx or openvino. search_every: frames from one search of the whole
        picture to the next; in between faces are looked for where they were. 1 searches every frame whole.
        detector: haar (upright faces seen from the front), yunet (also turned, tilted and dim ones) or both.
        Both errors are ValueErrors; what is of the wrong type raises TypeError.
        """
        from fer_live.analysis.classifier import EmotionClassifier

        check_search(min_face, search_every)
        searcher, still = face_detectors(detector, min_face or MIN_FACE, min_face or STILL_MIN_FACE)
        classifier = EmotionClassifier(DEFAULT_WEIGHTS if path is None else path, device, head, runtime)
        return cls(classifier, ScheduledDetector(searcher, search_every), still)

    def __call__(self, frame: Frame | np.ndarray) -> Analysis:
        """Analyse a frame of a video, followed over time; or one picture (H, W, 3) uint8 BGR that stands alone.

        Where times go back a new video begins: faces get new ids, and old labels are forgotten.
        Raises RuntimeError for a frame while another is analyzed, or while `analyze_all` is not at its end, TypeError or
        ValueError for what is no such frame or picture.
        """
        if not isinstance(frame, Frame):
            return self.analyze_still(frame)
        check_frame(frame)
        with self._alone():
            located = locate(frame, self.detector, self.tracker, self.classifier.spec)
            return name(located, self.classifier(located.crops), self.smoother, self.baseline, self.readability)

    def calibrate(self, seconds: float = DEFAULT_S) -> None:
        """Ask the faces of the next frame to look neutral for so many seconds, 1 to 30 of the video's time.

        `Face.calibration_s` counts down. Then the resting answer of each of these faces is taken out of its later ones, for as
        long as it is followed; see `RestingBaseline`. May be called from any thread. Raises ValueError.
        """
        self.baseline.ask(seconds)

    def new_stream(self) -> Analyzer:
        """An analyzer for another video, with faces and labels of its own; the network and the cascades are shared."""
        return Analyzer(self.classifier, _anew(self._unused_detector), self.still_detector)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Refuses a second use while a video is followed: its faces would be taken for those of the first."""
        if not self._busy.acquire(blocking=False):
            raise RuntimeError("this analyzer is at work on another frame or video; for a second one at the same time give "
                               "each its own, made by new_stream()")
        try:
            yield
        finally:
            self._busy.release()

    def analyze_still(self, frame: Frame | np.ndarray) -> Analysis:
        """Analyse a picture that has nothing to do with those before it; a face is named from its crop and that mirrored.
        Raises TypeError or ValueError for what is no frame or picture."""
        frame = check_frame(frame) if isinstance(frame, Frame) else Frame(check_picture(frame), 0, 0.0)
        spec = self.classifier.spec
        located = locate(frame, self.still_detector, FaceTracker(confirm_hits=1), spec)
        both = self.classifier(np.concatenate([located.crops, located.crops[:, :, ::-1]]))  # (2M, 7)
        return name(located, both.reshape(2, -1, both.shape[1]).mean(0), Smoother(spec.labels))

    def analyze_all(self, frames: Iterable[Frame]) -> Iterator[Analysis]:
        """The same as calling it with each frame in turn, sooner: a thread of its own locates the faces of the next frames, and
        those of several frames are classified as one batch. And a face is shown from its first frame on, since it is known
        a few frames later that it came back. Raises TypeError for what holds no frames and, with the first
        analysis, RuntimeError where the analyzer already follows a video."""
        return self._follow(check_frames(frames))

    def _follow(self, frames: Iterable[Frame]) -> Iterator[Analysis]:
        with self._alone():
            yield from self._in_batches(frames)

    def _in_batches(self, frames: Iterable[Frame]) -> Iterator[Analysis]:
        groups, spec = grouped(frames, FEWEST), self.classifier.spec
        first = next(groups, [])
        if len(first) < FEWEST:  # too short for a face to be followed; also what comes before an error
            yield from map(self.analyze_still, first)
            next(groups, None)  # raises the error, if there was one
            return
        size = max(1, min(FRAMES_A_BATCH, MOST_BYTES // max(1, first[0].image.nbytes)))
        stream = chain(first, chain.from_iterable(groups))
        located = (locate(frame, self.detector, self.tracker, spec) for frame in stream)
        with Ahead(with_beginnings(located, spec, size), 2 * size) as ahead:
            for group in grouped(ahead, size):
                probs = self.classifier(np.concatenate([one.crops for one in group]))
                ends = np.cumsum([len(one.crops) for one in group])[:-1]
                for one, own in zip(group, np.split(probs, ends), strict=True):
                    yield name(one, own, self.smoother, self.baseline, self.readability)

    def forget(self) -> None:
        """Forget everyone who was followed; ids are not given out again. Raises RuntimeError while a frame is analyzed."""
        with self._alone():
            self.tracker.restart()
            self.smoother.states.clear()
            self.readability.states.clear()
            self.baseline.clear()


def _anew(detector: FaceDetector) -> FaceDetector:
    """The same for another video; what has no memory is shared."""
    return detector.anew() if isinstance(detector, ScheduledDetector) else detector


@dataclass(frozen=True)
class Located:
    """The faces of a frame, with their crops, before it is known what they express."""

    frame: Frame
    places: tuple[tuple[int, Box, bool], ...]  # (track id, box, found in this very frame) of each face
    crops: np.ndarray  # (M, S, S, C) uint8, of the faces found, some mirrored; one that is only remembered is not guessed anew
    found: Detections  # what the detector says of the frame
    views: tuple[Visibility, ...] = ()  # of each crop: how well the face was seen
    begun: tuple[tuple[int, float, Box, float, int], ...] = ()  # (track id, time, box, roll, row in `found`) of earlier frames
    seen: tuple[Box, ...] = ()  # all that may be a face: found, not yet believed, or remembered
    is_anew: bool = False  # a clip or segment begins: what was known before is of other people
    ended: tuple[Ended, ...] = ()  # faces that are followed no longer


def locate(frame: Frame, detector: FaceDetector, tracker: FaceTracker, spec: ModelSpec) -> Located:
    """Find the faces and follow them.

    A followed face is seen mirrored every other time. Smoothed over time that gives the mean of both views, which is the better
    answer (see models/README.md), for the price of one.
    """
    if frame.is_slate:  # who comes after it need not be who was there before
        tracker.drop_all()
        crops = crop_faces(frame.image, np.empty((0, 4)), spec)
        return Located(frame, (), crops, Detections.joined([]), ended=endings(tracker.take_gone(), frame))
    is_anew = tracker.begins_anew(frame.time_s, frame.segment)
    if is_anew and isinstance(detector, ScheduledDetector):
        detector.forget()
    found = Detections.of(detector.detect(frame.image, frame.smallest_side) if frame.tiles else detector.detect(frame.image))
    tracks = tracker.update(found.boxes, frame.time_s, frame.image, found.rolls)
    places = tuple((track.track_id, _whole(track.box), track.fresh) for track in tracks)
    begun = tuple((track.track_id, time_s, _whole(box), *more) for track in tracks for time_s, box, *more in track.before)
    seen = tuple(_whole(box) for box in (*found.boxes, *(track.box for track in tracker.tracks)))
    fresh = np.array([box for _, box, is_fresh in places if is_fresh], np.int32).reshape(-1, 4)
    crops = crop_faces(frame.image, fresh, spec, np.array([track.roll for track in tracks if track.fresh]))
    views = see_all(crops, fresh, found[[track.row for track in tracks if track.fresh]])
    is_mirrored = np.array([track.hits % 2 == 0 for track in tracks if track.fresh], bool)
    crops[is_mirrored] = crops[is_mirrored, :, ::-1]
    ended = endings(tracker.take_gone(), frame, is_anew)
    return Located(frame, places, crops, found, views, begun, seen, is_anew, ended)


def _whole(box: np.ndarray) -> Box:
    return tuple(int(v) for v in np.round(box))


def with_beginnings(stream: Iterable[Located], spec: ModelSpec, most: int) -> Iterator[Located]:
    """The stream, up to `most` frames late, with the faces that later frames say were there already."""
    held: deque[Located] = deque()
    error: Exception | None = None
    located = iter(stream)
    while error is None:
        try:
            one = next(located)
        except Exception as caught:  # also its end; what is held comes before it
            error = caught
            break
        if one.is_anew:  # its times may be those of frames that are held
            yield from held
            held.clear()
        for i, old in enumerate(held):
            for track_id, time_s, box, roll, row in one.begun:
                if old.frame.time_s == time_s:
                    crop = crop_faces(old.frame.image, np.array([box], np.int32), spec, np.array([roll]))
                    places, crops = (*old.places, (track_id, box, True)), np.concatenate([old.crops, crop])
                    views = (*old.views, *see_all(crop, np.array([box]), old.found[[row]]))
                    held[i] = old = replace(old, places=places, crops=crops, views=views)
        held.append(one)
        if len(held) > most:
            yield held.popleft()
    yield from held
    if not isinstance(error, StopIteration):
        raise error


def name(
    located: Located, probs: np.ndarray, smoother: Smoother, baseline: RestingBaseline | None = None,
    readability: Readability | None = None,
) -> Analysis:
    """Say what the faces express. probs: (M, 7), of the crops."""
    time_s, found, faces = located.frame.time_s, zip(probs, located.views, strict=True), []
    baseline, readability = baseline or RestingBaseline(smoother.labels), readability or Readability()
    if located.is_anew:  # by their times they would not be too old
        smoother.states.clear()
        baseline.rests.clear()
        readability.states.clear()
    baseline.begin([track_id for track_id, _, _ in located.places], time_s)
    for track_id, box, is_fresh in located.places:
        answer, view = next(found) if is_fresh else (None, None)
        because, is_back = readability.update(track_id, view, time_s)
        answer, is_new = baseline.update(track_id, answer, time_s, not because)
        if is_new or is_back:  # what was read before is of no use to the mean
            smoother.states.pop(track_id, None)
        smoothed, label, confidence = smoother.update(track_id, answer, time_s)
        if because or label == UNSURE:
            label, because = UNSURE, because or UNCLEAR
        faces.append(Face(box, track_id, smoothed, label, confidence, baseline.left_s(track_id), view, because))
    for memory in (smoother, baseline, readability):
        memory.forget(time_s)
    return Analysis(located.frame, tuple(faces), located.seen, located.ended)
