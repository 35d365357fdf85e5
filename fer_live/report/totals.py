"""Statistics of a session as a whole and of each person."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

CURVE_BINS = 240  # a curve has one bin per 0.1 s, or up to this many and at least half as many


@dataclass(slots=True)
class Curve:
    """A person's mean probabilities in bins of equal length, each frame weighted by how long it was shown."""

    start_s: float
    bin_s: float = 0.1
    seconds: array = field(default_factory=lambda: array("f"))  # by bin: duration of frames with probabilities
    sums: dict[int, array] = field(default_factory=dict)  # class -> by bin: probability times seconds

    def add(self, time_s: float, weight_s: float, classes: tuple[int, ...], probs: tuple[float, ...]) -> None:
        """Add a frame shown from time_s for weight_s. probs: 0..1, one per class."""
        if not classes or weight_s <= 0:
            return
        while (place := int((time_s - self.start_s) / self.bin_s)) >= CURVE_BINS:
            self._halve()
        _grow(self.seconds, place)
        self.seconds[place] += weight_s
        for name, prob in zip(classes, probs, strict=True):
            values = self.sums.get(name)
            if values is None:
                values = self.sums[name] = array("f")
            _grow(values, place)
            values[place] += prob * weight_s

    def _halve(self) -> None:
        self.seconds = _halved(self.seconds)
        self.sums = {name: _halved(values) for name, values in self.sums.items()}
        self.bin_s *= 2

    def coarsen(self, most: int) -> None:
        """Merge neighboring bins until there are at most `most`."""
        while len(self.seconds) > most:
            self._halve()

    def means(self) -> Iterator[tuple[float, float, dict[int, float]]]:
        """Yield (start_s, end_s, class -> mean probability 0..1) of each bin in which the face was seen."""
        for place, seconds in enumerate(self.seconds):
            if seconds > 0:
                begin_s = self.start_s + place * self.bin_s
                yield begin_s, begin_s + self.bin_s, {name: min(1.0, values[place] / seconds)
                                                      for name, values in self.sums.items() if place < len(values)}


def _grow(values: array, place: int) -> None:
    if len(values) <= place:
        values.extend([0.0] * (place + 1 - len(values)))


def _halved(values: array) -> array:
    return array("f", [sum(values[i : i + 2]) for i in range(0, len(values), 2)])


@dataclass(slots=True)
class Person:
    """A track. Times are in seconds since the log's first frame."""

    name: str
    first_s: float
    last_s: float
    curve: Curve
    seen_s: float = 0.0
    frames: int = 0
    changes: int = 0
    seconds: dict[int, float] = field(default_factory=dict)  # label -> duration
    labels: array = field(default_factory=lambda: array("B"))  # the label of each run, in order
    starts: array = field(default_factory=lambda: array("d"))
    ends: array = field(default_factory=lambda: array("d"))
    ended: str = ""  # why the track ended, if the log says so
    best: tuple | None = None  # (score, time_s in the log, box xyxy, label) of the clearest moment


@dataclass(slots=True)
class Session:
    """A whole log. Labels are indices of `labels`. Times are in seconds since the log's first frame."""

    labels: list[str] = field(default_factory=list)
    frames: int = 0
    faces: int = 0
    span_s: float = 0.0  # from the first frame to the end of the last
    logged_s: float = 0.0  # part of span_s covered by camera frames without gaps in the log
    lost_s: float = 0.0  # time with the camera lost, when nobody could be detected
    someone_s: float = 0.0  # part of logged_s with at least one face
    face_s: float = 0.0  # summed over faces
    changes: int = 0  # of a face's label between consecutive frames
    seconds: Counter = field(default_factory=Counter)  # label -> seconds summed over faces
    counts: Counter = field(default_factory=Counter)  # label -> faces summed over frames
    runs: Counter = field(default_factory=Counter)  # label -> number of runs
    shown_by: Counter = field(default_factory=Counter)  # label -> number of people
    # reason for being unsure -> seconds summed over faces
    reasons: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    reason_counts: Counter = field(default_factory=Counter)  # reason -> faces summed over frames
    endings: Counter = field(default_factory=Counter)  # reason why a track ended -> count
    people: list[Person] = field(default_factory=list)  # at most KEPT, ordered by first sight
    dwells_s: array = field(default_factory=lambda: array("d"))  # of all people, from first to last sight
    gaps: list[tuple[float, float]] = field(default_factory=list)  # nobody was seen
    gap_causes: list[str] = field(default_factory=list)  # for each gap, why the last track before it ended; "" if unknown
    holes: list[tuple[float, float]] = field(default_factory=list)  # nothing was logged
    lost: list[tuple[float, float]] = field(default_factory=list)  # the camera was lost
    events: list[tuple[float, str]] = field(default_factory=list)
    event_counts: Counter = field(default_factory=Counter)
    bins: list[dict[int, float]] = field(default_factory=list)  # label -> face-seconds, for each bin_s of the span
    bin_s: float = 0.1
    part_starts: list[tuple[float, float]] = field(default_factory=list)  # the start of each part, here and in its own log
    parts: int = 1  # number of concatenated logs, detected by times that start over
    stills: bool = False  # the log is of images without times: only `counts` is meaningful
    most: int = 0  # maximum number of faces in one frame
    skipped: int = 0  # lines that are not log frames
    skipped_faces: int = 0  # faces without a track or label, or with invalid numbers
