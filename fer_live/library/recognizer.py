"""`fer_live.load()` and the Recognizer it returns."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from threading import Event
from typing import Any, overload

import numpy as np

from fer_live.analysis.analyzer import Analyzer
from fer_live.analysis.checks import described
from fer_live.handoff import LatestItem
from fer_live.library.inputs import check_color, to_image
from fer_live.library.results import Result
from fer_live.library.video import Collected, VideoResult, check_output
from fer_live.model.detections import DEFAULT_DETECTOR
from fer_live.pipeline import run_file
from fer_live.protocols import Source
from fer_live.screen.overlay import Overlay
from fer_live.sinks.recorder import VideoRecorder
from fer_live.sources.images import ImageFiles
from fer_live.sources.open import open_source
from fer_live.sources.video_file import VideoFile
from fer_live.types import Analysis, Frame, SourceError, View


def load(
    model: str | Path | None = None, device: str = "auto", detector: str = DEFAULT_DETECTOR, head: str | None = None,
    min_face: float | None = None, runtime: str = "auto",
) -> Recognizer:
    """Load the model and return a Recognizer. Load once and reuse it for all images and videos.

    model: a best_model.pt or .onnx file; None uses the bundled model. device: "auto", "cpu", "cuda" or "cuda:1".
    detector: "both" (default), "haar" (upright frontal faces) or "yunet" (also turned, tilted and dim faces).
    head: "shown" (default), "ferplus" (crowd votes) or "fer2013" (dataset labels).
    min_face: side of the smallest face, in pixels or, below 1, as a fraction of the image's shorter side.
    runtime: CPU inference backend: "auto", "torch", "onnx" or "openvino".
    Raises CheckpointError, DeviceError (both are ValueErrors), ValueError or TypeError.

    >>> fer = fer_live.load(device="cpu")
    >>> print(fer("party.jpg"))
    1 face: happy ...%
    """
    analyzer = Analyzer.from_checkpoint(model, device, head, min_face, runtime, detector=detector)
    settings = (None if model is None else os.path.abspath(model), device, detector, head, min_face, runtime)
    return Recognizer(analyzer, settings)


@lru_cache(maxsize=4)
def _loaded(*settings: Any) -> Recognizer:
    """Load once per process: a process pool unpickles the recognizer with every task."""
    return load(*settings)


class Recognizer:
    """Recognizes expressions in images; `stream` and `video` track faces over time. Returned by `fer_live.load()`.

    analyzer: the underlying Analyzer; pass your own to customize its parts. labels: the seven class names.
    Thread-safe: several threads can call it, and each can run its own stream. When unpickled in another process, the model
    is loaded once there.

    >>> fer = fer_live.load(device="cpu")
    >>> fer.labels
    ('angry', 'disgust', 'fear', 'happy', 'neutral', 'sad', 'surprise')
    >>> fer(["party.jpg", numpy.zeros((90, 120), numpy.uint8)])
    [<Result party.jpg 512x512: 1 face: happy ...%>, <Result 120x90: no faces>]
    """

    def __init__(self, analyzer: Analyzer, settings: tuple | None = None):
        if not isinstance(analyzer, Analyzer):
            raise TypeError(f"Recognizer needs an Analyzer; got {described(analyzer)}; use fer_live.load(path) to create both")
        self.analyzer, self._settings = analyzer, settings

    @property
    def labels(self) -> tuple[str, ...]:
        return self.analyzer.classifier.spec.labels

    def __repr__(self) -> str:
        return f"<Recognizer {getattr(self.analyzer.classifier, 'describe', 'custom classifier')}>"

    def __reduce__(self):
        if self._settings is None:
            raise TypeError("a Recognizer with a custom Analyzer cannot be pickled; create one in each process")
        return _loaded, self._settings

    @overload
    def __call__(self, image: list | tuple, color: str | None = None) -> list[Result]: ...
    @overload
    def __call__(self, image: Any, color: str | None = None) -> Result: ...
    def __call__(self, image, color=None):
        """Recognize the faces in one image, or in each image of a list; returns a Result or a list of Results.

        image: a path, an array, a PIL image, or an encoded image as bytes or binary file. Arrays are (H, W) gray,
        (H, W, 3) or (H, W, 4) with alpha ignored; values are 0..255, or 0..1 as float. The EXIF orientation of files and
        PIL images is applied.
        color: channel order of arrays: "bgr" (default, OpenCV) or "rgb" (PIL, imageio, matplotlib). It cannot be detected
        from the values.
        Raises SourceError for unreadable files, and TypeError or ValueError for unsupported or ambiguous input.

        >>> fer = fer_live.load(device="cpu")
        >>> rgb = numpy.asarray(PIL.Image.open("party.jpg"))
        >>> [face.label for face in fer(rgb, color="rgb")]
        ['happy']
        """
        if not isinstance(image, list | tuple):
            return self._still(image, color, 0)
        results = []
        for index, one in enumerate(image):
            try:
                results.append(self._still(one, color, index))
            except (SourceError, TypeError, ValueError) as error:
                kind = next(kind for kind in (SourceError, TypeError, ValueError) if isinstance(error, kind))
                raise kind(f"image {index} of the list: {error}") from None
        return results

    def _still(self, given: Any, color: str | None, index: int) -> Result:
        image, path = to_image(given, color)
        return Result(self.analyzer.analyze_still(Frame(image, index, 0.0)), self.labels, path)

    def stream(
        self, source: str | int | Path | Iterable, color: str | None = None, fps: float | None = None
    ) -> Generator[Result, None, None]:
        """Yield one Result per frame of a video, camera or stream, with faces tracked and labels smoothed.

        source: a video file, camera number, rtsp:// or http:// URL, "demo", a folder or glob of images (analyzed
        independently), or any iterable of frames: `Frame`s, or images as accepted by calling the Recognizer.
        fps: treat an iterable as a recording at this frame rate. Without it, frames are live: each is analyzed as it
        arrives and timestamped on arrival. color: channel order for an iterable of arrays.
        A camera always delivers its newest frame, so latency does not grow; files deliver every frame.
        Streams are independent of each other. Leaving the loop, or close(), closes the source.
        Raises SourceError if the source cannot be opened or fails, and TypeError or ValueError for unsupported input.

        >>> fer = fer_live.load(device="cpu")
        >>> for result in fer.stream("clip.mp4"):
        ...     if result.frame % 10 == 0:
        ...         print(result.frame, f"{result.time_s:.2f}", result)
        0 0.00 1 face: happy ...%
        10 0.33 1 face: happy ...%
        20 0.67 1 face: happy ...%
        """
        check_color(color)
        if isinstance(source, str | os.PathLike | int | np.integer):
            if color is not None or fps is not None:
                raise ValueError(f"color and fps apply only to an iterable of frames; leave them out for {source!r}")
            return self._opened(open_source(source))
        if isinstance(source, Frame | np.ndarray | bytes) or not hasattr(source, "__iter__"):
            raise TypeError("stream needs a video, camera, URL, folder or an iterable of frames; "
                            f"got {described(source)}; for a single image, call the recognizer itself")
        if fps is not None and not (isinstance(fps, int | float | np.number) and 0 < fps < float("inf")):
            raise ValueError(f"fps must be a number above 0, in frames per second; got {fps!r}")
        is_live = fps is None and getattr(source, "is_live", True)
        return self._results(_frames(source, color, fps), is_live, isinstance(source, ImageFiles))

    def _opened(self, source: Source) -> Generator[Result, None, None]:
        with ExitStack() as stack:
            stack.enter_context(source)
            frames = stack.enter_context(LatestItem(source)) if source.is_live else source
            yield from self._results(frames, source.is_live, isinstance(source, ImageFiles))

    def _results(self, frames: Iterable[Frame], is_live: bool, stills: bool = False) -> Generator[Result, None, None]:
        stream, start_s = self.analyzer.new_stream(), None
        analyses: Iterable[Analysis] = stream.analyze_all(frames) if not (stills or is_live) else map(
            stream.analyze_still if stills else stream, frames)
        for analysis in analyses:
            if start_s is None:
                start_s = analysis.frame.time_s if is_live else 0.0
            yield Result(analysis, self.labels, start_s=start_s)

    def video(self, path: str | Path, output: str | Path | None = None, progress: bool = True) -> VideoResult:
        """Analyze a whole video file. Shows a progress bar on stderr unless `progress` is False.

        output: an .mp4 file for the annotated video with its sound. Existing files are never overwritten: the name gets a
        numeric suffix (see `VideoResult.output`). A video that is damaged partway returns the frames up to that point, with
        a warning and `VideoResult.damage` set. Raises SourceError or OutputError.

        >>> fer = fer_live.load(device="cpu")
        >>> session = fer.video("clip.mp4", output="out.mp4", progress=False)
        >>> print(session)
        clip.mp4: 24 frames, 0.8 s, 1 person: happy ...%
        >>> session.output.name
        'out.mp4'
        """
        source = open_source(path)
        if not isinstance(source, VideoFile):
            raise SourceError(f"{path} is not a video file; use stream() for cameras, URLs and folders, or call with an image")
        target = check_output(output)
        stream, collected, damage = self.analyzer.new_stream(), Collected(), None
        with ExitStack() as stack:
            stack.enter_context(source)
            sinks: list = [collected]
            overlay = Overlay(self.labels, View())
            if target:
                sound = source.path if source.has_audio else None
                if not stream.steps:  # steps change the image itself
                    source.keep_decoded()
                recorder = VideoRecorder(target, source.fps, source.time_base, sound_from=sound,
                                         segments=source.timeline.segments, drawn_on=overlay.drawn_on)
                sinks.append(stack.enter_context(recorder))
            try:
                run_file(source, stream.analyze_all, overlay.draw, sinks, Event(), source.frames, progress=progress)
            except SourceError as error:
                if not collected.analyses:
                    raise
                damage = str(error)  # keep the results so far, which can be hours of video
                warnings.warn(damage, stacklevel=2)
        return VideoResult(source.path, self.labels, collected.analyses, recorder.path if target else None, damage)


def _frames(items: Iterable, color: str | None, fps: float | None) -> Iterator[Frame]:
    """Convert images to Frames and pass Frames through. fps: None timestamps each image on arrival."""
    for index, item in enumerate(items):
        if isinstance(item, Frame):
            if fps is not None or color is not None:
                raise ValueError("color and fps do not apply to Frames, which are BGR and have their own time")
            yield item
        else:
            image, _ = to_image(item, color)
            yield Frame(image, index, time.monotonic() if fps is None else index / fps)
