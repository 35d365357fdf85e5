"""Notifies systemd that the program is ready and that frames keep arriving, by the datagrams of sd_notify(3)."""

from __future__ import annotations

import os
import socket
import time

import numpy as np

from fer_live.types import Analysis


class Heartbeat:
    """A sink that sends READY=1 with the first frame, WATCHDOG=1 while frames arrive, and STOPPING=1 at the end.

    Only the live loop writes to it, so systemd restarts the program if the camera or a stage hangs.
    """

    needs_image = False

    def __init__(self, environment: dict[str, str] | None = None):
        env = dict(os.environ) if environment is None else environment
        self.address = env.get("NOTIFY_SOCKET", "")
        mine = env.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        microseconds = env.get("WATCHDOG_USEC", "")
        # three times per timeout; systemd's manual recommends twice
        self.every_s = int(microseconds) / 3e6 if mine and microseconds.isdigit() else None
        self.due_s: float | None = None  # None before the first frame
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
        """Send a notification if one is due."""
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
            except OSError:  # systemd is not listening; the run continues
                return
