"""How frames pass from one thread to the next: live the newest one, from a file every one in order."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Newest(Generic[T]):
    """A thread that draws a stream and keeps only its newest item.

    What the reader is too busy to take is dropped and counted; an error in the stream is raised again in the reader, so
    that no stage can die unseen. Leaving the context asks the thread to end and waits for it.
    """

    def __init__(self, stream: Iterable[T]):
        self.stream = stream
        self.dropped = 0
        self.ended = False
        self._item: T | None = None
        self._error: BaseException | None = None
        self._stop = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._draw, daemon=True)  # a camera that hangs must not keep the program

    def __enter__(self) -> Newest[T]:
        self._thread.start()
        return self

    def __exit__(self, *exception) -> None:
        with self._changed:
            self._stop = True
            self._changed.notify_all()
        self._thread.join(timeout=2.0)

    def _draw(self) -> None:
        error: BaseException | None = None
        try:
            for item in self.stream:
                with self._changed:
                    if self._stop:
                        break
                    self.dropped += self._item is not None
                    self._item = item
                    self._changed.notify_all()
        except BaseException as caught:  # handed to the reader with its traceback
            error = caught
        with self._changed:
            self._error, self.ended = error, True
            self._changed.notify_all()

    def get(self, timeout_s: float | None = None) -> T | None:
        """The newest item not yet taken; None if none came within `timeout_s`, or the stream has ended. Raises its error."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self.ended or self._stop, timeout_s)
            item, self._item = self._item, None
            if item is None and self._error is not None:
                error, self._error = self._error, None
                raise error
            return item

    def __iter__(self) -> Iterator[T]:
        while (item := self.get()) is not None:
            yield item


class Ahead(Generic[T]):
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

    def __enter__(self) -> Ahead[T]:
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
