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
LATER = (408, 425, 429)  # statuses that ask to try again, besides those from 500 on


class Webhook:
    """url: http:// or https://; a user and password in it, or the variable FER_LIVE_WEBHOOK_TOKEN, become Authorization.

    An event is posted until it is answered with 2xx; another answer below 500 refuses it. Redirects are not followed: they
    would turn the POST into a GET. Each event has an `id`, by which a receiver recognizes one that comes twice.
    Raises ValueError for what is no such address.
    """

    kinds, depth, takes_pictures, settle_s = FACES | RUN, 0, False, 0.0

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S):
        parts = urlsplit(url)
        is_text = url.isascii() and url.isprintable() and " " not in url
        if parts.scheme not in ("http", "https") or not parts.hostname or not is_text:
            raise ValueError("give an address that begins with http:// or https://")
        parts.hostname.encode("idna")  # raises UnicodeError, a ValueError, for what can be no name
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
                raise ValueError(f"{TOKEN_VARIABLE} holds what cannot stand in a header; give printable ASCII")
            self.headers["Authorization"] = f"Bearer {token}"
        self.run, self.sent = secrets.token_hex(4), 0

    def connect(self) -> None:
        """Each event has a connection of its own: some hours may lie between two."""

    def send_values(self, values: Values) -> None:
        """A webhook hears of events only."""

    def check(self) -> None:
        """A server is heard of only when it is asked."""

    def close(self) -> None:
        """Nothing is open."""

    def send_event(self, event: Event) -> None:
        """Post it. Raises Lost, OSError or Refused."""
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
        if status >= 500 or status in LATER:
            raise Lost(f"answered with status {status}")
        self.sent += 1
        if not 200 <= status < 300:
            raise Refused(f"answered with status {status}")

    def _connection(self) -> http.client.HTTPConnection:
        if self.is_secure:
            return http.client.HTTPSConnection(self.host, self.port, timeout=self.timeout_s, context=ssl.create_default_context())
        return http.client.HTTPConnection(self.host, self.port, timeout=self.timeout_s)
