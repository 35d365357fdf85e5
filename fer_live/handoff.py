"""Passes frames between threads: only the newest for live sources, every frame in order for files."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from typing import Generic, TypeVar

T = TypeVar("T")


class HeldError(Generic[T]):
    """Iterates over a stream up to its end or its error, which is kept: a stage can first yield the items that it buffers."""

    def __init__(self, stream: Iterable[T]):
        self._items = iter(stream)
        self._error: BaseException | None = None

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        if self._error is not None:
            raise StopIteration
        try:
            return next(self._items)
        except StopIteration:
            raise
        except BaseException as caught:
            self._error = caught
            raise StopIteration from None

    def raise_error(self) -> None:
        """Raise the stream's error, if there was one."""
        if self._error is not None:
            try:
                raise self._error
            finally:  # breaks the cycle of traceback and self
                self._error = None


class LatestItem(Generic[T]):
    """A thread that reads a stream and keeps only its newest item.

    Items that are not taken in time are dropped and counted. An error in the stream is raised again in the reader, so no stage
    fails silently. Leaving the context asks the thread to end and waits for at most `join_s` seconds.

    changed: a condition to notify of every change; None creates one. merge: combines the waiting item (None if there is none)
    with the new one, with the condition's lock held; it returns None if there is nothing to take yet. Without it, the new item
    replaces the waiting one.
    """

    def __init__(self, stream: Iterable[T], changed: threading.Condition | None = None,
                 merge: Callable[[T | None, T], T | None] | None = None, join_s: float | None = 2.0, name: str | None = None):
        self.join_s = join_s
        self.dropped = 0
        self.ended = False
        self.is_left = False
        self.error: BaseException | None = None  # the stream's error, until it is raised in the reader
        self._item: T | None = None
        self._changed = changed or threading.Condition()
        # A daemon thread, so that a hanging camera cannot block the exit. Only the thread refers to stream and merge, and only
        # until it ends, since they may refer to the creator of this object.
        self.thread = threading.Thread(target=self._draw, args=(stream, merge), name=name, daemon=True)

    def start(self) -> None:
        """Start reading without a context; call `leave` to end."""
        self.thread.start()

    def leave(self) -> None:
        """Ask the thread to end after the stream's current item, without waiting for it."""
        with self._changed:
            self.is_left = True
            self._changed.notify_all()

    def __enter__(self) -> LatestItem[T]:
        self.start()
        return self

    def __exit__(self, *exception) -> None:
        self.leave()
        self.thread.join(timeout=self.join_s)

    def _draw(self, stream: Iterable[T], merge: Callable[[T | None, T], T | None] | None) -> None:
        try:
            for item in stream:
                with self._changed:
                    if self.is_left:
                        break
                    if merge is None:
                        self.dropped += self._item is not None
                        self._item = item
                    else:
                        self._item = merge(self._item, item)
                    self._changed.notify_all()
            if isinstance(stream, Generator):
                stream.close()  # in the stream's own thread, since it may have to release devices and end threads
        except BaseException as caught:  # raised in the reader; a local name would create a reference cycle
            self.error = caught
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    @property
    def has_item(self) -> bool:
        """Whether an item is waiting."""
        return self._item is not None

    def get(self, timeout_s: float | None = None) -> T | None:
        """Return the newest item not yet taken, or None after `timeout_s` or at the stream's end. Raises the stream's error."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self.ended or self.is_left, timeout_s)
            item, self._item = self._item, None
            if item is None and self.error is not None:
                try:
                    raise self.error
                finally:  # breaks the cycle of traceback and self, which would keep the stream open
                    self.error = None
            return item

    def __iter__(self) -> Iterator[T]:
        while (item := self.get()) is not None:
            yield item


class Prefetch(Generic[T]):
    """A thread that reads a stream in order, up to `depth` items ahead of the reader.

    depth: a number, or a function that returns it for the first item. Items are passed on in groups of up to half of it, since
    waking a thread for every item can cost more than processing it. A waiting reader gets each item at once.
    An error in the stream is raised again in the reader, after the items before it. Leaving the context ends the thread.
    """

    def __init__(self, stream: Iterable[T], depth: int | Callable[[T], int] = 4):
        self.stream, self._depth = stream, depth
        self._items: list[T] = []
        self._changed = threading.Condition()
        self._is_left = self._has_ended = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._draw, daemon=True)

    def __enter__(self) -> Prefetch[T]:
        self._thread.start()
        return self

    def __exit__(self, *exception) -> None:
        with self._changed:
            self._is_left = True
            self._changed.notify_all()
        self._thread.join()

    def _draw(self) -> None:
        room = 0
        try:
            for item in self.stream:
                if not room:
                    room = max(1, (self._depth(item) if callable(self._depth) else self._depth) // 2)
                with self._changed:
                    while len(self._items) >= room and not self._is_left:
                        self._changed.wait()
                    if self._is_left:
                        break
                    self._items.append(item)
                    self._changed.notify()
        except BaseException as caught:  # raised in the reader
            self._error = caught
        finally:
            if isinstance(self.stream, Generator):
                self.stream.close()  # in this thread, since the stream may have its own threads to end
            with self._changed:
                self._has_ended = True
                self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        while group := self._take():
            yield from group
        if self._error is not None:
            raise self._error

    def _take(self) -> list[T]:
        """Return all waiting items, or none at the end of the stream."""
        with self._changed:
            while not (self._items or self._has_ended):
                self._changed.wait()
            group, self._items = self._items, []
            self._changed.notify()
            return group


def grouped(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of `size` items; the last may be shorter. An error in the stream is raised after the items before it."""
    stream = HeldError(items)
    while group := list(islice(stream, size)):
        yield group
    stream.raise_error()
