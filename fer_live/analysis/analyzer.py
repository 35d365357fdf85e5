"""Image in, labels out: all stages in order, for live video, files and single images.

    stage      input                                      output
    detect     frame (H, W, 3) uint8 BGR                  boxes (N, 4) int32 xyxy and the roll of each face
    track      boxes                                      places: faces with persistent ids
    choose     places                                     the M faces whose turn it is
    crop       frame, boxes detected in this frame        crops (M, S, S, C) uint8
    see        crops, landmarks                           image quality of each face, and whether it can be classified
    classify   crops and their mirror images              mean probabilities (M, 7) float32
    baseline   probabilities of a face                    the same, corrected for its resting expression
    smooth     probabilities of a face over time          smoothed probabilities (7,), label, confidence
    reduce     an Analysis in the model's classes         an Analysis in a smaller set of G classes, if configured
    steps      an Analysis                                an Analysis; face masking happens here

`locate` runs the first five stages, `name` the last four. The classifier runs between them, since it can batch the crops of
several frames of a file (see `lookahead`).
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
from fer_live.analysis.baseline import DEFAULT_S
from fer_live.analysis.checks import check_frame, check_frames, check_image, check_label_set, check_parts, check_search
from fer_live.analysis.classifier import EmotionClassifier, classify_both_views
from fer_live.analysis.detection import EVERY, ScheduledDetector, detect, for_new_video
from fer_live.analysis.endings import endings
from fer_live.analysis.located import Located
from fer_live.analysis.tracker import area_of
from fer_live.analysis.video_state import VideoState
from fer_live.analysis.visibility import see_all
from fer_live.model import DEFAULT_WEIGHTS
from fer_live.model.both import face_detectors
from fer_live.model.detections import DEFAULT_DETECTOR, Detections
from fer_live.model.preprocess import crop_faces
from fer_live.model.spec import Classifier, ModelSpec
from fer_live.protocols import FaceDetector, Step
from fer_live.types import UNCLEAR, UNSURE, Analysis, Box, Face, Frame


class Analyzer:
    """Image -> Analysis.

    Single images can be analyzed from several threads at once. Frames belong to one video; to analyze a second video at the same
    time, use `new_stream()`.

    classifier: an EmotionClassifier, or any callable from crops (N, S, S, C) uint8 to probabilities (N, 7) that has `spec`.
    detector: a ScheduledDetector, or a stateless detector. Streams share the classifier and the detector's searcher, so these
    must be thread-safe, as those in this package are.

    >>> analyze = fer_live.Analyzer.from_checkpoint(device="cpu")
    >>> [face.label for face in analyze(cv2.imread("party.jpg")).faces]
    ['happy']

    label_set: "full", the model's classes, or "basic": positive, neutral, negative, surprised. steps: applied in order to
    every analysis, as the last stage. labels: class names of the output, in the order of `Face.probs`.
    """

    def __init__(self, classifier: Classifier, detector: FaceDetector, still_detector: FaceDetector, label_set: str = "full",
                 steps: Sequence[Step] = ()):
        check_parts(classifier, detector, still_detector)
        check_label_set(label_set)
        self.classifier, self.detector, self.still_detector = classifier, detector, still_detector
        self.label_set, self.state = label_set, VideoState(classifier.spec.labels, label_set)
        self.labels = self.state.labels
        self.steps = list(steps)
        self._stepping = threading.Lock()  # steps need not be thread-safe, but images may come from several threads
        self._unused_detector = for_new_video(detector)  # with the original settings, which a load governor changes
        self._busy = threading.Lock()

    @classmethod
    def from_checkpoint(
        cls, path: str | Path | None = None, device: str = "auto", head: str | None = None, min_face: float | None = None,
        runtime: str = "auto", search_every: int = EVERY, detector: str = DEFAULT_DETECTOR, label_set: str = "full",
    ) -> Analyzer:
        """Load the released model, or the one at `path`, with a face detector. Raises CheckpointError, DeviceError.

        min_face: side of the smallest face, in pixels or, below 1, as a fraction of the shorter side of the frame or of its
        smallest tile.
        runtime: CPU runtime: auto, torch, onnx or openvino. search_every: frames between searches of the whole image; in between,
        faces are searched for only near their last positions. 1 searches every frame and classifies every face; otherwise a face
        is classified 7.5 times a second.
        detector: both, haar (upright frontal faces) or yunet (also turned, tilted and dim faces). label_set: as for Analyzer;
        raises OutputError if the model's classes do not match.
        CheckpointError and DeviceError are ValueErrors. Arguments of the wrong type raise TypeError.
        """
        check_search(min_face, search_every)
        check_label_set(label_set)
        searcher, still_detector = face_detectors(detector, min_face)
        classifier = EmotionClassifier(DEFAULT_WEIGHTS if path is None else path, device, head, runtime)  # slow, so it is last
        analyzer = cls(classifier, ScheduledDetector(searcher, search_every), still_detector, label_set)
        if search_every == 1:
            analyzer.state.schedule.interval_s = 0.0
        return analyzer

    def __call__(self, frame: Frame | np.ndarray) -> Analysis:
        """Analyze the next frame of a video, or a single image (H, W, 3) uint8 BGR.

        If timestamps go back, a new video begins: faces get new ids and earlier labels are forgotten.
        Raises RuntimeError if another frame is being analyzed or `analyze_all` has not finished, and TypeError or
        ValueError for invalid frames and images.
        """
        if not isinstance(frame, Frame):
            return self.analyze_still(frame)
        check_frame(frame)
        with self._alone():
            located = self._locate(frame)
            return self._name(located, classify_both_views(self.classifier, located.crops))

    def calibrate(self, seconds: float = DEFAULT_S) -> None:
        """Start calibrating the faces of the next frame, which should look neutral for `seconds`, 1 to 30 s of video time.

        `Face.calibration_s` counts down. Afterwards, each face's resting expression is subtracted from its results for as long as
        it is tracked; see `RestingBaseline`. Callable from any thread. Raises ValueError, TypeError.
        """
        self.state.baseline.ask(seconds)

    def new_stream(self) -> Analyzer:
        """Return an analyzer for another video, with its own tracks and labels; the network and the detectors are shared."""
        steps = [step.for_new_video() for step in self.steps]
        stream = Analyzer(self.classifier, for_new_video(self._unused_detector), self.still_detector, self.label_set, steps)
        stream.state = self.state.for_new_video()
        return stream

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Raise RuntimeError if the analyzer is already in use, since the faces of two videos would be mixed up."""
        if not self._busy.acquire(blocking=False):
            raise RuntimeError("this analyzer is busy with another frame or video; to analyze two at the same time, "
                               "make an analyzer for each with new_stream()")
        try:
            yield
        finally:
            self._busy.release()

    def analyze_still(self, frame: Frame | np.ndarray) -> Analysis:
        """Analyze an independent image. Raises TypeError or ValueError for invalid frames and images."""
        frame = check_frame(frame) if isinstance(frame, Frame) else Frame(check_image(frame), 0, 0.0)
        state = VideoState(self.classifier.spec.labels, self.label_set, confirm_hits=1)
        located = locate(frame, partial(detect, self.still_detector), state, self.classifier.spec)
        return self._name(located, classify_both_views(self.classifier, located.crops), state)

    def analyze_all(self, frames: Iterable[Frame]) -> Iterator[Analysis]:
        """Analyze all frames of a video, faster than one call per frame: a separate thread locates faces ahead of time, and the
        crops of several frames are classified as one batch. Faces appear from their first frame on, since later frames confirm
        them. Raises TypeError if `frames` is not an iterable of frames and, with the first analysis, RuntimeError if the analyzer
        is already in use."""
        return self._follow(check_frames(frames))

    def _follow(self, frames: Iterable[Frame]) -> Iterator[Analysis]:
        with self._alone():
            yield from lookahead.analyze_all(frames, self._locate_all, self.classifier, self._name, self.analyze_still)

    def _locate(self, frame: Frame, found: Detections | None = None) -> Located:
        find = partial(detect, self.detector) if found is None else lambda *_: found
        return locate(frame, find, self.state, self.classifier.spec)

    def _locate_all(self, frames: Iterable[Frame]) -> Iterator[Located]:
        if isinstance(self.detector, ScheduledDetector) and self.detector.every >= sampling.STEP:
            return starmap(self._locate, sampling.detect_all(frames, self.detector))
        return map(self._locate, frames)

    def _name(self, located: Located, probs: np.ndarray, state: VideoState | None = None) -> Analysis:
        with self._stepping:
            return name(located, probs, state or self.state, self.steps)

    def forget(self) -> None:
        """Forget all tracks; ids are not reused. Raises RuntimeError while a frame is being analyzed."""
        with self._alone():
            self.state.forget()
            for step in self.steps:
                step.forget()


