"""One connection to a camera or stream, and its timeouts."""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from fer_live.handoff import LatestItem
from fer_live.protocols import LiveSource
from fer_live.types import Frame, SourceError


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Timeouts for cameras and streams, in seconds."""

    silent_s: float = 4.0  # until the next image
    frozen_s: float = 4.0  # until an image that differs from the last; 0: never times out
    open_s: float = 15.0  # until the first image after opening; see `of`
    shortest_s: float = 1.0  # first back-off before reconnecting; doubled after each failure
    longest_s: float = 10.0  # maximum back-off
    steady_s: float = 10.0  # a camera that worked this long starts again at the first back-off
    slate_s: float = 1.0  # between slates, which cost CPU time to draw and record

    @classmethod
    def of(cls, silent_s: float = 4.0, frozen_s: float | None = None) -> Timeouts:
        """Derive all timeouts from `silent_s`. frozen_s: None uses at least `silent_s`, since a slow snapshot camera repeats its
        last image until it has a new one."""
        return cls(silent_s, max(4.0, silent_s) if frozen_s is None else frozen_s, open_s=max(15.0, 3 * silent_s + 3.0))

    @property
    def answer_s(self) -> float:
        """Timeout for opening a network camera, which includes probing its format on up to two images."""
        return max(10.0, 2.5 * self.silent_s)

    @property
    def read_s(self) -> float:
        """Timeout for one read; slightly longer than `silent_s`, so that the silence is noticed first."""
        return self.silent_s + 1.0


class Connection:
    """Opens and reads a live source in its own thread. If the thread hangs, it is abandoned and closes the source later.

    connect: returns a live source. changed: notified of every change. known: digest of the image at which the camera was
    frozen before; only a different image counts as new. is_watched: whether to compute digests, to detect frozen cameras.
    """

    def __init__(self, connect: Callable[[], LiveSource], changed: threading.Condition, known: int | None, is_watched: bool):
        self.connect, self.changed, self.digest, self.is_watched = connect, changed, known, is_watched
        self.source: LiveSource | None = None
        self.seen_s = self.changed_s = float("inf")  # times of the last image and of the last change
        self.wanted = threading.Event()
        self._lost: SourceError | None = None
        self._latest = LatestItem(self._frames(), changed, name="camera")
        self._latest.start()

    def _frames(self) -> Iterator[Frame]:
        try:
            with self.connect() as source:
                if not source.is_live:
                    raise SourceError("the source is a file; only cameras and streams can reconnect")
                with self.changed:
                    self.source = source
                    self.changed.notify_all()
                yield from self._read(source)
        except SourceError as caught:  # without the traceback, whose frames keep the source and the last image alive
            self._lost = caught.with_traceback(None)

    def _read(self, source: LiveSource) -> Iterator[Frame]:
        if self.ends:  # a video file starts playing when it is first read
            self.wanted.wait()
        for frame in source:
            digest = zlib.crc32(np.ascontiguousarray(frame.image[::8]).data) if self.is_watched else None
            with self.changed:
                if self._latest.is_left:
                    return
                now_s = time.monotonic()
                if digest != self.digest or digest is None:
                    self.digest, self.changed_s = digest, now_s
                self.seen_s = now_s
            yield frame
        if not self.ends and not self._latest.is_left:
            raise SourceError("it ended")

    @property
    def thread(self) -> threading.Thread:
        """The thread that opens, reads and closes the source."""
        return self._latest.thread

    @property
    def has_frame(self) -> bool:
        """Whether a frame is ready."""
        return self._latest.has_item

    @property
    def is_done(self) -> bool:
        """Whether the source is closed."""
        return self._latest.ended

    @property
    def error(self) -> BaseException | None:
        """The error that ended the connection, if any."""
        return self._lost or self._latest.error

    def take(self) -> Frame | None:
        """Return the newest frame not yet taken, or None, without waiting. Raises errors other than a lost camera."""
        return self._latest.get(timeout_s=0.0)

    @property
    def ends(self) -> bool:
        """Whether it is a finite video file served over the network."""
        return self.source is not None and self.source.ends

    @property
    def has_image(self) -> bool:
        """Whether an image arrived other than the one at which the camera was frozen before."""
        return self.changed_s != float("inf")

    @property
    def is_up(self) -> bool:
        """Whether the connection is working; a video file counts as working once it is open."""
        return self.has_image or self.ends

    def _is_frozen(self, timeouts: Timeouts) -> bool:
        """Whether images kept arriving but stayed the same for `frozen_s`."""
        return timeouts.frozen_s > 0 and self.seen_s - self.changed_s >= timeouts.frozen_s

    def frozen_at(self, timeouts: Timeouts) -> int | None:
        """Return the digest of the current image if the camera is frozen."""
        return self.digest if self._is_frozen(timeouts) else None

    def due_s(self, timeouts: Timeouts) -> float:
        """Return the time at which the camera counts as lost unless a new image arrives."""
        if self.ends:
            return float("inf")
        return self.seen_s if self._is_frozen(timeouts) else self.seen_s + timeouts.silent_s

    def fault(self, timeouts: Timeouts) -> str | None:
        """Return the reason why the camera is lost, or None. Raises errors other than a lost camera."""
        if self.error is not None and (self.ends or not isinstance(self.error, SourceError)):
            raise self.error
        if self.error is not None:
            return str(self.error)
        now_s = time.monotonic()
        if now_s < self.due_s(timeouts):
            return None
        if now_s >= self.seen_s + timeouts.silent_s:
            return f"no image for {timeouts.silent_s:g} s"
        return f"the same image for {timeouts.frozen_s:g} s"

    def leave(self) -> None:
        """Abandon the connection; the thread closes the source as soon as its current call returns."""
        self._latest.leave()
        self.wanted.set()
