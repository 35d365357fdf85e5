"""The interfaces between the stages: sources, detectors, analysis steps, sinks and screens."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from fer_live.model.detections import Detections
from fer_live.types import Analysis, Frame, Rates


class Source(Protocol):
    """An iterable of frames, and a context manager that owns its device."""

    is_live: bool  # live frames can be dropped, frames of a file cannot
    fps: float  # nominal frames per second, such as 29.97

    def __enter__(self) -> Self: ...
    def __exit__(self, *exception: object) -> None: ...
    def __iter__(self) -> Iterator[Frame]: ...


class LiveSource(Source, Protocol):
    """A camera or stream, which can be reopened after a loss."""

    ends: bool  # whether it is a finite video file; known after entering


class FaceDetector(Protocol):
    """Finds faces in single images. Stateless and thread-safe."""

    def detect(self, image: np.ndarray, /) -> np.ndarray | Detections:
        """Find faces in (H, W, 3) uint8 BGR; returns Detections, or only boxes (N, 4) int32 xyxy. No faces: shape (0, 4).

        Frames with tiles are passed as detect(image, side), with `Frame.smallest_side`; see `TileDetector`.
        """


class TileDetector(Protocol):
    """A detector that supports grids of several images."""

    def detect(self, image: np.ndarray, side: int, /) -> np.ndarray | Detections:
        """Like `FaceDetector.detect`. side: shorter side of the smallest tile, the reference for relative face sizes."""


class Step(Protocol):
    """A processing step after classification, such as masking faces. Not thread-safe."""

    def __call__(self, analysis: Analysis, /) -> Analysis: ...
    def forget(self) -> None:
        """Forget all faces."""
    def for_new_video(self) -> Step:
        """Return a fresh copy for another video."""


class Sink(Protocol):
    """Receives results. A context manager; leaving it completes the output.

    An optional attribute `needs_image`, if False, says that the sink currently does not need the annotated image.
    """

    def __enter__(self) -> Self: ...
    def __exit__(self, *exception: object) -> None: ...
    def write(self, image: np.ndarray, analysis: Analysis) -> None:
        """Receive one annotated image (H, W, 3) uint8 BGR and its analysis. The image is NO_IMAGE if no sink needs it."""


class Recorder(Sink, Protocol):
    """A sink that writes a video file."""

    path: Path  # the file; gets a numeric suffix at the first image if the name is taken
    end_s: float | None  # end time of the recording, on the clock of the frames; None: when it is closed


class Microphone(Protocol):
    """Sound samples, numbered on the clock of time.monotonic()."""

    layout: str  # "mono" or "stereo"

    def number(self, time_s: float) -> int:
        """Return the number of the sample at this time of time.monotonic()."""

    def until(self, number: int, timeout_s: float) -> int:
        """Wait until samples before `number` exist, or `timeout_s`; returns the number after the newest sample."""

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return samples `start` to `stop` (exclusive) as (channels, stop - start) float32; missing samples are silence."""


class FileSink(Sink, Protocol):
    """A sink for the results of a file."""

    @property
    def summary(self) -> str:
        """What was written, for a message to the user; "" if nothing."""


class EventLog(Sink, Protocol):
    """A log that also records events that concern no face."""

    def event(self, name: str, text: str, time_s: float) -> None:
        """Record an event. name: a few words. time_s: on the clock of the frames. Raises OutputError."""


class Screen(Protocol):
    """A display for a live run. Used by the main thread only."""

    def show(self, image: np.ndarray, analysis: Analysis, rates: Rates) -> None:
        """Show one annotated image (H, W, 3) uint8 BGR; NO_IMAGE if it is not needed, see `Sink`."""

    def poll(self) -> None:
        """Handle key presses without blocking."""


class FileScreen(Screen, Protocol):
    """A display for a run over a file."""

    def hold(self, until_s: float, stop: threading.Event) -> None:
        """Keep the image on screen and handle keys until this time of time.monotonic(), or until `stop` is set."""


Draw = Callable[[Analysis, Rates], np.ndarray]  # draws the annotated image (H, W, 3) uint8 BGR
