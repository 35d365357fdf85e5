"""What happens beside showing in a live run: the keys record, save a picture, change the view; what cannot be written is told."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fer_live.redact import redact
from fer_live.types import Analysis, OutputError, Sink, View


class Controls:
    """Holds the sinks of a live run and changes them on a key. It is one of them, since it keeps the last picture.

    save_picture, open_recorder: write a picture to a path, make a recorder for a path; given by `__main__`.
    calibrate: asks the faces in view to look neutral.
    A sink that fails in a live run ends, with a line on the picture, on stderr and in the log; the run goes on.
    """

    def __init__(
        self, view: View, save_picture: Callable[[Path, np.ndarray], Path], open_recorder: Callable[[Path], Sink] | None = None,
        calibrate: Callable[[], None] | None = None,
    ):
        self.view, self.open_recorder, self.save_picture, self.calibrate = view, open_recorder, save_picture, calibrate
        self.sinks: list[Sink] = [self]
        self.recorder: Sink | None = None
        self.log: Any = None  # a Log
        self.last: tuple[np.ndarray, Analysis] | None = None
        self._events: list[tuple[str, str, float]] = []

    def keys(self, quit: Callable[[], None]) -> dict[str, Callable[[], None]]:
        """Key -> what it does. Only what is live is recorded on a key; files have --output."""
        keys = {"q": quit, "esc": quit, "s": self.snapshot, "b": lambda: self._toggle("bars"),
                "m": lambda: self._toggle("mirror"), "h": lambda: self._toggle("help")}
        keys |= {"n": self.calibrate} if self.calibrate else {}
        return {**keys, "r": self.toggle_record} if self.open_recorder else keys

    def _toggle(self, name: str) -> None:
        setattr(self.view, name, not getattr(self.view, name))

    def __enter__(self) -> Controls:
        return self

    def __exit__(self, *exception) -> None:
        self.stop_record()
        self._log_events()
        self._close_log()

    def write(self, image: np.ndarray, analysis: Analysis) -> None:
        """Keep the picture, for `snapshot`; log what happened since the last one."""
        self.last = image, analysis
        self._log_events()

    def _log_events(self) -> None:
        while self._events:
            event = self._events.pop(0)
            if self.log is not None:
                try:
                    self.log.event(*event)
                except OutputError as error:
                    self.failed(self.log, error)

    def add_log(self, log: Any) -> None:
        """Log to `log`, a Log of a live run, until the end or until it fails."""
        self.log = log.__enter__()
        self.sinks.append(self.log)

    def failed(self, sink: Sink, error: OutputError) -> None:
        """End a sink that cannot be written, say so, and let the run go on."""
        if sink is self.recorder:
            self.stop_record()
            self.tell("recording stopped", str(error))
        elif sink is self.log:
            self._close_log()
            self.tell("log stopped", str(error))
        else:
            raise error

    def tell(self, event: str, text: str) -> None:
        """A line on the picture that stays, on stderr and in the log. event: a few words; text: all that is known. Any thread."""
        text = redact(text)
        self.view.notice = f"{event}: {text}"
        self._events.append((event, text, time.monotonic()))
        print(f"{event}: {text}", file=sys.stderr)

    def record(self, path: Path) -> None:
        """Begin to record to `path`, with the picture that is shown now if there is one."""
        assert self.open_recorder is not None
        recorder = self.recorder = self.open_recorder(path).__enter__()
        self.sinks.append(recorder)
        self.view.recording, self.view.notice = True, ""
        if self.last is not None:
            image, analysis = self.last
            now = replace(analysis, frame=replace(analysis.frame, time_s=time.monotonic()))
            try:
                recorder.write(image, now)
            except OutputError as error:
                self.failed(recorder, error)

    def stop_record(self) -> None:
        """Finish the recording, if there is one."""
        if self.recorder is not None:
            recorder, self.recorder = self.recorder, None
            self.sinks.remove(recorder)
            self.view.recording = False
            try:
                recorder.__exit__(None, None, None)
            except OutputError as error:
                self.tell("recording stopped", str(error))

    def _close_log(self) -> None:
        if self.log is not None:
            log, self.log = self.log, None
            self.sinks.remove(log)
            try:
                log.__exit__(None, None, None)
            except OutputError as error:
                self.tell("log stopped", str(error))

    def toggle_record(self) -> None:
        """Key r."""
        if self.recorder is not None:
            self.stop_record()
        else:
            try:
                self.record(Path(time.strftime("fer_live-%Y%m%d-%H%M%S.mp4")))
            except OutputError as error:  # nor must a folder that may no longer be entered
                self.tell("recording not started", str(error))

    def snapshot(self) -> None:
        """Key s: the picture as it is shown."""
        if self.last is not None:
            try:
                path = self.save_picture(Path(time.strftime("fer_live-%Y%m%d-%H%M%S.png")), self.last[0])
                self.view.notice = ""
                print(f"saved {path}", file=sys.stderr)
            except OutputError as error:  # a full disk must not end the show
                self.tell("picture not saved", str(error))
