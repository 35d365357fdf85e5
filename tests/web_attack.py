"""Malformed HTTP requests over raw sockets: python -m tests.web_attack PORT REQUESTS SEED. Used by test_web."""

import contextlib
import random
import socket
import sys
from functools import partial


def malformed(rng: random.Random, port: int) -> bytes:
    """One of many kinds of malformed requests."""
    path = rng.choice(["/../../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc/passwd", "//etc/passwd",
                       "/\\..\\..\\etc\\passwd", "file:///etc/passwd", "/page.js/../../../web.py", "/%00", "/style.css%00.html",
                       "http://evil.example/", "*", "", "?", "/events?rate=nan", "/events?rate=-1", "/a" * 900, "/\u202e",
                       "http://[::1", "/?token=" + "%ff" * 40, "/snapshot.jpg;x", "/.git/config", "/healthz/../web.py"])
    host = f"Host: 127.0.0.1:{port}\r\n"
    noise = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 400)))
    good = f"GET {path} HTTP/1.1\r\n{host}\r\n".encode()
    return rng.choice([
        lambda: f"POST /commands/{rng.choice(['snapshot', 'stop', '', '..'])} HTTP/1.1\r\n{host}\r\n".encode(),
        lambda: good, lambda: noise, lambda: noise + b"\r\n\r\n", lambda: good[: rng.randrange(1, len(good))],
        lambda: b"GET / HTTP/1.1\r\n" + host.encode() + noise + b"\r\n\r\n",
        lambda: f"{rng.choice(['GE T', 'get', 'BREW', 'PRI', 'CONNECT', chr(0), ''])} {path} HTTP/1.1\r\n{host}\r\n".encode(),
        lambda: f"GET {path} HTTP/{rng.choice(['0.9', '9.9', '1.', 'x', '2.0', '1.1 x'])}\r\n{host}\r\n".encode(),
        lambda: f"PUT / HTTP/1.1\r\n{host}Content-Length: {rng.choice(['-1', '1e9', '9' * 20, ''])}\r\n\r\n".encode() + noise,
        lambda: f"POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n{rng.choice(['zz', '-1', 'fffffffffffffffff'])}\r\n"
                .encode() + noise,
        lambda: f"GET / HTTP/1.1\r\n{host}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".encode(),
        lambda: f"GET / HTTP/1.1\r\n{host}{rng.choice(['A' * 9000 + ':b', ':b', 'a b: c', 'a:' + chr(0), 'a'])}\r\n\r\n".encode(),
        lambda: f"GET / HTTP/1.1\r\nHost: {rng.choice(['', 'a b', '[', '%', '127.0.0.1:-1', 'x' * 3000])}\r\n\r\n".encode(),
        lambda: f"GET / HTTP/1.1\r\n{host}Cookie: {'=;' * rng.randrange(400)}\x7f\r\n\r\n".encode("latin1"),
        lambda: f"GET /events HTTP/1.1\r\n{host}Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n".encode() + noise,
        lambda: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + noise, lambda: b"\x16\x03\x01\x02\x00\x01\x00" + noise,
    ])()


def attack(port: int, requests: int, seed: int) -> None:
    """Send malformed requests, some in one connection; fails if a response contains a file or is a server error."""
    rng = random.Random(seed)
    secrets = (b"root:", b"import ", b"[core]", b"Traceback")
    sent = 0
    while sent < requests:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            for _ in range(min(rng.randrange(1, 6), requests - sent)):
                sent += 1
                with contextlib.suppress(OSError):
                    client.sendall(malformed(rng, port))
            with contextlib.suppress(OSError):
                if rng.random() < 0.8:
                    client.shutdown(socket.SHUT_WR)
                    client.settimeout(0.5)
                    output = b"".join(iter(partial(client.recv, 65536), b""))[:200_000]
                    assert not any(secret in output.replace(b'import {', b'') for secret in secrets), output[:300]
                    assert b"HTTP/1.1 500" not in output, output[:300]


if __name__ == "__main__":
    attack(*map(int, sys.argv[1:]))
