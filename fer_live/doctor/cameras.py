"""The doctor's check of cameras on Linux: names, modes, permissions, by Video4Linux and Python's own library alone.

The layouts are those of the kernel's include/uapi/linux/videodev2.h.
"""

from __future__ import annotations

import getpass
import os
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from fer_live.doctor.machine import FAILURE, OK, WARNING, Finding, answer

QUERYCAP, ENUM_FMT, ENUM_SIZES, ENUM_INTERVALS = 0x80685600, 0xC0405602, 0xC02C564A, 0xC034564B
CAPTURE, HAS_DEVICE_CAPS = 0x1, 0x80000000
DISCRETE = 1  # the kind of a size or interval that is given by itself, not by least, most and step
SHOWN = 6  # sizes of a format that are told
Ioctl = Callable[[int, int, bytearray], object]
Mode = tuple[str, int, int, float]  # format, width, height, frames a second (0: not said)


def cameras(dev: Path = Path("/dev"), sysfs: Path = Path("/sys/class/video4linux"), ioctl: Ioctl | None = None
            ) -> Iterator[Finding]:
    """A finding a camera. A camera that may not be opened is a failure; none at all is a warning."""
    if not sys.platform.startswith("linux"):
        yield Finding("cameras", WARNING, f"cameras are not listed on {sys.platform}", "try: python -m fer_live --source 0")
        return
    if ioctl is None:
        import fcntl

        ioctl = fcntl.ioctl
    control = ioctl
    nodes = sorted((n for n in dev.glob("video*") if n.name[5:].isdigit()), key=lambda n: int(n.name[5:]))
    found = [finding for node in nodes for finding in _camera(node, sysfs / node.name / "name", control)]
    yield from found
    if found:
        return
    hidden = sorted(path.name for path in sysfs.glob("video*")) if not nodes else []
    if hidden:
        yield Finding("cameras", WARNING, f"the system has {' '.join(hidden)}, but {dev} does not show them",
                      f"in a container, start it with --device {dev}/{hidden[0]}")
    else:
        what = f"of {' '.join(n.name for n in nodes)} none gives pictures" if nodes else f"{dev}/video* is missing"
        yield Finding("cameras", WARNING, f"no camera ({what}): the program shows its demo; files and streams work too",
                      "plug one in; a virtual machine or container must be given it")


def _camera(node: Path, name_file: Path, ioctl: Ioctl) -> Iterator[Finding]:
    """The finding of one device; none of one that gives no pictures, such as a camera's second device for its settings."""
    try:
        name = name_file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        name = "unnamed"
    try:
        device = os.open(node, os.O_RDWR | os.O_NONBLOCK)
    except OSError as error:
        todo = _permission(node) if isinstance(error, PermissionError) else "unplug it and plug it in again"
        yield Finding("cameras", FAILURE, f"{node} ({name}) cannot be opened ({error.strerror})", todo)
        return
    try:
        capability = bytearray(104)
        ioctl(device, QUERYCAP, capability)
        all_caps, own_caps = struct.unpack_from("<II", capability, 84)
        if not (own_caps if all_caps & HAS_DEVICE_CAPS else all_caps) & CAPTURE:
            return
        card = capability[16:48].split(b"\0")[0].decode("utf-8", "replace") or name
        text = f"{node}: {card}; {_told(list(modes(device, ioctl)))}"
    except OSError as error:
        yield Finding("cameras", WARNING, f"{node} ({name}) does not answer as a camera ({error.strerror})",
                      "unplug it and plug it in again, or choose another with --source")
        return
    finally:
        os.close(device)
    users = _users(node)
    if users:
        yield Finding("cameras", WARNING, f"{text}; open in {', '.join(users)}",
                      "end that program if fer_live cannot open the camera")
    else:
        yield Finding("cameras", OK, text)


def modes(device: int, ioctl: Ioctl) -> Iterator[Mode]:
    """The formats, sizes and highest rates that an open camera names; of a range of sizes, the largest."""
    for kind in _each(device, ioctl, ENUM_FMT, 64, (1,)):
        (code,) = struct.unpack_from("<I", kind, 44)
        name = struct.pack("<I", code & 0x7FFFFFFF).decode("ascii", "replace").strip()
        for size in _each(device, ioctl, ENUM_SIZES, 44, (code,)):
            form, width, height, _, _, tallest, _ = struct.unpack_from("<7I", size, 8)
            if form != DISCRETE:
                width, height = height, tallest  # a range is (least, most, step) of the width, then of the height
            rates = []
            for interval in _each(device, ioctl, ENUM_INTERVALS, 52, (code, width, height)):
                _, numerator, denominator = struct.unpack_from("<3I", interval, 16)
                rates.append(denominator / numerator if numerator else 0.0)
            yield name, width, height, max(rates, default=0.0)


def _each(device: int, ioctl: Ioctl, request: int, size: int, given: tuple[int, ...]) -> Iterator[bytearray]:
    """What an enumeration answers to the indices 0, 1, ... until it refuses; each structure begins with its index."""
    for index in range(64):
        buffer = bytearray(size)
        struct.pack_into(f"<{1 + len(given)}I", buffer, 0, index, *given)
        try:
            ioctl(device, request, buffer)
        except OSError:
            return
        yield buffer


def _told(found: list[Mode]) -> str:
    """Modes in words, the largest sizes first."""
    texts = []
    for name in dict.fromkeys(mode[0] for mode in found):
        sizes = sorted({mode[1:] for mode in found if mode[0] == name}, key=lambda m: -m[0] * m[1])
        told = ", ".join(f"{w}x{h}" + (f" {fps:.3g} fps" if fps else "") for w, h, fps in sizes[:SHOWN])
        texts.append(f"{name} {told}" + (f" and {len(sizes) - SHOWN} more" if len(sizes) > SHOWN else ""))
    return "; ".join(texts) or "names no modes"


def _permission(node: Path) -> str:
    """What to do about a device that this user may not open."""
    import grp

    gid = node.stat().st_gid
    try:
        group = grp.getgrgid(gid)
        name, members = group.gr_name, group.gr_mem
    except KeyError:
        return f"it belongs to group {gid}, which has no name here; in a container, start it with --group-add {gid}"
    if gid in os.getgroups():
        return f"sudo chmod g+rw {node}, since you are in its group {name} already; in a container, start it with --device {node}"
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"start the container with --group-add {gid}"
    if user in members:
        return f"log out and in again: {user} is in the group {name}, but not yet in this session"
    return f"sudo usermod -aG {name} {user}, then log out and in again"


def _users(node: Path) -> list[str]:
    """The programs that have a device open, as far as this user may know."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(link) == str(node):
                found.add(f"{(link.parent.parent / 'comm').read_text().strip()} ({link.parent.parent.name})")
        except OSError:  # ended meanwhile, or another's
            continue
    return sorted(found)


if __name__ == "__main__":
    sys.exit(answer({"cameras": cameras}, sys.argv[1:]))
