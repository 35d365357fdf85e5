"""Pictures as iterators of frames."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from fer_live.model.pictures import PictureError, load_picture
from fer_live.model.suffixes import PICTURES_READ
from fer_live.sources.kinds import is_picture
from fer_live.types import Frame, SourceError

NAMED = 8  # of the files that are left out


class ImageFiles:
    """Pictures that have nothing to do with each other. Broken ones are named, skipped and counted in `skipped`."""

    is_live, fps = False, 1.0

    def __init__(self, paths: list[Path], name: str):
        self.paths = [path for path in paths if path.is_file() and is_picture(path)]
        self.left_out = [path for path in paths if path not in set(self.paths)]
        self.name, self.frames, self.skipped = name, len(self.paths), 0
        if not self.paths:
            raise SourceError(f"no pictures in {name}; known kinds: {' '.join(sorted(PICTURES_READ))}")

    def __enter__(self) -> ImageFiles:
        if self.left_out:
            names = ", ".join(path.name for path in self.left_out[:NAMED]) + (" and more" if len(self.left_out) > NAMED else "")
            total = len(self.left_out) + len(self.paths)
            print(f"left out {len(self.left_out)} of {total} in {self.name}, which are no pictures: {names}", file=sys.stderr)
        return self

    def __exit__(self, *exception) -> None:
        pass

    def __iter__(self) -> Iterator[Frame]:
        shown = 0
        for index, path in enumerate(self.paths):
            try:
                image = load_picture(path)
            except PictureError as error:
                self.skipped += 1
                print(f"skipped a picture ({error}): {path}", file=sys.stderr)
                continue
            yield Frame(image, index, 0.0, path.name)
            shown += 1
        if not shown:
            raise SourceError(f"none of the {len(self.paths)} pictures in {self.name} can be read; are they whole?")
        if self.skipped:
            print(f"{self.skipped} of {len(self.paths)} pictures could not be read and were skipped", file=sys.stderr)
