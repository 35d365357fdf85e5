"""What is counted of a session: the whole of it, and of each person."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

CURVE_BINS = 240  # a person's curve has between half as many and as many, or one for each 0.1 s


@dataclass(slots=True)
class Curve:
    """A person's mean probabilities in bins of equal length, each frame weighted by how long it was shown."""

    start_s: float
    bin_s: float = 0.1
    seconds: array = field(default_factory=lambda: array("f"))  # of each bin: how long frames with probabilities were shown
    sums: dict[int, array] = field(default_factory=dict)  # class -> of each bin: probability times seconds

    def add(self, time_s: float, weight_s: float, classes: tuple[int, ...], probs: tuple[float, ...]) -> None:
        """Count a frame shown from time_s for weight_s. probs: 0..1, one for each class."""
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
        """(start_s, end_s, class -> mean probability 0..1) of each bin in which the face was seen."""
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
    """A track: one face followed, as far as it could be. Times in seconds since the log's first frame."""

    name: str
    first_s: float
    last_s: float
    curve: Curve
    seen_s: float = 0.0
    frames: int = 0
    changes: int = 0
    seconds: dict[int, float] = field(default_factory=dict)  # label -> how long it was shown
    labels: array = field(default_factory=lambda: array("B"))  # the runs of a label, in order
    starts: array = field(default_factory=lambda: array("d"))
    ends: array = field(default_factory=lambda: array("d"))
    ended: str = ""  # why it was followed no longer, where the log says so
    best: tuple | None = None  # (score, time_s in the log, box xyxy, label) of the clearest moment


@dataclass(slots=True)
class Session:
    """A whole log. Labels are numbers, positions in `labels`. Times are seconds since the log's first frame."""

    labels: list[str] = field(default_factory=list)
    frames: int = 0
    faces: int = 0
    span_s: float = 0.0  # from the first frame to the end of the last
    logged_s: float = 0.0  # of that, how long frames of the camera were logged without a hole
    lost_s: float = 0.0  # how long the camera was lost; nobody was looked for
    someone_s: float = 0.0  # of that, how long at least one face was seen
    face_s: float = 0.0  # summed over faces
    changes: int = 0  # of a face's label from one frame to the next
    seconds: Counter = field(default_factory=Counter)  # label -> summed over faces
    counts: Counter = field(default_factory=Counter)  # label -> faces, one a frame
    runs: Counter = field(default_factory=Counter)  # label -> times that it began
    shown_by: Counter = field(default_factory=Counter)  # label -> people
    # why faces were unsure -> seconds, summed over faces
    reasons: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    reason_counts: Counter = field(default_factory=Counter)  # the same -> faces, one a frame
    endings: Counter = field(default_factory=Counter)  # why tracks ended -> how many
    people: list[Person] = field(default_factory=list)  # at most KEPT, by first sight
    dwells_s: array = field(default_factory=lambda: array("d"))  # of all people, from first to last sight
    gaps: list[tuple[float, float]] = field(default_factory=list)  # nobody was seen
    gap_causes: list[str] = field(default_factory=list)  # of each gap: why the last track before it ended, "" where unknown
    holes: list[tuple[float, float]] = field(default_factory=list)  # nothing was logged
    lost: list[tuple[float, float]] = field(default_factory=list)  # the camera was
    events: list[tuple[float, str]] = field(default_factory=list)
    event_counts: Counter = field(default_factory=Counter)
    bins: list[dict[int, float]] = field(default_factory=list)  # label -> face-seconds in each bin_s of the span
    bin_s: float = 0.1
    part_starts: list[tuple[float, float]] = field(default_factory=list)  # of each part: its start here, and in its own log
    parts: int = 1  # logs that were put together, recognized by times that start again
    stills: bool = False  # pictures, which have no times: only `counts` say anything
    most: int = 0  # faces in one frame
    skipped: int = 0  # lines that are no frame of a log
    skipped_faces: int = 0  # faces without a track, a label or with impossible numbers
