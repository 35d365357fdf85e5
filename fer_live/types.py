"""The project's conventions of shape, order and unit, and the small objects that flow between the stages.

Images are BGR uint8 (H, W, 3), as OpenCV gives them. Boxes are xyxy int pixels of the full frame, x2 and y2 exclusive.
Times are float seconds, their names end in `_s`; sizes end in `_wh` or `_hw`. N is the number of faces in a frame, S the
side of a network's input. The order of classes is `spec.labels` and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fer_live.model.detections import Detections
from fer_live.redact import redact

MOST_PIXELS = 36_000_000  # 8K; a damaged header must not take the memory, and some ten pictures are on their way at once
UNSURE = "unsure"  # the label of a face whose strongest class is too weak to be named, or that was not seen well enough
UNCLEAR = "unclear"  # why it is unsure: no class is strong enough; see fer_live/analysis/visibility.py for the other reasons


class SourceError(Exception):
    """A camera, stream or file cannot be opened or read. The text says what was tried and what to do next."""

    def __init__(self, text: str = ""):
        super().__init__(redact(text))  # the text may quote an address that holds a password


class OutputError(Exception):
    """A recording, log or picture cannot be written. The text says what was tried and what to do next."""

    def __init__(self, text: str = ""):
        super().__init__(redact(text))  # the text may quote an address that holds a password


@dataclass(frozen=True, slots=True)
class Frame:
    """One captured picture."""

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
    """One face in a frame."""

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
    """A frame and the faces that were found in this very frame."""

    frame: Frame
    faces: tuple[Face, ...]
    seen: tuple[tuple[int, int, int, int], ...] = ()  # xyxy of all that may be a face: found, not yet believed, or remembered
    ended: tuple[Ended, ...] = ()  # faces that were shown before and are given up with this frame


@dataclass(slots=True)
class View:
    """What the person at the window has chosen to see. Written by the window's keys, read by the overlay."""

    mirror: bool = False
    fps: bool = True
    bars: bool = False
    help: bool = False
    badge: str = ""  # a word that stays on the picture, such as DEMO
    recording: bool = False
    quality: str = ""  # what is given up to hold a rate; stands beside the frames a second
    notice: str = ""  # a line about what has gone wrong, until it is put right


@dataclass(frozen=True, slots=True)
class Rates:
    """What the HUD shows of a live run."""

    fps: float = 0.0
    dropped: int = 0


class Source(Protocol):
    """Where frames come from. A context manager that owns and releases its device; iterating yields the frames."""

    is_live: bool  # live frames may be dropped; frames of a file never
    fps: float  # nominal, a float: 29.97 stays 29.97

    def __enter__(self) -> Source: ...
    def __exit__(self, *exception) -> None: ...
    def __iter__(self) -> Iterator[Frame]: ...


class FaceDetector(Protocol):
    """Finds faces in one picture, without memory of others. May be asked by several threads at once."""

    def detect(self, image: np.ndarray) -> np.ndarray | Detections:
        """(H, W, 3) uint8 BGR -> the faces, or only their boxes (N, 4) int32 xyxy; no face gives shape (0, 4).

        For frames with tiles it is called as detect(image, side), with `Frame.smallest_side`.
        """
        ...


class Sink(Protocol):
    """Where results go. A context manager; leaving it finishes what was written."""

    def __enter__(self) -> Sink: ...
    def __exit__(self, *exception) -> None: ...
    def write(self, image: np.ndarray, analysis: Analysis) -> None:
        """Take one annotated picture (H, W, 3) uint8 BGR and what it shows."""
        ...
