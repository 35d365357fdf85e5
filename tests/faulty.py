"""An MJPEG camera on loopback with faults on demand: it stalls, dies, freezes, changes its size, or sends garbage."""

from __future__ import annotations

import contextlib
import http.server
import socket
import threading
import time

import cv2
import numpy as np


class FaultyCamera:
    """A context manager. `mode`, one of MODES, can be changed at any time; `sent` counts the images of all connections.

    Each image encodes its number in 16 squares along the upper edge, see `number_in`. A frozen camera sends
    the same image on new connections too.
    """

    MODES = ("ok", "stall", "die", "freeze", "resize", "garbage", "damage", "refuse", "mute")

    def __init__(self, size_wh=(320, 240), rate=30.0, part_type="image/jpeg", suffix=".jpg"):
        self.size_wh, self.rate, self.mode, self.sent = size_wh, rate, "ok", 0
        self.part_type, self.suffix = part_type, suffix  # declared content type of the parts, if any, and their actual format
        self.server = None
        self.port = 0
        self.rng = np.random.default_rng(0)
        self.scene = self.rng.integers(60, 190, (9, 16, 3), np.uint8)  # smooth, with sensor noise
        self.noise = self.rng.integers(0, 9, size_wh[0] * size_wh[1] * 3, np.uint8)
        self.last = self.image(0, size_wh)
        self.connections: set[socket.socket] = set()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exception):
        self.stop()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.port}/"

    def start(self):
        camera = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                camera.connections.add(self.connection)
                with contextlib.suppress(OSError):
                    camera.serve(self)
                camera.connections.discard(self.connection)

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads, block_on_close = True, False

        self.server = Server(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self):
        """Unplug the camera: the port closes and all connections break."""
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server = None
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def image(self, number, size_wh):
        scene = cv2.resize(self.scene, size_wh, interpolation=cv2.INTER_LINEAR)
        image = cv2.add(scene, np.roll(self.noise, self.rng.integers(self.noise.size))[: scene.size].reshape(scene.shape))
        side = size_wh[0] // 16
        for bit in range(16):
            image[:side, bit * side : (bit + 1) * side] = 255 if number >> bit & 1 else 0
        return cv2.imencode(self.suffix, image, [cv2.IMWRITE_JPEG_QUALITY, 80] if self.suffix == ".jpg" else [])[1].tobytes()

    def serve(self, handler):
        if self.mode == "mute":  # it listens but does not answer
            self._while("mute")
            return
        if self.mode == "refuse":
            handler.send_error(503)
            return
        handler.send_response(200)
        handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        handler.end_headers()
        while self.server is not None and self.mode not in ("die", "mute", "refuse"):
            self._while("stall")
            if self.mode == "garbage":
                handler.wfile.write(self.rng.bytes(20_000))
            else:
                small = self.mode == "resize" and self.sent // 5 % 2
                if self.mode != "freeze":
                    self.sent += 1
                    self.last = self.image(self.sent, tuple(side // 2 for side in self.size_wh) if small else self.size_wh)
                part = self.last[:600] + self.rng.bytes(len(self.last) - 600) if self.mode == "damage" else self.last
                kind = f"Content-Type: {self.part_type}\r\n".encode() if self.part_type else b""
                handler.wfile.write(b"--frame\r\n" + kind + b"Content-Length: %d\r\n\r\n" % len(part))
                handler.wfile.write(part + b"\r\n")
            time.sleep(1 / self.rate)

    def _while(self, mode):
        while self.mode == mode and self.server is not None:
            time.sleep(0.01)


def number_in(image):
    """Decode the number of a FaultyCamera image."""
    side = image.shape[1] // 16
    return sum(1 << bit for bit in range(16) if image[side // 2, bit * side + side // 2].mean() > 127)
