"""The web view: serves a live run to browsers. A sink that passes images to a server in its own thread."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import numpy as np

from fer_live.screen.smoothing import DisplaySmoother
from fer_live.types import Analysis
from fer_live.web.endpoint import Endpoint, bind_endpoint
from fer_live.web.feed import Feed
from fer_live.web.guard import Guard, Limits
from fer_live.web.history import History
from fer_live.web.pages import PageConfig, Pages

if TYPE_CHECKING:
    from fer_live.web.commands import Controls  # needs aiohttp

__all__ = ["Endpoint", "PageConfig", "WebView", "bind_endpoint"]


class WebView:
    """A sink that serves the newest image, its results and the state of the run to clients that pass the guard.

    endpoint: from `bind_endpoint`. smoother: smooths what is shown of each face, and has the labels. page: language and features
    of the pages. camera_is_up: whether frames come from the camera itself, for a source that substitutes a slate for a lost
    camera. stale_s: seconds without a frame after which the camera counts as lost, if more than `feed.STALE_S`. forget_s: seconds
    without a face after which the history of the last three minutes is deleted; None: never. more_metrics: further text for
    /metrics, in the Prometheus format. is_recording: whether a recording is running. controls: commands available to viewers;
    they require a token.
    """

    def __init__(self, endpoint: Endpoint, smoother: DisplaySmoother, page: PageConfig = PageConfig(),  # noqa: B008 (frozen)
                 camera_is_up: Callable[[], bool] = lambda: True, limits: Limits = Limits(),  # noqa: B008 (frozen)
                 stale_s: float = 0.0, forget_s: float | None = None, more_metrics: Callable[[], str] = str,
                 is_recording: Callable[[], bool] = lambda: False, controls: Controls | None = None):
        if controls is not None and endpoint.token is None:
            raise ValueError("controls require a token")
        self.endpoint, self.limits, self.more_metrics, self.controls = endpoint, limits, more_metrics, controls
        self.guard = Guard(endpoint.bound[0], endpoint.host, endpoint.token, limits)
        self.pages = Pages(page, endpoint)
        self.feed = Feed(smoother, camera_is_up, stale_s, History(smoother.labels, forget_s), is_recording)
        self._error: BaseException | None = None
        self._ready, self._stop = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)

    def __enter__(self) -> WebView:
        self._thread.start()
        self._ready.wait()
        self._raise()
        if self.endpoint.is_token_made:  # the link contains the token: keep it out of logs, and print it even if messages are off
            print(f"web view: {self.endpoint.link()}", file=sys.stderr)
        else:
            needs = "" if self.endpoint.token is None else " (with ?token= and the token you gave)"
            logging.getLogger("fer_live").info(f"web view: {self.endpoint.link()}{needs}")
        return self

    def __exit__(self, *exception) -> None:
        loop, self.feed.loop = self.feed.loop, None
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(timeout=3.0)

    @property
    def needs_image(self) -> bool:
        """Whether any client needs images."""
        return self.feed.needs_image

    def write(self, image: np.ndarray, analysis: Analysis) -> None:
        """Pass on (H, W, 3) uint8 BGR, which must not be modified afterwards.

        Never blocks; raises the error that ended the server.
        """
        self._raise()
        self.feed.put(image, analysis)

    def _raise(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # raised again in the run's thread, with its traceback
            self._error = error
        self._ready.set()

    async def _serve(self) -> None:
        from aiohttp.web import AppRunner

        from fer_live.web.connections import Connection, Connections
        from fer_live.web.routes import Routes

        loop = asyncio.get_running_loop()
        connections = Connections(self.limits)
        routes = Routes(self.feed, self.guard, connections, self.pages, self.endpoint, self.controls, self.more_metrics)
        loop.set_exception_handler(lambda _loop, context: _report(routes, context))
        runner = AppRunner(routes.app, handle_signals=False, access_log=None, logger=_silent(), handler_cancellation=True,
                           lingering_time=0.0, max_line_size=4096, max_field_size=4096, max_headers=64)
        await runner.setup()
        serve = runner.server
        assert serve is not None  # set by setup()
        server = await loop.create_server(lambda: cast(asyncio.BaseProtocol, Connection(serve(), connections)),
                                          sock=self.endpoint.socket)
        self.feed.loop = loop
        self._ready.set()
        tasks = [loop.create_task(task) for task in (self.feed.encode(), connections.sweep(), self._stop.wait())]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        self.feed.loop = None
        server.close()
        connections.abort()
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        await runner.cleanup()
        for task in done:
            task.result()  # raises the error that ended the task


def _report(routes, context: dict) -> None:
    if isinstance(context.get("exception"), Exception):
        routes.report(context["exception"])


def _silent() -> logging.Logger:
    """Return a disabled logger. aiohttp logs each malformed request with a traceback; `Routes` reports errors of the program."""
    logger = logging.getLogger("fer_live.web")
    logger.disabled = True
    return logger
