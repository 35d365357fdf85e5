"""The built-in demo: a clip of two rendered people, which needs no camera or network.

tests/demo_clip creates the clip; fer_live/assets/demo.LICENSE.txt lists its sources.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import cv2  # noqa: F401  before av, whose own copy of libxcb otherwise makes OpenCV's windows hang (PyAV issue 978)

# isort: split
import av

from fer_live.sources.container import frame_rate, open_video, reason
from fer_live.sources.names import not_open
from fer_live.sources.shown import Shown
from fer_live.types import Frame, SourceError

CLIP = Path(__file__).parents[1] / "assets" / "demo.mp4"
REPAIR = "install the program again"


class Demo:
    """Behaves like a camera: live, in real time, endless. The clip loops seamlessly."""

    is_live = True

    def __init__(self) -> None:
        self.fps = 30.0
        self.container: av.container.InputContainer | None = None
        self._closed = threading.Event()

    def __enter__(self) -> Demo:
        self.container, self.track = open_video(str(CLIP), REPAIR)
        self.track.codec_context.thread_count = 1  # decoding takes 2 ms per frame; leave the other cores free
        self.fps, self.shown = frame_rate(self.track), Shown(self.track)
        return self

    def __exit__(self, *exception) -> None:
        self._closed.set()
        if self.container is not None:
            self.container.close()
            self.container = None

    def __iter__(self) -> Iterator[Frame]:
        if self.container is None:
            raise not_open("demo")
        frames, started_s, index, missed = self._endless(self.container), time.monotonic(), 0, 0
        while not self._closed.wait(max(0.0, started_s + index / self.fps - time.monotonic())):
            frame = next(islice(frames, missed, None))
            yield Frame(self.shown(frame), index, time.monotonic())
            late = int((time.monotonic() - started_s) * self.fps) - index  # slow readers miss frames, as with a camera
            missed = min(max(0, late - 1), round(self.fps))  # after a long pause, skip at most one second of the clip
            index += max(1, late)

    def _endless(self, container: av.container.InputContainer) -> Iterator[av.VideoFrame]:
        while True:
            try:
                yield from container.decode(self.track)
                container.seek(0)
            except (av.FFmpegError, OSError) as error:
                raise SourceError(f"the demo's clip {CLIP} is damaged ({reason(error)}); {REPAIR}") from None
