"""--webhook URL: posts each event as JSON."""

from __future__ import annotations

import base64
import http.client
import json
import os
import secrets
import ssl
from urllib.parse import unquote, urlsplit

from fer_live.outgoing.events import FACES, RUN, Event, Values
from fer_live.outgoing.worker import Lost, Refused
from fer_live.redact import redact_address

TOKEN_VARIABLE = "FER_LIVE_WEBHOOK_TOKEN"
TIMEOUT_S = 5.0
RETRY_STATUSES = (408, 425, 429)  # retried, like every status from 500 up


class Webhook:
    """Posts events to an HTTP server.

    url: http:// or https://. A user and password in it, or the variable FER_LIVE_WEBHOOK_TOKEN, set the Authorization header.
    An event is retried until the server answers 2xx; other answers below 500 drop it, except RETRY_STATUSES. Redirects are
    not followed, because they would turn the POST into a GET. Each event has an `id`, so receivers can detect duplicates.
    Raises ValueError for an invalid URL.
    """

    kinds, depth, takes_images, settle_s = FACES | RUN, 0, False, 0.0

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S):
        parts = urlsplit(url)
        is_text = url.isascii() and url.isprintable() and " " not in url
        if parts.scheme not in ("http", "https") or not parts.hostname or not is_text:
            raise ValueError("give a URL that starts with http:// or https://")
        parts.hostname.encode("idna")  # raises UnicodeError, a ValueError, for an invalid host name
        self.option, self.timeout_s = f"--webhook {redact_address(url)}", timeout_s
        self.is_secure, self.host, self.port = parts.scheme == "https", parts.hostname, parts.port
        self.path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self.headers = {"Content-Type": "application/json", "User-Agent": "fer_live"}
        token = os.environ.get(TOKEN_VARIABLE)
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self.headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        elif token:
            if not token.isascii() or not token.isprintable():
                raise ValueError(f"{TOKEN_VARIABLE} has characters that a header cannot contain; use printable ASCII")
            self.headers["Authorization"] = f"Bearer {token}"
        self.run, self.sent = secrets.token_hex(4), 0

    def connect(self) -> None:
        """Do nothing: events can be hours apart, so each one opens its own connection."""

    def send_values(self, values: Values) -> None:
        """Do nothing: webhooks send events only."""

    def check(self) -> None:
        """Do nothing: errors show up only when an event is sent."""

    def close(self) -> None:
        """Do nothing: no connection is kept open."""

    def send_event(self, event: Event) -> None:
        """Post the event. Raises Lost, OSError or Refused."""
        body = json.dumps({"id": f"{self.run}-{self.sent}", **event.to_dict()}).encode()
        connection = self._connection()
        try:
            connection.request("POST", self.path, body, self.headers)
            status = connection.getresponse().status
        except http.client.HTTPException as error:
            raise Lost(f"no HTTP answer: {type(error).__name__}") from None
        except TimeoutError:
            raise Lost(f"no answer within {self.timeout_s:g} s") from None
        finally:
            connection.close()
        if status >= 500 or status in RETRY_STATUSES:
            raise Lost(f"answered with status {status}")
        self.sent += 1
        if not 200 <= status < 300:
            raise Refused(f"answered with status {status}")

    def _connection(self) -> http.client.HTTPConnection:
        if self.is_secure:
            return http.client.HTTPSConnection(self.host, self.port, timeout=self.timeout_s, context=ssl.create_default_context())
        return http.client.HTTPConnection(self.host, self.port, timeout=self.timeout_s)
