"""Assembles the web view and runs its viewers' commands in the main thread, like the window's keys."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from fer_live.app.config import Config, WebConfig
from fer_live.app.keys import snapshot, start_recording
from fer_live.app.open_source import timeouts
from fer_live.app.outputs import Outputs
from fer_live.outgoing.sink import Outgoing
from fer_live.protocols import Source
from fer_live.screen.smoothing import DisplaySmoother
from fer_live.sinks.log import Log
from fer_live.types import Analysis, OutputError
from fer_live.web import Endpoint, PageConfig, WebView, bind_endpoint


class Remote:
    """A sink that runs the requested commands at the next frame. Must come after `outputs` in the list of sinks.

    `ask` and `log` can be used from any thread.
    """

    needs_image = False  # snapshots are drawn on demand

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
        """The log being written, if there is one."""
        log = self.outputs.log
        return log.path if isinstance(log, Log) and log.summary else None

    def ask(self, command: str) -> Future[Path | None]:
        """Queue a command. The result is the file that was written or is being recorded; failures set an OutputError."""
        answer: Future[Path | None] = Future()
        self._asked.append((command, answer))
        return answer

    def write(self, image: np.ndarray, analysis: Analysis) -> None:
        """Run the queued commands."""
        while self._asked:
            command, answer = self._asked.popleft()
            if not answer.set_running_or_notify_cancel():  # the caller has timed out
                continue
            try:
                answer.set_result(self.commands[command]())
            except OutputError as error:
                answer.set_exception(error)


def open_port(config: WebConfig, stack: ExitStack) -> Endpoint:
    """Bind the web view's port before the model is loaded, so that a port in use is reported at once."""
    endpoint = bind_endpoint(config.host, config.port, config.token, config.has_controls)
    stack.callback(endpoint.socket.close)
    return endpoint


def add_web_view(config: Config, endpoint: Endpoint, source: Source, outputs: Outputs, smoother: DisplaySmoother,
                 outgoing: Outgoing | None, stack: ExitStack) -> None:
    """Append the web view to the sinks, after the sink that runs its commands. smoother: the display values of each face."""
    controls = stack.enter_context(Remote(outputs)) if config.web and config.web.has_controls else None
    page = PageConfig(config.screen.languages[0], smoother.words, controls is not None, config.output.log is not None)
    view = WebView(endpoint, smoother, page, lambda: not getattr(source, "is_lost", False),
                   stale_s=timeouts(config.source).read_s, forget_s=config.kiosk.idle_s if config.kiosk else None,
                   more_metrics=outgoing.metrics_text if outgoing else str, is_recording=lambda: outputs.view.recording,
                   controls=controls)
    outputs.sinks += [controls] if controls else []
    outputs.sinks.append(stack.enter_context(view))
