"""The project's conventions of shape, order and unit, and the small objects that flow between the stages.

Images are BGR uint8 (H, W, 3), as OpenCV gives them. Boxes are xyxy int pixels of the full frame, x2 and y2 exclusive.
Times are float seconds, their names end in `_s`; sizes end in `_wh` or `_hw`. N is the number of faces in a frame, S the
side of a network's input. The order of classes is `spec.labels` and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from fer_live.redact import redact

MOST_PIXELS = 36_000_000  # 8K; a damaged header must not take the memory, and some ten pictures are on their way at once
NO_PICTURE = np.empty((0, 0, 3), np.uint8)  # stands where nobody looks at a picture and none was drawn
UNSURE = "unsure"  # the label of a face whose strongest class is too weak to be named, or that was not seen well enough
UNCLEAR = "unclear"  # why it is unsure: no class is strong enough; see fer_live/analysis/visibility.py for the other reasons


class SourceError(Exception):
    """A camera, stream or file cannot be opened or read. The text says what was tried and what to do next.

    >>> fer_live.load(device="cpu")("missing.jpg")
    Traceback (most recent call last):
    fer_live.types.SourceError: cannot read missing.jpg: no such file or directory
    """

    def __init__(self, text: str = ""):
        super().__init__(redact(text))  # the text may quote an address that holds a password


class OutputError(Exception):
    """A recording, log or picture cannot be written. The text says what was tried and what to do next.

    >>> fer_live.load(device="cpu").video("clip.mp4", output="out.avi")
    Traceback (most recent call last):
    fer_live.types.OutputError: cannot write out.avi: annotated videos are .mp4 files
    """

    def __init__(self, text: str = ""):
        super().__init__(redact(text))  # the text may quote an address that holds a password


@dataclass(frozen=True, slots=True)
class Frame:
    """One captured picture.

    >>> frame = fer_live.Frame(cv2.imread("party.jpg"), index=0, time_s=0.0)
    >>> frame.smallest_side
    512
    """

    image: np.ndarray  # (H, W, 3) uint8, BGR
    index: int  # counts captured frames from 0; a gap means frames were dropped
    time_s: float  # capture time: time.monotonic() when live, presentation time in a file
    name: str = ""  # for pictures only: the file's path below the folder that holds all of them, with /
    is_slate: bool = False  # it stands in for a camera that is lost; there is nobody to look for in it
    segment: int = 0  # of a film: another number than the frame before has means that time jumps between them
    tiles: tuple[tuple[int, int, int, int], ...] = ()  # xyxy of the pictures of several cameras in it; empty: it is one picture

    @property
    def smallest_side(self) -> int:
        """The shorter side of the picture, or of the smallest of several in it, in pixels: faces are measured by it."""
        boxes = self.tiles or ((0, 0, self.image.shape[1], self.image.shape[0]),)
        return min(min(x2 - x1, y2 - y1) for x1, y1, x2, y2 in boxes)


@dataclass(frozen=True, slots=True)
class Visibility:
    """How well a face was seen in one frame."""

    size: int  # side of its box, pixels of the frame
    sharpness: float  # of its crop; 1 is the median of FER2013's faces, 0 has no detail at all
    darkness: float  # of its crop: 0 where a tenth of it is white, 1 where all of it is black
    yaw: float | None = None  # degrees by which it looks to the picture's right, -90 to 90; None: its detector cannot tell
    score: float | None = None  # 0..1, of the detector; None: it gives none, as Haar's cascade


@dataclass(frozen=True, slots=True)
class Ended:
    """A face that is followed no longer."""

    track_id: int
    because: str  # left, lost, camera lost or new video; see fer_live/analysis/endings.py
    seen_s: float  # when it was last found, on the clock of the frames


@dataclass(frozen=True, slots=True)
class Face:
    """One face in a frame.

    >>> analyze = fer_live.Analyzer.from_checkpoint(device="cpu")
    >>> face = analyze(cv2.imread("party.jpg")).faces[0]
    >>> face.label, face.probs.shape, analyze.classifier.spec.labels[face.probs.argmax()]
    ('happy', (7,), 'happy')
    """

    box: tuple[int, int, int, int]  # xyxy, pixels of the frame
    track_id: int
    probs: np.ndarray  # (7,) float32, smoothed, sums to 1
    label: str  # a class name, steadied over time, or UNSURE
    confidence: float  # 0..1, the smoothed probability of the label; of the strongest class when unsure
    calibration_s: float | None = None  # above 0: seconds left to look neutral; 0: its resting answer is taken out of `probs`
    visibility: Visibility | None = None  # None: it was not found in this very frame, only remembered
    unsure_because: str = ""  # why the label is UNSURE: small, dark, blurred, turned or UNCLEAR; "" for any other label


@dataclass(frozen=True, slots=True)
class Analysis:
    """A frame and the faces that were found in this very frame.

    >>> analysis = fer_live.Analyzer.from_checkpoint(device="cpu")(cv2.imread("party.jpg"))
    >>> len(analysis.faces), analysis.frame.image.shape
    (1, (512, 512, 3))
    """

    frame: Frame
    faces: tuple[Face, ...]
    seen: tuple[tuple[int, int, int, int], ...] = ()  # xyxy of all that may be a face: found, not yet believed, or remembered
    ended: tuple[Ended, ...] = ()  # faces that were shown before and are given up with this frame


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a film without jumps in time: what the file counts as `source_s` is shown at `shown_s`."""

    source_s: Fraction
    shown_s: Fraction = Fraction(0)


@dataclass(slots=True)
class View:
    """What the person at the window has chosen to see. Written by the window's keys, read by the overlay."""

    mirror: bool = False
    fps: bool = False
    bars: bool = False
    help: bool = False
    badge: str = ""  # a word that stays on the picture, such as DEMO
    recording: bool = False
    quality: str = ""  # what is given up to hold a rate; stands beside the frames a second
    notice: str = ""  # a line about what has gone wrong, until it is put right
    toast: str = ""  # a line about what was done; shown until `toast_until_s`, a time of time.monotonic()
    toast_until_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Rates:
    """What the HUD shows of a live run."""

    fps: float = 0.0
    dropped: int = 0
