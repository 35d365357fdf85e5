"""`open_source` tells cameras, streams, video files and pictures apart by their text."""

from __future__ import annotations

import re
import stat
from pathlib import Path

from fer_live.model.paths import one_line, status_of
from fer_live.protocols import Source
from fer_live.sources.camera import Camera
from fer_live.sources.connection import Patience
from fer_live.sources.devices import camera_named, camera_number
from fer_live.sources.images import MAGIC, ImageFiles, globbed, is_picture
from fer_live.sources.kinds import is_webp
from fer_live.sources.names import source_text
from fer_live.sources.stream import Stream
from fer_live.sources.video_file import VideoFile
from fer_live.types import SourceError

ADDRESS = re.compile("(rtsps?|https?)://", re.IGNORECASE)
CHOICES = ("a camera's number or name (see --list-cameras), a /dev path, an rtsp:// or http:// address, a video, a picture, a "
           "folder or glob of pictures, or demo")


def open_source(source: str | int | Path, patience: Patience = Patience()) -> Source:  # noqa: B008 (frozen)
    """The source of this name; it is checked here and opened on entering it. patience: how long a read may take.

    "demo"; a camera's number, name or /dev path; an rtsp:// or http(s):// address; a video file; a picture, a folder of
    pictures, or a glob of them. An int is a camera's number, a Path a file, a folder, a glob or a device. Raises SourceError,
    TypeError for other objects, ValueError for a negative number.

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
        return _source(text, patience)
    except OSError as error:  # in a folder that may not be entered, or of a name that is too long
        raise SourceError(one_line(error)) from None


def _source(text: str, patience: Patience) -> Source:
    if text == "demo":
        from fer_live.sources.demo import Demo

        return Demo()
    if ADDRESS.match(text):
        scheme, rest = text.split(":", 1)
        return Stream(f"{scheme.lower()}:{rest}", patience.answer_s, patience.read_s)  # FFmpeg knows no RTSP://
    number, path = camera_number(text), Path(text)
    if number is not None:
        return Camera(number, read_s=patience.read_s)
    status = status_of(path)
    if text.startswith("/dev/") and (status is None or stat.S_ISCHR(status.st_mode)):
        return Camera(text, read_s=patience.read_s)
    if status is None and any(c in text for c in MAGIC):
        return ImageFiles(globbed(text), text)
    if status is None and (camera := camera_named(text)):
        return Camera(camera, read_s=patience.read_s)
    if status is not None and stat.S_ISDIR(status.st_mode):
        return ImageFiles(sorted(path.iterdir()), text)
    if status is None or not stat.S_ISREG(status.st_mode):
        raise SourceError(f"no source {text!r}; give {CHOICES}")
    if is_picture(path):
        return ImageFiles([path], text)
    if is_webp(path):
        raise SourceError(f"{text} is an animated WebP, which nothing here can decode; convert it to GIF or MP4")
    return VideoFile(path)
