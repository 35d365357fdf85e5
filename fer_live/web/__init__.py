"""The web view: a page that shows a live run to browsers. A sink that hands pictures to a server in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np

from fer_live.types import Analysis, OutputError
from fer_live.web.feed import Feed
from fer_live.web.guard import Guard, Limits, choose_token

TOKEN_VARIABLE = "FER_LIVE_TOKEN"  # other users of the machine can read options, not this
NEEDS = "--serve needs the package aiohttp: pip install aiohttp==3.14.5"


@dataclass(frozen=True, slots=True)
class Place:
    """A socket that is bound, and what is to be known of it."""

    socket: socket.socket
    host: str  # as it was asked for
    token: str | None  # None: none is needed
    is_token_made: bool

    @property
    def bound(self) -> tuple[str, int]:
        """The IP address and the port."""
        return self.socket.getsockname()[:2]

    def link(self) -> str:
        """What to open in a browser; with the token only where it was made here, since nobody knows it yet."""
        host, port = self.bound
        if host in ("0.0.0.0", "::"):
            host = _own_address() or socket.gethostname()
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{port}/" + (f"?token={self.token}" if self.is_token_made else "")


def take_place(host: str, port: int, token: str | None = None) -> Place:
    """Bind the port, early: before a model is loaded. port: 0 takes a free one. Raises OutputError."""
    try:
        import aiohttp  # noqa: F401
    except ImportError:
        raise OutputError(NEEDS) from None
    listening = None
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = sorted(found, key=lambda one: one[0] != socket.AF_INET)[0]
        both = family == socket.AF_INET6 and address[0] == "::" and socket.has_dualstack_ipv6()
        listening = socket.create_server(address[:2], family=family, backlog=128, dualstack_ipv6=both)
        chosen = choose_token(token or os.environ.get(TOKEN_VARIABLE) or None, listening.getsockname()[0])
    except (OSError, UnicodeError) as error:
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else "no such name"
        raise OutputError(f"cannot serve on {host}:{port} ({reason}); choose another --serve [HOST:]PORT") from None
    except OutputError:
        if listening is not None:
            listening.close()
        raise
    return Place(listening, host, *chosen)


class WebView:
    """A sink that shows the newest picture, what is in it, and how the run goes, to whom the guard lets in.

    place: from `take_place`. entry: (analysis, start_s=...) -> the log's object. meter: a time -> frames a second up to it.
    camera_is_up: whether pictures are the camera's own, for a source that goes on with a slate while its camera is away.
    stale_s: without a frame for this long, if it is more than `feed.STALE_S`, the camera counts as lost all the same.
    more_metrics: what /metrics says besides, in Prometheus' text format.
    """

    def __init__(self, place: Place, entry: Callable[..., dict], meter: Callable[[float], float],
                 camera_is_up: Callable[[], bool] = lambda: True, limits: Limits = Limits(),  # noqa: B008 (frozen)
                 stale_s: float = 0.0, more_metrics: Callable[[], str] | None = None):
        self.place, self.limits, self.more_metrics = place, limits, more_metrics
        self.guard = Guard(place.bound[0], place.host, place.token, limits)
        self.feed = Feed(entry, meter, camera_is_up, stale_s)
        self._error: BaseException | None = None
        self._ready, self._stop = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)

    def __enter__(self) -> WebView:
        self._thread.start()
        self._ready.wait()
        self._raise()
        if self.place.is_token_made:  # the link holds it: a secret is not for a log, and must be read even where messages are not
            print(f"web view: {self.place.link()}", file=sys.stderr)
        else:
            needs = "" if self.place.token is None else " (with ?token= and the token you gave)"
            logging.getLogger("fer_live").info(f"web view: {self.place.link()}{needs}")
        return self

    def __exit__(self, *exception) -> None:
        loop, self.feed.loop = self.feed.loop, None
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(timeout=3.0)

    @property
    def needs_picture(self) -> bool:
        """Whether anybody looks at the pictures."""
        return self.feed.needs_picture

    def write(self, image: np.ndarray, analysis: Analysis) -> None:
        """Hand over (H, W, 3) uint8 BGR, which must not be drawn on afterwards. Never waits; raises what ended the server."""
        self._raise()
        self.feed.put(image, analysis)

    def _raise(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # handed to the run with its traceback
            self._error = error
        self._ready.set()

    async def _serve(self) -> None:
        from aiohttp.web import AppRunner

        from fer_live.web.connections import Connection, Connections
        from fer_live.web.routes import Routes

        loop = asyncio.get_running_loop()
        connections = Connections(self.limits)
        routes = Routes(self.feed, self.guard, connections, self.more_metrics or str)
        loop.set_exception_handler(lambda _loop, context: _report(routes, context))
        runner = AppRunner(routes.app, handle_signals=False, access_log=None, logger=_silent(), handler_cancellation=True,
                           lingering_time=0.0, max_line_size=4096, max_field_size=4096, max_headers=64)
        await runner.setup()
        serve = runner.server
        assert serve is not None  # since setup
        server = await loop.create_server(lambda: cast(asyncio.BaseProtocol, Connection(serve(), connections)),
                                          sock=self.place.socket)
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
            task.result()  # raises what ended it


def _report(routes, context: dict) -> None:
    if isinstance(context.get("exception"), Exception):
        routes.report(context["exception"])


def _silent() -> logging.Logger:
    """aiohttp logs every malformed request with a traceback, and with words of the request; our mistakes `Routes` reports."""
    logger = logging.getLogger("fer_live.web")
    logger.disabled = True
    return logger


def _own_address() -> str | None:
    """The address by which others reach this machine, as far as it knows. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address for documentation (RFC 5737)
            return probe.getsockname()[0]
        except OSError:
            return None
