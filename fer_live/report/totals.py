"""What is counted of a session: the whole of it, and of each person."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from dataclasses import dataclass, field


@dataclass(slots=True)
class Person:
    """A track: one face followed, as far as it could be. Times in seconds since the log's first frame."""

    name: str
    first_s: float
    last_s: float
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
    parts: int = 1  # logs that were put together, recognized by times that start again
    stills: bool = False  # pictures, which have no times: only `counts` say anything
    most: int = 0  # faces in one frame
    skipped: int = 0  # lines that are no frame of a log
    skipped_faces: int = 0  # faces without a track, a label or with impossible numbers
