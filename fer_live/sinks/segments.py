"""Long live recordings, split into files, with deletion of the oldest ones."""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from fer_live.protocols import Recorder
from fer_live.sinks.disk import is_being_written, unused
from fer_live.types import Analysis

logger = logging.getLogger("fer_live")

OWN = "fer_live: a live recording, deleted by --keep-gb and --keep-days"  # the files' comment; see VideoRecorder
HEAD = 4096  # bytes; the metadata is at the start of our recordings
SETTLE_S = 0.5  # seconds a finished file stays open for late sound
CLEAR_EVERY_S = 30.0  # seconds between checks of the quota, since the current file grows too
DATED = r"-\d{8}-\d{6}(-\d+)?"


class SegmentedRecorder:
    """A sink that splits a live recording into files of `segment_s` seconds. The image that ends a file also starts the next.

    path: OUT.mp4 becomes OUT-20261122-101500.mp4 and so on, with the local time at which each file starts.
    open_recorder: creates a VideoRecorder for a path. clear: called with the files being written, to delete older ones.
    """

    def __init__(self, path: Path, open_recorder: Callable[[Path], Recorder], segment_s: float,
                 clear: Callable[[list[Path]], None] | None = None):
        self.path = self.base = path.with_name(stem(path) + path.suffix)
        self.open_recorder, self.segment_s, self.clear = open_recorder, segment_s, clear
        self.current: Recorder | None = None
        self.ending: Recorder | None = None
        self.due_s = self.clear_s = float("inf")
        self.end_s: float | None = None  # end time of the recording; None: when it is closed

    def __enter__(self) -> SegmentedRecorder:
        return self

    def __exit__(self, *exception) -> None:
        if self.current is not None:
            self.current.end_s = self.end_s
        with ExitStack() as both:
            for recorder in (self.current, self.ending):
                if recorder is not None:
                    both.enter_context(recorder)
        self.current = self.ending = None

    def write(self, image: np.ndarray, analysis: Analysis) -> None:
        """Append (H, W, 3) uint8 BGR, starting a new file if it is due. Raises OutputError if it cannot be written."""
        time_s = analysis.frame.time_s
        ending = self.ending
        if ending is not None and (time_s >= (ending.end_s or 0.0) + SETTLE_S or time_s >= self.due_s):
            self.ending = None
            ending.__exit__(None, None, None)
        if self.current is None or time_s >= self.due_s:
            self._next(time_s)
        assert self.current is not None
        self.current.write(image, analysis)
        if self.clear is not None and time_s >= self.clear_s:
            self.clear_s = time_s + CLEAR_EVERY_S
            self.clear([recorder.path for recorder in (self.current, self.ending) if recorder is not None])

    def _next(self, time_s: float) -> None:
        if self.current is None:
            self.due_s = time_s
        else:
            self.current.end_s, self.ending = time_s, self.current
        while self.due_s <= time_s:  # counted from the first file, so that durations do not drift
            self.due_s += self.segment_s
        dated = self.base.with_name(f"{self.base.stem}{time.strftime('-%Y%m%d-%H%M%S')}{self.base.suffix}")
        self.current = self.open_recorder(unused(dated)).__enter__()
        self.clear_s = time_s


def stem(path: Path) -> str:
    """Return the file name without extension and without the date added by `SegmentedRecorder`."""
    return re.sub(DATED + "$", "", path.stem)


class Quota:
    """Deletes the oldest dated live recordings of `path` in its folder, in a thread, since memory cards are slow.

    keep_bytes, keep_s: total size in bytes and age in seconds to keep; infinity for no limit. Only files with the dated
    name and our comment inside, and not being written by any program, are deleted.
    said: called with a one-line message about a file that cannot be deleted.
    """

    def __init__(self, path: Path, keep_bytes: float, keep_s: float, said: Callable[[str], None]):
        self.folder, self.keep_bytes, self.keep_s, self.said = path.parent, keep_bytes, keep_s, said
        self.name = re.compile(re.escape(stem(path)) + DATED + re.escape(path.suffix))
        self.refused: set[Path] = set()
        self._thread = threading.Thread()

    def clear_soon(self, written: list[Path]) -> None:
        """Start `clear` in a thread and return at once."""
        if not self._thread.is_alive():
            self._thread = threading.Thread(target=self.clear, args=(written,), name="old recordings", daemon=True)
            self._thread.start()

    def clear(self, written: list[Path]) -> None:
        """Delete recordings that exceed the quota. written: files that must stay."""
        files = sorted(self._own(), key=lambda item: item[1].st_mtime_ns)
        total = sum(status.st_size for _, status in files)
        for path, status in files:
            is_old = time.time() - status.st_mtime > self.keep_s
            if not (is_old or total > self.keep_bytes):
                return
            if path not in written and self._delete(path):
                total -= status.st_size

    def _own(self) -> list[tuple[Path, os.stat_result]]:
        found = []
        try:
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    if self.name.fullmatch(entry.name) and entry.is_file(follow_symlinks=False) and _is_marked(entry.path):
                        found.append((self.folder / entry.name, entry.stat(follow_symlinks=False)))
        except OSError as error:  # the folder is gone; the recorder reports that
            logger.warning(f"cannot list old recordings in {self.folder} ({error.strerror})")
        return found

    def _delete(self, path: Path) -> bool:
        try:
            if is_being_written(path):
                return False
            path.unlink()
        except OSError as error:
            if path not in self.refused:
                self.refused.add(path)
                self.said(f"cannot delete the old recording {path} ({error.strerror})")
            return False
        logger.info(f"deleted the old recording {path}")
        return True


def _is_marked(path: str) -> bool:
    """Whether the metadata at the start of the file says that fer_live recorded it live."""
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD)
    except OSError:
        return False  # an unreadable file is not treated as ours
    return head[4:8] == b"ftyp" and OWN.encode() in head
