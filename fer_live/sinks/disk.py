"""Creates output files without overwriting others, and syncs recordings to disk in a background thread."""

from __future__ import annotations

import errno
import io
import os
import threading
import time
from contextlib import suppress
from pathlib import Path

from fer_live.model.paths import shortened, why
from fer_live.types import OutputError

try:
    import fcntl
except ImportError:  # Windows, where an open file cannot be deleted anyway
    fcntl = None  # type: ignore[assignment]

LATELY_S = 60.0  # seconds; without file locks, a file modified this recently counts as being written
UNSYNCED = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP}  # errors of file systems that do not support fsync


def unused(path: Path) -> Path:
    """Return `path`, or if it exists, the same name with the first free numeric suffix from 2 up.

    A dangling link counts as existing. Raises OutputError if the check fails.
    """
    candidate, number = path, 1
    while _is_taken(candidate):
        number += 1
        candidate = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return candidate


def _is_taken(path: Path) -> bool:
    try:
        os.lstat(path)
        return True
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise OutputError(f"cannot write {shortened(path)} ({why(error)}); choose another path") from None
    except ValueError:  # a null character
        raise OutputError(f"cannot write {str(path)!r}: the name is not valid; choose another") from None


def make_new(path: Path) -> tuple[Path, io.FileIO]:
    """Create a file for unbuffered writing; returns its path, with a numeric suffix if `path` exists, and the open file.

    Raises OSError, or OutputError as `unused` does.
    """
    while True:
        try:
            return path, open(path, "xb", buffering=0)
        except FileExistsError:
            path = unused(path)


def check_still_there(path: Path, file: io.FileIO) -> None:
    """Raise OSError if the open file was deleted or replaced; the system accepts writes to deleted files without an error."""
    if not os.path.samestat(os.stat(path), os.fstat(file.fileno())):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))  # the name belongs to another file


def is_being_written(path: Path) -> bool:
    """Whether a RecordingFile of any process has `path` open. Raises OSError if `path` cannot be read."""
    with open(path, "rb") as file:
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return False
        except BlockingIOError:
            return True
        except OSError:
            pass  # a network drive without locks
        return time.time() - os.fstat(file.fileno()).st_mtime < LATELY_S


class RecordingFile:
    """A new file with the write interface that PyAV expects, locked while it is open. Raises OSError on failure.

    `write` buffers; `pass_on` writes the buffer in one piece, since a partially written fragment plays badly. If the program
    is killed, only the buffer is lost; after a power cut, also data not yet synced to disk. A sync takes milliseconds on an
    SSD and up to a second on a memory card, so a thread does it.
    path: the file's path, with a numeric suffix if the name was taken.
    """

    def __init__(self, path: Path):
        self.path, self.file = make_new(path)
        if fcntl is not None:  # keeps other fer_live processes from deleting the file under --keep-gb
            with suppress(OSError):  # some network drives do not support locks
                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.error: OSError | None = None
        self._waiting, self._is_closed = bytearray(), False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._sync_when_asked, name="recording to disk", daemon=True)
        self._thread.start()

    def write(self, content: bytes) -> int:
        """Buffer all of `content`; `pass_on` writes it."""
        if self.error is None:  # nothing may follow a gap
            self._waiting += content
        return len(content)

    def tell(self) -> int:
        """Number of bytes passed to `write` so far."""
        return self.file.tell() + len(self._waiting)

    def pass_on(self) -> None:
        """Write the buffer to the file and request a sync, without waiting for it.

        Raises OSError, including errors of earlier syncs. The file then keeps its previous content.
        """
        if self.error is not None:
            raise _bare(self.error)
        if not self._waiting:
            return
        whole, rest, self._waiting = self.file.tell(), memoryview(bytes(self._waiting)), bytearray()
        try:
            while len(rest):
                rest = rest[self.file.write(rest) :]
        except OSError as error:
            self.error = _bare(error)
            with suppress(OSError):
                self.file.truncate(whole)
            raise
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
                check_still_there(self.path, self.file)
            except OSError as error:
                self.error = self.error or _bare(error)
            except Exception as error:  # if the thread died silently, nothing would be synced any more
                self.error = self.error or OSError(errno.EIO, str(error) or type(error).__name__)
            if is_last:
                return

    def close(self) -> None:
        """Write and sync the rest, then close. Raises OSError if this or an earlier write failed."""
        if self._is_closed:
            return
        with suppress(OSError):  # stored in `error`
            self.pass_on()
        self._is_closed = True
        self._wake.set()
        self._thread.join(timeout=10.0)  # a hung drive must not block the program
        if not self._thread.is_alive():
            is_empty = self.error is not None and os.fstat(self.file.fileno()).st_size == 0
            self.file.close()
            if is_empty:
                self.path.unlink(missing_ok=True)
        if self.error is not None:
            raise _bare(self.error)


def _bare(error: OSError) -> OSError:
    """Copy the error without its traceback, whose frames would keep the recorder and its encoder threads alive."""
    return OSError(error.errno, error.strerror)


def _sync(number: int) -> None:
    try:
        getattr(os, "fdatasync", os.fsync)(number)  # the file's timestamps need no sync
    except OSError as error:
        if error.errno not in UNSYNCED:
            raise


def _sync_folder(folder: Path) -> None:
    """Sync the folder entry, so that the new file's name survives a power cut."""
    if os.name == "posix":
        number = os.open(folder, os.O_RDONLY)
        try:
            _sync(number)
        finally:
            os.close(number)
