"""Which pictures train and which choose the best epoch."""

from __future__ import annotations

import sys

import numpy as np

from fer_live.model.spec import EMOTIONS
from training.data import Dataset
from training.recipes import Recipe


class TrainingError(Exception):
    """Training cannot start or go on. The text says what was tried and what to do next."""


def split_names(data: Dataset) -> tuple[str, str]:
    """The splits to train and to choose on: the official ones of the CSV and of the votes, else the folders' own.

    PrivateTest chooses nothing, but where a recipe reruns a project that let it (`choose_on`).
    """
    if data.votes is None and "train" in data.splits:
        return "train", "validation"
    return "Training", "PublicTest"


def training_ids(data: Dataset) -> np.ndarray:
    """The pictures (M,) that train; a class that has none is named on stderr."""
    name, _ = split_names(data)
    ids = data.split(name)
    if missing := [emotion for code, emotion in enumerate(EMOTIONS) if not (data.labels[ids] == code).any()]:
        print(f"note: the split {name} has no picture of {', '.join(missing)}: the network will not learn it", file=sys.stderr)
    return ids


def choosing_ids(recipe: Recipe, data: Dataset) -> tuple[str, np.ndarray]:
    """The name and the pictures (M,) of what chooses the best epoch. Raises TrainingError where some of them also train."""
    train, choose = split_names(data)
    names = recipe.choose_on or (choose,)
    ids = np.concatenate([data.split(name) for name in names])
    if shared := len(np.intersect1d(ids, data.split(train))):
        raise TrainingError(f"{shared:,} pictures of {'+'.join(names)}, on which this recipe chooses, are also in {train}; "
                            "give the official splits: fer2013.csv, or --votes")
    return "+".join(names), ids
