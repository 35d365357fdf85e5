"""Reads folders of class folders: images, labels, rows and splits. Logs and counts everything that is skipped.

Layouts: `train/` with `validation/` (also `valid/`, `val/`) and `test/`, each of seven class folders; or the seven class folders.
"""

from __future__ import annotations

import logging
import os
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from tqdm import tqdm

from fer_live.model.images import read_image
from fer_live.model.preprocess import resize_face
from fer_live.model.spec import EMOTIONS
from fer_live.model.suffixes import IMAGES_READ
from training.splits import DataError, hash_split

logger = logging.getLogger("training")
SPLIT_NAMES = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation", "test": "test"}
SYSTEM_FILES = {"thumbs.db", "desktop.ini"}  # created by file managers, like names that begin with a dot


def read_folders(path: Path, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Return images (N, size, size) uint8 gray, labels (N,) int64, rows (N,) int64 and the splits. Raises DataError.

    Logs skipped folders, files and images. Without a validation folder, a tenth of train/ becomes the validation split.
    """
    parts = _split_folders(path)
    files: list[Path] = []
    codes: list[int] = []
    origins: list[str] = []
    for split, folder in (parts or {"": path}).items():
        for code, name in enumerate(EMOTIONS):
            found = _class_files(folder, name)
            files += found
            codes += [code] * len(found)
            origins += [split] * len(found)
    _log_skipped(path, list(parts.values()))
    images, kept = _read_images(files, size)
    _check_classes(files, kept)
    labels, kept_origins = np.array(codes, dtype=np.int64)[kept], np.array(origins)[kept]
    stems = [files[i].stem for i in kept]
    rows = np.array([int(s) if s.isascii() and s.isdigit() and len(s) < 10 else -1 for s in stems], dtype=np.int64)
    splits = {split: np.flatnonzero(kept_origins == split) for split in parts} or hash_split(images)
    if "validation" not in splits:
        splits = _validation_from_train(path, images, splits)
    if not len(splits["validation"]):
        raise DataError(f"{path}: nothing to validate on; add a validation/ folder beside train/, or more images")
    return images, labels, rows, {name: splits[name] for name in ("train", "validation", "test") if name in splits}


def _split_folders(path: Path) -> dict[str, Path]:
    """Return the folder of each split; empty if `path` itself contains the class folders."""
    parts: dict[str, Path] = {}
    for folder in _folders(path):
        split = SPLIT_NAMES.get(folder.name.lower())
        if split in parts:
            raise DataError(f"{path} has {parts[split].name}/ and {folder.name}/, and both mean the {split} split; "
                            "merge them, or move one away")
        if split:
            parts[split] = folder
    if parts and "train" not in parts:
        other = next(iter(parts.values())).name
        raise DataError(f"{path} has {other}/ but no train/; put the training classes in {path / 'train'}")
    return parts


def _folders(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))


def _class_files(folder: Path, name: str) -> list[Path]:
    """Return the images of a class, from all folders whose names differ only in case."""
    matches = [p for p in _folders(folder) if p.name.lower() == name]
    groups = [sorted(p for p in match.iterdir() if p.suffix.lower() in IMAGES_READ and p.is_file()) for match in matches]
    if not any(groups):
        what = "has no images" if matches else "is missing"
        raise DataError(f"the class folder {folder / name} {what}; seven are needed: {', '.join(EMOTIONS)}")
    if len(matches) > 1:
        each = " and ".join(f"{match} ({len(group)} images)" for match, group in zip(matches, groups, strict=True))
        logger.warning("read as one class: %s", each)
    return [file for group in groups for file in group]


def _log_skipped(path: Path, parts: list[Path]) -> None:
    """Log the folders and files of a data set that are not read."""
    class_folders = [p for part in parts or [path] for p in _folders(part) if p.name.lower() in EMOTIONS]
    known = {*parts, *class_folders}
    loose: list[Path] = []
    for folder in dict.fromkeys([path, *parts, *class_folders]):
        kind = "not a class folder" if folder in parts or not parts else "not a split or class folder"
        if folder in class_folders:
            kind = "a folder inside a class folder"
        for entry in sorted(folder.iterdir()):
            if entry.name.startswith(".") or entry.name.lower() in SYSTEM_FILES or entry in known:
                continue
            if entry.is_dir():
                logger.warning("skipped: %s (%d images), %s; the classes are %s",
                               entry, _count_images(entry), kind, ", ".join(EMOTIONS))
            elif folder not in class_folders or entry.suffix.lower() not in IMAGES_READ or not entry.is_file():
                loose.append(entry)
    kinds = Counter(f"{file.suffix.lower() or 'without extension'}" if file.is_file() else "not a regular file" for file in loose)
    if loose:
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        logger.warning("skipped: %d files (%s), the first is %s; images must be in class folders and end in %s",
                       len(loose), counts, loose[0], ", ".join(sorted(IMAGES_READ)))


def _count_images(folder: Path) -> int:
    return sum(Path(name).suffix.lower() in IMAGES_READ for _, _, names in os.walk(folder) for name in names)


def _read_images(files: list[Path], size: int) -> tuple[np.ndarray, list[int]]:
    """Return images (N, S, S) uint8 gray and the indices of their files; unreadable files are logged and skipped."""
    images, kept = [], []
    for i, file in enumerate(tqdm(files, desc="reading images", leave=False, disable=not sys.stderr.isatty())):
        image = read_image(file, gray=True)
        if image is None:
            logger.warning("skipped an image that cannot be read or has over 64 megapixels: %s", file)
            continue
        images.append(resize_face(image, size))
        kept.append(i)
    if len(kept) < len(files):
        logger.warning("%d of %d images skipped", len(files) - len(kept), len(files))
    if not images:
        raise DataError(f"none of the {len(files)} images can be read; the first was {files[0]}")
    return np.stack(images), kept


def _check_classes(files: list[Path], kept: list[int]) -> None:
    """Raise DataError for a class folder without readable images, which would be missing from training or evaluation."""
    given = Counter(file.parent for file in files)
    for folder in given.keys() - {files[i].parent for i in kept}:
        raise DataError(f"no image in the class folder {folder} can be read (of {given[folder]}); copy them again")


def _validation_from_train(path: Path, images: np.ndarray, splits: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    train = splits["train"]
    parts = hash_split(images[train])
    logger.warning("%s has no validation/: %d of the %d images in train/, selected by content, are used for validation",
                   path, len(parts["validation"]), len(train))
    return {**splits, **{name: train[ids] for name, ids in parts.items()}}
