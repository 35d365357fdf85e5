"""Every dataset layout -> one Dataset: uint8 grey pictures (N, S, S), labels, votes, named splits.

Layouts: a folder with `train/` and `validation/` (or `val/`, `test/`) of class folders; a folder of class folders;
the competition's `fer2013.csv` (emotion, pixels, Usage). FER+ votes (fer2013new.csv, Barsoum et al. 2016,
arXiv:1608.01041) join to the CSV by row, and to Kaggle's folders because their file names are the CSV's row numbers.
"""

from __future__ import annotations

import csv
import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from fer_live.model.pictures import read_picture
from fer_live.model.preprocess import resize_face
from fer_live.model.spec import EMOTIONS

CSV_ORDER = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")  # the CSV's codes 0..6; not alphabetical
VOTE_ORDER = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise", "contempt")  # EMOTIONS, then contempt
VOTE_OTHER = ("unknown", "NF")  # "cannot say" and "not a face"
OFFICIAL = ("Training", "PublicTest", "PrivateTest")
OFFICIAL_SIZES = (28_709, 3_589, 3_589)  # in this order in fer2013.csv
FOLDER_SPLITS = {"train": "train", "validation": "validation", "val": "validation", "test": "validation"}
PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}


class DataError(Exception):
    """A data set cannot be read. The text says what was tried and what to do next."""


@dataclass(frozen=True)
class Dataset:
    """Pictures with what is known of them. N pictures of side S."""

    images: np.ndarray  # (N, S, S) uint8, grey
    labels: np.ndarray  # (N,) int64, an index into EMOTIONS
    rows: np.ndarray  # (N,) int64, the row in fer2013.csv, or -1
    splits: dict[str, np.ndarray]  # name -> indices; "train" and "validation", and the official three where known
    votes: np.ndarray | None = None  # (N, 10) float32: counts of VOTE_ORDER, then of VOTE_OTHER; zeros where unknown

    def split(self, name: str) -> np.ndarray:
        """Indices of a split. Raises DataError, naming those that exist."""
        if name not in self.splits:
            raise DataError(f"this data has no split {name!r}; it has: {', '.join(self.splits)}")
        return self.splits[name]


def load_dataset(path: str | Path, votes: str | Path | None = None, size: int = 48) -> Dataset:
    """Read any of the layouts. `votes` is FER+'s fer2013new.csv. Raises DataError for what cannot be read."""
    try:
        return _load(Path(path), None if votes is None else Path(votes), size)
    except OSError as error:
        raise DataError(f"{error.filename or path} cannot be read ({error.strerror}); is it yours to read?") from None


def _load(path: Path, votes: Path | None, size: int) -> Dataset:
    if path.is_file():
        images, labels, rows, usage = _read_csv(path, size)
        splits = _official(usage) if usage is not None else _hash_split(images)
    elif path.is_dir():
        images, labels, rows, splits = _read_folders(path, size)
    else:
        raise DataError(f"no data at {path}; give a folder of class folders, or a fer2013.csv")
    counts = None
    if votes is not None:
        counts, usage = _read_votes(votes, rows)
        splits = {**splits, **_official(usage)}
    elif path.is_dir() and np.array_equal(np.sort(rows), np.arange(sum(OFFICIAL_SIZES))):  # Kaggle's re-shuffle of all of it
        splits = {**splits, **_official(np.repeat(OFFICIAL, OFFICIAL_SIZES)[rows])}
    return Dataset(images, labels, rows, splits, counts)


def without_leaks(data: Dataset) -> Dataset:
    """The data with those pictures taken out of the training splits that also stand, byte for byte, in a test split."""
    prints = fingerprints(data.images)
    splits = dict(data.splits)
    for train, tests in (("Training", ("PublicTest", "PrivateTest")), ("train", ("validation",))):
        if train in splits:
            held_out = np.concatenate([prints[splits[name]] for name in tests if name in splits])
            splits[train] = splits[train][~np.isin(prints[splits[train]], held_out)]
    return replace(data, splits=splits)


def fingerprints(images: np.ndarray) -> np.ndarray:
    """(N,) byte strings, equal exactly where two pictures are equal byte for byte."""
    return np.array([hashlib.blake2b(image.tobytes(), digest_size=16).hexdigest() for image in images])


# ---------------------------------------------------------------------------------------------- fer2013.csv


