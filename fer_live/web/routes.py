"""Routes of the web view, and the checks that each request passes first (aiohttp)."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

import cv2
from aiohttp import web

from fer_live.screen.qr_code import qr_code
from fer_live.web.commands import COMMANDS, Commands, Controls
from fer_live.web.connections import Connections
from fer_live.web.endpoint import Endpoint
from fer_live.web.feed import Feed, metrics_text
from fer_live.web.guard import Guard
from fer_live.web.pages import File, Pages
from fer_live.web.streams import Streams

logger = logging.getLogger("fer_live")

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
                               "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()", "Cache-Control": "no-store", "Server": "fer_live",
}
ANYONE = {"/style.css", "/colors.css", "/icon.svg"}  # needed by the login page
STYLES = ("chips", "large", "plain")  # of the overlay; see overlay.css
SNAPSHOT_S = 3.0  # seconds; timeout for an image
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Routes:
    """Maps URLs to handlers. `app` is the aiohttp application. controls, more_metrics: as in `WebView`."""

    def __init__(self, feed: Feed, guard: Guard, connections: Connections, pages: Pages, endpoint: Endpoint,
                 controls: Controls | None = None, more_metrics: Callable[[], str] = str):
        self.feed, self.guard, self.connections, self.more_metrics = feed, guard, connections, more_metrics
        self.pages, self.endpoint, self.files = pages, endpoint, pages.files
        commands, streams = Commands(controls, connections, feed.is_recording), Streams(feed, connections)
        self.reported: set[str] = set()
        self.app = web.Application(middlewares=[self.check], client_max_size=1)
        self.app.on_response_prepare.append(_add_headers)
        add = self.app.router.add_get
        for name in self.files:
            at = {"index.html": ("/", self.file), "overlay.html": ("/overlay", self.overlay)}
            add(*at.get(name, (f"/{name}", self.file)))
        add("/api", self.api)
        add("/phone.png", self.phone)
        add("/history", self.history)
        add("/log", commands.log, allow_head=False)
        self.app.router.add_post(f"/commands/{{name:{'|'.join(COMMANDS)}}}", commands.carry_out)
        add("/snapshot.jpg", self.snapshot)
        add("/healthz", self.health)
        add("/metrics", self.metrics)
        add("/stream.mjpg", streams.images, allow_head=False)
        add("/events", streams.events, allow_head=False)
        self.places = {resource.canonical for resource in self.app.router.resources()}

    # -------------------------------------------------------------------------------------------- checks

    @web.middleware
    async def check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Middleware: reject or answer the request. An exception in the program is reported and ends only one request."""
        connection = self.connections.open.get(request.transport)
        if connection is None:
            raise ConnectionResetError("the client has gone")
        connection.begin()
        try:
            answer = self._refuse(request, connection.address) or await handler(request)
        except web.HTTPException as error:  # 404, 405
            answer = _text(error.status, error.reason)
        except (ConnectionError, asyncio.CancelledError):  # the client has disconnected
            raise
        except Exception as error:
            self.report(error)
            answer = _text(500, "internal error")
        finally:
            connection.end()
        if answer.status >= 400 and answer.status != 404:
            answer.force_close()
        return answer

    def _refuse(self, request: web.Request, address: str) -> web.Response | None:
        """Return the rejection, or None. The order matters: the cheapest checks come first, and the token is compared last."""
        if not self.guard.requests.take(address):
            return self._refused("request_rate", 429, "too many requests; wait a moment")
        hosts = request.headers.getall("Host", [])
        if not self.guard.allows_host(hosts):
            return self._refused("host", 421, "unknown host name; use the URL that the program printed")
        if not self.guard.allows_origin(request.headers, hosts[0]):
            return self._refused("origin", 403, "requests from other sites are refused")
        is_change = request.method not in ("GET", "HEAD") and request.match_info.http_exception is None
        if is_change and not self.guard.allows_change(request.headers):
            return self._refused("origin", 403, "send the token as Authorization: Bearer TOKEN")
        if request.body_exists:
            return self._refused("too_large", 413, "requests must not have a body")
        return self._ask_token(request, address)

    def _ask_token(self, request: web.Request, address: str) -> web.Response | None:
        if self.guard.token is None or request.path in ANYONE:
            return None
        if self.guard.wrong.left(address) < 1.0:
            return self._refused("token_rate", 429, "too many wrong tokens; wait a moment")
        name = self.cookie_name(request)
        given, cookie, bearer = request.query.get("token"), request.cookies.get(name), request.headers.get("Authorization")
        if given is not None and self.guard.opens(given):
            target = str(request.rel_url.without_query_params("token")) if request.path in self.places else "/"
            answer = web.Response(status=303, headers={"Location": target})
            answer.set_cookie(name, self.guard.session, httponly=True, samesite="Strict", path="/", max_age=30 * 24 * 3600)
            return answer
        if given is None and self.guard.knows(cookie, bearer):
            return None
        if given is not None or cookie is not None or bearer is not None:
            self.guard.wrong.take(address)
        self.connections.refused["token"] += 1
        is_page = "text/html" in request.headers.get("Accept", "")
        body, kind = self.files["locked.html"] if is_page else (b"a token is required\n", None)
        return web.Response(status=401, body=body, content_type=kind or "text/plain", charset="utf-8",
                            headers={"WWW-Authenticate": "Bearer"})

    def _refused(self, why: str, status: int, text: str) -> web.Response:
        self.connections.refused[why] += 1
        return _text(status, text)

    def cookie_name(self, request: web.Request) -> str:
        """Return the name of the session cookie. It includes the port, since browsers share cookies between ports of a host."""
        assert request.transport is not None
        return f"fer_live_{request.transport.get_extra_info('sockname')[1]}"

    def report(self, error: BaseException) -> None:
        """Log an error of the program, once per code location, without its text, which can contain parts of the request."""
        origin = traceback.extract_tb(error.__traceback__)[-1]
        line = f"{type(error).__name__} in {Path(origin.filename).name}:{origin.lineno}"
        if line not in self.reported:
            self.reported.add(line)
            logger.error(f"web view: {line}; one request was not answered")

    # -------------------------------------------------------------------------------------------- answers

    async def file(self, request: web.Request) -> web.Response:
        """Serve a file of the page."""
        return _file(self.files[request.path[1:] or "index.html"])

    async def api(self, request: web.Request) -> web.Response:
        """Serve the API documentation with examples."""
        return _file(self.pages.api(f"http://{request.headers['Host']}"))

    async def phone(self, request: web.Request) -> web.Response:
        """Serve the page's URL as a QR code, with a temporary token."""
        if self.endpoint.is_local:
            return _text(404, "only this computer can open the page; start with --serve 0.0.0.0:PORT")
        host = request.headers["Host"]
        base = self.endpoint.address if self.guard.is_own_loopback(host) else f"http://{host}/"
        code = qr_code(f"{base}?token={self.guard.ticket()}")
        large = cv2.resize(code, None, fx=8, fy=8, interpolation=cv2.INTER_NEAREST)
        return web.Response(body=cv2.imencode(".png", large)[1].tobytes(), content_type="image/png")

    async def history(self, request: web.Request) -> web.Response:
        """Serve the last three minutes."""
        return web.json_response(self.feed.past())

    async def overlay(self, request: web.Request) -> web.Response:
        """Serve a transparent page with a chip per face, to overlay on an image; `?style=` is one of STYLES."""
        if request.query.get("style", STYLES[0]) not in STYLES:
            return _text(400, f"style is one of: {', '.join(STYLES)}")
        return _file(self.files["overlay.html"])

    async def health(self, request: web.Request) -> web.Response:
        """Respond with status 200 while frames arrive, otherwise 503."""
        state = self.feed.state()
        return web.json_response({"status": "ok" if state["camera"] == "ok" else "failing", **state},
                                 status=200 if state["camera"] == "ok" else 503)

    async def metrics(self, request: web.Request) -> web.Response:
        """Serve metrics for Prometheus."""
        text = metrics_text(self.feed.state(), self.feed.entries.readers, self.connections.refused) + self.more_metrics()
        return web.Response(body=text.encode(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def snapshot(self, request: web.Request) -> web.Response:
        """Serve the next image."""
        self.feed.snapshots += 1
        try:
            async with asyncio.timeout(SNAPSHOT_S):
                _, jpeg = await self.feed.images.after(self.feed.images.number)
        except TimeoutError:
            return _text(503, "the camera sends no images")
        finally:
            self.feed.snapshots -= 1
        return web.Response(body=jpeg, content_type="image/jpeg")


async def _add_headers(request: web.Request, answer: web.StreamResponse) -> None:
    answer.headers.update(HEADERS)


def _file(file: File) -> web.Response:
    body, kind = file
    return web.Response(body=body, content_type=kind, charset="utf-8")


def _text(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=text + "\n")
