"""Checks whether a window can be opened. It asks the X server, because OpenCV's Qt aborts the process on failure."""

from __future__ import annotations

import logging
import os
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

logger = logging.getLogger("fer_live")

COOKIE = b"MIT-MAGIC-COOKIE-1"
INTERNET, INTERNET6, LOCAL, WILD = 0, 6, 256, 65535  # address families in an authority file (Xau(3))
ANSWER_S = 5.0  # seconds; timeout for the display's response
FIRST_PORT = 6000  # TCP port of display 0


def missing_display() -> str | None:
    """Return why no window can be opened, or None if one can."""
    if not sys.platform.startswith("linux"):
        return None
    name = os.environ.get("DISPLAY", "")
    if not name:
        return "no display (DISPLAY is not set)"
    host, _, rest = name.rpartition(":")
    number, _, screen = rest.partition(".")
    if ":" not in name or not _is_number(number, 65535 - FIRST_PORT) or (screen and not _is_number(screen, 255)):
        return f"no display (DISPLAY is {name!r})"
    connection = _connect(host.rpartition("/")[2], int(number))
    if connection is None:
        return f"no display responds at DISPLAY={name}"
    with connection:
        try:
            refusal = _ask(connection, _cookie(connection, number), int(screen or 0))
        except (OSError, struct.error):  # struct.error: the response is too short
            return f"no display responds at DISPLAY={name}"
    return refusal and f"the display {name} refuses windows ({refusal})"


def _is_number(text: str, most: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 9 and int(text) <= most


def _connect(host: str, number: int) -> socket.socket | None:
    """Connect to the display, trying addresses in the order of libxcb. Returns None on failure."""
    is_here = host in ("", "unix")
    if is_here:
        for address in (f"\0/tmp/.X11-unix/X{number}", f"/tmp/.X11-unix/X{number}"):
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(ANSWER_S)
            try:
                connection.connect(address)
                return connection
            except OSError:
                connection.close()
    try:
        return socket.create_connection(("localhost" if is_here else host.strip("[]"), FIRST_PORT + number), ANSWER_S)
    except (OSError, UnicodeError):  # UnicodeError: not a valid host name
        return None


def _ask(connection: socket.socket, cookie: bytes, screen: int) -> str | None:
    """Perform the connection setup of the X11 protocol. Returns why it was refused, or None."""
    name = COOKIE if cookie else b""
    request = struct.pack("<BxHHHHxx", ord("l"), 11, 0, len(name), len(cookie)) + _padded(name) + _padded(cookie)
    connection.sendall(request)
    status, reason_bytes, length = struct.unpack("<BBxxxxH", _receive(connection, 8))
    content = _receive(connection, 4 * length)
    if status != 1:
        reason = content[:reason_bytes] if status == 0 else content
        words = "".join(c for c in reason.decode("latin-1") if c.isprintable())
        return words.strip() or "it requires authentication"
    screens = struct.unpack_from("<20xB", content)[0]
    return None if screen < screens else f"it has no screen {screen}"


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 4)


def _receive(connection: socket.socket, count: int) -> bytes:
    """Receive `count` bytes, or fewer if the connection ends."""
    content = b""
    while len(content) < count and (more := connection.recv(count - len(content))):
        content += more
    return content


def _cookie(connection: socket.socket, number: str) -> bytes:
    """Return the cookie for this display from the user's authority file; empty if there is none."""
    family, address = LOCAL, socket.gethostname().encode()
    if connection.family in (socket.AF_INET, socket.AF_INET6):
        peer = socket.inet_pton(connection.family, connection.getpeername()[0].partition("%")[0])
        if not (peer[:1] == b"\x7f" and len(peer) == 4) and peer != bytes(15) + b"\1":  # listed under the host name
            family, address = INTERNET if len(peer) == 4 else INTERNET6, peer
    for entry_family, entry_address, entry_number, name, data in _authorities():
        fits = entry_family == WILD or (entry_family, entry_address) == (family, address)
        if fits and entry_number in (b"", number.encode()) and name == COOKIE:
            return data
    return b""


def _authorities() -> Iterator[tuple[int, bytes, bytes, bytes, bytes]]:
    """Yield the family, address, display number, method name and data of each entry; stop where the file is damaged."""
    path = os.environ.get("XAUTHORITY") or os.path.join(os.environ.get("HOME", "/"), ".Xauthority")
    try:
        content = Path(path).read_bytes()
    except (OSError, ValueError):  # ValueError: not a valid file name
        return
    at = 0
    try:
        while at < len(content):
            family, at = struct.unpack_from(">H", content, at)[0], at + 2
            parts = []
            for _ in range(4):
                size = struct.unpack_from(">H", content, at)[0]
                parts.append(content[at + 2 : at + 2 + size])
                at += 2 + size
            yield family, *parts
    except struct.error:
        return


def settle_qt_platform() -> None:
    """Select X11 if QT_QPA_PLATFORM names only platforms, such as wayland, that OpenCV's bundled Qt lacks, since Qt would abort.

    Does nothing if OpenCV was built with the system's Qt.
    """
    import cv2

    plugins = Path(cv2.__file__).parent / "qt" / "plugins" / "platforms"
    wanted = os.environ.get("QT_QPA_PLATFORM", "")
    names = [part.partition(":")[0] for part in wanted.split(";")]
    if wanted and plugins.is_dir() and not any((plugins / f"libq{name}.so").is_file() for name in names if name):
        logger.warning(f"QT_QPA_PLATFORM={wanted}: OpenCV's windows do not support it; using xcb")
        os.environ["QT_QPA_PLATFORM"] = "xcb"
