"""Tells systemd that the program is ready, and that pictures still flow (sd_notify(3), systemd's documented datagrams)."""

from __future__ import annotations

import os
import socket
import time

import numpy as np

from fer_live.types import Analysis


class Heartbeat:
    """A sink: READY=1 with the first picture, WATCHDOG=1 while pictures come, STOPPING=1 at the end.

    It is written to by the live loop only, so that a camera or a stage that hangs is noticed: systemd then restarts it.
    """

    needs_picture = False

    def __init__(self, environment: dict[str, str] | None = None):
        env = dict(os.environ) if environment is None else environment
        self.address = env.get("NOTIFY_SOCKET", "")
        mine = env.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        microseconds = env.get("WATCHDOG_USEC", "")
        # twice in the time that systemd waits, as its manual asks, and then some
        self.every_s = int(microseconds) / 3e6 if mine and microseconds.isdigit() else None
        self.due_s: float | None = None  # None before the first picture
        self.socket: socket.socket | None = None

    def __enter__(self) -> Heartbeat:
        if self.address:
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self.socket.setblocking(False)
        return self

    def __exit__(self, *exception) -> None:
        if self.socket:
            self._send("STOPPING=1")
            self.socket.close()

    def write(self, image: np.ndarray, analysis: Analysis) -> None:
        """A picture has come through."""
        now_s = time.monotonic()
        if self.due_s is None:
            self._send("READY=1")
        elif self.every_s is None or now_s < self.due_s:
            return
        else:
            self._send("WATCHDOG=1")
        self.due_s = now_s + (self.every_s or 0.0)

    def _send(self, message: str) -> None:
        if self.socket:
            address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
            try:
                self.socket.sendto(message.encode(), address)
            except OSError:  # systemd is not listening: it will act as it was told to, and the show goes on
                return
