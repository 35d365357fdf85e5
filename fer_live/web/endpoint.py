"""The address of the web view: a socket that is bound before anything else is loaded, and the URLs that lead to it."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

from fer_live.types import OutputError
from fer_live.web.guard import choose_token, is_loopback

TOKEN_VARIABLE = "FER_LIVE_TOKEN"  # other users of the machine can read command lines, but not this
NEEDS = "--serve needs the package aiohttp: pip install aiohttp"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A bound socket and its access settings."""

    socket: socket.socket
    host: str  # as requested
    token: str | None  # None: no token is required
    is_token_made: bool

    @property
    def bound(self) -> tuple[str, int]:
        """The IP address and the port."""
        return self.socket.getsockname()[:2]

    @property
    def is_local(self) -> bool:
        """Whether only this computer can reach the server."""
        return is_loopback(self.bound[0])

    @property
    def address(self) -> str:
        """The URL to open in a browser, as far as this machine knows its own address."""
        host, port = self.bound
        if host in ("0.0.0.0", "::"):
            host = _own_address() or socket.gethostname()
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{port}/"

    def link(self) -> str:
        """Return the URL, with the token only if it was generated, since nobody knows it yet."""
        return self.address + (f"?token={self.token}" if self.is_token_made else "")


def bind_endpoint(host: str, port: int, token: str | None = None, needs_token: bool = False) -> Endpoint:
    """Bind the port, before a model is loaded. port: 0 selects a free one. needs_token: require a token also on 127.0.0.1.

    Raises OutputError.
    """
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
        given = token or os.environ.get(TOKEN_VARIABLE) or None
        chosen = choose_token(given, needs_token or not is_loopback(listening.getsockname()[0]))
    except (OSError, UnicodeError) as error:
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else "no such name"
        raise OutputError(f"cannot serve on {host}:{port} ({reason}); choose another --serve [HOST:]PORT") from None
    except OutputError:
        if listening is not None:
            listening.close()
        raise
    return Endpoint(listening, host, *chosen)


def _own_address() -> str | None:
    """Return the address under which others reach this machine, if known. Sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # reserved for documentation (RFC 5737)
            return probe.getsockname()[0]
        except OSError:
            return None
