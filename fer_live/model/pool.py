"""Objects that only one thread at a time may use, shared by many threads."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Generic, TypeVar

T = TypeVar("T")


class Pool(Generic[T]):
    """Lends each caller an object of its own.

    make: creates one; it is called once at the start, so that its errors come early, and later when all are lent.
    most: how many there may be; further callers wait for one that comes back.
    """

    def __init__(self, make: Callable[[], T], most: int):
        self._make, self._most = make, most
        self._free: queue.SimpleQueue[T] = queue.SimpleQueue()
        self._free.put(make())
        self._made = 1
        self._lock = threading.Lock()

    @contextmanager
    def lent(self) -> Iterator[T]:
        """An object that nobody else uses until the context is left."""
        item = self._take()
        try:
            yield item
        finally:
            self._free.put(item)

    def _take(self) -> T:
        with suppress(queue.Empty):  # the usual way, many times a frame
            return self._free.get_nowait()
        with self._lock:
            if self._made < self._most:
                item = self._make()
                self._made += 1
                return item
        return self._free.get()
