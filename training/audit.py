"""Counts and defects of a data set: copies within and across splits, conflicting labels, blank images.

    python -m training.data DATA [--votes FILE] [--json FILE]
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np

from fer_live.model.paths import named_path
from fer_live.model.spec import EMOTIONS
from fer_live.model.suggest import suggest_names
from training.commands import ResultsError, check_file, failed, start_logging, write_json
from training.data import DataError, Dataset, fingerprints, load_dataset

BLANK = 2.0  # gray levels; standard deviation below which an image counts as blank


def audit(data: Dataset) -> dict:
    """Return the audit as plain Python types.

    A group is two or more images that are identical byte for byte; `across` counts, for two splits, the images of the first
    that are also in the second.
    """
    _, group, sizes = np.unique(fingerprints(data.images), return_inverse=True, return_counts=True)
    copied = sizes[group] > 1  # (N,) bool
    pairs = np.unique(np.stack([group, data.labels], axis=1), axis=0)  # each label of a group once
    labels_per_group = np.bincount(pairs[:, 0], minlength=len(sizes))
    blank = data.images.reshape(len(data.images), -1).std(1) < BLANK
    # Kaggle's folders and the official splits overlap by design, so only splits of one kind are compared.
    kinds: list[list[str]] = [[n for n in ("PrivateTest", "PublicTest", "Training") if n in data.splits],
                              [n for n in ("test", "validation", "train") if n in data.splits]]
    across = {f"{a} in {b}": int(np.isin(group[data.splits[a]], group[data.splits[b]]).sum())
              for names in kinds for a, b in itertools.combinations(names, 2)}
    return {
        "images": len(data.images), "unique": len(sizes),
        "splits": {name: _counts(data.labels[ids]) for name, ids in data.splits.items()},
        "groups": int((sizes > 1).sum()), "images_in_groups": int(copied.sum()),
        "groups_with_conflicting_labels": int((labels_per_group > 1).sum()),
        "copies_within": {name: int(len(ids) - len(np.unique(group[ids]))) for name, ids in data.splits.items()},
        "across": across, "blank": _row_numbers(data, np.flatnonzero(blank)),
    }


def _counts(labels: np.ndarray) -> dict:
    return {"all": len(labels), **{name: int((labels == i).sum()) for i, name in enumerate(EMOTIONS)}}


def _row_numbers(data: Dataset, ids: np.ndarray) -> list[int]:
    """Return the rows in fer2013.csv if known, else the indices."""
    return sorted(int(data.rows[i]) if data.rows[i] >= 0 else int(i) for i in ids)


def describe(result: dict) -> str:
    """Format the audit as text."""
    lines = [f"{result['images']:,} images, {result['unique']:,} of them unique"]
    lines.append("split".ljust(14) + "".join(name.rjust(10) for name in ("all", *EMOTIONS)))
    for split, counts in result["splits"].items():
        lines.append(split.ljust(14) + "".join(f"{counts[name]:,}".rjust(10) for name in ("all", *EMOTIONS)))
    lines.append(f"byte-identical: {result['groups']:,} groups of {result['images_in_groups']:,} images; "
                 f"{result['groups_with_conflicting_labels']} groups have conflicting labels")
    lines += [f"  {count:,} surplus copies within {name}" for name, count in result["copies_within"].items()]
    lines += [f"  {count:,} images of {pair.replace(' in ', ' are also in ')}" for pair, count in result["across"].items()]
    lines.append(f"blank images: {len(result['blank'])}" + (f" (rows {result['blank']})" if result["blank"] else ""))
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.data", description=__doc__.splitlines()[0])
    parser.register("type", Path, named_path)
    parser.add_argument("data", type=Path, help="folder of class folders, or fer2013.csv")
    parser.add_argument("--votes", type=Path, help="FER+'s fer2013new.csv")
    parser.add_argument("--json", type=Path, help="also write the audit to this file")
    args = suggest_names(parser).parse_args(arguments)
    start_logging()
    try:
        check_file(args.json)
        result = audit(load_dataset(args.data, args.votes))
        print(describe(result))
        write_json(args.json, result)
    except (DataError, ResultsError, OSError) as error:
        return failed(error)
    return 0
