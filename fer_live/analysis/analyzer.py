"""Picture in, labels out: the whole order of the stages, live, for files and for single pictures.

    stage      takes                                      gives
    detect     frame (H, W, 3) uint8 BGR                  boxes (N, 4) int32 xyxy, and how far each face is tilted
    track      boxes                                      faces with ids that stay: places
    crop       frame, boxes of the faces found now        crops (N, S, S, C) uint8
    choose     crops                                      those of the M faces that have changed, every other one mirrored
    see        crops, landmarks                           how well each face was seen, and what keeps it from being read
    classify   crops                                      probabilities (M, 7) float32
    baseline   probabilities of a face                    the same, less the answer of its resting face
    smooth     probabilities of a face over time          smoothed probabilities (7,), label, confidence
    reduce     an Analysis in the model's classes         an Analysis in a smaller set of G classes, if one is asked for
    steps      an Analysis                                an Analysis: here faces are covered

`locate` has the first five, `name` the last four. In between is the classifier, since it takes the crops of several frames
of a file at once (see `lookahead`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import starmap
from pathlib import Path

import numpy as np

from fer_live.analysis import lookahead, sampling
from fer_live.analysis.baseline import DEFAULT_S, RestingBaseline
from fer_live.analysis.checks import check_frame, check_frames, check_label_set, check_parts, check_picture, check_search
from fer_live.analysis.detection import EVERY, ScheduledDetector, detect, for_new_video
from fer_live.analysis.endings import endings
from fer_live.analysis.label_sets import Reduction
from fer_live.analysis.located import Box, Located
from fer_live.analysis.reading import Readings
from fer_live.analysis.smoothing import Smoother
from fer_live.analysis.tracker import FaceTracker, area_of
from fer_live.analysis.visibility import Readability, see_all
from fer_live.model import DEFAULT_WEIGHTS
from fer_live.model.both import face_detectors
from fer_live.model.detections import DEFAULT_DETECTOR, Detections
from fer_live.model.haar import MIN_FACE
from fer_live.model.preprocess import crop_faces
from fer_live.model.spec import Classifier, ModelSpec
from fer_live.protocols import FaceDetector, Step
from fer_live.types import UNCLEAR, UNSURE, Analysis, Face, Frame

STILL_MIN_FACE = 0.06  # of the shorter side: a group photograph has small faces and all the time it needs


class Analyzer:
    """Picture -> Analysis.

    Single pictures may come from many threads at once. Frames are of one video: for another one at the same time, of a second
    camera or client, take `new_stream()`.

    classifier: an EmotionClassifier, or anything that maps crops (N, S, S, C) uint8 to probabilities (N, 7) and has `spec`.
    detector: a ScheduledDetector, or one without memory. Streams share the classifier and what a detector searches with, so these
    must be safe to call from several threads, as those of this package are.

    >>> analyze = fer_live.Analyzer.from_checkpoint(device="cpu")
    >>> [face.label for face in analyze(cv2.imread("party.jpg")).faces]
    ['happy']

    label_set: "full", the model's classes, or "basic": positive, neutral, negative, surprised. steps: what every analysis passes
    at last, in order. labels: the class names of what comes out, in the order of `Face.probs`.
    """

    def __init__(self, classifier: Classifier, detector: FaceDetector, still_detector: FaceDetector, label_set: str = "full",
                 steps: Sequence[Step] = ()):
        check_parts(classifier, detector, still_detector)
        check_label_set(label_set)
        self.classifier, self.detector, self.still_detector = classifier, detector, still_detector
        self.tracker, self.readings = FaceTracker(), Readings()
        self.smoother = Smoother(classifier.spec.labels)
        self.baseline = RestingBaseline(classifier.spec.labels)
        self.readability = Readability()
        self.label_set, self.reduction = label_set, self._new_reduction(label_set)
        self.labels = self.reduction.labels if self.reduction else classifier.spec.labels
        self.steps = list(steps)
        self._stepping = threading.Lock()  # pictures may come from many threads, and steps need not be made for that
        self._unused_detector = for_new_video(detector)  # as given: a load governor changes the one at work
        self._busy = threading.Lock()

    @classmethod
    def from_checkpoint(
        cls, path: str | Path | None = None, device: str = "auto", head: str | None = None, min_face: float | None = None,
        runtime: str = "auto", search_every: int = EVERY, detector: str = DEFAULT_DETECTOR, label_set: str = "full",
    ) -> Analyzer:
        """The shipped model, or the one at `path`, behind a face detector. Raises CheckpointError, DeviceError.

        min_face: side of the smallest face, in pixels or, below 1, as a share of the shorter side of the frame, or of its
        smallest tile.
        runtime: what computes on the CPU: auto, torch, onnx or openvino. search_every: frames from one search of the whole
        picture to the next; in between faces are looked for where they were. 1 searches every frame whole, and reads every face
        in it; else a face that looks as it did is read ten times a second.
        detector: haar (upright faces seen from the front), yunet (also turned, tilted and dim ones) or both. label_set: as for
        an Analyzer; OutputError for one that the model's classes do not make up.
        Both errors are ValueErrors; what is of the wrong type raises TypeError.
        """
        from fer_live.analysis.classifier import EmotionClassifier

        check_search(min_face, search_every)
        check_label_set(label_set)
        searcher, still = face_detectors(detector, min_face or MIN_FACE, min_face or STILL_MIN_FACE)
        classifier = EmotionClassifier(DEFAULT_WEIGHTS if path is None else path, device, head, runtime)
        analyzer = cls(classifier, ScheduledDetector(searcher, search_every), still, label_set)
        if search_every == 1:
            analyzer.readings.longest_s = 0.0
        return analyzer

    def __call__(self, frame: Frame | np.ndarray) -> Analysis:
        """Analyze a frame of a video, followed over time; or one picture (H, W, 3) uint8 BGR that stands alone.

        Where times go back a new video begins: faces get new ids, and old labels are forgotten.
        Raises RuntimeError for a frame while another is analyzed, or while `analyze_all` is not at its end, TypeError or
        ValueError for what is no such frame or picture.
        """
        if not isinstance(frame, Frame):
            return self.analyze_still(frame)
        check_frame(frame)
        with self._alone():
            located = self._locate(frame)
            return self._name(located, self.classifier(located.crops))

    def calibrate(self, seconds: float = DEFAULT_S) -> None:
        """Ask the faces of the next frame to look neutral for so many seconds, 1 to 30 of the video's time.

        `Face.calibration_s` counts down. Then the resting answer of each of these faces is taken out of its later ones, for as
        long as it is followed; see `RestingBaseline`. May be called from any thread. Raises ValueError, TypeError.
        """
        self.baseline.ask(seconds)

    def new_stream(self) -> Analyzer:
        """An analyzer for another video, with faces and labels of its own; the network and the cascades are shared."""
        steps = [step.for_new_video() for step in self.steps]
        stream = Analyzer(self.classifier, for_new_video(self._unused_detector), self.still_detector, self.label_set, steps)
        stream.readings.longest_s = self.readings.longest_s
        return stream

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
        """Analyze a picture that has nothing to do with those before it; a face is named from its crop and that mirrored.
        Raises TypeError or ValueError for what is no frame or picture."""
        frame = check_frame(frame) if isinstance(frame, Frame) else Frame(check_picture(frame), 0, 0.0)
        spec = self.classifier.spec
        located = locate(frame, partial(detect, self.still_detector), FaceTracker(confirm_hits=1), Readings(), spec)
        both = self.classifier(np.concatenate([located.crops, located.crops[:, :, ::-1]]))  # (2M, 7)
        probs = both.reshape(2, -1, both.shape[1]).mean(0)  # (M, 7)
        smoother, baseline, reduction = Smoother(spec.labels), RestingBaseline(spec.labels), self._new_reduction(self.label_set)
        with self._stepping:
            return name(located, probs, smoother, baseline, Readability(), reduction, self.steps)

    def analyze_all(self, frames: Iterable[Frame]) -> Iterator[Analysis]:
        """The same as calling it with each frame in turn, sooner: a thread of its own locates the faces of the next frames, and
        those of several frames are classified as one batch. And a face is shown from its first frame on, since it is known
        a few frames later that it came back. Raises TypeError for what holds no frames and, with the first
        analysis, RuntimeError where the analyzer already follows a video."""
        return self._follow(check_frames(frames))

    def _follow(self, frames: Iterable[Frame]) -> Iterator[Analysis]:
        with self._alone():
            yield from lookahead.analyze_all(frames, self._locate_all, self.classifier, self._name, self.analyze_still)

    def _locate(self, frame: Frame, found: Detections | None = None) -> Located:
        find = partial(detect, self.detector) if found is None else lambda *_: found
        return locate(frame, find, self.tracker, self.readings, self.classifier.spec)

    def _locate_all(self, frames: Iterable[Frame]) -> Iterator[Located]:
        if isinstance(self.detector, ScheduledDetector) and self.detector.every >= sampling.STEP:
            return starmap(self._locate, sampling.detect_all(frames, self.detector))
        return map(self._locate, frames)

    def _name(self, located: Located, probs: np.ndarray) -> Analysis:
        with self._stepping:
            return name(located, probs, self.smoother, self.baseline, self.readability, self.reduction, self.steps)

    def _new_reduction(self, label_set: str) -> Reduction | None:
        return None if label_set == "full" else Reduction(label_set, self.classifier.spec.labels)

    def forget(self) -> None:
        """Forget everyone who was followed; ids are not given out again. Raises RuntimeError while a frame is analyzed."""
        with self._alone():
            self.tracker.restart()
            self.readings.last.clear()
            self.smoother.states.clear()
            self.readability.states.clear()
            self.baseline.clear()
            if self.reduction:
                self.reduction.forget()
            for step in self.steps:
                step.forget()


def locate(frame: Frame, find: Callable[[Frame, bool], Detections], tracker: FaceTracker, readings: Readings, spec: ModelSpec
           ) -> Located:
    """Find the faces, follow them, cut them out, and choose which of them to read. find: gives the faces of a frame, as
    `detection.detect`."""
    if frame.is_slate:  # who comes after it need not be who was there before
        tracker.drop_all()
        crops = crop_faces(frame.image, np.empty((0, 4)), spec)
        return Located(frame, (), crops, Detections.joined([]), ended=endings(tracker.take_gone(), frame))
    is_anew = tracker.begins_anew(frame.time_s, frame.segment)
    found = find(frame, is_anew)
    if frame.lost_tiles:
        tracker.drop_in(frame.lost_tiles)
        found = found[[i for i, box in enumerate(found.boxes) if area_of(box, frame.lost_tiles) is None]]
    tracks = tracker.update(found.boxes, frame.time_s, frame.image, found.rolls)
    begun = tuple((track.track_id, time_s, _whole(box), roll, row) for track in tracks for time_s, box, roll, row in track.before)
    seen = tuple(_whole(box) for box in (*found.boxes, *(track.box for track in tracker.tracks)))
    fresh = [track for track in tracks if track.fresh]
    boxes = np.array([_whole(track.box) for track in fresh], np.int32).reshape(-1, 4)
    crops = crop_faces(frame.image, boxes, spec, np.array([track.roll for track in fresh]))
    chosen, crops = readings.choose([track.track_id for track in fresh], crops, frame.time_s)
    views = see_all(crops, boxes[chosen], found[[fresh[i].row for i in chosen]])
    read_ids = {fresh[i].track_id for i in chosen}
    places = tuple((track.track_id, _whole(track.box), track.track_id in read_ids) for track in tracks)
    ended = endings(tracker.take_gone(), frame, is_anew)
    fresh_ids = frozenset(track.track_id for track in fresh)
    return Located(frame, places, crops, found, views, begun, seen, is_anew, ended, fresh_ids)


def _whole(box: np.ndarray) -> Box:
    x1, y1, x2, y2 = np.round(box).tolist()
    return int(x1), int(y1), int(x2), int(y2)


def name(located: Located, probs: np.ndarray, smoother: Smoother, baseline: RestingBaseline, readability: Readability,
         reduction: Reduction | None = None, steps: Sequence[Step] = ()) -> Analysis:
    """Say what the faces express, in the classes that are asked for. probs: (M, 7), of the crops."""
    time_s, found, faces = located.frame.time_s, zip(probs, located.views, strict=True), []
    if located.is_anew:  # by their times they would not be too old
        smoother.states.clear()
        baseline.rests.clear()
        readability.states.clear()
        if reduction:
            reduction.forget()
    baseline.begin([track_id for track_id, _, _ in located.places], time_s)
    for track_id, box, is_read in located.places:
        answer, view = next(found) if is_read else (None, None)
        because, is_back = readability.update(track_id, view, time_s)
        if track_id in located.fresh and not is_read:
            view = readability.last_view(track_id, box)
        answer, is_new = baseline.update(track_id, answer, time_s, not because)
        if is_new or is_back:  # what was read before is of no use to the mean
            smoother.states.pop(track_id, None)
        smoothed, label, confidence = smoother.update(track_id, answer, time_s)
        if because or label == UNSURE:
            label, because = UNSURE, because or UNCLEAR
        faces.append(Face(box, track_id, smoothed, label, confidence, baseline.left_s(track_id), view, because))
    for memory in (smoother, baseline, readability):
        memory.forget(time_s)
    analysis = Analysis(located.frame, tuple(faces), located.seen, located.ended)
    if reduction:
        analysis = reduction(analysis)
    for step in steps:
        analysis = step(analysis)
    return analysis
