"""Which cameras there are: on Linux from the kernel, with names, links and modes; elsewhere by trying numbers."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from fer_live.sources import v4l2
from fer_live.types import SourceError

CLASS, DEV = Path("/sys/class/video4linux"), Path("/dev")
PROBED = 8  # numbers tried where the system cannot be asked


@dataclass(frozen=True, slots=True)
class CameraInfo:
    """A camera that can be opened by number, name, path or link."""

    number: int
    name: str
    path: str = ""  # /dev/video0; empty where the system has no such paths
    links: tuple[str, ...] = ()  # /dev/v4l/by-id/...: keep their names when cameras are plugged in another order
    modes: tuple[str, ...] = ()  # "MJPG 1280x720 at 30, 15", or why they are unknown


def cameras() -> list[CameraInfo]:
    """All cameras of this machine that give pictures. Never raises; a camera that cannot be asked says so in `modes`."""
    return _linux(with_modes=True) if sys.platform.startswith("linux") else _probed()


def describe_cameras() -> str:
    """What `--list-cameras` prints."""
    found = cameras()
    if not found:
        return "no camera found; is one plugged in?"
    lines = []
    for camera in found:
        lines.append(f"{camera.number}  {camera.name}  {camera.path}".rstrip())
        lines += [f"   {line}" for line in (*camera.links, *camera.modes)]
    return "\n".join([*lines, f"open one by number, name or path: --source {found[0].number}, --source {found[0].name!r}"])


def camera_number(text: str) -> int | None:
    """The number that `text` is; None if it is none. No letters such as a raised 2, which Python also takes for digits."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def camera_named(text: str) -> str | None:
    """The path of the camera whose name is, or alone contains, `text`, in small or capital letters; None if there is none.

    Raises SourceError where several fit.
    """
    wanted = text.strip().lower()
    found = _linux(with_modes=False) if wanted and sys.platform.startswith("linux") else []
    fits = [c for c in found if c.name.lower() == wanted] or [c for c in found if wanted in c.name.lower()]
    if len(fits) > 1:
        several = ", ".join(f"{c.number} ({c.name})" for c in fits)
        raise SourceError(f"several cameras are named {text!r}: {several}; give a number, or a link of --list-cameras")
    return fits[0].path if fits else None


def stable_path(text: str) -> str:
    """For a camera's number or /dev/videoN its /dev/v4l/by-id link, which outlives replugging; else, or without one, `text`."""
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
        except OSError as error:  # then at least the first node of each device is one that gives pictures
            modes = [f"cannot be asked: {error.strerror}"] if _first_node(folder) else None
        if modes is not None:  # a webcam also has nodes that give no pictures
            number = int(folder.name.removeprefix("video"))
            found.append(CameraInfo(number, name, path, links.get(path, ()), tuple(modes) if with_modes else ()))
    return found


def _links() -> dict[str, tuple[str, ...]]:
    """Device path -> the links by-id that lead to it."""
    links: dict[str, tuple[str, ...]] = {}
    for link in sorted((DEV / "v4l" / "by-id").glob("*")):
        path = os.path.realpath(link)
        links[path] = (*links.get(path, ()), str(link))
    return links


def _first_node(folder: Path) -> bool:
    index = folder / "index"
    return not index.is_file() or index.read_text().strip() == "0"


def _modes_at(path: str) -> list[str] | None:
    """The modes of a device; None if it gives no pictures. Raises OSError."""
    device = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        return modes(v4l2.asker(device))
    finally:
        os.close(device)


def modes(ask: v4l2.Ask) -> list[str] | None:
    """The capture modes of a device, one line for each format and size; None if it captures nothing. Raises OSError."""
    return None if v4l2.card_name(ask) is None else [_described(mode) for mode in v4l2.modes(ask)]


def _described(mode: v4l2.Mode) -> str:
    size = "{}x{}".format(*mode.size_wh)
    if mode.least_wh:
        return "{} {}x{} to {}".format(mode.format, *mode.least_wh, size)
    return f"{mode.format} {size}" + (f" at {', '.join(f'{rate:g}' for rate in mode.rates)}" if mode.rates else "")


def _probed() -> list[CameraInfo]:
    """Where the system cannot be asked: try the first numbers, and show what each gives by itself."""
    import cv2

    found = []
    for number in range(PROBED):
        capture = cv2.VideoCapture(number)
        if capture.isOpened():
            size = f"{capture.get(cv2.CAP_PROP_FRAME_WIDTH):.0f}x{capture.get(cv2.CAP_PROP_FRAME_HEIGHT):.0f}"
            found.append(CameraInfo(number, f"camera {number}", modes=(f"{size} at {capture.get(cv2.CAP_PROP_FPS):g}",)))
        capture.release()
    return found
