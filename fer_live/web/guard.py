"""Who may look at the web view: its token, Host and Origin, and how often one address may ask.

A page on another site can make the visitor's browser ask this server, also on 127.0.0.1, and with DNS rebinding read the
answer. It cannot choose the Host that the browser names, nor hide its own Origin: both are checked on every request. A request
that changes something must name its Origin, as all browsers do, or come from a program that sends the token.
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

TOKEN = re.compile(r"[A-Za-z0-9._~-]{12,128}")  # stands in an address as it is
TICKET_S = 120.0
ADDRESSES = 4096  # remembered at most; the longest unseen is forgotten first


@dataclass(frozen=True, slots=True)
class Limits:
    """What the web view allows. Pairs are (at once, per second) for one address."""

    viewers: int = 32  # of the picture, and as many of the events
    connections: int = 160
    per_address: int = 120  # so that one address cannot take all connections; 32 viewers behind one need 64
    new_connections: tuple[float, float] = (200.0, 40.0)
    requests: tuple[float, float] = (400.0, 60.0)
    wrong_tokens: tuple[float, float] = (20.0, 0.5)
    commands: tuple[float, float] = (10.0, 1.0)  # each may write a picture
    request_bytes: int = 32 * 1024
    idle_s: float = 10.0  # to send a request, to take what was answered, and between requests


class Buckets:
    """A token bucket for each address: `burst` at once, `per_s` in the long run."""

    def __init__(self, burst: float, per_s: float, clock: Callable[[], float] = time.monotonic):
        self.burst, self.per_s, self.clock = burst, per_s, clock
        self.levels: dict[str, tuple[float, float]] = {}  # address -> what was left, and when

    def left(self, address: str) -> float:
        """How many are left to this address now."""
        level, then_s = self.levels.get(network(address), (self.burst, 0.0))
        return min(self.burst, level + (self.clock() - then_s) * self.per_s)

    def take(self, address: str) -> bool:
        """Take one; False if none is left."""
        left, key = self.left(address), network(address)
        self.levels.pop(key, None)  # back in as the newest
        self.levels[key] = (left - 1.0 if left >= 1.0 else left), self.clock()
        if len(self.levels) > ADDRESSES:
            del self.levels[next(iter(self.levels))]
        return left >= 1.0


def network(address: str) -> str:
    """The address; of IPv6 the /64 network, all of which one client may own."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network((address.split("%")[0], 64), strict=False))
    except ValueError:
        return address


def is_loopback(address: str) -> bool:
    """Whether what listens on this IP address is reached by this computer alone."""
    return ipaddress.ip_address(address.split("%")[0]).is_loopback


def choose_token(given: str | None, is_needed: bool) -> tuple[str | None, bool]:
    """The token to ask for, and whether it was made here. None: none is needed and none was given. Raises OutputError."""
    if given is not None:
        if not TOKEN.fullmatch(given):  # the text does not repeat it
            raise OutputError("--token takes 12 to 128 letters, digits and . _ ~ - (leave it out and one is made)")
        return given, False
    return (secrets.token_urlsafe(18), True) if is_needed else (None, False)


class Guard:
    """bound: the IP address listened on. host: the name or address that was asked for. token: None asks for none."""

    def __init__(self, bound: str, host: str, token: str | None, limits: Limits):
        self.is_local = is_loopback(bound)
        self.names = {"localhost"}
        if not self.is_local:
            mine = socket.gethostname().lower()
            self.names |= {host.lower(), mine, mine.split(".")[0], mine.split(".")[0] + ".local"}
        self.token = token
        # The cookie opens as the token does, but does not tell it. It stays valid when the program starts again.
        self.session = hmac.digest((token or "").encode(), b"fer_live web session", hashlib.sha256).hex()
        self.requests, self.wrong = Buckets(*limits.requests), Buckets(*limits.wrong_tokens)

    def allows_host(self, hosts: list[str]) -> bool:
        """Whether these Host headers (there must be one) name this server; numbers cannot be rebound, names can."""
        name = _hostname(hosts[0]) if len(hosts) == 1 else None
        if name is None:
            return False
        try:
            literal = ipaddress.ip_address(name)
        except ValueError:
            return name in self.names
        return literal.is_loopback or not self.is_local

    def is_own_loopback(self, host: str) -> bool:
        """Whether this Host header, which `allows_host` has passed, is one that leads to this server on this computer only."""
        name = _hostname(host) or ""
        try:
            return is_loopback(name)
        except ValueError:
            return name == "localhost"

    def allows_origin(self, headers, host: str) -> bool:
        """Whether the request comes from our own page, a person, or a program that is no browser."""
        origins = headers.getall("Origin", [])
        own = {f"{scheme}://{host}".lower() for scheme in ("http", "https")}
        if any(origin.lower() not in own for origin in origins):
            return False
        if headers.get("Sec-Fetch-Site", "none") in ("same-origin", "none"):
            return True  # from elsewhere only a link may lead here, and no picture, script or frame
        return headers.get("Sec-Fetch-Mode") == "navigate" and headers.get("Sec-Fetch-Dest") == "document"

    def allows_change(self, headers) -> bool:
        """Whether the request, which `allows_origin` has passed, may change something: it comes from our own page, or from a
        program that sends the token, and not by a link."""
        is_own = headers.get("Sec-Fetch-Site", "same-origin") == "same-origin"
        return is_own and ("Origin" in headers or "Authorization" in headers)

    def knows(self, cookie: str | None, authorization: str | None) -> bool:
        """Whether the cookie, or an "Authorization: Bearer TOKEN" of a program, opens."""
        if self.token is None:
            return True
        bearer = (authorization or "").removeprefix("Bearer ")
        return _same(cookie or "", self.session) | _same(bearer, self.token)

    def opens(self, token: str) -> bool:
        """Whether this is the token, or a ticket that is still valid."""
        if self.token is None:
            return False
        slot = int(time.time() // TICKET_S)
        return _same(token, self.token) | _same(token, self._ticket(slot)) | _same(token, self._ticket(slot - 1))

    def ticket(self) -> str:
        """What opens as the token does for the next TICKET_S to twice that, for a code on a screen: a photograph of it is of no
        use later."""
        return self._ticket(int(time.time() // TICKET_S))

    def _ticket(self, slot: int) -> str:
        return hmac.digest((self.token or "").encode(), b"fer_live web ticket %d" % slot, hashlib.sha256).hex()[:32]


def _same(given: str, right: str) -> bool:
    """In constant time: how long it takes tells nothing of how much was right."""
    return hmac.compare_digest(given.encode(errors="replace"), right.encode())


def _hostname(host: str) -> str | None:
    if not re.fullmatch(r"[A-Za-z0-9._:\[\]-]+", host):
        return None
    try:
        parts = urlsplit("//" + host)
        _ = parts.port  # raises where it is no number
        return parts.hostname.rstrip(".") if parts.hostname else None
    except ValueError:
        return None
