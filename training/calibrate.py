"""Fits each head's temperature on the split that chooses, and says what each head should have answered."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
from torch import nn

from models.checkpoint import EMOTIONS, ModelSpec
from training.data import Dataset
from training.evaluate import fit_temperature, predict_heads
from training.train import split_names
from training.votes import plurality_votes, vote_targets


def calibrate(model: nn.Module, spec: ModelSpec, data: Dataset) -> ModelSpec:
    """The spec with each head's temperature fitted on the split that chooses: FER2013's head on its labels, FER+'s on
    the vote distributions over the seven classes."""
    ids = data.split(split_names(data)[1])
    logits = predict_heads(model, data.images[ids], spec)
    heads = {"fer2013": fit_temperature(logits["fer2013"], np.eye(len(EMOTIONS))[data.labels[ids]])}
    if "ferplus" in spec.heads:
        votes, weight = vote_targets(data.votes[ids])
        seven, usable = votes[:, :7], (weight > 0) & (votes[:, :7].sum(1) > 0)
        targets = seven[usable] / seven[usable].sum(1, keepdims=True)
        heads["ferplus"] = fit_temperature(logits["ferplus"][usable, :7], targets)
    return ModelSpec(**{**asdict(spec), "heads": heads}).for_head(spec.head)


def head_truths(data: Dataset, ids: np.ndarray) -> dict[str, np.ndarray]:
    """The classes that each head should have named, (N,), -1 where there is none: labels, and what most voters saw."""
    truths = {"fer2013": data.labels[ids]}
    return truths if data.votes is None else {**truths, "ferplus": plurality_votes(data.votes[ids])}
