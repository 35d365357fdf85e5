"""What the keys do in a live run: record, save a picture, change the view."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fer_live.types import Analysis, OutputError, Sink, View


class Controls:
    """Holds the sinks of a live run and changes them on a key. It is one of them, since it keeps the last picture.

    save_picture, open_recorder: write a picture to a path, make a recorder for a path; given by `__main__`.
    """

    def __init__(
        self, view: View, save_picture: Callable[[Path, np.ndarray], Path], open_recorder: Callable[[Path], Sink] | None = None
    ):
        self.view, self.open_recorder, self.save_picture = view, open_recorder, save_picture
        self.sinks: list[Sink] = [self]
        self.recorder: Sink | None = None
        self.last: np.ndarray | None = None

    def keys(self, quit: Callable[[], None]) -> dict[str, Callable[[], None]]:
        """Key -> what it does. Only what is live is recorded on a key; files have --output."""
        keys = {"q": quit, "esc": quit, "s": self.snapshot, "b": lambda: self._toggle("bars"),
                "m": lambda: self._toggle("mirror"), "h": lambda: self._toggle("help")}
        return {**keys, "r": self.toggle_record} if self.open_recorder else keys

    def _toggle(self, name: str) -> None:
        setattr(self.view, name, not getattr(self.view, name))

    def __enter__(self) -> Controls:
        return self

    def __exit__(self, *exception) -> None:
        self.stop_record()

    def write(self, image: np.ndarray, analysis: Analysis) -> None:
        """Keep the picture, for `snapshot`."""
        self.last = image

    def record(self, path: Path) -> None:
        """Begin to record to `path`."""
        assert self.open_recorder is not None
        self.recorder = self.open_recorder(path).__enter__()
        self.sinks.append(self.recorder)
        self.view.recording = True

    def stop_record(self) -> None:
        """Finish the recording, if there is one."""
        if self.recorder is not None:
            recorder, self.recorder = self.recorder, None
            self.sinks.remove(recorder)
            self.view.recording = False
            recorder.__exit__(None, None, None)

    def toggle_record(self) -> None:
        """Key r."""
        if self.recorder is not None:
            self.stop_record()
        else:
            self.record(Path(time.strftime("fer_live-%Y%m%d-%H%M%S.mp4")))

    def snapshot(self) -> None:
        """Key s: the picture as it is shown."""
        if self.last is not None:
            try:
                path = self.save_picture(Path(time.strftime("fer_live-%Y%m%d-%H%M%S.png")), self.last)
                print(f"saved {path}", file=sys.stderr)
            except OutputError as error:  # a full disk must not end the show
                print(f"error: {error}", file=sys.stderr)
