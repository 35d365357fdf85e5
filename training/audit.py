"""What a data set holds, and what is wrong with it: counts, copies inside and across splits, conflicting labels, blanks.

    python -m training.data DATA [--votes FILE] [--json FILE]
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path

import numpy as np

from fer_live.model.paths import named_path, one_line
from fer_live.model.spec import EMOTIONS
from training.commands import ResultsError, check_file, write_json
from training.data import DataError, Dataset, fingerprints, load_dataset

BLANK = 2.0  # standard deviation in grey levels below which a picture shows nothing


def audit(data: Dataset) -> dict:
    """Figures about the data in plain Python types.

    A group is two or more pictures that are equal byte for byte; `across` counts, for two splits, the pictures of the
    first that also stand in the second.
    """
    _, group, sizes = np.unique(fingerprints(data.images), return_inverse=True, return_counts=True)
    copied = sizes[group] > 1  # (N,) bool
    pairs = np.unique(np.stack([group, data.labels], axis=1), axis=0)  # every label that a group carries, once
    labels_per_group = np.bincount(pairs[:, 0], minlength=len(sizes))
    blank = data.images.reshape(len(data.images), -1).std(1) < BLANK
    result = {
        "pictures": len(data.images), "unique": len(sizes),
        "splits": {name: _counts(data.labels[ids]) for name, ids in data.splits.items()},
        "groups": int((sizes > 1).sum()), "pictures_in_groups": int(copied.sum()),
        "groups_with_conflicting_labels": int((labels_per_group > 1).sum()),
        "copies_within": {name: int(len(ids) - len(np.unique(group[ids]))) for name, ids in data.splits.items()},
        "across": {}, "blank": _named(data, np.flatnonzero(blank)),
    }
    # Kaggle's folders and the official splits overlap by design: only splits of one kind are compared
    kinds = [[n for n in ("PrivateTest", "PublicTest", "Training") if n in data.splits],
             [n for n in ("test", "validation", "train") if n in data.splits]]
    for names in kinds:
        for a, b in itertools.combinations(names, 2):
            shared = np.isin(group[data.splits[a]], group[data.splits[b]])
            result["across"][f"{a} in {b}"] = int(shared.sum())
    return result


def _counts(labels: np.ndarray) -> dict:
    return {"all": len(labels), **{name: int((labels == i).sum()) for i, name in enumerate(EMOTIONS)}}


def _named(data: Dataset, ids: np.ndarray) -> list[int]:
    """Rows of fer2013.csv where they are known, else positions."""
    return sorted(int(data.rows[i]) if data.rows[i] >= 0 else int(i) for i in ids)


def describe(result: dict) -> str:
    """The audit as text for people."""
    lines = [f"{result['pictures']:,} pictures, {result['unique']:,} of them different"]
    lines.append("split".ljust(14) + "".join(name.rjust(10) for name in ("all", *EMOTIONS)))
    for split, counts in result["splits"].items():
        lines.append(split.ljust(14) + "".join(f"{counts[name]:,}".rjust(10) for name in ("all", *EMOTIONS)))
    lines.append(f"byte-identical: {result['groups']:,} groups of {result['pictures_in_groups']:,} pictures; "
                 f"{result['groups_with_conflicting_labels']} groups carry conflicting labels")
    lines += [f"  {count:,} surplus copies within {name}" for name, count in result["copies_within"].items()]
    lines += [f"  {count:,} pictures of {pair.replace(' in ', ' also stand in ')}" for pair, count in result["across"].items()]
    lines.append(f"blank pictures: {len(result['blank'])}" + (f" (rows {result['blank']})" if result["blank"] else ""))
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.data", description=__doc__.splitlines()[0])
    parser.register("type", Path, named_path)
    parser.add_argument("data", type=Path, help="folders of classes, or fer2013.csv")
    parser.add_argument("--votes", type=Path, help="FER+'s fer2013new.csv")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args(arguments)
    try:
        check_file(args.json)
        result = audit(load_dataset(args.data, args.votes))
        print(describe(result))
        write_json(args.json, result)
    except (DataError, ResultsError, OSError) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    return 0