@contextmanager
def _table(path: Path) -> Iterator[csv.DictReader]:
    """The rows of a CSV file by its first line. Raises DataError for what is no such text."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as handle:
            yield csv.DictReader(handle)
    except (csv.Error, UnicodeError) as error:
        raise DataError(f"{path} is no CSV text in UTF-8 ({error}); download it again") from None


def _read_csv(path: Path, size: int):
    images, codes, usage = [], [], []
    with _table(path) as rows:
        if not rows.fieldnames or not {"emotion", "pixels"} <= set(rows.fieldnames):
            raise DataError(f"{path} has no columns 'emotion' and 'pixels' in its first line; is it fer2013.csv?")
        for row in tqdm(rows, desc=f"reading {path.name}", unit=" rows", leave=False, disable=not sys.stderr.isatty()):
            where = f"{path}, line {rows.line_num}"
            images.append(_pixels(row["pixels"], where, size))
            if row["emotion"] not in {"0", "1", "2", "3", "4", "5", "6"}:
                raise DataError(f"{where}: emotion is {row['emotion']!r}, not 0 to 6; fix or delete the row")
            codes.append(int(row["emotion"]))
            usage.append(row.get("Usage"))
    if not images:
        raise DataError(f"{path} has no rows; download the data again")
    order = np.array([EMOTIONS.index(name) for name in CSV_ORDER])
    known = np.array(usage) if all(u in OFFICIAL for u in usage) else None
    return np.stack(images), order[codes], np.arange(len(images)), known


def _pixels(text: str | None, where: str, size: int) -> np.ndarray:
    try:
        values = np.array((text or "").split(), dtype=np.int64)
    except (ValueError, OverflowError):
        raise DataError(f"{where}: a pixel is not a number; fix or delete the row")
    side = int(len(values) ** 0.5)
    if side < 8 or side * side != len(values):
        raise DataError(f"{where}: {len(values):,} pixel values are no square picture (48x48 has 2,304); fix or delete the row")
    if values.min() < 0 or values.max() > 255:
        raise DataError(f"{where}: a pixel value is outside 0 to 255; fix or delete the row")
    return resize_face(values.astype(np.uint8).reshape(side, side), size)


def _official(usage: np.ndarray) -> dict[str, np.ndarray]:
    return {name: np.flatnonzero(usage == name) for name in OFFICIAL if (usage == name).any()}


# ---------------------------------------------------------------------------------------------- folders


def _read_folders(path: Path, size: int):
    parts = [(p, FOLDER_SPLITS[p.name.lower()]) for p in sorted(path.iterdir()) if p.is_dir() and p.name.lower() in FOLDER_SPLITS]
    if parts and not any(name == "train" for _, name in parts):
        raise DataError(f"{path} has {parts[0][0].name}/ but no train/; put the training classes in {path / 'train'}")
    files, labels, where = [], [], []
    for folder, split in parts or [(path, "")]:
        for code, name in enumerate(EMOTIONS):
            found = _class_files(folder, name)
            files += found
            labels += [code] * len(found)
            where += [split] * len(found)
    images, kept = _read_pictures(files, size)
    stems = [files[i].stem for i in kept]
    rows = np.array([int(s) if s.isascii() and s.isdigit() and len(s) < 10 else -1 for s in stems], dtype=np.int64)
    where = np.array([where[i] for i in kept])
    splits = {name: np.flatnonzero(where == name) for name in ("train", "validation")} if parts else _hash_split(images)
    if not len(splits["validation"]):
        raise DataError(f"{path}: nothing to validate on; add a validation/ folder beside train/, or more pictures")
    return images, np.array(labels, dtype=np.int64)[kept], rows, splits


def _class_files(folder: Path, name: str) -> list[Path]:
    matches = [p for p in folder.iterdir() if p.is_dir() and p.name.lower() == name]
    files = sorted(p for p in matches[0].iterdir() if p.suffix.lower() in PICTURES and p.is_file()) if matches else []
    if not files:
        what = "has no pictures" if matches else "is missing"
        raise DataError(f"the class folder {folder / name} {what}; seven are needed: {', '.join(EMOTIONS)}")
    return files


def _read_pictures(files: list[Path], size: int) -> tuple[np.ndarray, list[int]]:
    """Pictures as (N, S, S) grey, and which of the files they are: broken ones are named, skipped and counted."""
    images, kept = [], []
    for i, file in enumerate(tqdm(files, desc="reading pictures", leave=False, disable=not sys.stderr.isatty())):
        image = read_picture(file, grey=True)
        if image is None:
            print(f"skipped a picture that is broken or beyond 64 megapixels: {file}", file=sys.stderr)
            continue
        images.append(resize_face(image, size))
        kept.append(i)
    if len(kept) < len(files):
        print(f"{len(files) - len(kept)} of {len(files)} pictures skipped", file=sys.stderr)
    if not images:
        raise DataError(f"none of the {len(files)} pictures can be read; the first was {files[0]}")
    return np.stack(images), kept


def _hash_split(images: np.ndarray) -> dict[str, np.ndarray]:
    """A tenth to validate on, chosen by content: the same on every machine, and copies never stand on both sides."""
    digit = np.array([int(print_[:8], 16) % 10 for print_ in fingerprints(images)])
    return {"train": np.flatnonzero(digit != 0), "validation": np.flatnonzero(digit == 0)}


# ---------------------------------------------------------------------------------------------- FER+


def _read_votes(path: Path, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """FER+ counts (N, 10) and the official usage (N,) of the pictures with these row numbers."""
    if not path.is_file():
        raise DataError(f"no FER+ votes at {path}; get fer2013new.csv from github.com/microsoft/FERPlus")
    with _table(path) as table:
        columns = (*VOTE_ORDER, *VOTE_OTHER)
        if not table.fieldnames or not {"Usage", *columns} <= set(table.fieldnames):
            raise DataError(f"{path} has not FER+'s columns; it needs Usage, {', '.join(columns)}")
        counts, usage = [], []
        for row in table:
            try:
                counts.append([float(row[name]) for name in columns])
            except (TypeError, ValueError):
                raise DataError(f"{path}, line {table.line_num}: a vote is not a number; fix the row")
            if not all(0 <= count <= 1000 for count in counts[-1]):
                raise DataError(f"{path}, line {table.line_num}: a vote is not from 0 to 1000; fix the row")
            usage.append(row["Usage"])
    if (rows < 0).any() or rows.max() >= len(counts):
        raise DataError(f"{path} has {len(counts):,} rows, but the pictures' file names are not row numbers within them; "
                        "train without --votes")
    return np.array(counts, np.float32)[rows], np.array(usage)[rows]


if __name__ == "__main__":
    from training.audit import main

    sys.exit(main())
