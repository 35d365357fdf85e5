"""The doctor's check of cameras on Linux: names, modes and permissions, with the standard library only."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from fer_live.doctor.machine import FAILURE, OK, WARNING, Finding, answer
from fer_live.sources import v4l2

SHOWN = 6  # maximum number of sizes listed per format


def cameras(dev: Path = Path("/dev"), sysfs: Path = Path("/sys/class/video4linux"), ioctl: v4l2.Ioctl | None = None
            ) -> Iterator[Finding]:
    """Yield a finding per camera. A camera without permission to open is a failure; no camera at all is a warning."""
    if not sys.platform.startswith("linux"):
        yield Finding("cameras", WARNING, f"cameras are not listed on {sys.platform}", "try: python -m fer_live --source 0")
        return
    nodes = sorted((n for n in dev.glob("video*") if n.name[5:].isdigit()), key=lambda n: int(n.name[5:]))
    found = [finding for node in nodes for finding in _camera(node, sysfs / node.name / "name", ioctl)]
    yield from found
    if found:
        return
    hidden = sorted(path.name for path in sysfs.glob("video*")) if not nodes else []
    if hidden:
        yield Finding("cameras", WARNING, f"the system has {' '.join(hidden)}, but {dev} does not show them",
                      f"in a container, start it with --device {dev}/{hidden[0]}")
    else:
        what = f"none of {' '.join(n.name for n in nodes)} captures images" if nodes else f"{dev}/video* is missing"
        yield Finding("cameras", WARNING, f"no camera ({what}): the program shows its demo; files and streams work too",
                      "plug one in; in a virtual machine or container, pass it through")


def _camera(node: Path, name_file: Path, ioctl: v4l2.Ioctl | None) -> Iterator[Finding]:
    """Yield the finding of one device; none for a device without images, such as a camera's metadata device."""
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
        ask = v4l2.asker(device, ioctl)
        card = v4l2.card_name(ask)
        if card is None:
            return
        text = f"{node}: {card or name}; {_described(list(v4l2.modes(ask)))}"
    except OSError as error:
        yield Finding("cameras", WARNING, f"{node} ({name}) does not respond as a camera ({error.strerror})",
                      "unplug it and plug it in again, or choose another with --source")
        return
    finally:
        os.close(device)
    users = _users(node)
    if users:
        yield Finding("cameras", WARNING, f"{text}; open in {', '.join(users)}",
                      "close that program if fer_live cannot open the camera")
    else:
        yield Finding("cameras", OK, text)


def _described(found: list[v4l2.Mode]) -> str:
    """Describe the modes, largest sizes first, each with its highest rate."""
    texts = []
    for name in dict.fromkeys(mode.format for mode in found):
        sizes = sorted({(*mode.size_wh, max(mode.rates, default=0.0)) for mode in found if mode.format == name},
                       key=lambda m: -m[0] * m[1])
        listed = ", ".join(f"{w}x{h}" + (f" {fps:.3g} fps" if fps else "") for w, h, fps in sizes[:SHOWN])
        texts.append(f"{name} {listed}" + (f" and {len(sizes) - SHOWN} more" if len(sizes) > SHOWN else ""))
    return "; ".join(texts) or "reports no modes"


def _permission(node: Path) -> str:
    """Return the fix for a device that this user has no permission to open."""
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
    """Return the programs that have a device open, as far as this user can see."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(link) == str(node):
                found.add(f"{(link.parent.parent / 'comm').read_text().strip()} ({link.parent.parent.name})")
        except OSError:  # the process has ended or belongs to another user
            continue
    return sorted(found)


if __name__ == "__main__":
    sys.exit(answer({"cameras": cameras}, sys.argv[1:]))
