"""Commands for viewers, if the run allows them: save an image, start and stop a recording, and download the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import quote

from aiohttp import web

from fer_live.types import OutputError
from fer_live.web.connections import Connections
from fer_live.web.guard import Buckets

COMMANDS = ("snapshot", "record", "stop")
ANSWER_S = 5.0  # seconds; timeout of a command
CHUNK = 64 * 1024
REFUSED = "this run accepts no commands; start it with --web-controls, which cannot be combined with --kiosk or --no-store"


class Controls(Protocol):
    """Interface to the run for clients with control. Thread-safe."""

    @property
    def log(self) -> Path | None:
        """The current log file; None if there is none yet."""

    def ask(self, command: str) -> Future[Path | None]:
        """Queue one of COMMANDS and return a future of the file, written or being written; it can fail with OutputError.

        A future that is cancelled before the command starts prevents the command.
        """


class Commands:
    """Handles requests that change the run. controls: None rejects all. is_recording: whether a recording is running."""

    def __init__(self, controls: Controls | None, connections: Connections, is_recording: Callable[[], bool]):
        self.controls, self.connections, self.is_recording = controls, connections, is_recording
        self.rate = Buckets(*connections.limits.commands)

    async def carry_out(self, request: web.Request) -> web.Response:
        """Handle POST /commands/NAME."""
        if self.controls is None:
            return _text(403, REFUSED)
        if not self.rate.take(self.connections.open[request.transport].address):
            self.connections.refused["command_rate"] += 1
            return _text(429, "too many commands; wait a moment")
        try:
            async with asyncio.timeout(ANSWER_S):
                path = await asyncio.wrap_future(self.controls.ask(request.match_info["name"]))
        except TimeoutError:
            return _text(503, "the camera sends no images; nothing was done")
        except OutputError as error:
            return _text(500, str(error))
        return web.json_response({"file": path.name if path else None, "recording": self.is_recording()})

    async def log(self, request: web.Request) -> web.StreamResponse:
        """Handle GET /log: send the log written so far."""
        connection = self.connections.open[request.transport]
        path = self.controls.log if self.controls is not None else None
        if path is None:
            return _text(404, "there is no log yet" if self.controls else REFUSED)
        try:
            file = await asyncio.to_thread(open, path, "rb")
        except OSError as error:
            return _text(500, f"the log cannot be read ({error.strerror})")
        with file:
            kind = "text/csv" if path.suffix.lower() == ".csv" else "application/jsonl"
            disposition = f"attachment; filename*=UTF-8''{quote(path.name)}"
            answer = web.StreamResponse(headers={"Content-Type": f"{kind}; charset=utf-8", "Content-Disposition": disposition})
            await answer.prepare(request)
            async for chunk in _chunks(file):
                await answer.write(chunk)
                await connection.writable.wait()
            await answer.write_eof()
        return answer


async def _chunks(file: BinaryIO) -> AsyncIterator[bytes]:
    """Yield the current contents up to the last complete line; the file may grow during the download."""
    rest = await asyncio.to_thread(_end_of_lines, file)
    while rest:
        chunk = await asyncio.to_thread(file.read, min(CHUNK, rest))
        if not chunk:
            return
        rest -= len(chunk)
        yield chunk


def _end_of_lines(file: BinaryIO) -> int:
    size = file.seek(0, 2)
    start = max(0, size - CHUNK)
    file.seek(start)
    end = start + file.read().rfind(b"\n") + 1
    file.seek(0)
    return end


def _text(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=text + "\n")
