"""One thread per receiver, so that a slow receiver cannot delay the camera; handles reconnection and queueing."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from typing import Protocol

from fer_live.outgoing.events import Event, Values
from fer_live.redact import redact

logger = logging.getLogger("fer_live")

MAX_EVENTS = 1000  # queued while a receiver is unreachable; beyond that the oldest is dropped, counted and reported
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0  # seconds between connection attempts; doubles after each failure
CHECK_S = 1.0  # seconds between keepalive checks of an idle receiver
FLUSH_S = 2.0  # seconds allowed at the end of the run to send queued events


class Lost(Exception):
    """The receiver is unreachable. The item is kept and sent again."""


class Refused(Exception):
    """The receiver rejected this item. It is dropped, counted and reported."""


class Receiver(Protocol):
    """One destination. Its worker's thread calls all methods except the constructor.

    The constructor raises OutputError for problems that can be detected up front, such as a missing package.
    """

    option: str  # "--osc 127.0.0.1:9000", for messages
    kinds: frozenset[str]  # kinds of events it accepts
    depth: int  # frames to queue; 1: the newest only, 0: none
    takes_images: bool  # whether it needs `Values.image`; queued images take memory
    settle_s: float  # seconds a new connection must last to count as restored

    def connect(self) -> None:
        """Open the connection. Raises Lost or OSError."""
        ...
    def send_values(self, values: Values) -> None:
        """Send one frame. Raises Lost or OSError."""
        ...
    def send_event(self, event: Event) -> None:
        """Send one event. Raises Lost or OSError, after which it is sent again, or Refused."""
        ...
    def check(self) -> None:
        """Raise Lost if the connection is closed."""
        ...
    def close(self) -> None:
        """Close the connection. Also called after Lost. Raises only OSError and Lost."""
        ...


@dataclass(frozen=True, slots=True)
class Counts:
    """Counters of one receiver."""

    values: int = 0  # frames sent
    values_skipped: int = 0  # frames replaced by a newer one
    events: int = 0  # events sent
    events_lost: int = 0  # events dropped: the queue was full, the receiver refused them, or the run ended
    losses: int = 0  # lost connections


class Worker:
    """Sends the newest values and every event to one receiver, in its own thread.

    `put` never blocks. Events take priority over values and stay in order. While the receiver is unreachable, up to
    `max_events` events are queued. Logs one line when the receiver is lost and one when it is back.
    """

    def __init__(self, receiver: Receiver, max_events: int = MAX_EVENTS, first_wait_s: float = FIRST_WAIT_S):
        self.receiver, self.max_events, self.first_wait_s = receiver, max_events, first_wait_s
        self.counts, self.is_up = Counts(), False
        self._values: deque[Values] = deque()
        self._events: deque[Event] = deque()
        self._changed = threading.Condition()
        self._end_s: float | None = None  # deadline for flushing, set when the run ends
        self._error: Exception | None = None
        self._is_lost_logged, self._is_full_logged, self._is_refusal_logged = False, False, False
        self._up_s, self._wait_s = 0.0, first_wait_s
        self._thread = threading.Thread(target=self._run, name=receiver.option.split()[0], daemon=True)

    @property
    def waiting(self) -> int:
        """Number of queued events."""
        return len(self._events)

    def start(self) -> None:
        """Start the thread, which connects."""
        self._thread.start()

    def put(self, values: Values, events: list[Event]) -> None:
        """Queue a frame and the events that precede it, in microseconds. Raises the error that ended the thread, if any."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        wanted = [event for event in events if event.kind in self.receiver.kinds]
        if not wanted and not self.receiver.depth:
            return
        with self._changed:
            self._add_events(wanted)
            if self.receiver.depth:
                if len(self._values) >= self.receiver.depth:
                    self._values.popleft()
                    self._count(values_skipped=1)
                self._values.append(values if self.receiver.takes_images else replace(values, image=None))
            self._changed.notify()

    def put_events(self, events: list[Event]) -> None:
        """Queue events without a frame."""
        with self._changed:
            self._add_events([event for event in events if event.kind in self.receiver.kinds])
            self._changed.notify()

    def ask_to_end(self, flush_s: float = FLUSH_S) -> None:
        """Tell the thread to send queued events for at most `flush_s` seconds and exit."""
        with self._changed:
            self._end_s = time.monotonic() + flush_s
            self._changed.notify()

    def join(self, margin_s: float = 1.0) -> None:
        """Wait for the thread to exit after `ask_to_end`, and report unsent events."""
        assert self._end_s is not None
        self._thread.join(max(0.0, self._end_s - time.monotonic()) + margin_s)
        left = self.waiting
        if left:
            self._count(events_lost=left)
            self._log(f"{left} events were not sent before the run ended")

    def _add_events(self, events: list[Event]) -> None:
        for event in events:
            if len(self._events) >= self.max_events:
                self._events.popleft()
                self._count(events_lost=1)
                if not self._is_full_logged:
                    self._is_full_logged = True
                    self._log(f"more than {self.max_events} events are queued; dropping the oldest")
            self._events.append(event)

    # --------------------------------------------------------------------------------- methods of the worker's thread

    def _run(self) -> None:
        try:
            self._send_all()
        except Exception as error:  # raised again by `put`, with its traceback
            self._error = error

    def _send_all(self) -> None:
        while not self._is_over():
            try:
                if not self.is_up:
                    self.receiver.connect()
                    self.is_up, self._up_s = True, time.monotonic()
                self._send_next()
                self._note_back()
            except (Lost, OSError) as error:
                self._lose(error)
                self._pause()
        self._close()

    def _is_over(self) -> bool:
        if self._end_s is None:
            return False
        return time.monotonic() > self._end_s or (self.is_up and not self._events)

    def _send_next(self) -> None:
        with self._changed:
            if not self._events and not self._values and self._end_s is None:
                self._changed.wait(CHECK_S)
            event = self._events[0] if self._events else None
            values = self._values.popleft() if not event and self._values else None
        if event is not None:
            self._send_event(event)
        elif values is not None:
            self.receiver.send_values(values)
            self._count(values=1)
        else:
            self.receiver.check()

    def _send_event(self, event: Event) -> None:
        """Send one event; it leaves the queue only once it was sent or refused."""
        try:
            self.receiver.send_event(event)
            sent = True
        except Refused as error:
            sent = False
            if not self._is_refusal_logged:
                self._is_refusal_logged = True
                self._log(f"{error}; an event was rejected")
        with self._changed:
            if self._events and self._events[0] is event:  # else it was dropped and counted meanwhile
                self._events.popleft()
                self._count(events=int(sent), events_lost=int(not sent))

    def _note_back(self) -> None:
        if time.monotonic() - self._up_s < self.receiver.settle_s:
            return
        self._wait_s = self.first_wait_s
        if self._is_lost_logged:
            self._is_lost_logged, self._is_full_logged, self._is_refusal_logged = False, False, False
            self._log("is back")

    def _lose(self, error: Exception) -> None:
        self.is_up = False
        self._close()
        if not self._is_lost_logged:
            self._is_lost_logged = True
            self._count(losses=1)
            self._log(f"lost ({_reason(error)}); reconnecting until it is back")

    def _pause(self) -> None:
        due_s = time.monotonic() + self._wait_s
        self._wait_s = min(LONGEST_WAIT_S, 2 * self._wait_s)
        with self._changed:
            while (left_s := min(due_s, due_s if self._end_s is None else self._end_s) - time.monotonic()) > 0:
                self._changed.wait(left_s)

    def _close(self) -> None:
        try:
            self.receiver.close()
        except (Lost, OSError):
            return  # already disconnected

    def _count(self, **more: int) -> None:
        with self._changed:  # two threads count
            self.counts = replace(self.counts, **{name: getattr(self.counts, name) + n for name, n in more.items()})

    def _log(self, text: str) -> None:
        logger.warning(f"{self.receiver.option}: {redact(text)}")  # options contain no password


def _reason(error: Exception) -> str:
    """Return the error's text as one line, without the errno."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return " ".join(text.split())
