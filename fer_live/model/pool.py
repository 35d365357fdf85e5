"""A pool of objects that are not thread-safe."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Generic, TypeVar

T = TypeVar("T")


class Pool(Generic[T]):
    """Lends each caller an object for exclusive use.

    make: creates an object; called once at the start, so that errors occur early, and later when all are in use.
    most: maximum number of objects; further callers wait.
    """

    def __init__(self, make: Callable[[], T], most: int):
        self._make, self._most = make, most
        self._free: queue.SimpleQueue[T] = queue.SimpleQueue()
        self._free.put(make())
        self._made = 1
        self._lock = threading.Lock()

    @contextmanager
    def lent(self) -> Iterator[T]:
        """Borrow an object until the context is left."""
        item = self._take()
        try:
            yield item
        finally:
            self._free.put(item)

    def _take(self) -> T:
        with suppress(queue.Empty):  # the common case, many times per frame
            return self._free.get_nowait()
        with self._lock:
            if self._made < self._most:
                item = self._make()
                self._made += 1
                return item
        return self._free.get()
