"""Queries Linux cameras through Video4Linux. Uses only the standard library, since the doctor imports it too.

Constants and structures are from the kernel's include/uapi/linux/videodev2.h.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

QUERYCAP, ENUM_FMT, ENUM_FRAMESIZES, ENUM_FRAMEINTERVALS = 0x80685600, 0xC0405602, 0xC02C564A, 0xC034564B
CAPTURE, HAS_DEVICE_CAPS = 0x1, 0x80000000
BIG_ENDIAN = 0x80000000  # flag in a format code, besides its four letters
DISCRETE = 1  # type of a single size or interval, as opposed to a range
MAX_ENTRIES = 256  # per list, in case a broken driver never ends it
Ioctl = Callable[[int, int, bytearray], object]
Ask = Callable[[int, bytes], bytes]  # an ioctl: maps a request and the structure's bytes to the filled structure; raises OSError


@dataclass(frozen=True, slots=True)
class Mode:
    """A capture format and size; the largest size if the driver reports a range."""

    format: str
    size_wh: tuple[int, int]
    least_wh: tuple[int, int] | None = None  # smallest size of a range
    rates: tuple[float, ...] = ()  # frames per second, only the highest of a range; empty: unknown


def asker(device: int, ioctl: Ioctl | None = None) -> Ask:
    """Return a function that sends ioctl requests to an open device. ioctl: replaces fcntl.ioctl."""
    def ask(request: int, content: bytes) -> bytes:
        buffer = bytearray(content)
        (ioctl or _kernel)(device, request, buffer)
        return bytes(buffer)

    return ask


def _kernel(device: int, request: int, buffer: bytearray) -> None:
    import fcntl  # not available on Windows

    fcntl.ioctl(device, request, buffer)


def card_name(ask: Ask) -> str | None:
    """Return the camera's name, possibly empty; None for a device that does not capture. Raises OSError."""
    answer = ask(QUERYCAP, bytes(104))
    all_caps, own_caps = struct.unpack_from("=II", answer, 84)
    if not (own_caps if all_caps & HAS_DEVICE_CAPS else all_caps) & CAPTURE:
        return None
    return answer[16:48].split(b"\0")[0].decode("utf-8", "replace")


def modes(ask: Ask) -> Iterator[Mode]:
    """Yield the capture modes of a camera, in the driver's order."""
    for answer in _entries(ask, ENUM_FMT, 64, struct.pack("=I", 1)):
        pixels = answer[44:48]
        code = struct.unpack("=I", pixels)[0] & ~BIG_ENDIAN
        name = struct.pack("<I", code).decode("ascii", "replace").strip()
        for size in _entries(ask, ENUM_FRAMESIZES, 44, pixels):
            kind, width, height, _, least_high, high, _ = struct.unpack_from("=7I", size, 8)
            if kind == DISCRETE:
                yield Mode(name, (width, height), rates=_rates(ask, pixels, (width, height)))
                continue
            # a range is minimum, maximum and step of the width, then of the height; it is the only entry
            yield Mode(name, (height, high), (width, least_high), _rates(ask, pixels, (height, high)))
            break


def _rates(ask: Ask, pixels: bytes, size_wh: tuple[int, int]) -> tuple[float, ...]:
    """Return the frame rates at a size. A range of intervals starts with the shortest."""
    rates = []
    for entry in _entries(ask, ENUM_FRAMEINTERVALS, 52, pixels + struct.pack("=II", *size_wh)):
        kind, above, below = struct.unpack_from("=3I", entry, 16)
        rates += [below / above] if above else []
        if kind != DISCRETE:
            break
    return tuple(rates)


def _entries(ask: Ask, request: int, length: int, chosen: bytes) -> Iterator[bytes]:
    """Yield the entries of a list until the driver reports its end. chosen: structure bytes after the index."""
    for index in range(MAX_ENTRIES):
        try:
            yield ask(request, (struct.pack("=I", index) + chosen).ljust(length, b"\0"))
        except OSError:  # EINVAL: the end of the list; ENOTTY: the driver has no such list
            return
