"""One opening of a camera or stream, and how long to wait for it."""

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
class Patience:
    """How long to wait for what, in seconds."""

    silent_s: float = 4.0  # for the next picture
    frozen_s: float = 4.0  # for a picture that differs from the last; 0: the same one may stay for ever
    open_s: float = 15.0  # for the first picture after opening; see `of`
    shortest_s: float = 1.0  # before opening again; doubled after each failure ...
    longest_s: float = 10.0  # ... up to this
    steady_s: float = 10.0  # a camera that worked this long is opened again after the shortest wait
    slate_s: float = 1.0  # from slate to slate: drawn and recorded, each costs the processor something

    @classmethod
    def of(cls, silent_s: float = 4.0, frozen_s: float | None = None) -> Patience:
        """With all limits that follow from how long a camera may be silent. frozen_s: None lets a picture stay as long: asked
        for a snapshot, a slow camera gives the same one until it has another."""
        return cls(silent_s, max(4.0, silent_s) if frozen_s is None else frozen_s, open_s=max(15.0, 3 * silent_s + 3.0))

    @property
    def answer_s(self) -> float:
        """For a camera on the network to answer, and to send what must be seen to know what it sends: up to two pictures."""
        return max(10.0, 2.5 * self.silent_s)

    @property
    def read_s(self) -> float:
        """For one read, so that it returns soon after the silence was noticed, and not before."""
        return self.silent_s + 1.0


class Connection:
    """The source, opened and read by a thread of its own, which is left behind where it hangs and closes it when it returns.

    connect: gives a live source. changed: notified of all that happens. known: digest of a picture at which the camera was
    frozen; only another one counts.
    """

    def __init__(self, connect: Callable[[], LiveSource], changed: threading.Condition, known: int | None, is_watched: bool):
        self.connect, self.changed, self.digest, self.is_watched = connect, changed, known, is_watched
        self.source: LiveSource | None = None
        self.seen_s = self.changed_s = float("inf")  # when the last picture came, and the last that differed from the one before
        self.wanted = threading.Event()
        self._lost: SourceError | None = None
        self._latest = LatestItem(self._frames(), changed, name="camera")
        self._latest.start()

    def _frames(self) -> Iterator[Frame]:
        try:
            with self.connect() as source:
                if not source.is_live:
                    raise SourceError("the source is a file; only a camera or a stream can be waited for")
                with self.changed:
                    self.source = source
                    self.changed.notify_all()
                yield from self._read(source)
        except SourceError as caught:  # only a lost camera; its frames hold this object with its source and last picture
            self._lost = caught.with_traceback(None)

    def _read(self, source: LiveSource) -> Iterator[Frame]:
        if self.ends:  # a film begins when somebody watches
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
        """What opens, reads and closes the source."""
        return self._latest.thread

    @property
    def has_frame(self) -> bool:
        """Whether a frame waits to be taken."""
        return self._latest.has_item

    @property
    def is_done(self) -> bool:
        """Whether the source is closed."""
        return self._latest.ended

    @property
    def error(self) -> BaseException | None:
        """Why it is done, if not because a film ended or it was left."""
        return self._lost or self._latest.error

    def take(self) -> Frame | None:
        """The newest frame not yet taken, or None; does not wait. Raises what is no fault of the camera's."""
        return self._latest.get(timeout_s=0.0)

    @property
    def ends(self) -> bool:
        """Whether it is a film served as a stream, which comes to an end."""
        return self.source is not None and self.source.ends

    @property
    def has_picture(self) -> bool:
        """Whether a picture came, and not only the one at which the camera was frozen before."""
        return self.changed_s != float("inf")

    @property
    def is_up(self) -> bool:
        """Whether it works, as far as is known before anybody watches."""
        return self.has_picture or self.ends

    def _is_frozen(self, patience: Patience) -> bool:
        """Whether pictures came for so long and all were the same; while none comes, nothing is known of it."""
        return patience.frozen_s > 0 and self.seen_s - self.changed_s >= patience.frozen_s

    def frozen_at(self, patience: Patience) -> int | None:
        """The digest of the picture at which it stands still, if it does."""
        return self.digest if self._is_frozen(patience) else None

    def due_s(self, patience: Patience) -> float:
        """When it will be lost unless something comes."""
        if self.ends:
            return float("inf")
        return self.seen_s if self._is_frozen(patience) else self.seen_s + patience.silent_s

    def fault(self, patience: Patience) -> str | None:
        """What is wrong with it, if anything is. Raises what is no fault of the camera's."""
        if self.error is not None and (self.ends or not isinstance(self.error, SourceError)):
            raise self.error
        if self.error is not None:
            return str(self.error)
        now_s = time.monotonic()
        if now_s < self.due_s(patience):
            return None
        if now_s >= self.seen_s + patience.silent_s:
            return f"no picture for {patience.silent_s:g} s"
        return f"the same picture for {patience.frozen_s:g} s"

    def leave(self) -> None:
        """Have the thread close the source as soon as it returns from it."""
        self._latest.leave()
        self.wanted.set()
