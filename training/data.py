"""Reads every data set layout into one Dataset: uint8 gray images (N, S, S), labels, votes, named splits.

Layouts: folders (`folders.py`): `train/`, `validation/` and `test/` of class folders, or the class folders alone;
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

from fer_live.model.preprocess import resize_face
from fer_live.model.spec import EMOTIONS
from training.folders import read_folders
from training.splits import DataError, fingerprints, hash_split
from training.votes import plurality_votes

CSV_ORDER = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")  # the CSV's codes 0..6, not alphabetical
VOTE_ORDER = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise", "contempt")  # EMOTIONS, then contempt
VOTE_OTHER = ("unknown", "NF")  # "unknown" and "not a face"
OFFICIAL = ("Training", "PublicTest", "PrivateTest")
OFFICIAL_SIZES = (28_709, 3_589, 3_589)  # in this order in fer2013.csv
MIN_AGREEMENT = 0.4  # minimum agreement of labels and votes; see `_check_agreement`
MIN_COMPARED = 500  # images with a clear vote; below this, agreement is not checked


@dataclass(frozen=True)
class Dataset:
    """N images of side S with their labels, votes and splits."""

    images: np.ndarray  # (N, S, S) uint8, gray
    labels: np.ndarray  # (N,) int64, indices into EMOTIONS
    rows: np.ndarray  # (N,) int64, the row in fer2013.csv, or -1
    splits: dict[str, np.ndarray]  # name -> indices; "train", "validation", "test"; the official three if known
    votes: np.ndarray | None = None  # (N, 10) float32: counts of VOTE_ORDER, then of VOTE_OTHER; zeros if unknown

    def split(self, name: str) -> np.ndarray:
        """Return the indices of a split. Raises DataError, which lists the splits, for an unknown name."""
        if name not in self.splits:
            raise DataError(f"this data has no split {name!r}; it has: {', '.join(self.splits)}")
        return self.splits[name]


def load_dataset(path: str | Path, votes: str | Path | None = None, size: int = 48) -> Dataset:
    """Read any of the layouts. votes: FER+'s fer2013new.csv. size: side of the images in pixels. Raises DataError."""
    try:
        return _load(Path(path), None if votes is None else Path(votes), size)
    except OSError as error:
        raise DataError(f"{error.filename or path} cannot be read ({error.strerror}); check its permissions") from None


def _load(path: Path, votes: Path | None, size: int) -> Dataset:
    if path.is_file():
        images, labels, rows, usage = _read_csv(path, size)
        splits = _official(usage) if usage is not None else hash_split(images)
    elif path.is_dir():
        images, labels, rows, splits = read_folders(path, size)
        usage = None
    else:
        raise DataError(f"no data at {path}; give a folder of class folders, or a fer2013.csv")
    counts = None
    if votes is not None:
        all_counts, all_usage = _read_votes(votes)
        _check_join(votes, rows, usage, all_usage, is_table=path.is_file())
        counts = all_counts[rows]
        _check_agreement(votes, labels, counts)
        splits = {**splits, **_official(all_usage[rows])}
    elif path.is_dir() and np.array_equal(np.sort(rows), np.arange(sum(OFFICIAL_SIZES))):  # all of FER2013 in Kaggle's folders
        splits = {**splits, **_official(np.repeat(OFFICIAL, OFFICIAL_SIZES)[rows])}
    return Dataset(images, labels, rows, splits, counts)


def data_sha256(data: Dataset) -> str:
    """Return a hash of everything that training reads of the data: images, labels, votes and splits, in order."""
    parts = {"images": data.images, "labels": data.labels, **({} if data.votes is None else {"votes": data.votes}), **data.splits}
    digest = hashlib.sha256()
    for name, values in parts.items():
        digest.update(f"{name} {values.dtype} {values.shape};".encode())
        digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


def without_leaks(data: Dataset) -> Dataset:
    """Return the data without training images that are also, byte for byte, in a test split."""
    prints = fingerprints(data.images)
    splits = dict(data.splits)
    for train, tests in (("Training", ("PublicTest", "PrivateTest")), ("train", ("validation", "test"))):
        if train in splits:
            held_out = np.concatenate([prints[splits[name]] for name in tests if name in splits])
            splits[train] = splits[train][~np.isin(prints[splits[train]], held_out)]
    return replace(data, splits=splits)


# ---------------------------------------------------------------------------------------------- fer2013.csv


