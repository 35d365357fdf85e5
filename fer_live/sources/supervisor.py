"""Keeps a camera or stream running: detects that it is lost, shows a slate, and reconnects."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace

import numpy as np

from fer_live.protocols import LiveSource
from fer_live.redact import redact
from fer_live.sources.connection import Connection, Timeouts
from fer_live.types import Frame, SourceError

logger = logging.getLogger("fer_live")

MAX_HUNG = 4  # hung threads; beyond that, no further attempts are made until one returns


class Supervised:
    """A live source that survives camera loss: while the camera is lost, its frames are slates, marked `is_slate`.

    name: for messages. connect: returns a new source, not yet entered. draw_slate: maps (height, width) and a note to an
    image. tell: callback with "lost" or "found" and details. wait: if there is no camera yet, start with a slate; otherwise
    entering raises SourceError.
    """

    is_live = True

    def __init__(self, name: str, connect: Callable[[], LiveSource], draw_slate: Callable[[tuple[int, int], str], np.ndarray],
                 tell: Callable[[str, str], None] | None = None, timeouts: Timeouts | None = None, wait: bool = False):
        self.name, self.connect, self.draw_slate, self.tell, self.wait = name, connect, draw_slate, tell, wait
        self.timeouts = timeouts or Timeouts()
        self.fps, self.size_hw = 30.0, (720, 1280)
        self.faults, self.is_lost = 0, False
        self._changed = threading.Condition()
        self._closed = False
        self._hung: list[Connection] = []
        self._slate_due_s, self._wait_s, self._reason = 0.0, self.timeouts.shortest_s, ""
        self._fault: str | None = None

    def __enter__(self) -> Supervised:
        connection = self._open(None)
        with self._changed:
            self._changed.wait_for(lambda: connection.is_done or connection.is_up, self.timeouts.open_s)
        self.fps = connection.source.fps if connection.source else self.fps
        if not connection.is_up:
            connection.leave()
            self._fault = f"{self.name} sent no image within {self.timeouts.open_s:g} s; check that the camera is streaming"
            if not self.wait or not isinstance(connection.error, SourceError | None):
                raise connection.error or SourceError(self._fault)
            self._fault = str(connection.error or self._fault)
        return self

    def __exit__(self, *exception) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._connection.leave()
        self._connection.thread.join(timeout=2.0)  # a hung daemon thread ends with the program

    @property
    def hung(self) -> int:
        """Number of threads that still hang in an abandoned connection."""
        self._hung = [connection for connection in self._hung if connection.thread.is_alive()]
        return len(self._hung)

    def __iter__(self) -> Iterator[Frame]:
        for index, frame in enumerate(self._frames()):
            yield replace(frame, index=index)

    def _frames(self) -> Iterator[Frame]:
        fault, began_s = self._fault, time.monotonic()
        while True:
            if fault is None:
                fault = yield from self._live()
            if fault is None:
                return
            if time.monotonic() - began_s >= self.timeouts.steady_s:
                self._wait_s = self.timeouts.shortest_s
            yield from self._lost(fault)
            fault, began_s = None, time.monotonic()

    def _live(self) -> Generator[Frame, None, str | None]:
        """Yield the camera's frames; returns the reason of a loss, or None if the source was closed or a video ended."""
        connection, timeouts = self._connection, self.timeouts
        connection.wanted.set()
        while not self._closed:
            with self._changed:
                self._wait(lambda: connection.has_frame or connection.is_done, connection.due_s(timeouts))
                frame = connection.take()
                is_over = connection.is_done and frame is None
            if is_over and connection.error is None:
                return None
            fault = connection.fault(timeouts) if is_over or not connection.is_done else None
            if fault is not None:
                return fault
            if frame is not None:
                self.size_hw = frame.image.shape[:2]
                yield frame
        return None

    def _lost(self, fault: str) -> Iterator[Frame]:
        """Yield slates and reconnect until the camera sends an image."""
        lost_s, frozen_at = time.monotonic(), self._connection.frozen_at(self.timeouts)
        self.faults, self.is_lost, self._slate_due_s = self.faults + 1, True, 0.0
        self._say("lost", fault)
        self._give_up(self._connection)
        while not self._closed:
            yield from self._slates(lost_s, time.monotonic() + self._wait_s)
            self._wait_s = min(2 * self._wait_s, self.timeouts.longest_s)
            if self._closed or self.hung >= MAX_HUNG:
                continue
            connection = self._open(frozen_at)
            connection.wanted.set()
            yield from self._slates(lost_s, time.monotonic() + self.timeouts.open_s, connection)
            if connection.has_image:
                self.is_lost = False
                self._say("found", f"after {time.monotonic() - lost_s:.1f} s")
                return
            self._say("", str(connection.fault(self.timeouts) or "it sends no new image"))
            self._give_up(connection)

    def _slates(self, lost_s: float, until_s: float, connection: Connection | None = None) -> Iterator[Frame]:
        """Yield slates until a time, or until the connection has an image or failed."""
        def is_settled() -> bool:
            return connection is not None and (connection.has_image or connection.is_done)

        while not self._closed and not is_settled() and time.monotonic() < until_s:
            now_s = time.monotonic()
            if now_s >= self._slate_due_s:
                self._slate_due_s = now_s + self.timeouts.slate_s
                yield Frame(self.draw_slate(self.size_hw, f"{now_s - lost_s:.0f} s"), 0, now_s, is_slate=True)
            with self._changed:
                self._wait(is_settled, min(self._slate_due_s, until_s))

    def _wait(self, condition: Callable[[], bool], until_s: float) -> None:
        """Wait for the condition, a time, or closing. Requires the lock."""
        wait_s = max(0.0, until_s - time.monotonic())
        self._changed.wait_for(lambda: condition() or self._closed, None if wait_s == float("inf") else wait_s)

    def _open(self, frozen_at: int | None) -> Connection:
        self._connection = Connection(self.connect, self._changed, frozen_at, self.timeouts.frozen_s > 0)
        return self._connection

    def _give_up(self, connection: Connection) -> None:
        connection.leave()
        self._hung.append(connection)

    def _say(self, event: str, reason: str) -> None:
        """Log each event, and each new reason why reconnecting fails."""
        words = {"lost": f"{self.name} is lost ({reason}); reconnecting", "found": f"{self.name} is back {reason}"}
        if event or reason != self._reason:
            logger.warning(redact(words.get(event, f"{self.name} is still lost ({reason})")))
        self._reason = reason
        if event and self.tell:
            self.tell(event, reason)
