"""What a camera on Linux tells of itself, by Video4Linux. Imports only Python's own library: the doctor uses it as well.

Numbers and structures are those of the kernel's include/uapi/linux/videodev2.h.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

QUERYCAP, ENUM_FMT, ENUM_FRAMESIZES, ENUM_FRAMEINTERVALS = 0x80685600, 0xC0405602, 0xC02C564A, 0xC034564B
CAPTURE, HAS_DEVICE_CAPS = 0x1, 0x80000000
BIG_ENDIAN = 0x80000000  # set in a format's code beside its four letters
DISCRETE = 1  # the kind of a size or interval that is given by itself, not by least, most and step
MOST = 256  # entries of a list; a broken driver must not go on for ever
Ioctl = Callable[[int, int, bytearray], object]
Ask = Callable[[int, bytes], bytes]  # an ioctl: maps a request and the structure's bytes to the filled structure; raises OSError


@dataclass(frozen=True, slots=True)
class Mode:
    """A size of a format in which a camera captures. Where a driver names a range of sizes, the largest."""

    format: str
    size_wh: tuple[int, int]
    least_wh: tuple[int, int] | None = None  # of a range
    rates: tuple[float, ...] = ()  # frames a second; of a range, the highest; empty: not said


def asker(device: int, ioctl: Ioctl | None = None) -> Ask:
    """Asks an open device. ioctl: as in fcntl, which is used if none is given."""
    def ask(request: int, content: bytes) -> bytes:
        buffer = bytearray(content)
        (ioctl or _kernel)(device, request, buffer)
        return bytes(buffer)

    return ask


def _kernel(device: int, request: int, buffer: bytearray) -> None:
    import fcntl  # not there on Windows

    fcntl.ioctl(device, request, buffer)


def card_name(ask: Ask) -> str | None:
    """The camera's name, which may be empty; None for a device that gives no pictures. Raises OSError."""
    answer = ask(QUERYCAP, bytes(104))
    all_caps, own_caps = struct.unpack_from("=II", answer, 84)
    if not (own_caps if all_caps & HAS_DEVICE_CAPS else all_caps) & CAPTURE:
        return None
    return answer[16:48].split(b"\0")[0].decode("utf-8", "replace")


def modes(ask: Ask) -> Iterator[Mode]:
    """The capture modes of a camera, in the driver's order."""
    for answer in _entries(ask, ENUM_FMT, 64, struct.pack("=I", 1)):
        pixels = answer[44:48]
        code = struct.unpack("=I", pixels)[0] & ~BIG_ENDIAN
        name = struct.pack("<I", code).decode("ascii", "replace").strip()
        for size in _entries(ask, ENUM_FRAMESIZES, 44, pixels):
            kind, width, height, _, least_high, high, _ = struct.unpack_from("=7I", size, 8)
            if kind == DISCRETE:
                yield Mode(name, (width, height), rates=_rates(ask, pixels, (width, height)))
                continue
            # a range is least, most and step of the width, then of the height; one entry stands for all sizes
            yield Mode(name, (height, high), (width, least_high), _rates(ask, pixels, (height, high)))
            break


def _rates(ask: Ask, pixels: bytes, size_wh: tuple[int, int]) -> tuple[float, ...]:
    """The frames a second at a size. A range of intervals begins with its shortest."""
    rates = []
    for entry in _entries(ask, ENUM_FRAMEINTERVALS, 52, pixels + struct.pack("=II", *size_wh)):
        kind, above, below = struct.unpack_from("=3I", entry, 16)
        rates += [below / above] if above else []
        if kind != DISCRETE:
            break
    return tuple(rates)


def _entries(ask: Ask, request: int, length: int, chosen: bytes) -> Iterator[bytes]:
    """Ask for entry 0, 1, 2 ... of a list until the driver says that there are no more. chosen: what follows the index."""
    for index in range(MOST):
        try:
            yield ask(request, (struct.pack("=I", index) + chosen).ljust(length, b"\0"))
        except OSError:  # EINVAL: the end of the list; ENOTTY: the driver has no such list
            return
