"""Limits the number, size and duration of connections to the web view.

aiohttp waits indefinitely for a slow request (slowloris) and for a client that does not read its response. Each of its protocols
is therefore wrapped in one that counts bytes and seconds.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from fer_live.web.guard import Buckets, Limits, network

NOT_SENT = 32 * 1024  # bytes; limit of unsent data in the kernel, so that slow clients skip images instead of lagging behind


class Connections:
    """All connections of a server, for use by its event loop's thread only."""

    def __init__(self, limits: Limits):
        self.limits = limits
        self.open: dict[Any, Connection] = {}  # by transport
        self.per_address: Counter[str] = Counter()
        self.fresh = Buckets(*limits.new_connections)
        self.refused: Counter[str] = Counter()  # reason -> count, for /metrics

    def admit(self, connection: Connection) -> bool:
        """Register a new connection. Returns False if it exceeds a limit."""
        address = network(connection.address)
        if not self.fresh.take(address):
            self.refused["connection_rate"] += 1
            return False
        if len(self.open) >= self.limits.connections or self.per_address[address] >= self.limits.per_address:
            self.refused["connections"] += 1
            return False
        self.open[connection.transport] = connection
        self.per_address[address] += 1
        return True

    def leave(self, connection: Connection) -> None:
        """Unregister a connection."""
        if self.open.pop(connection.transport, None) is not None:
            address = network(connection.address)
            self.per_address[address] -= 1
            if not self.per_address[address]:
                del self.per_address[address]

    async def sweep(self) -> None:
        """Close connections of clients that are too slow to send a request or to read a response. Runs forever."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(1.0, self.limits.idle_s / 4))
            late_s = loop.time() - self.limits.idle_s
            for connection in list(self.open.values()):
                if min(connection.waiting_s, connection.stuck_s) < late_s:
                    self.refused["slow"] += 1
                    connection.transport.abort()

    def abort(self) -> None:
        """Close all connections."""
        for connection in list(self.open.values()):
            connection.transport.abort()


class Connection:
    """An asyncio protocol that wraps aiohttp's protocol for one connection.

    waiting_s: time since when a request is awaited. stuck_s: time since when the client has not read. Infinity if not applicable.
    """

    def __init__(self, inner: Any, connections: Connections):
        self.inner, self.connections = inner, connections
        self.loop = asyncio.get_running_loop()
        self.address, self.received = "", 0
        self.waiting_s, self.stuck_s = self.loop.time(), float("inf")
        self.writable = asyncio.Event()  # set while no data waits in the write buffer
        self.writable.set()
        self.is_admitted = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.address = (transport.get_extra_info("peername") or ("",))[0]
        self.is_admitted = self.connections.admit(self)
        if not self.is_admitted:
            transport.abort()
            return
        transport.set_write_buffer_limits(high=0)
        _hold_little(transport.get_extra_info("socket"))
        self.inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if not self.is_admitted:
            return
        self.received += len(data)
        if self.received > self.connections.limits.request_bytes:  # headers, body and pipelined requests together
            self.connections.refused["too_large"] += 1
            self.transport.abort()
            return
        self.inner.data_received(data)

    def begin(self) -> None:
        """Mark a complete request as being handled."""
        self.received, self.waiting_s = 0, float("inf")

    def end(self) -> None:
        """Mark the request as handled; the next one is awaited."""
        self.waiting_s = self.loop.time()

    def eof_received(self) -> bool | None:
        return self.inner.eof_received() if self.is_admitted else None

    def pause_writing(self) -> None:
        self.stuck_s = self.loop.time()
        self.writable.clear()
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        self.stuck_s = float("inf")
        self.writable.set()
        self.inner.resume_writing()

    def connection_lost(self, exception: Exception | None) -> None:
        self.writable.set()
        if self.is_admitted:
            self.connections.leave(self)
            self.inner.connection_lost(exception)


def _hold_little(sock: Any) -> None:
    """Limit the kernel's buffer of unsent data for slow clients, without slowing down fast ones."""
    import socket

    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, NOT_SENT)
