"""Cameras, streams, video files and pictures as iterators of frames. `open_source` tells them apart by their text."""

from __future__ import annotations

import glob
import sys
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2  # before av, whose own copy of libxcb otherwise makes OpenCV's windows hang (PyAV issue 978)

# isort: split
import av
import numpy as np

from fer_live.types import Frame, Source, SourceError

PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
STREAM_TIMEOUT_S = 10.0


def open_source(text: str) -> Source:
    """The source that `text` names; it is checked here and opened on entering it.

    "demo"; a camera's number or /dev path; an rtsp:// or http(s):// address; a video file; a picture, a folder of
    pictures, or a glob of them. Raises SourceError.
    """
    if text == "demo":
        from fer_live.demo import Demo

        return Demo()
    if text.isdigit() or text.startswith("/dev/"):
        return Camera(int(text) if text.isdigit() else text)
    if text.startswith(("rtsp://", "rtsps://", "http://", "https://")):
        return Stream(text)
    if any(c in text for c in "*?[") and not Path(text).exists():
        return ImageFiles(sorted(Path(p) for p in glob.glob(text, recursive=True)), text)
    path = Path(text)
    if path.is_dir():
        return ImageFiles(sorted(path.iterdir()), text)
    if not path.is_file():
        raise SourceError(f"no source {text!r}; give a camera number, a /dev path, an address, a video, a picture, "
                          "a folder or glob of pictures, or demo")
    return ImageFiles([path], text) if path.suffix.lower() in PICTURES else VideoFile(path)


class Camera:
    """A webcam through OpenCV. index_or_path: its number, or a path such as /dev/video0."""

    is_live = True

    def __init__(self, index_or_path: int | str, size_wh: tuple[int, int] = (1280, 720), fps: float = 30.0):
        self.name, self.size_wh, self.fps = index_or_path, size_wh, fps
        self.capture: cv2.VideoCapture | None = None

    def __enter__(self) -> Camera:
        self._check_exists()
        backend = cv2.CAP_V4L2 if sys.platform.startswith("linux") else cv2.CAP_ANY
        self.capture = cv2.VideoCapture(self.name, backend)
        self.capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))  # raw 720p does not fit through USB 2
        self.capture.set(cv2.CAP_PROP_FRAME_WIDTH, self.size_wh[0])
        self.capture.set(cv2.CAP_PROP_FRAME_HEIGHT, self.size_wh[1])
        self.capture.set(cv2.CAP_PROP_FPS, self.fps)
        self.capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        if not self.capture.isOpened():
            raise SourceError(f"camera {self.name} cannot be opened; is it in use by another program, or not permitted?")
        self.fps = self.capture.get(cv2.CAP_PROP_FPS) or self.fps
        return self

    def _check_exists(self) -> None:
        """Refuse what is plainly not there, before OpenCV prints its own pages about it."""
        if not sys.platform.startswith("linux"):
            return
        path = Path(f"/dev/video{self.name}" if isinstance(self.name, int) else self.name)
        if not path.exists():
            found = " ".join(sorted(str(p) for p in Path("/dev").glob("video*"))) or "none"
            raise SourceError(f"no camera {self.name} ({path} is missing); cameras here: {found}")

    def __exit__(self, *exception) -> None:
        if self.capture is not None:
            self.capture.release()

    def __iter__(self) -> Iterator[Frame]:
        assert self.capture is not None
        index = 0
        while True:
            ok, image = self.capture.read()
            if not ok:
                what = "stopped giving pictures; was it unplugged?" if index else "gives no picture; is it in use elsewhere?"
                raise SourceError(f"camera {self.name} {what}")
            yield Frame(image, index, time.monotonic())
            index += 1


