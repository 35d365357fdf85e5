"""Access control of the web view: token, Host, Origin, and rate limits by address.

A page on another site can make the visitor's browser send requests to this server, also on 127.0.0.1, and read the responses with
DNS rebinding. It cannot choose the Host header or hide its Origin, so both are checked on every request. A request that changes
something must have an Origin header, as all browsers send, or come from a program that sends the token.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from fer_live.types import OutputError

TOKEN = re.compile(r"[A-Za-z0-9._~-]{12,128}")  # characters that need no escaping in a URL
TICKET_S = 120.0
ADDRESSES = 4096  # maximum number of addresses stored; the least recently used is deleted first


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the web view. Pairs are (burst, per second) for one address."""

    viewers: int = 32  # of the image, and as many of the events
    connections: int = 160
    per_address: int = 120  # so that one address cannot take all connections; 32 viewers behind one address need 64
    new_connections: tuple[float, float] = (200.0, 40.0)
    requests: tuple[float, float] = (400.0, 60.0)
    wrong_tokens: tuple[float, float] = (20.0, 0.5)
    commands: tuple[float, float] = (10.0, 1.0)  # each can write an image
    request_bytes: int = 32 * 1024
    idle_s: float = 10.0  # seconds to send a request, to read the response, and between requests


class Buckets:
    """A token bucket per address: `burst` at once, `per_s` on average."""

    def __init__(self, burst: float, per_s: float, clock: Callable[[], float] = time.monotonic):
        self.burst, self.per_s, self.clock = burst, per_s, clock
        self.levels: dict[str, tuple[float, float]] = {}  # address -> remaining tokens, and when

    def left(self, address: str) -> float:
        """Return the number of tokens left for this address."""
        level, then_s = self.levels.get(network(address), (self.burst, 0.0))
        return min(self.burst, level + (self.clock() - then_s) * self.per_s)

    def take(self, address: str) -> bool:
        """Take a token. Returns False if none is left."""
        left, key = self.left(address), network(address)
        self.levels.pop(key, None)  # reinserted as the newest
        self.levels[key] = (left - 1.0 if left >= 1.0 else left), self.clock()
        if len(self.levels) > ADDRESSES:
            del self.levels[next(iter(self.levels))]
        return left >= 1.0


def network(address: str) -> str:
    """Return the address; for IPv6 its /64 network, which one client can own entirely."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network((address.split("%")[0], 64), strict=False))
    except ValueError:
        return address


def is_loopback(host: str) -> bool:
    """Whether a server on this IP address or host name can be reached from this computer only; of names, only localhost."""
    try:
        return ipaddress.ip_address(host.split("%")[0]).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def choose_token(given: str | None, is_needed: bool) -> tuple[str | None, bool]:
    """Return the required token (None: no token) and whether it was generated. Raises OutputError."""
    if given is not None:
        if not TOKEN.fullmatch(given):  # the message does not repeat it
            raise OutputError("--token must be 12 to 128 letters, digits and . _ ~ - (leave it out to generate one)")
        return given, False
    return (secrets.token_urlsafe(18), True) if is_needed else (None, False)


class Guard:
    """Checks requests.

    bound: the IP address of the server. host: the requested name or address. token: None disables the check.
    """

    def __init__(self, bound: str, host: str, token: str | None, limits: Limits):
        self.is_local = is_loopback(bound)
        self.names = {"localhost"}
        if not self.is_local:
            mine = socket.gethostname().lower()
            self.names |= {host.lower(), mine, mine.split(".")[0], mine.split(".")[0] + ".local"}
        self.token = token
        # The session cookie grants the same access but does not reveal the token. It stays valid after a restart.
        self.session = hmac.digest((token or "").encode(), b"fer_live web session", hashlib.sha256).hex()
        self.requests, self.wrong = Buckets(*limits.requests), Buckets(*limits.wrong_tokens)

    def allows_host(self, hosts: list[str]) -> bool:
        """Whether the Host header is unique and names this server. IP addresses cannot be rebound, names can."""
        name = _hostname(hosts[0]) if len(hosts) == 1 else None
        if name is None:
            return False
        try:
            literal = ipaddress.ip_address(name)
        except ValueError:
            return name in self.names
        return literal.is_loopback or not self.is_local

    def is_own_loopback(self, host: str) -> bool:
        """Whether this Host header, already accepted by `allows_host`, is reachable from this computer only."""
        return is_loopback(_hostname(host) or "")

    def allows_origin(self, headers, host: str) -> bool:
        """Whether the request comes from our own page, from a user or from a program other than a browser."""
        origins = headers.getall("Origin", [])
        own = {f"{scheme}://{host}".lower() for scheme in ("http", "https")}
        if any(origin.lower() not in own for origin in origins):
            return False
        if headers.get("Sec-Fetch-Site", "none") in ("same-origin", "none"):
            return True  # another site may only link here, not embed an image, script or frame
        return headers.get("Sec-Fetch-Mode") == "navigate" and headers.get("Sec-Fetch-Dest") == "document"

    def allows_change(self, headers) -> bool:
        """Whether the request, already accepted by `allows_origin`, may change something.

        It must come from our own page, or from a program that sends the token, and not from a link.
        """
        is_own = headers.get("Sec-Fetch-Site", "same-origin") == "same-origin"
        return is_own and ("Origin" in headers or "Authorization" in headers)

    def knows(self, cookie: str | None, authorization: str | None) -> bool:
        """Whether the session cookie or "Authorization: Bearer TOKEN" grants access."""
        if self.token is None:
            return True
        bearer = (authorization or "").removeprefix("Bearer ")
        return _same(cookie or "", self.session) | _same(bearer, self.token)

    def opens(self, token: str) -> bool:
        """Whether this is the token or a valid ticket."""
        if self.token is None:
            return False
        slot = int(time.time() // TICKET_S)
        return _same(token, self.token) | _same(token, self._ticket(slot)) | _same(token, self._ticket(slot - 1))

    def ticket(self) -> str:
        """Return a temporary token for a QR code on a screen, valid for TICKET_S to twice that.

        A photograph of the code is useless later.
        """
        return self._ticket(int(time.time() // TICKET_S))

    def _ticket(self, slot: int) -> str:
        return hmac.digest((self.token or "").encode(), b"fer_live web ticket %d" % slot, hashlib.sha256).hex()[:32]


def _same(given: str, right: str) -> bool:
    """Compare in constant time, so that the duration reveals nothing about the secret."""
    return hmac.compare_digest(given.encode(errors="replace"), right.encode())


def _hostname(host: str) -> str | None:
    if not re.fullmatch(r"[A-Za-z0-9._:\[\]-]+", host):
        return None
    try:
        parts = urlsplit("//" + host)
        _ = parts.port  # raises if it is not a number
        return parts.hostname.rstrip(".") if parts.hostname else None
    except ValueError:
        return None
