"""`open_source` chooses the source type: camera, stream, video file or images."""

from __future__ import annotations

import os
import re
import stat
from itertools import islice
from pathlib import Path

from fer_live.model.paths import one_line, status_of
from fer_live.model.suggest import did_you_mean
from fer_live.protocols import Source
from fer_live.sources.camera import Camera
from fer_live.sources.connection import Timeouts
from fer_live.sources.devices import camera_named, camera_number
from fer_live.sources.images import MAGIC, ImageFiles, globbed, is_image
from fer_live.sources.kinds import is_webp
from fer_live.sources.names import source_text
from fer_live.sources.stream import Stream
from fer_live.sources.video_file import VideoFile
from fer_live.types import SourceError

ADDRESS = re.compile("(rtsps?|https?)://", re.IGNORECASE)
CHOICES = ("a camera number or name (see --list-cameras), a /dev path, an rtsp:// or http:// URL, a video, an image, a "
           "folder or glob of images, or demo")
TOOLS = ("bench", "doctor", "kiosk", "report")  # modules with commands of their own, easily taken for subcommands
LISTED = 10_000  # names of a folder to compare with


def open_source(source: str | int | Path, timeouts: Timeouts = Timeouts()) -> Source:  # noqa: B008 (frozen)
    """Return the source for a name; it is validated here and opened on entering. timeouts: for cameras and streams.

    source: "demo"; a camera number, name or /dev path; an rtsp:// or http(s):// URL; a video file; an image, or a folder or
    glob of images. An int is a camera number; a Path is a file, folder, glob or device. Raises SourceError, TypeError for
    other types, or ValueError for a negative number.

    >>> with fer_live.open_source("clip.mp4") as source:
    ...     for frame in source:
    ...         if frame.index < 2:
    ...             print(frame.index, f"{frame.time_s:.3f}", frame.image.shape)
    0 0.000 (240, 320, 3)
    1 0.033 (240, 320, 3)
    """
    text = source_text(source)
    if not text.strip():
        raise SourceError(f"the source {text!r} is empty; give {CHOICES}")
    try:
        return _source(text, timeouts)
    except OSError as error:  # no permission, or the name is too long
        raise SourceError(one_line(error)) from None


def _source(text: str, timeouts: Timeouts) -> Source:
    if text == "demo":
        from fer_live.sources.demo import Demo

        return Demo()
    if ADDRESS.match(text):
        scheme, rest = text.split(":", 1)
        return Stream(f"{scheme.lower()}:{rest}", timeouts.answer_s, timeouts.read_s)  # FFmpeg rejects uppercase schemes such as RTSP://
    number, path = camera_number(text), Path(text)
    if number is not None:
        return Camera(number, read_s=timeouts.read_s)
    status = status_of(path)
    if text.startswith("/dev/") and (status is None or stat.S_ISCHR(status.st_mode)):
        return Camera(text, read_s=timeouts.read_s)
    if status is None and any(c in text for c in MAGIC):
        return ImageFiles(globbed(text), text)
    if status is None and (camera := camera_named(text)):
        return Camera(camera, read_s=timeouts.read_s)
    if status is not None and stat.S_ISDIR(status.st_mode):
        return ImageFiles(sorted(path.iterdir()), text)
    if status is None or not stat.S_ISREG(status.st_mode):
        raise SourceError(f"no source {text!r}{_meant(text) if status is None else ''}; give {CHOICES}")
    if is_image(path):
        return ImageFiles([path], text)
    if is_webp(path):
        raise SourceError(f"{text} is an animated WebP, which is not supported; convert it to GIF or MP4")
    return VideoFile(path)


def _meant(text: str) -> str:
    """A hint at what there is with nearly that name: a file beside it, the demo, or a command of its own."""
    if text in TOOLS:
        return f" (did you mean python -m fer_live.{text}?)"
    folder, name = os.path.split(text)
    try:
        with os.scandir(folder or os.curdir) as found:
            names = [entry.name for entry in islice(found, LISTED)]
    except OSError:
        names = []
    return did_you_mean(name, names if folder else [*names, "demo"])
