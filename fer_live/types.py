"""Conventions of shape, order and unit, and the data types passed between the stages.

Images are (H, W, 3) uint8 BGR, as in OpenCV. Boxes are xyxy int pixels of the full frame, x2 and y2 exclusive.
Times are float seconds, with names ending in `_s`; names of sizes end in `_wh` or `_hw`. N is the number of faces in a frame,
S the side of the network's input. Classes are always in the order of `spec.labels`.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from fer_live.redact import redact

if TYPE_CHECKING:
    import av

Box = tuple[int, int, int, int]  # xyxy, in pixels
MOST_PIXELS = 36_000_000  # 8K; bounds memory for damaged headers, with about ten frames in flight
NO_IMAGE = np.empty((0, 0, 3), np.uint8)  # placeholder for an image that nobody needs, so none was drawn
UNSURE = "unsure"  # label of a face without a clear class, or that is too hard to see
UNCLEAR = "unclear"  # reason for UNSURE: no clear class; fer_live/analysis/visibility.py has the other reasons


class SourceError(Exception):
    """A camera, stream or file cannot be opened or read. The message says what to do.

    >>> fer_live.load(device="cpu")("missing.jpg")
    Traceback (most recent call last):
    fer_live.types.SourceError: cannot read missing.jpg: no such file or directory
    """

    def __init__(self, text: str = ""):
        super().__init__(redact(text))  # the message can contain a URL with a password


class OutputError(Exception):
    """A recording, log or image cannot be written. The message says what to do.

    >>> fer_live.load(device="cpu").video("clip.mp4", output="out.avi")
    Traceback (most recent call last):
    fer_live.types.OutputError: cannot write out.avi: annotated videos are .mp4 files
    """

    def __init__(self, text: str = ""):
        super().__init__(redact(text))  # the message can contain a URL with a password


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """The decoded frame from which an image was made, so that a recording can keep it where nothing is drawn."""

    image: np.ndarray  # (H, W, 3) uint8 BGR; a Frame with another image, such as a masked copy, must not use `frame`
    frame: av.VideoFrame  # 4:2:0 with 8 bits, H x W
    matrix: int  # color matrix with which the image was converted: 1 is BT.709, 5 and 6 are BT.601
    is_full_range: bool  # 0..255 instead of 16..235


@dataclass(frozen=True, slots=True)
class Frame:
    """One captured image.

    >>> frame = fer_live.Frame(cv2.imread("party.jpg"), index=0, time_s=0.0)
    >>> frame.smallest_side
    512
    """

    image: np.ndarray  # (H, W, 3) uint8, BGR
    index: int  # counts captured frames from 0; a gap means frames were dropped
    time_s: float  # time.monotonic() of the capture if live, presentation time in a file
    name: str = ""  # image files only: path relative to their common folder, with /
    is_slate: bool = False  # placeholder for a lost camera; not analyzed
    segment: int = 0  # videos only: changes where timestamps jump
    tiles: tuple[Box, ...] = ()  # xyxy of each camera's image in a grid; empty: a single image
    lost_tiles: tuple[Box, ...] = ()  # those of `tiles` whose camera is lost; not analyzed
    decoded: Decoded | None = None  # videos only; see VideoFile.keep_decoded

    @property
    def smallest_side(self) -> int:
        """The shorter side in pixels of the image, or of the smallest tile; the reference for relative face sizes."""
        boxes = self.tiles or ((0, 0, self.image.shape[1], self.image.shape[0]),)
        return min(min(x2 - x1, y2 - y1) for x1, y1, x2, y2 in boxes)


@dataclass(frozen=True, slots=True)
class Visibility:
    """Image quality of a face in one frame."""

    size: int  # side of the box in pixels of the frame
    sharpness: float  # of the crop; 0 has no detail, 1 is the median of FER2013
    darkness: float  # of the crop; 0 if a tenth of it is white, 1 if it is black
    yaw: float | None = None  # degrees toward the right of the image, -90 to 90; None: not measured by the detector
    score: float | None = None  # detector score, 0..1; None: not provided by the detector (Haar)


@dataclass(frozen=True, slots=True)
class Ended:
    """A track that ended."""

    track_id: int
    because: str  # left, lost, camera lost or new video; see fer_live/analysis/endings.py
    seen_s: float  # time of the last detection, on the clock of the frames


@dataclass(frozen=True, slots=True)
class Face:
    """One face in a frame.

    >>> analyze = fer_live.Analyzer.from_checkpoint(device="cpu")
    >>> face = analyze(cv2.imread("party.jpg")).faces[0]
    >>> face.label, face.probs.shape, analyze.classifier.spec.labels[face.probs.argmax()]
    ('happy', (7,), 'happy')
    """

    box: Box  # xyxy, pixels of the frame
    track_id: int
    probs: np.ndarray  # (7,) float32, smoothed, sums to 1
    label: str  # a class name, smoothed over time, or UNSURE
    confidence: float  # 0..1, smoothed probability of the label, or of the strongest class if UNSURE
    calibration_s: float | None = None  # above 0: seconds of calibration left; 0: `probs` are corrected; None: not calibrated
    visibility: Visibility | None = None  # None: not detected in this frame, only tracked
    unsure_because: str = ""  # reason for UNSURE: small, dark, blurred, turned or UNCLEAR; "" for other labels


@dataclass(frozen=True, slots=True)
class Analysis:
    """A frame and its faces.

    >>> analysis = fer_live.Analyzer.from_checkpoint(device="cpu")(cv2.imread("party.jpg"))
    >>> len(analysis.faces), analysis.frame.image.shape
    (1, (512, 512, 3))
    """

    frame: Frame
    faces: tuple[Face, ...]
    seen: tuple[Box, ...] = ()  # xyxy candidate boxes: detections, tentative tracks and coasting tracks
    ended: tuple[Ended, ...] = ()  # displayed tracks that ended with this frame


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a video without jumps in time: file time `source_s` is displayed at `shown_s`."""

    source_s: Fraction
    shown_s: Fraction = Fraction(0)


@dataclass(slots=True)
class View:
    """Display settings. Written by the window's keys, read by the overlay."""

    mirror: bool = False
    fps: bool = False
    bars: bool = False
    numbers: bool = False  # faces carry the numbers by which the web page lists them, also without bars
    help: bool = False
    badge: str = ""  # permanent text on the image, such as DEMO
    recording: bool = False
    quality: str = ""  # what was reduced to hold the frame rate; shown next to it
    notice: str = ""  # message about an error, until it is resolved
    toast: str = ""  # message about a completed action, shown until `toast_until_s` of time.monotonic()
    toast_until_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Rates:
    """Figures of a live run for the HUD."""

    fps: float = 0.0
    dropped: int = 0
