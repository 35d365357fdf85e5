"""Chooses the split to train on and the split that selects the best epoch."""

from __future__ import annotations

import logging

import numpy as np

from fer_live.model.spec import EMOTIONS
from training.data import Dataset
from training.recipes import Recipe

logger = logging.getLogger("training")


class TrainingError(Exception):
    """Training cannot start or continue. The message says what failed and what to do next."""


def split_names(data: Dataset) -> tuple[str, str]:
    """Return the names of the training and the selection split: the official ones of the CSV and the votes, else the folders'.

    PrivateTest never selects, except in recipes that reproduce a project that did so (`choose_on`).
    """
    if data.votes is None and "train" in data.splits:
        return "train", "validation"
    return "Training", "PublicTest"


def training_ids(data: Dataset) -> np.ndarray:
    """Return the indices (M,) of the training images. Logs a warning for classes without images."""
    name, _ = split_names(data)
    ids = data.split(name)
    if missing := [emotion for code, emotion in enumerate(EMOTIONS) if not (data.labels[ids] == code).any()]:
        logger.warning("note: the split %s has no image of %s: the network will not learn it", name, ", ".join(missing))
    return ids


def selection_ids(recipe: Recipe, data: Dataset) -> tuple[str, np.ndarray]:
    """Return the name and indices (M,) of the images that select the best epoch. Raises TrainingError if some also train."""
    train, selection = split_names(data)
    names = recipe.choose_on or (selection,)
    ids = np.concatenate([data.split(name) for name in names])
    if shared := len(np.intersect1d(ids, data.split(train))):
        raise TrainingError(f"{shared:,} images of {'+'.join(names)}, on which this recipe selects the epoch, are also in "
                            f"{train}; give the official splits: fer2013.csv, or --votes")
    return "+".join(names), ids