class _Video:
    """What a video file and a stream share: a container opened by PyAV, decoded in order."""

    def __init__(self, name: str):
        self.name = name
        self.container: av.container.InputContainer | None = None
        self.fps, self.time_base, self.has_audio = 30.0, Fraction(1, 90_000), False
        self.declared = self.frames = 0  # how many frames the file says it has, and how many are expected; 0: unknown

    def _open(self, **options) -> None:
        try:
            self.container = av.open(self.name, **options)
            stream = self.container.streams.video[0]
        except (av.FFmpegError, OSError) as error:
            raise SourceError(f"{self.name} cannot be opened as video ({_reason(error)}); is it whole, and a video?") from None
        except IndexError:
            raise SourceError(f"{self.name} holds no video; give a file with pictures in it") from None
        stream.thread_type = "AUTO"
        self.fps = float(stream.average_rate or stream.guessed_rate or 30.0)
        self.declared = stream.frames
        self.frames = stream.frames or round((self.container.duration or 0) / av.time_base * self.fps)
        self.time_base = stream.time_base or self.time_base
        self.has_audio = bool(self.container.streams.audio)

    def __exit__(self, *exception) -> None:
        if self.container is not None:
            self.container.close()

    def _frames(self) -> Iterator[av.VideoFrame]:
        """All that can be decoded, also beyond damaged places and before a cut; then the error, if there was one."""
        assert self.container is not None
        stream = self.container.streams.video[0]
        packets, error = self.container.demux(stream), None
        while True:
            try:
                packet = next(packets, None)
            except (av.FFmpegError, OSError) as caught:  # the file breaks off; the decoder still holds frames
                packet, error = None, caught
            try:
                frames = packet.decode() if packet is not None else stream.decode(None) if error else []
            except av.FFmpegError as caught:
                frames, error = [], error or caught
            yield from frames
            if packet is None:
                break
        if error:
            raise error

    def _decode(self) -> Iterator[tuple[np.ndarray, float]]:
        """Pictures (H, W, 3) BGR, upright, with their presentation times in seconds."""
        last_s = -1 / self.fps
        for frame in self._frames():
            time_s = frame.time if frame.time is not None else last_s + 1 / self.fps
            last_s = time_s
            image = frame.to_ndarray(format="bgr24")
            turns = round(frame.rotation / 90) % 4  # telephones store the picture lying and say how it is to be turned
            yield (np.ascontiguousarray(np.rot90(image, turns)) if turns else image), time_s


class VideoFile(_Video):
    """Every frame of a video file, in order, with its presentation time.

    time_base: the unit in which the file counts its times, so that a copy can keep them exactly.
    """

    is_live = False

    def __init__(self, path: Path):
        super().__init__(str(path))
        self.path = path

    def __enter__(self) -> VideoFile:
        self._open()
        return self

    def __iter__(self) -> Iterator[Frame]:
        count, time_s = 0, 0.0
        try:
            for image, time_s in self._decode():
                yield Frame(image, count, time_s)
                count += 1
        except (av.FFmpegError, OSError) as error:
            raise SourceError(f"{self.name} is damaged after {time_s:.1f} s ({_reason(error)}); {_kept(count)}") from None
        if not count or count < 0.98 * self.declared - 2:  # indexes are sometimes off by a frame or two
            raise SourceError(f"{self.name} breaks off after {count} of {self.declared} frames; {_kept(count)}")


class Stream(_Video):
    """A camera on the network. A file served over http is paced by its own time stamps."""

    is_live = True

    def __init__(self, address: str):
        super().__init__(address)
        self._closed = threading.Event()

    def __enter__(self) -> Stream:
        options = {"rtsp_transport": "tcp"} if self.name.startswith("rtsp") else {}
        self._open(options=options, timeout=STREAM_TIMEOUT_S)
        return self

    def __exit__(self, *exception) -> None:
        self._closed.set()
        super().__exit__(*exception)

    def __iter__(self) -> Iterator[Frame]:
        assert self.container is not None
        paced, started_s = bool(self.container.duration), time.monotonic()
        try:
            for index, (image, time_s) in enumerate(self._decode()):
                if paced and self._closed.wait(max(0.0, started_s + time_s - time.monotonic())):
                    return
                yield Frame(image, index, time.monotonic())
        except (av.FFmpegError, OSError) as error:
            if self._closed.is_set():
                return
            raise SourceError(f"the stream {self.name} broke off ({_reason(error)}); start again when it is back") from None


class ImageFiles:
    """Pictures that have nothing to do with each other. Broken ones are named, skipped and counted in `skipped`."""

    is_live, fps = False, 1.0

    def __init__(self, paths: list[Path], name: str):
        self.paths = [p for p in paths if p.suffix.lower() in PICTURES and p.is_file()]
        self.name, self.frames, self.skipped = name, len(self.paths), 0
        if not self.paths:
            raise SourceError(f"no pictures in {name}; known kinds: {' '.join(sorted(PICTURES))}")

    def __enter__(self) -> ImageFiles:
        return self

    def __exit__(self, *exception) -> None:
        pass

    def __iter__(self) -> Iterator[Frame]:
        shown = 0
        for index, path in enumerate(self.paths):
            content = np.fromfile(path, np.uint8)
            image = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
            if image is None:
                self.skipped += 1
                print(f"skipped a broken picture: {path}", file=sys.stderr)
                continue
            yield Frame(image, index, 0.0, path.name)
            shown += 1
        if not shown:
            raise SourceError(f"none of the {len(self.paths)} pictures in {self.name} can be read; are they whole?")
        if self.skipped:
            print(f"{self.skipped} of {len(self.paths)} pictures were broken and skipped", file=sys.stderr)


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", "") or error).splitlines()[0]


def _kept(count: int) -> str:
    return f"the {count} frames before that were processed" if count else "nothing could be read; copy it again"
