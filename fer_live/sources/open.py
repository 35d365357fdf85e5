"""`open_source` tells cameras, streams, video files and pictures apart by their text."""

from __future__ import annotations

import glob
from pathlib import Path

from fer_live.sources.camera import Camera
from fer_live.sources.connection import Patience
from fer_live.sources.devices import camera_named
from fer_live.sources.images import ImageFiles
from fer_live.sources.kinds import is_picture
from fer_live.sources.names import source_text
from fer_live.sources.stream import Stream
from fer_live.sources.video_file import VideoFile
from fer_live.types import Source, SourceError


def open_source(source: str | int | Path, patience: Patience = Patience()) -> Source:  # noqa: B008 (frozen)
    """The source of this name; it is checked here and opened on entering it. patience: how long a read may take.

    "demo"; a camera's number, name or /dev path; an rtsp:// or http(s):// address; a video file; a picture, a folder of
    pictures, or a glob of them. An int is a camera's number, a Path a file, a folder, a glob or a device. Raises SourceError,
    TypeError for other objects, ValueError for a negative number.
    """
    text = source_text(source)
    if text == "demo":
        from fer_live.sources.demo import Demo

        return Demo()
    if text.isdigit() or text.startswith("/dev/"):
        return Camera(int(text) if text.isdigit() else text, read_s=patience.read_s)
    if text.startswith(("rtsp://", "rtsps://", "http://", "https://")):
        return Stream(text, patience.answer_s, patience.read_s)
    if any(c in text for c in "*?[") and not Path(text).exists():
        return ImageFiles(sorted(Path(p) for p in glob.glob(text, recursive=True)), text)
    path = Path(text)
    camera = None if path.exists() else camera_named(text)
    if camera:
        return Camera(camera, read_s=patience.read_s)
    if path.is_dir():
        return ImageFiles(sorted(path.iterdir()), text)
    if not path.is_file():
        raise SourceError(f"no source {text!r}; give a camera's number or name (see --list-cameras), a /dev path, an address, "
                          "a video, a picture, a folder or glob of pictures, or demo")
    return ImageFiles([path], text) if is_picture(path) else VideoFile(path)
