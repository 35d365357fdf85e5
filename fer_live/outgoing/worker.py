"""One thread for each receiver, so that none of them can slow the camera, and what happens when a receiver is away."""

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

MOST_EVENTS = 1000  # that wait for a receiver which is away; beyond them the oldest is given up, counted and reported
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0  # from one attempt to the next, doubled each time
CHECK_S = 1.0  # how often a receiver that is sent nothing is asked whether it is still there
FLUSH_S = 2.0  # at the end, for what still waits


class Lost(Exception):
    """The receiver cannot be reached now. What was being sent is kept and sent again."""


class Refused(Exception):
    """The receiver is there and does not take this item. It is given up, counted and reported."""


class Receiver(Protocol):
    """The other side. All of its methods but the constructor are called by its worker's thread only.

    What is wrong before anything is sent, such as a package that is missing, the constructor raises as an OutputError.
    """

    option: str  # "--osc 127.0.0.1:9000", for messages
    kinds: frozenset[str]  # of the events that it takes
    depth: int  # frames that may wait; 1: the newest only, 0: it takes none
    takes_pictures: bool  # whether it needs `Values.image`; waiting pictures take memory
    settle_s: float  # a connection that has held for so long counts as back

    def connect(self) -> None:
        """Raises Lost or OSError."""
        ...
    def send_values(self, values: Values) -> None:
        """Raises Lost or OSError."""
        ...
    def send_event(self, event: Event) -> None:
        """Raises Lost or OSError: it is sent again; or Refused."""
        ...
    def check(self) -> None:
        """Raises Lost where the connection has ended."""
        ...
    def close(self) -> None:
        """Take leave. Also called after Lost; raises nothing but OSError and Lost."""
        ...


@dataclass(frozen=True, slots=True)
class Counts:
    """What has become of a receiver's items so far."""

    values: int = 0  # frames sent
    values_skipped: int = 0  # frames for which a newer one was sent
    events: int = 0
    events_lost: int = 0  # given up: too many waited, the receiver refused them, or the run ended
    losses: int = 0  # how often the receiver was lost


class Worker:
    """Sends a receiver the newest values and every event, in a thread of its own.

    `put` only hands over. Events go first and are never overtaken by each other. While the receiver is away, events wait, up
    to `most_events`. That it is lost is said once, and once that it is back.
    """

    def __init__(self, receiver: Receiver, most_events: int = MOST_EVENTS, first_wait_s: float = FIRST_WAIT_S):
        self.receiver, self.most_events, self.first_wait_s = receiver, most_events, first_wait_s
        self.counts, self.is_up = Counts(), False
        self._values: deque[Values] = deque()
        self._events: deque[Event] = deque()
        self._changed = threading.Condition()
        self._end_s: float | None = None  # when to give up, once the run has ended
        self._error: Exception | None = None
        self._is_lost_said, self._is_full_said, self._is_refusal_said = False, False, False
        self._up_s, self._wait_s = 0.0, first_wait_s
        self._thread = threading.Thread(target=self._run, name=receiver.option.split()[0], daemon=True)

    @property
    def waiting(self) -> int:
        """Events that wait now."""
        return len(self._events)

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def put(self, values: Values, events: list[Event]) -> None:
        """Hand over a frame and the events before it. Takes microseconds; never waits. Raises what ended the thread."""
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
                self._values.append(values if self.receiver.takes_pictures else replace(values, image=None))
            self._changed.notify()

    def put_events(self, events: list[Event]) -> None:
        """Hand over events without a frame."""
        with self._changed:
            self._add_events([event for event in events if event.kind in self.receiver.kinds])
            self._changed.notify()

    def ask_to_end(self, flush_s: float = FLUSH_S) -> None:
        """Have the thread send what waits, for no longer than `flush_s`, and end."""
        with self._changed:
            self._end_s = time.monotonic() + flush_s
            self._changed.notify()

    def join(self, margin_s: float = 1.0) -> None:
        """Wait for the end that was asked for; says what could not be sent."""
        assert self._end_s is not None
        self._thread.join(max(0.0, self._end_s - time.monotonic()) + margin_s)
        left = self.waiting
        if left:
            self._count(events_lost=left)
            self._say(f"{left} events could not be sent before the end")

    def _add_events(self, events: list[Event]) -> None:
        for event in events:
            if len(self._events) >= self.most_events:
                self._events.popleft()
                self._count(events_lost=1)
                if not self._is_full_said:
                    self._is_full_said = True
                    self._say(f"more than {self.most_events} events wait; the oldest are given up")
            self._events.append(event)

    # ------------------------------------------------------------------------------------- the worker's own thread

    def _run(self) -> None:
        try:
            self._send_all()
        except Exception as error:  # handed to the run with its traceback
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
        """An event leaves the queue only when it was sent, or refused."""
        try:
            self.receiver.send_event(event)
            sent = True
        except Refused as error:
            sent = False
            if not self._is_refusal_said:
                self._is_refusal_said = True
                self._say(f"{error}; an event was not taken")
        with self._changed:
            if self._events and self._events[0] is event:  # it may have been given up meanwhile, and counted as lost
                self._events.popleft()
                self._count(events=int(sent), events_lost=int(not sent))

    def _note_back(self) -> None:
        if time.monotonic() - self._up_s < self.receiver.settle_s:
            return
        self._wait_s = self.first_wait_s
        if self._is_lost_said:
            self._is_lost_said, self._is_full_said, self._is_refusal_said = False, False, False
            self._say("is back")

    def _lose(self, error: Exception) -> None:
        self.is_up = False
        self._close()
        if not self._is_lost_said:
            self._is_lost_said = True
            self._count(losses=1)
            self._say(f"lost ({_reason(error)}); trying again until it is back")

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
            return  # it is away already

    def _count(self, **more: int) -> None:
        with self._changed:  # counted by two threads
            self.counts = replace(self.counts, **{name: getattr(self.counts, name) + n for name, n in more.items()})

    def _say(self, text: str) -> None:
        logger.warning(f"{self.receiver.option}: {redact(text)}")  # an option holds no password


def _reason(error: Exception) -> str:
    """One line, without what only programmers read."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return " ".join(text.split())
