"""New files that never overwrite others; under a recording, one that a thread brings to the disk itself."""

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
except ImportError:  # Windows, where a file that is open cannot be deleted anyway
    fcntl = None  # type: ignore[assignment]

LATELY_S = 60.0  # where there are no locks, what was written since may still be written
UNSYNCED = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP}  # file systems that have nothing to synchronise say one of these


def unused(path: Path) -> Path:
    """`path`, or where that exists already the same name with the first free number from 2 up: nothing is overwritten.

    A link that leads nowhere takes its name too. Raises OutputError where it cannot be told what exists.
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
        raise OutputError(f"cannot write {shortened(path)} ({why(error)}); choose another name or place") from None
    except ValueError:  # a letter that no file system takes
        raise OutputError(f"cannot write {str(path)!r}: no file can have this name; choose another") from None


def make_new(path: Path) -> tuple[Path, io.FileIO]:
    """A new file, open to be written without a buffer, and its name: with a number where `path` exists. Raises OSError, and
    OutputError as `unused` does."""
    while True:
        try:
            return path, open(path, "xb", buffering=0)
        except FileExistsError:
            path = unused(path)


def check_still_there(path: Path, file: io.FileIO) -> None:
    """Raise OSError unless the open file still has its name: to one in a folder that was removed the system goes on writing."""
    if not os.path.samestat(os.stat(path), os.fstat(file.fileno())):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))  # another file has the name


def is_being_written(path: Path) -> bool:
    """Whether a RecordingFile, of this program or another, has `path` open. Raises OSError where `path` cannot be read."""
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
    """A new file to write to, as PyAV wants it, locked while it is written. Raises OSError where something fails.

    What is given to `write` reaches the file with `pass_on`, in one piece: a fragment that a kill or a full disk cuts in two
    plays badly. A killed program loses no more; a power cut takes also what the system had not yet brought to the disk.
    That takes milliseconds on an SSD and up to a second on a memory card, so a thread does it: the pictures do not wait.
    path: where the file is; with a number where another program was quicker with the same name.
    """

    def __init__(self, path: Path):
        self.path, self.file = make_new(path)
        if fcntl is not None:  # tells other programs of this kind that clear up that this file is still written
            with suppress(OSError):  # some network drives know no locks
                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.error: OSError | None = None
        self._waiting, self._is_closed = bytearray(), False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._sync_when_asked, name="recording to disk", daemon=True)
        self._thread.start()

    def write(self, content: bytes) -> int:
        """Take all of it; `pass_on` writes it."""
        if self.error is None:  # after a gap nothing more may be put
            self._waiting += content
        return len(content)

    def tell(self) -> int:
        """How much was given to `write`."""
        return self.file.tell() + len(self._waiting)

    def pass_on(self) -> None:
        """Write what is there to the file and ask that it be brought to the disk; does not wait for that.

        Raises OSError; also what has gone wrong since the last time in bringing it to the disk. The file then keeps what it had.
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
            except Exception as error:  # a thread that ended in silence would leave a recording that nobody brings to the disk
                self.error = self.error or OSError(errno.EIO, str(error) or type(error).__name__)
            if is_last:
                return

    def close(self) -> None:
        """Bring the rest to the disk and close. Raises OSError if that or an earlier write failed."""
        if self._is_closed:
            return
        with suppress(OSError):  # kept in `error`
            self.pass_on()
        self._is_closed = True
        self._wake.set()
        self._thread.join(timeout=10.0)  # a drive that hangs must not keep the program
        if not self._thread.is_alive():
            is_empty = self.error is not None and os.fstat(self.file.fileno()).st_size == 0
            self.file.close()
            if is_empty:
                self.path.unlink(missing_ok=True)
        if self.error is not None:
            raise _bare(self.error)


def _bare(error: OSError) -> OSError:
    """The same without a traceback. Its frames hold who wrote: kept here, it would keep a recorder and its encoder's threads
    until Python next looks for cycles, which in a steady run is hours."""
    return OSError(error.errno, error.strerror)


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
