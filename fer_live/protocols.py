"""The interfaces between the stages: sources, detectors, steps of the analysis, sinks and screens."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from fer_live.model.detections import Detections
from fer_live.types import Analysis, Frame, Rates


class Source(Protocol):
    """Where frames come from. A context manager that owns and releases its device; iterating yields the frames."""

    is_live: bool  # live frames may be dropped; frames of a file never
    fps: float  # nominal, a float: 29.97 stays 29.97

    def __enter__(self) -> Self: ...
    def __exit__(self, *exception: object) -> None: ...
    def __iter__(self) -> Iterator[Frame]: ...


class LiveSource(Source, Protocol):
    """A camera or stream that can be opened again after it was lost."""

    ends: bool  # a film served as a stream, which comes to an end; known once it is entered


class FaceDetector(Protocol):
    """Finds faces in one picture, without memory of others. May be asked by several threads at once."""

    def detect(self, image: np.ndarray, /) -> np.ndarray | Detections:
        """(H, W, 3) uint8 BGR -> the faces, or only their boxes (N, 4) int32 xyxy; no face gives shape (0, 4).

        For frames with tiles it is called as detect(image, side), with `Frame.smallest_side`; see `TileDetector`.
        """


class TileDetector(Protocol):
    """A detector that can be used on several pictures put together in one."""

    def detect(self, image: np.ndarray, side: int, /) -> np.ndarray | Detections:
        """The same, for faces measured by `side`, the shorter side of the smallest of the pictures."""


class Step(Protocol):
    """What an analysis passes after its faces are named, such as the covering of faces. Asked by one thread at a time."""

    def __call__(self, analysis: Analysis, /) -> Analysis: ...
    def forget(self) -> None:
        """Forget everyone who was there."""
    def for_new_video(self) -> Step:
        """The same for another video."""


class Sink(Protocol):
    """Where results go. A context manager; leaving it finishes what was written. While it has no use for the picture its
    attribute `needs_picture` is False; without that attribute it is given one."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *exception: object) -> None: ...
    def write(self, image: np.ndarray, analysis: Analysis) -> None:
        """Take one annotated picture (H, W, 3) uint8 BGR and what it shows; NO_PICTURE where nobody needs one."""


class Recorder(Sink, Protocol):
    """A sink that writes a video file."""

    path: Path  # where it is; with a number from the first picture on, where that name was taken
    end_s: float | None  # when the recording is to end, on the clock of the frames; None: when it is closed


class Microphone(Protocol):
    """What is heard, as samples numbered on the clock of time.monotonic()."""

    layout: str  # "mono" or "stereo"

    def number(self, time_s: float) -> int:
        """The number of the sample that is heard at a time of time.monotonic()."""

    def until(self, number: int, timeout_s: float) -> int:
        """The number after the newest sample's, as soon as that is `number` or more, or after `timeout_s`."""

    def read(self, start: int, stop: int) -> np.ndarray:
        """The samples from number `start` to before `stop` as (channels, stop - start) float32; silence where none is."""


class FileSink(Sink, Protocol):
    """What a file's results are written to."""

    @property
    def summary(self) -> str:
        """What was written, for the user; "" for nothing."""


class EventLog(Sink, Protocol):
    """A log that also takes what happens beside the faces."""

    def event(self, name: str, text: str, time_s: float) -> None:
        """name: a few words. time_s: on the clock of the frames. Raises OutputError."""


class Screen(Protocol):
    """Where a live run is watched. Belongs to the main thread."""

    def show(self, image: np.ndarray, analysis: Analysis, rates: Rates) -> None:
        """Show one annotated picture (H, W, 3) uint8 BGR; NO_PICTURE where nobody needs one, see `Sink`."""

    def poll(self) -> None:
        """Answer keys; returns at once."""


class FileScreen(Screen, Protocol):
    """Where a run over a file is watched."""

    def hold(self, until_s: float, stop: threading.Event) -> None:
        """Keep the picture, answering keys, until this time of time.monotonic(), or `stop`."""


Draw = Callable[[Analysis, Rates], np.ndarray]  # how an analysis becomes the picture (H, W, 3) uint8 BGR that is shown
