"""Keeps compiled networks in the user's cache folder, so that later starts need not compile them."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np

from fer_live.model.checkpoint import write_atomically
from fer_live.model.paths import is_file, one_line

logger = logging.getLogger("fer_live")

KEPT = 2  # networks; the oldest is deleted
MOST_BYTES = 100_000_000  # larger networks are not kept; the released one has 33 million
FREE = 10  # times the size of a network that must be free on the disk, which recordings need more
DIGEST = 32  # bytes; a SHA-256 of the content at the end of each file


class CompiledCache:
    """Compiled networks in a folder. Whatever is wrong with the folder or a file, networks are compiled as without a cache."""

    def __init__(self, folder: Path):
        self.folder = folder

    def read(self, name: str) -> np.ndarray | None:
        """Return the network stored under `name`, (L,) uint8, or None if it is missing or damaged."""
        path = self.folder / name
        try:
            if not is_file(path) or not DIGEST < path.stat().st_size <= MOST_BYTES:
                return None
            content = np.fromfile(path, np.uint8)
        except OSError as error:
            logger.debug(f"compiled network not read: {one_line(error)}")
            return None
        network, digest = content[:-DIGEST], content[-DIGEST:]
        return network if hashlib.sha256(network.data).digest() == digest.tobytes() else None

    def write(self, name: str, network: bytes) -> None:
        """Store a compiled network under `name`, unless that is impossible or takes too much of the disk."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if len(network) + DIGEST > MOST_BYTES or shutil.disk_usage(self.folder).free < FREE * len(network):
                return
            digest = hashlib.sha256(network).digest()
            write_atomically(self.folder / name, lambda path: path.write_bytes(network + digest))
            self._delete_old(name)
        except OSError as error:
            logger.debug(f"compiled network not stored: {one_line(error)}")

    def _delete_old(self, newest: str) -> None:
        """Delete all but KEPT networks, and what a killed program left of one; other files are not ours."""
        networks = [path for path in self.folder.glob(f"*{Path(newest).suffix}") if path.name != newest]
        networks.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for path in [*networks[KEPT - 1 :], *self.folder.glob(f"*{Path(newest).suffix}.part")]:
            with suppress(OSError):  # also of another process that is writing now: it reports that, at the debug level
                path.unlink()


def user_cache() -> CompiledCache | None:
    """Return the cache in the user's cache folder, or None if there is no such folder."""
    try:
        return CompiledCache(_cache_home() / "fer_live")
    except RuntimeError:  # no home folder
        return None


def _cache_home() -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    name = "LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME"
    given = os.environ.get(name, "")
    return Path(given) if os.path.isabs(given) else Path.home() / ".cache"  # the XDG standard ignores relative paths