@contextmanager
def _table(path: Path) -> Iterator[csv.DictReader]:
    """Return a reader of the CSV file, with the first line as the header. Raises DataError for other content."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as handle:
            yield csv.DictReader(handle)
    except (csv.Error, UnicodeError) as error:
        raise DataError(f"{path} is not CSV text in UTF-8 ({error}); download it again") from None


def _read_csv(path: Path, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """Return images (N, size, size) uint8 gray, labels (N,), rows (N,) and the Usage column (N,), if present."""
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
            if "Usage" in rows.fieldnames:
                usage.append(_known_usage(row["Usage"], where))
    if not images:
        raise DataError(f"{path} has no rows; download the data again")
    order = np.array([EMOTIONS.index(name) for name in CSV_ORDER])
    return np.stack(images), order[codes], np.arange(len(images)), np.array(usage) if usage else None


def _known_usage(text: str | None, where: str) -> str:
    if text not in OFFICIAL:
        raise DataError(f"{where}: Usage is {str(text)!r:.80}, not one of {', '.join(OFFICIAL)}; fix the row, or delete the "
                        "whole column to split by content")
    return text


def _pixels(text: str | None, where: str, size: int) -> np.ndarray:
    try:
        values = np.array((text or "").split(), dtype=np.int64)
    except (ValueError, OverflowError):
        raise DataError(f"{where}: a pixel is not a number; fix or delete the row")
    side = int(len(values) ** 0.5)
    if side < 8 or side * side != len(values):
        raise DataError(f"{where}: {len(values):,} pixel values are not a square image (48x48 has 2,304); "
                        "fix or delete the row")
    if values.min() < 0 or values.max() > 255:
        raise DataError(f"{where}: a pixel value is outside 0 to 255; fix or delete the row")
    return resize_face(values.astype(np.uint8).reshape(side, side), size)


def _official(usage: np.ndarray) -> dict[str, np.ndarray]:
    return {name: np.flatnonzero(usage == name) for name in OFFICIAL if (usage == name).any()}


# ---------------------------------------------------------------------------------------------- FER+


def _read_votes(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return FER+ counts (R, 10) and the official Usage (R,) of all R rows of the file."""
    if not path.is_file():
        raise DataError(f"no FER+ votes at {path}; get fer2013new.csv from github.com/microsoft/FERPlus")
    with _table(path) as table:
        columns = (*VOTE_ORDER, *VOTE_OTHER)
        if not table.fieldnames or not {"Usage", *columns} <= set(table.fieldnames):
            raise DataError(f"{path} does not have FER+'s columns; it needs Usage, {', '.join(columns)}")
        counts, usage = [], []
        for row in table:
            where = f"{path}, line {table.line_num}"
            try:
                counts.append([float(row[name]) for name in columns])
            except (TypeError, ValueError):
                raise DataError(f"{where}: a vote is not a number; fix the row")
            if not all(0 <= count <= 1000 for count in counts[-1]):
                raise DataError(f"{where}: a vote is not from 0 to 1000; fix the row")
            if row["Usage"] not in OFFICIAL:
                raise DataError(f"{where}: Usage is {str(row['Usage'])!r:.80}, not one of {', '.join(OFFICIAL)}; fix the row")
            usage.append(row["Usage"])
    return np.array(counts, np.float32).reshape(-1, len(columns)), np.array(usage)


def _check_join(path: Path, rows: np.ndarray, usage: np.ndarray | None, all_usage: np.ndarray, is_table: bool) -> None:
    """Raise DataError if the votes are for other images. rows: (N,) of the images; usage: (N,) from the images' table."""
    if is_table and len(all_usage) != len(rows):
        raise DataError(f"{path} has {len(all_usage):,} rows, the images' table {len(rows):,}: they do not match; "
                        "give the votes of this table, or train without --votes")
    if (rows < 0).any() or rows.max() >= len(all_usage):
        raise DataError(f"{path} has {len(all_usage):,} rows, but the images' file names are not row numbers within them; "
                        "train without --votes")
    numbers, times = np.unique(rows, return_counts=True)
    if len(numbers) < len(rows):
        raise DataError(f"{(times > 1).sum():,} file names are in several folders, such as {numbers[times > 1][0]}, so "
                        f"they are not row numbers of {path}; train without --votes")
    if usage is not None and (usage != all_usage).any():
        row = int(np.flatnonzero(usage != all_usage)[0])
        raise DataError(f"{path} and the images' table differ in the Usage of row {row + 1}: {all_usage[row]} and {usage[row]}"
                        "; give the votes of this table, or train without --votes")


def _check_agreement(path: Path, labels: np.ndarray, votes: np.ndarray) -> None:
    """Raise DataError if the votes are joined to the wrong images.

    On all of FER2013, the label equals the class with the most votes for 66% of the images, and for 18% if the votes are
    shifted by one row (measured on fer2013.csv and fer2013new.csv).
    """
    most = plurality_votes(votes)
    known = most >= 0
    agree = (most == labels)[known].mean() if known.any() else 1.0
    if known.sum() >= MIN_COMPARED and agree < MIN_AGREEMENT:
        raise DataError(f"the votes in {path} agree with the labels on only {agree:.0%} of the images: they belong to "
                        "other rows; give the votes of this data, or train without --votes")


if __name__ == "__main__":
    from training.audit import main

    sys.exit(main())
