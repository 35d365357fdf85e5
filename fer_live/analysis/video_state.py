"""What is remembered from one frame of a video to the next."""

from __future__ import annotations

from fer_live.analysis.baseline import RestingBaseline
from fer_live.analysis.label_sets import Reduction
from fer_live.analysis.schedule import ClassificationSchedule
from fer_live.analysis.smoothing import Smoother
from fer_live.analysis.tracker import CONFIRM_HITS, FaceTracker
from fer_live.analysis.visibility import Readability


class VideoState:
    """The tracks of one video, and what is known about each of their faces.

    labels: the model's class names. label_set: "full", or a smaller set (`label_sets`). confirm_hits: see FaceTracker.
    Raises OutputError if the model's classes do not match the label set.
    """

    def __init__(self, labels: tuple[str, ...], label_set: str = "full", confirm_hits: int = CONFIRM_HITS):
        self.label_set = label_set
        self.tracker = FaceTracker(confirm_hits)
        self.schedule = ClassificationSchedule()
        self.smoother = Smoother(labels)
        self.baseline = RestingBaseline(labels)
        self.readability = Readability()
        self.reduction = None if label_set == "full" else Reduction(label_set, labels)

    def for_new_video(self) -> VideoState:
        """Return an empty state with the same settings."""
        new = VideoState(self.smoother.labels, self.label_set)
        new.schedule.interval_s, new.baseline.each_s = self.schedule.interval_s, self.baseline.each_s
        return new

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names of the results, in the order of `Face.probs`."""
        return self.reduction.labels if self.reduction else self.smoother.labels

    def begin_video(self) -> None:
        """Forget the faces' results, whose timestamps may look recent in a new video; the tracker notices it by itself."""
        self.smoother.states.clear()
        self.baseline.rests.clear()
        self.readability.states.clear()
        if self.reduction:
            self.reduction.forget()

    def forget_face(self, track_id: int) -> None:
        """Forget a face's earlier probabilities."""
        self.smoother.states.pop(track_id, None)

    def expire(self, time_s: float) -> None:
        """Forget the faces that have not been seen for a while before `time_s`."""
        for memory in (self.smoother, self.baseline, self.readability):
            memory.expire(time_s)

    def forget(self) -> None:
        """Forget everything, including a requested calibration; track ids are not reused."""
        self.begin_video()
        self.tracker.restart()
        self.schedule.last.clear()
        self.baseline.clear()
