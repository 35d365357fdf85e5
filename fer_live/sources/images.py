"""Image files as a source: folders and globs of images, and their frames."""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fer_live.model.images import ImageError, load_image
from fer_live.model.paths import common_folder, exists, is_file
from fer_live.model.suffixes import IMAGES_READ
from fer_live.sources.kinds import kind_of, pages_of
from fer_live.types import Frame, SourceError

logger = logging.getLogger("fer_live")

NAMED = 8  # number of skipped files listed in a message
MAGIC = "*?["  # special characters of globs


class ImageFiles:
    """Independent images. Damaged ones are logged, skipped and counted in `skipped`.

    paths: image files, in frame order. folder: their common folder; frames are named by their path relative to it.
    A single image is read on entering, so that a damaged one fails early.
    """

    is_live, fps = False, 1.0

    def __init__(self, paths: list[Path], name: str):
        self.paths: list[Path] = []
        self.left_out: list[Path] = []
        for path in paths:
            (self.paths if is_image(path) else self.left_out).append(path)
        self.name, self.frames, self.skipped = name, len(self.paths), 0
        if not self.paths:
            raise SourceError(f"no images in {name}; supported: {' '.join(sorted(IMAGES_READ))}")
        self.folder = common_folder(self.paths)
        self._images: dict[Path, np.ndarray] = {}

    def __enter__(self) -> ImageFiles:
        if self.left_out:
            names, total = _listed([path.name for path in self.left_out]), len(self.left_out) + len(self.paths)
            logger.warning(f"skipped {len(self.left_out)} of {total} files in {self.name} that are not images: {names}")
        if len(self.paths) == 1:
            try:
                self._images = {self.paths[0]: load_image(self.paths[0])}
            except ImageError as error:
                raise SourceError(f"cannot read the image {self.paths[0]}: {error}") from None
        return self

    def __exit__(self, *exception) -> None:
        self._images = {}

    def __iter__(self) -> Iterator[Frame]:
        shown = 0
        for index, path in enumerate(self.paths):
            try:
                image = self._images.pop(path, None)
                image = load_image(path) if image is None else image
            except ImageError as error:
                self.skipped += 1
                logger.warning(f"skipped an image ({error}): {path}")
                continue
            pages = pages_of(path)
            if pages > 1:
                logger.warning(f"{path} has {pages} pages; only the first is used")
            yield Frame(image, index, 0.0, self._name(path))
            shown += 1
        if not shown:
            raise SourceError(f"none of the {len(self.paths)} images in {self.name} can be read; see the lines above")
        if self.skipped:
            logger.warning(f"skipped {self.skipped} of {len(self.paths)} images that could not be read")

    def _name(self, path: Path) -> str:
        return Path(os.path.abspath(path)).relative_to(self.folder).as_posix()


def is_image(path: Path) -> bool:
    """Whether the file is an image, judged by its content, or by its name if the content is unknown or unreadable."""
    try:
        if not is_file(path):
            return False
        kind = kind_of(path)
    except OSError:
        kind = ""
    return kind == "image" or (not kind and path.suffix.lower() in IMAGES_READ)


def globbed(pattern: str) -> list[Path]:
    """Return the files that match a glob, sorted and without duplicates. Existing folders in the pattern are taken literally.

    Raises OSError if such a folder is not readable; unreadable folders that match the pattern are logged and skipped.
    """
    folder, parts = Path(), Path(pattern).parts
    while len(parts) > 1 and exists(folder / parts[0]):
        folder, parts = folder / parts[0], parts[1:]
    with os.scandir(folder):  # glob silently ignores unreadable folders
        pass
    start = glob.escape(str(folder))
    if len(parts) > 1:
        found = set(glob.glob(os.path.join(start, *parts[:-1], ""), recursive=True))
        closed = sorted(os.path.normpath(name) for name in found if not os.access(name, os.R_OK | os.X_OK))
        if closed:
            folders = "1 folder" if len(closed) == 1 else f"{len(closed)} folders"
            logger.warning(f"skipped {folders} without read permission: {_listed(closed)}")
    return sorted({Path(found) for found in glob.glob(os.path.join(start, *parts), recursive=True)})


def _listed(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (" and more" if len(names) > NAMED else "")