def locate(frame: Frame, find: Callable[[Frame, bool], Detections], state: VideoState, spec: ModelSpec) -> Located:
    """Detect and track the faces, choose those to classify, and crop them. find: detects the faces of a frame, like
    `detection.detect`."""
    tracker = state.tracker
    if frame.is_slate:  # faces after a camera loss may be other people
        tracker.drop_all()
        crops = crop_faces(frame.image, np.empty((0, 4)), spec)
        return Located(frame, (), crops, Detections.joined([]), ended=endings(tracker.take_gone(), frame))
    is_new_video = tracker.restart_if_new(frame.time_s, frame.segment)
    found = find(frame, is_new_video)
    if frame.lost_tiles:
        tracker.drop_in(frame.lost_tiles)
        found = found[[i for i, box in enumerate(found.boxes) if area_of(box, frame.lost_tiles) is None]]
    tracks = tracker.update(found.boxes, frame.time_s, frame.image, found.rolls)
    begun = tuple((track.track_id, time_s, _whole(box), roll, row) for track in tracks for time_s, box, roll, row in track.before)
    seen = tuple(_whole(box) for box in (*found.boxes, *(track.box for track in tracker.tracks)))
    fresh = [track for track in tracks if track.fresh]
    chosen = state.schedule.choose([track.track_id for track in fresh], frame.time_s)
    cropped = [fresh[i] for i in chosen]
    boxes = np.array([_whole(track.box) for track in cropped], np.int32).reshape(-1, 4)
    crops = crop_faces(frame.image, boxes, spec, np.array([track.roll for track in cropped]))
    views = see_all(crops, boxes, found[[track.row for track in cropped]])
    cropped_ids = {track.track_id for track in cropped}
    places = tuple((track.track_id, _whole(track.box), track.track_id in cropped_ids) for track in tracks)
    ended = endings(tracker.take_gone(), frame, is_new_video)
    fresh_ids = frozenset(track.track_id for track in fresh)
    return Located(frame, places, crops, found, views, begun, seen, is_new_video, ended, fresh_ids)


