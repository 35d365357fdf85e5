"""Lists cameras: on Linux from the kernel, with names, links and modes; elsewhere by probing numbers."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from fer_live.sources import v4l2
from fer_live.types import SourceError

CLASS, DEV = Path("/sys/class/video4linux"), Path("/dev")
PROBED = 8  # camera numbers to probe on systems other than Linux
REFUSED = "cannot be queried:"  # start of the reason given instead of modes


@dataclass(frozen=True, slots=True)
class CameraInfo:
    """A camera that can be opened by number, name, path or link."""

    number: int
    name: str
    path: str = ""  # /dev/video0; empty on other systems
    links: tuple[str, ...] = ()  # /dev/v4l/by-id/..., which do not depend on the order of plugging in
    modes: tuple[str, ...] = ()  # "MJPG 1280x720 at 30, 15", or why they are unknown


def cameras() -> list[CameraInfo]:
    """Return all capture devices of this machine. Never raises; `modes` says if a camera could not be queried."""
    return _linux(with_modes=True) if sys.platform.startswith("linux") else _probed()


def describe_cameras() -> str:
    """Return the output of `--list-cameras`: a verdict, then a few lines per camera."""
    found = cameras()
    lines = [_verdict(found)]
    for camera in found:
        lines.append(f"{camera.number}  {camera.name}  {camera.path}".rstrip())
        lines += [f"   {line}" for line in (*camera.links, *camera.modes)]
    return "\n".join(lines)


def _verdict(found: list[CameraInfo]) -> str:
    """In one line: how many cameras there are, and how to open one."""
    if not found:
        return "no camera found: plug one in, or give a file, a URL or demo as the source"
    usable = [camera for camera in found if not any(mode.startswith(REFUSED) for mode in camera.modes)]
    count = f"{len(found)} camera{'s' * (len(found) > 1)} found"
    if not usable:
        return f"{count}, but none can be opened: run python -m fer_live.doctor to find out why"
    refused = f", of which {len(found) - len(usable)} cannot be opened" if len(usable) < len(found) else ""
    return f"{count}{refused}; open one by number, name or path: {usable[0].number}, {usable[0].name!r}" + (
        f" or {usable[0].path}" if usable[0].path else "")


def camera_number(text: str) -> int | None:
    """Return `text` as a camera number, or None. ASCII digits only: Python's isdigit also accepts characters such as ²."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def camera_named(text: str) -> str | None:
    """Return the path of the camera whose name equals `text`, or else the only one that contains it; None if there is none.

    Ignores case. Raises SourceError if several cameras match.
    """
    wanted = text.strip().lower()
    found = _linux(with_modes=False) if wanted and sys.platform.startswith("linux") else []
    fits = [c for c in found if c.name.lower() == wanted] or [c for c in found if wanted in c.name.lower()]
    if len(fits) > 1:
        several = ", ".join(f"{c.number} ({c.name})" for c in fits)
        raise SourceError(f"several cameras match {text!r}: {several}; give a number, or a link from --list-cameras")
    return fits[0].path if fits else None


def stable_path(text: str) -> str:
    """Return the /dev/v4l/by-id link of a camera number or /dev/videoN, which survives replugging; `text` if there is none."""
    path = str(DEV / f"video{text}") if camera_number(text) is not None else text
    links = _links().get(path, ()) if sys.platform.startswith("linux") else ()
    return links[0] if links else text


def _linux(with_modes: bool) -> list[CameraInfo]:
    found, links = [], _links()
    folders = sorted(CLASS.glob("video[0-9]*"), key=lambda folder: int(folder.name.removeprefix("video")))
    for folder in folders:
        path = str(DEV / folder.name)
        name = (folder / "name").read_text(errors="replace").strip() if (folder / "name").is_file() else folder.name
        try:
            modes = _modes_at(path)
        except OSError as error:  # assume that the first node of a device captures
            modes = [f"{REFUSED} {error.strerror}"] if _first_node(folder) else None
        if modes is not None:  # webcams also have nodes that do not capture
            number = int(folder.name.removeprefix("video"))
            found.append(CameraInfo(number, name, path, links.get(path, ()), tuple(modes) if with_modes else ()))
    return found


def _links() -> dict[str, tuple[str, ...]]:
    """Return device path -> its by-id links."""
    links: dict[str, tuple[str, ...]] = {}
    for link in sorted((DEV / "v4l" / "by-id").glob("*")):
        path = os.path.realpath(link)
        links[path] = (*links.get(path, ()), str(link))
    return links


def _first_node(folder: Path) -> bool:
    index = folder / "index"
    return not index.is_file() or index.read_text().strip() == "0"


def _modes_at(path: str) -> list[str] | None:
    """Return the modes of a device; None if it does not capture. Raises OSError."""
    device = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        return modes(v4l2.asker(device))
    finally:
        os.close(device)


def modes(ask: v4l2.Ask) -> list[str] | None:
    """Return the capture modes of a device, one line per format and size; None if it does not capture. Raises OSError."""
    return None if v4l2.card_name(ask) is None else [_described(mode) for mode in v4l2.modes(ask)]


def _described(mode: v4l2.Mode) -> str:
    size = "{}x{}".format(*mode.size_wh)
    if mode.least_wh:
        return "{} {}x{} to {}".format(mode.format, *mode.least_wh, size)
    return f"{mode.format} {size}" + (f" at {', '.join(f'{rate:g}' for rate in mode.rates)}" if mode.rates else "")


def _probed() -> list[CameraInfo]:
    """Open the first camera numbers and report the default mode of each."""
    import cv2

    found = []
    for number in range(PROBED):
        capture = cv2.VideoCapture(number)
        if capture.isOpened():
            size = f"{capture.get(cv2.CAP_PROP_FRAME_WIDTH):.0f}x{capture.get(cv2.CAP_PROP_FRAME_HEIGHT):.0f}"
            found.append(CameraInfo(number, f"camera {number}", modes=(f"{size} at {capture.get(cv2.CAP_PROP_FPS):g}",)))
        capture.release()
    return found
