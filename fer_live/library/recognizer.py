"""`fer_live.load()`: the model behind one object that takes whatever a program has."""

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
from fer_live.library.inputs import check_color, to_picture
from fer_live.library.results import Result
from fer_live.library.video import Collected, VideoResult, check_output
from fer_live.pipeline import run_file
from fer_live.protocols import Source
from fer_live.screen.overlay import Overlay
from fer_live.sinks.recorder import VideoRecorder
from fer_live.sources.images import ImageFiles
from fer_live.sources.open import open_source
from fer_live.sources.video_file import VideoFile
from fer_live.types import Analysis, Frame, SourceError, View


def load(
    model: str | Path | None = None, device: str = "auto", detector: str = "haar", head: str | None = None,
    min_face: float | None = None, runtime: str = "auto",
) -> Recognizer:
    """Load the recognizer, once for as many pictures and videos as there are.

    model: a best_model.pt or .onnx file; None is the model that comes with the package. device: "auto", "cpu", "cuda", "cuda:1".
    detector: "haar" (upright faces seen from the front), "yunet" (also turned, tilted and dim ones) or "both".
    head: "shown" (default), "ferplus" (crowd votes) or "fer2013" (dataset labels).
    min_face: side of the smallest face, in pixels or, below 1, as a share of the picture's shorter side.
    runtime: what computes on the CPU: "auto", "torch", "onnx" or "openvino".
    Raises CheckpointError and DeviceError, which are ValueErrors, ValueError, TypeError.

    >>> fer = fer_live.load(device="cpu")
    >>> print(fer("party.jpg"))
    1 face: happy ...%
    """
    analyzer = Analyzer.from_checkpoint(model, device, head, min_face, runtime, detector=detector)
    settings = (None if model is None else os.path.abspath(model), device, detector, head, min_face, runtime)
    return Recognizer(analyzer, settings)


@lru_cache(maxsize=4)
def _loaded(*settings: Any) -> Recognizer:
    """A pool sends its function with every task; its model is loaded once."""
    return load(*settings)