def _whole(box: np.ndarray) -> Box:
    x1, y1, x2, y2 = np.round(box).tolist()
    return int(x1), int(y1), int(x2), int(y2)


def name(located: Located, probs: np.ndarray, state: VideoState, steps: Sequence[Step] = ()) -> Analysis:
    """Assign labels in the requested classes. probs: (M, 7), one row per crop."""
    time_s, found, faces = located.frame.time_s, zip(probs, located.views, strict=True), []
    if located.is_new_video:
        state.begin_video()
    baseline, readability = state.baseline, state.readability
    baseline.begin([track_id for track_id, _, _ in located.places], time_s)
    for track_id, box, has_crop in located.places:
        answer, view = next(found) if has_crop else (None, None)
        because, is_back = readability.update(track_id, view, time_s)
        if track_id in located.fresh and not has_crop:
            view = readability.last_view(track_id, box)
        answer, is_new = baseline.update(track_id, answer, time_s, not because)
        if is_new or is_back:  # earlier results no longer belong in the mean
            state.forget_face(track_id)
        smoothed, label, confidence = state.smoother.update(track_id, answer, time_s)
        if because or label == UNSURE:
            label, because = UNSURE, because or UNCLEAR
        faces.append(Face(box, track_id, smoothed, label, confidence, baseline.left_s(track_id), view, because))
    state.expire(time_s)
    analysis = Analysis(located.frame, tuple(faces), located.seen, located.ended)
    if state.reduction:
        analysis = state.reduction(analysis)
    for step in steps:
        analysis = step(analysis)
    return analysis
