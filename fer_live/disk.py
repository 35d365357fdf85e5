"""The file under a recording: made new, locked while it is written, and brought to the disk itself by a thread of its own."""

from __future__ import annotations

import errno
import os
import threading
from contextlib import suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where a file that is open cannot be deleted anyway
    fcntl = None  # type: ignore[assignment]

UNSYNCED = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP}  # file systems that have nothing to synchronise say one of these


def unused(path: Path) -> Path:
    """`path`, or where that exists already the same name with the first free number from 2 up: nothing is overwritten."""
    candidate, number = path, 1
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return candidate


class RecordingFile:
    """A new file to write to, as PyAV and `open` have it. Raises OSError where it cannot be made, written or brought to the disk.

    A killed program loses what it had not written, a power cut also what the system had not yet brought to the disk. This
    takes milliseconds on an SSD and up to a second on a memory card, so a thread does it: the pictures do not wait for it.
    path: where the file is; with a number where another program was quicker with the same name.
    """

    def __init__(self, path: Path):
        while True:
            try:
                self.file = open(path, "xb", buffering=0)
                break
            except FileExistsError:
                path = unused(path)
        self.path = path
        if fcntl is not None:  # tells other programs of this kind that clear up that this file is still written
            with suppress(OSError):  # some network drives know no locks
                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.error: OSError | None = None  # once writing has failed nothing more may be put after the gap
        self._is_dirty, self._is_closed = False, False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._sync_when_asked, name="recording to disk", daemon=True)
        self._thread.start()

    def write(self, content: bytes) -> int:
        """Write all of it, or raise OSError: also what has gone wrong since in bringing it to the disk."""
        if self.error is not None:
            raise self.error
        rest = memoryview(content)
        try:
            while rest:
                rest = rest[self.file.write(rest) :]
        except OSError as error:
            self.error = error
            raise
        self._is_dirty = True
        return len(content)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()

    def sync_soon(self) -> None:
        """Ask that what was written be brought to the disk; returns at once. Its failure is raised by the next `write`."""
        if self._is_dirty:
            self._is_dirty = False
            self._wake.set()

    def _sync_when_asked(self) -> None:
        is_named = False
        while True:
            self._wake.wait()
            self._wake.clear()
            is_last = self._is_closed
            try:
                _sync(self.file.fileno())
                if not is_named:
                    _sync_folder(self.path.parent)
                    is_named = True
                if not os.path.samestat(os.stat(self.path), os.fstat(self.file.fileno())):
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))  # another file has its name
            except OSError as error:  # a folder that was removed or a stick that was pulled: the system would go on writing
                self.error = self.error or error
            if is_last:
                return

    def close(self) -> None:
        """Bring the rest to the disk and close. Raises OSError if that or an earlier write failed."""
        if self._is_closed:
            return
        self._is_closed = True
        self._wake.set()
        self._thread.join(timeout=10.0)  # a drive that hangs must not keep the program
        if not self._thread.is_alive():
            self.file.close()
        if self.error is not None:
            raise self.error


def _sync(number: int) -> None:
    try:
        getattr(os, "fdatasync", os.fsync)(number)  # the times of the file may come later
    except OSError as error:
        if error.errno not in UNSYNCED:
            raise


def _sync_folder(folder: Path) -> None:
    """Let the new file's name survive too."""
    if os.name == "posix":
        number = os.open(folder, os.O_RDONLY)
        try:
            _sync(number)
        finally:
            os.close(number)