class Recognizer:
    """What `fer_live.load()` returns: call it with pictures; `stream` and `video` follow faces over time.

    analyzer: the Analyzer that does the work; one of your own parts can be given. labels: the seven class names.
    Many threads may call it, and follow a stream each, at the same time. Pickled, as by multiprocessing, it is loaded again,
    once, in the other process.

    >>> fer = fer_live.load(device="cpu")
    >>> fer.labels
    ('angry', 'disgust', 'fear', 'happy', 'neutral', 'sad', 'surprise')
    >>> fer(["party.jpg", numpy.zeros((90, 120), numpy.uint8)])
    [<Result party.jpg 512x512: 1 face: happy ...%>, <Result 120x90: no faces>]
    """

    def __init__(self, analyzer: Analyzer, settings: tuple | None = None):
        if not isinstance(analyzer, Analyzer):
            raise TypeError(f"a Recognizer is made of an Analyzer; got {described(analyzer)}; fer_live.load(path) makes both")
        self.analyzer, self._settings = analyzer, settings

    @property
    def labels(self) -> tuple[str, ...]:
        return self.analyzer.classifier.spec.labels

    def __repr__(self) -> str:
        return f"<Recognizer {getattr(self.analyzer.classifier, 'describe', 'of your own')}>"

    def __reduce__(self):
        if self._settings is None:
            raise TypeError("a Recognizer made of your own Analyzer cannot be pickled; make one in each process")
        return _loaded, self._settings

    @overload
    def __call__(self, picture: list | tuple, color: str | None = None) -> list[Result]: ...
    @overload
    def __call__(self, picture: Any, color: str | None = None) -> Result: ...
    def __call__(self, picture, color=None):
        """Recognize the faces of one picture, or of each in a list: a Result, or a list of them.

        picture: a path, an array, a PIL image, or the bytes or binary file of an encoded picture. An array is (H, W) gray,
        (H, W, 3) or (H, W, 4), of which alpha is left out; its values are 0..255, or as float 0..1. Files and PIL images are
        turned upright as their EXIF says.
        color: the order of an array's channels: "bgr" (default), as OpenCV has it, or "rgb", as PIL, imageio and matplotlib
        have it. The two cannot be told apart by their values.
        Raises SourceError for a file that cannot be read; TypeError and ValueError for what is not clearly a picture.

        >>> fer = fer_live.load(device="cpu")
        >>> rgb = numpy.asarray(PIL.Image.open("party.jpg"))
        >>> [face.label for face in fer(rgb, color="rgb")]
        ['happy']
        """
        if not isinstance(picture, list | tuple):
            return self._still(picture, color, 0)
        results = []
        for index, one in enumerate(picture):
            try:
                results.append(self._still(one, color, index))
            except (SourceError, TypeError, ValueError) as error:
                kind = next(kind for kind in (SourceError, TypeError, ValueError) if isinstance(error, kind))
                raise kind(f"picture {index} of the list: {error}") from None
        return results

    def _still(self, picture: Any, color: str | None, index: int) -> Result:
        image, path = to_picture(picture, color)
        return Result(self.analyzer.analyze_still(Frame(image, index, 0.0)), self.labels, path)

    def stream(
        self, source: str | int | Path | Iterable, color: str | None = None, fps: float | None = None
    ) -> Generator[Result, None, None]:
        """Follow the faces of a video, camera or stream: a Result for each frame, tracked, with labels that do not flicker.

        source: a video file, a camera's number, an rtsp:// or http:// address, "demo", a folder or glob of pictures (each stands
        alone); or any iterable of frames, which are pictures as the call takes them, or `Frame`s.
        fps: the frames of an iterable are of a recording at this rate, and the answers those of a file. Without it they are live:
        each is answered at once, and its time is when it came. color: see the call; for an iterable of arrays.
        Of a camera the newest frame is taken each time, so that the delay does not grow; every frame of a file is.
        Streams do not disturb each other. Leaving the loop closes the source, as does close().
        Raises SourceError for what cannot be opened or breaks off, TypeError and ValueError for what holds no frames.

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
                raise ValueError(f"color and fps are for an iterable of frames; {source!r} tells its own")
            return self._opened(open_source(source))
        if isinstance(source, Frame | np.ndarray | bytes) or not hasattr(source, "__iter__"):
            raise TypeError("stream takes a video, camera, address, folder or an iterable of frames; "
                            f"got {described(source)}; call the recognizer itself with a single picture")
        if fps is not None and not (isinstance(fps, int | float | np.number) and 0 < fps < float("inf")):
            raise ValueError(f"fps is the rate of a recording, in frames per second above 0; got {fps!r}")
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
        """Analyze a whole video file; a progress bar goes to stderr unless `progress` is False.

        output: an .mp4 file for the annotated video, with its sound; a name that exists gets a number (see `VideoResult.output`).
        A file that is damaged after its beginning gives what could be read, with a warning and `VideoResult.damage`.
        Raises SourceError, OutputError.

        >>> fer = fer_live.load(device="cpu")
        >>> session = fer.video("clip.mp4", output="out.mp4", progress=False)
        >>> print(session)
        clip.mp4: 24 frames, 0.8 s, 1 person: happy ...%
        >>> session.output.name
        'out.mp4'
        """
        source = open_source(path)
        if not isinstance(source, VideoFile):
            raise SourceError(f"{path} is no video file; use stream() for cameras, addresses and folders, or call with a picture")
        target = check_output(output)
        stream, collected, damage = self.analyzer.new_stream(), Collected(), None
        with ExitStack() as stack:
            stack.enter_context(source)
            sinks: list = [collected]
            if target:
                sound = source.path if source.has_audio else None
                recorder = VideoRecorder(target, source.fps, source.time_base, sound_from=sound,
                                         segments=source.timeline.segments)
                sinks.append(stack.enter_context(recorder))
            try:
                draw = Overlay(self.labels, View()).draw
                run_file(source, stream.analyze_all, draw, sinks, Event(), source.frames, progress=progress)
            except SourceError as error:
                if not collected.analyses:
                    raise
                damage = str(error)  # hours of results are worth more than the end of the file
                warnings.warn(damage, stacklevel=2)
        return VideoResult(source.path, self.labels, collected.analyses, recorder.path if target else None, damage)


def _frames(items: Iterable, color: str | None, fps: float | None) -> Iterator[Frame]:
    """Pictures and Frames as Frames. fps: None takes the time when each comes."""
    for index, item in enumerate(items):
        if isinstance(item, Frame):
            if fps is not None or color is not None:
                raise ValueError("color and fps are for pictures; a Frame tells its own time and is BGR")
            yield item
        else:
            image, _ = to_picture(item, color)
            yield Frame(image, index, time.monotonic() if fps is None else index / fps)
