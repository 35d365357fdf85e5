"""Puts the web view together, and carries out what its viewers ask for: in the main thread, as the window's keys do."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from fer_live.app.config import Config, WebConfig
from fer_live.app.keys import snapshot, start_recording
from fer_live.app.open_source import patience
from fer_live.app.outputs import Outputs
from fer_live.outgoing.sink import Outgoing
from fer_live.protocols import Source
from fer_live.screen.steady import Steadier
from fer_live.sinks.log import Log
from fer_live.types import Analysis, OutputError
from fer_live.web import PageConfig, Place, WebView, take_place


class Remote:
    """A sink that carries out, at the next frame, what was asked for; stands after `outputs` among the sinks.

    `ask` and `log` may be used by any thread.
    """

    needs_picture = False  # a snapshot draws its own

    def __init__(self, outputs: Outputs):
        self.outputs = outputs
        self.commands: dict[str, Callable[[], Path | None]] = {
            "snapshot": lambda: snapshot(outputs), "record": lambda: start_recording(outputs), "stop": outputs.stop_record}
        self._asked: deque[tuple[str, Future[Path | None]]] = deque()

    def __enter__(self) -> Remote:
        return self

    def __exit__(self, *exception: object) -> None:
        while self._asked:
            self._asked.popleft()[1].cancel()

    @property
    def log(self) -> Path | None:
        """The log that is being written, if there is one."""
        log = self.outputs.log
        return log.path if isinstance(log, Log) and log.summary else None

    def ask(self, command: str) -> Future[Path | None]:
        """Have a command carried out. The result is the file that is or was written; an exception is an OutputError."""
        answer: Future[Path | None] = Future()
        self._asked.append((command, answer))
        return answer

    def write(self, image: np.ndarray, analysis: Analysis) -> None:
        """Carry out what waits."""
        while self._asked:
            command, answer = self._asked.popleft()
            if not answer.set_running_or_notify_cancel():  # who asked has waited too long
                continue
            try:
                answer.set_result(self.commands[command]())
            except OutputError as error:
                answer.set_exception(error)


def open_port(config: WebConfig, stack: ExitStack) -> Place:
    """The port of the web view, taken before the model is loaded: one that is in use is said at once."""
    place = take_place(config.host, config.port, config.token, config.has_controls)
    stack.callback(place.socket.close)
    return place


def add_web_view(config: Config, place: Place, source: Source, outputs: Outputs, steadier: Steadier, outgoing: Outgoing | None,
                 stack: ExitStack) -> None:
    """The page, and before it among the sinks what carries out its commands. steadier: what the picture shows of each face."""
    controls = stack.enter_context(Remote(outputs)) if config.web and config.web.has_controls else None
    page = PageConfig(config.screen.languages[0], steadier.words, controls is not None, config.output.log is not None)
    view = WebView(place, steadier, page, lambda: not getattr(source, "is_lost", False), stale_s=patience(config.source).read_s,
                   forget_s=config.kiosk.idle_s if config.kiosk else None,
                   more_metrics=outgoing.metrics_text if outgoing else str, is_recording=lambda: outputs.view.recording,
                   controls=controls)
    outputs.sinks += [controls] if controls else []
    outputs.sinks.append(stack.enter_context(view))
