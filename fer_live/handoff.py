"""How frames pass from one thread to the next: live the newest one, from a file every one in order."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class LatestItem(Generic[T]):
    """A thread that draws a stream and keeps only its newest item.

    What the reader is too busy to take is dropped and counted; an error in the stream is raised again in the reader, so
    that no stage can die unseen. Leaving the context asks the thread to end and waits for it, at most `join_s` seconds.

    changed: notified of all that happens; a condition of its own if not given. merge: makes one item of the one that waits
    (None: none does) and the new one, under the condition's lock; None means that there is nothing to take yet. Without it
    the new item replaces the other.
    """

    def __init__(self, stream: Iterable[T], changed: threading.Condition | None = None,
                 merge: Callable[[T | None, T], T | None] | None = None, join_s: float | None = 2.0, name: str | None = None):
        self.join_s = join_s
        self.dropped = 0
        self.ended = False
        self.is_left = False
        self.error: BaseException | None = None  # of the stream, until it is raised in the reader
        self._item: T | None = None
        self._changed = changed or threading.Condition()
        # A daemon: a camera that hangs must not keep the program. It alone holds stream and merge, and lets go of them when
        # it ends: they may hold whoever made this object.
        self.thread = threading.Thread(target=self._draw, args=(stream, merge), name=name, daemon=True)

    def start(self) -> None:
        """Begin to draw, for a reader that does not wait for the thread's end; `leave` ends it."""
        self.thread.start()

    def leave(self) -> None:
        """Ask the thread to end as soon as the stream returns from what it does, without waiting for it."""
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
                stream.close()  # by its own thread: it may have devices to release and threads to end
        except BaseException as caught:  # handed to the reader with its traceback; kept in no local name, which that would hold
            self.error = caught
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    @property
    def has_item(self) -> bool:
        """Whether an item waits to be taken."""
        return self._item is not None

    def get(self, timeout_s: float | None = None) -> T | None:
        """The newest item not yet taken; None if none came within `timeout_s`, or the stream has ended. Raises its error."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self.ended or self.is_left, timeout_s)
            item, self._item = self._item, None
            if item is None and self.error is not None:
                try:
                    raise self.error
                finally:  # its traceback holds this object: together they would keep the stream and what it has open
                    self.error = None
            return item

    def __iter__(self) -> Iterator[T]:
        while (item := self.get()) is not None:
            yield item


class Prefetch(Generic[T]):
    """A thread that draws a stream in order, up to `depth` items before the reader asks for them.

    An error in the stream is raised again in the reader, after what came before it. Leaving the context ends the thread.
    """

    END = object()

    def __init__(self, stream: Iterable[T], depth: int = 4):
        self.stream = stream
        self._items: queue.Queue = queue.Queue(depth)
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._draw, daemon=True)

    def __enter__(self) -> Prefetch[T]:
        self._thread.start()
        return self

    def __exit__(self, *exception) -> None:
        self._stop.set()
        while self._thread.is_alive():  # make room, should it wait to hand over an item
            with contextlib.suppress(queue.Empty):
                self._items.get(timeout=0.05)
        self._thread.join()
        with contextlib.suppress(queue.Full):  # a reader in another thread must not wait for what will not come
            self._items.put_nowait(self.END)

    def _draw(self) -> None:
        try:
            for item in self.stream:
                self._items.put(item)
                if self._stop.is_set():
                    break
        except BaseException as caught:  # handed to the reader with its traceback
            self._error = caught
        finally:
            if isinstance(self.stream, Generator):
                self.stream.close()  # here and now: it may have threads of its own to end
            self._items.put(self.END)

    def __iter__(self) -> Iterator[T]:
        while (item := self._items.get()) is not self.END:
            yield item
        if self._error is not None:
            raise self._error


def grouped(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items, the last one shorter. An error in the stream is raised after what came before it."""
    group: list[T] = []
    error: BaseException | None = None
    stream = iter(items)
    while error is None:
        try:
            group.append(next(stream))
        except BaseException as caught:  # the end is one, too
            error = caught
        if group and (len(group) == size or error is not None):
            yield group
            group = []
    if not isinstance(error, StopIteration):
        raise error
