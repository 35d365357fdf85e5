"""Random and structured damage to file contents."""

from __future__ import annotations

import struct
import zlib

import numpy as np

ODD = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 30_000, 65_500, 1 << 24, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE,
       0xFFFFFFFF)


def mutate(data: bytes, rng: np.random.Generator, head: int = 0) -> bytes:
    """Apply one to four damages. head: number of leading bytes to damage more often, for formats with headers."""
    for _ in range(int(rng.integers(1, 5))):
        data = DAMAGES[int(rng.integers(len(DAMAGES)))](data, rng, head or len(data)) or b"\0"
    return data


def _place(data: bytes, rng: np.random.Generator, head: int) -> int:
    limit = min(head, len(data)) if rng.random() < 0.7 else len(data)
    return int(rng.integers(max(1, limit)))


def _flip(data, rng, head):
    made = bytearray(data)
    for _ in range(int(rng.integers(1, 9))):
        made[_place(data, rng, head)] ^= 1 << int(rng.integers(8))
    return bytes(made)


def _cut(data, rng, head):
    return data[: int(rng.integers(len(data)))]


def _double(data, rng, head):
    start = _place(data, rng, head)
    part = data[start : start + int(rng.integers(1, 4096))]
    return data[:start] + part * int(rng.integers(1, 5)) + data[start:]


def _remove(data, rng, head):
    start = _place(data, rng, head)
    return data[:start] + data[start + int(rng.integers(1, 512)) :]


def _swap(data, rng, head):
    a, b = sorted((_place(data, rng, head), _place(data, rng, head)))
    size = min(64, b - a, len(data) - b)
    return data[:a] + data[b : b + size] + data[a + size : b] + data[a : a + size] + data[b + size :]


def _noise(data, rng, head):
    start = _place(data, rng, head)
    size = int(rng.integers(1, 64))
    return data[:start] + rng.bytes(size) + data[start + size :]


def _field(data, rng, head):
    """Replace a number of two, four or eight bytes by an extreme one."""
    start, code = _place(data, rng, head), str(rng.choice([">H", "<H", ">I", "<I", ">Q", "<Q"]))
    size = struct.calcsize(code)
    value = ODD[int(rng.integers(len(ODD)))] & (1 << 8 * size) - 1
    return data[:start] + struct.pack(code, value) + data[start + size :]


DAMAGES = (_flip, _flip, _cut, _double, _remove, _swap, _noise, _field, _field, _field)


def png(width: int, height: int, body: bytes, depth: int = 8, color: int = 2) -> bytes:
    """A PNG with valid checksums and arbitrary header values. body: the compressed rows."""
    head = struct.pack(">IIBBBBB", width & 0xFFFFFFFF, height & 0xFFFFFFFF, depth, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def zeros(size: int) -> bytes:
    """`size` zero bytes, compressed with zlib."""
    packer, made = zlib.compressobj(1), []
    block = bytes(1 << 20)
    for start in range(0, size, len(block)):
        made.append(packer.compress(block[: size - start]))
    return b"".join(made) + packer.flush()


def boxes(data: bytes) -> list[tuple[bytes, int, int]]:
    """The boxes of an MP4 at all depths: type, start and end of the content."""
    inside, found, todo = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"udta", b"dinf"}, [], [(0, len(data))]
    while todo:
        start, end = todo.pop()
        while start + 8 <= end:
            size, kind = struct.unpack(">I4s", data[start : start + 8])
            if size < 8:
                break
            found.append((kind, start + 8, min(start + size, end)))
            if kind in inside:
                todo.append((start + 8, min(start + size, end)))
            start += size
    return found


def odd_box_field(data: bytes, rng: np.random.Generator) -> bytes:
    """An MP4 with one number in one header box replaced by an extreme one."""
    places = [(start, end) for kind, start, end in boxes(data) if kind != b"mdat" and end - start >= 4]
    start, end = places[int(rng.integers(len(places)))]
    at = start + 4 * int(rng.integers((end - start) // 4))
    return data[:at] + struct.pack(">I", ODD[int(rng.integers(len(ODD)))]) + data[at + 4 :]
