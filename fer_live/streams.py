"""A camera on the network, through PyAV; and how PyAV opens and turns pictures, which video files need as well."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import cv2  # noqa: F401  before av, whose own copy of libxcb otherwise makes OpenCV's windows hang (PyAV issue 978)

# isort: split
import av
import numpy as np

from fer_live.types import Frame, SourceError

STREAM_TIMEOUT_S = 10.0


def open_video(name: str, **options) -> tuple[av.container.InputContainer, av.VideoStream]:
    """The container at a path or address and its first video track. Raises SourceError."""
    try:
        container = av.open(name, **options)
    except (av.FFmpegError, OSError) as error:
        raise SourceError(f"{name} cannot be opened as video ({reason(error)}); is it whole, and a video?") from None
    if not container.streams.video:
        container.close()
        raise SourceError(f"{name} holds no video; give a file with pictures in it")
    return container, container.streams.video[0]


def frame_rate(stream: av.VideoStream) -> float:
    """Nominal frames a second; 30 where nothing is said of it."""
    return float(stream.average_rate or stream.guessed_rate or 30.0)


def upright(frame: av.VideoFrame) -> np.ndarray:
    """The picture as (H, W, 3) uint8 BGR."""
    image = frame.to_ndarray(format="bgr24")
    turns = round(frame.rotation / 90) % 4  # telephones store the picture lying and say how it is to be turned
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def reason(error: Exception) -> str:
    """What FFmpeg says went wrong, in one line."""
    return str(getattr(error, "strerror", "") or error).splitlines()[0]


class Stream:
    """A camera on the network. A file served over http is paced by its own time stamps."""

    is_live = True

    def __init__(self, address: str):
        self.name, self.fps = address, 30.0
        self.container: av.container.InputContainer | None = None
        self._closed = threading.Event()

    def __enter__(self) -> Stream:
        options = {"rtsp_transport": "tcp"} if self.name.startswith("rtsp") else {}
        self.container, stream = open_video(self.name, options=options, timeout=STREAM_TIMEOUT_S)
        stream.thread_type = "AUTO"
        self.fps = frame_rate(stream)
        return self

    def __exit__(self, *exception) -> None:
        self._closed.set()
        if self.container is not None:
            self.container.close()

    def __iter__(self) -> Iterator[Frame]:
        assert self.container is not None
        paced, started_s, time_s = bool(self.container.duration), time.monotonic(), 0.0
        try:
            for index, frame in enumerate(self.container.decode(video=0)):
                time_s = frame.time if frame.time is not None else time_s + 1 / self.fps
                if paced and self._closed.wait(max(0.0, started_s + time_s - time.monotonic())):
                    return
                yield Frame(upright(frame), index, time.monotonic())
        except (av.FFmpegError, OSError) as error:
            if self._closed.is_set():
                return
            raise SourceError(f"the stream {self.name} broke off ({reason(error)}); start again when it is back") from None
