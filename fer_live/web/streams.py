"""Endless responses: the image stream and the event stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from fer_live.web.connections import Connection, Connections
from fer_live.web.feed import Channel, Feed


class Streams:
    """Handlers of both streams, each limited to the maximum number of viewers."""

    def __init__(self, feed: Feed, connections: Connections):
        self.feed, self.connections, self.viewers = feed, connections, connections.limits.viewers

    async def images(self, request: web.Request) -> web.StreamResponse:
        """Stream images; the client gets the newest image whenever it can receive one."""
        async with self._seat(self.feed.images, request, "multipart/x-mixed-replace; boundary=frame") as (answer, connection):
            number = self.feed.images.number
            while answer.status == 200:
                number, jpeg = await self.feed.images.after(number)
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode()
                await answer.write(head + jpeg + b"\r\n")
                await connection.writable.wait()
        return answer

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Stream log entries as they arrive, or at most `?rate=` per second.

        Once per second, the stream has an event "state", and an event "second" for each finished second.
        """
        try:
            gap_s = 1.0 / min(1000.0, max(0.1, float(request.query.get("rate", 1000.0))))
        except ValueError:
            return web.Response(status=400, text="rate must be a number of events per second\n")
        loop = asyncio.get_running_loop()
        async with self._seat(self.feed.entries, request, "text/event-stream") as (answer, connection):
            number, due_s, second = self.feed.entries.number, 0.0, int(self.feed.now_s()) - 1
            while answer.status == 200:
                if loop.time() >= due_s:
                    passed = self.feed.history.seconds(self.feed.now_s(), second)
                    second = passed[-1]["second"] if passed else second
                    await answer.write(_events("state", self.feed.state()) + _events("second", *passed))
                    due_s = loop.time() + 1.0
                try:
                    async with asyncio.timeout(max(0.0, due_s - loop.time())):
                        number, event = await self.feed.entries.after(number)
                        await answer.write(event)
                        await connection.writable.wait()
                except TimeoutError:
                    continue
                if gap_s > 0.001:
                    await asyncio.sleep(gap_s)
        return answer

    @asynccontextmanager
    async def _seat(
        self, channel: Channel, request: web.Request, kind: str
    ) -> AsyncIterator[tuple[web.StreamResponse, Connection]]:
        """Open an endless response for one of at most `viewers` readers of a channel; status 503 if there are more."""
        connection = self.connections.open[request.transport]
        if channel.readers >= self.viewers:
            self.connections.refused["viewers"] += 1
            text = f"{self.viewers} viewers are watching; try again later\n"
            yield web.Response(status=503, text=text, headers={"Retry-After": "5"}), connection
            return
        answer = web.StreamResponse(headers={"Content-Type": kind, "X-Accel-Buffering": "no"})
        channel.readers += 1
        try:
            await answer.prepare(request)
            yield answer, connection
        finally:
            channel.readers -= 1


def _events(name: str, *objects: dict) -> bytes:
    return "".join(f"event: {name}\ndata: {json.dumps(one)}\n\n" for one in objects).encode()
