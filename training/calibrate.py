"""Fits the temperatures and the decision for the shown answer on the selection split."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fer_live.model.decision import SHOWN, Decision, decide
from fer_live.model.networks import EmotionNet
from fer_live.model.spec import EMOTIONS, ModelSpec
from training.data import DataError, Dataset
from training.evaluate import predict_views
from training.metrics import fit_temperature
from training.objective import class_shares
from training.roles import split_names
from training.votes import clear_votes, plurality_votes, vote_targets

FER2013_WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)  # weights of the FER2013 head; the FER+ head gets the rest
STRENGTHS = tuple(np.arange(0, 1.3, 0.05).round(2).tolist())
MAX_ACCURACY_LOSS = 0.03  # accepted loss of accuracy on clear votes in exchange for mean recall; see RESULTS.md


def calibrate(model: EmotionNet, spec: ModelSpec, data: Dataset) -> ModelSpec:
    """Return the spec with each head's temperature and class shares and, with votes, the decision, which becomes the default.

    The FER2013 head is fitted on the labels, the FER+ head on the vote distributions over the seven classes, single view.
    Raises DataError if there is a FER+ head and `data` has no votes.
    """
    check_votes(spec, data)
    train, selection = split_names(data)
    ids = data.split(selection)
    views = predict_views(model, data.images[ids], spec, flip=True)
    heads = {"fer2013": fit_temperature(views[0]["fer2013"], np.eye(len(EMOTIONS))[data.labels[ids]])}
    shares = class_shares(data, data.split(train))
    if data.votes is None or "ferplus" not in spec.heads:
        return replace(spec, heads=heads, class_shares={"fer2013": shares["fer2013"]})
    seven, usable = seven_votes(data.votes[ids])
    targets = seven[usable] / seven[usable].sum(1, keepdims=True)
    heads["ferplus"] = fit_temperature(views[0]["ferplus"][usable, :7], targets)
    spec = replace(spec, heads=heads, class_shares=shares)
    decision = choose_decision(views, spec, data.votes[ids])
    return replace(spec, decision=decision, head=SHOWN)


def check_votes(spec: ModelSpec, data: Dataset) -> None:
    """Raise DataError if the network has a FER+ head but the data has no votes to calibrate it on."""
    if "ferplus" in spec.heads and data.votes is None:
        raise DataError("the network has a head for FER+'s votes, which is calibrated on them; give --votes fer2013new.csv")


def seven_votes(votes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """FER+ counts (N, 10) -> weighted shares of the seven classes (N, 7), and which rows have any, (N,) bool."""
    distributions, weight = vote_targets(votes)
    seven = distributions[:, : len(EMOTIONS)] * weight[:, None]
    return seven, seven.sum(1) > 0


def choose_decision(views: list[dict[str, np.ndarray]], spec: ModelSpec, votes: np.ndarray) -> Decision:
    """Choose weights and strength for the highest mean recall at nearly full accuracy on clear votes, then the temperature.

    Measured on PublicTest with the mean of both views: of all pairs (weight of the FER2013 head, strength) that lose at most
    `MAX_ACCURACY_LOSS` of the FER+ head's accuracy on images with clear votes, choose the one with the highest mean recall. Each
    image counts by its votes for the class, since too few images of disgust and fear have clear votes. The temperature minimizes
    the cross entropy against the class with the most votes, so that the shown probability matches the share of correct labels.
    """
    seven, _ = seven_votes(votes)
    clear = clear_votes(votes)

    def recall_and_accuracy(decision: Decision) -> tuple[float, float]:
        predicted = _both(views, replace(spec, decision=decision)).argmax(1)
        recalls = [seven[predicted == c, c].sum() / max(seven[:, c].sum(), 1e-9) for c in range(len(EMOTIONS))]
        return float(np.mean(recalls)), float((predicted == clear)[clear >= 0].mean())

    candidates = [Decision({"ferplus": round(1 - w, 2), "fer2013": w} if w else {"ferplus": 1.0}, strength)
                  for w in FER2013_WEIGHTS for strength in STRENGTHS]
    measured = {i: recall_and_accuracy(decision) for i, decision in enumerate(candidates)}
    floor = measured[0][1] - MAX_ACCURACY_LOSS  # candidate 0 is the FER+ head alone, without adjustment
    best = candidates[max((i for i in measured if measured[i][1] >= floor), key=lambda i: measured[i][0])]
    most = plurality_votes(votes)
    known = most >= 0
    log_probs = [np.log(np.maximum(decide(view, replace(spec, decision=best, head=SHOWN)), 1e-9)) for view in views]
    truth = np.eye(len(EMOTIONS))[most[known]]
    return replace(best, temperature=fit_temperature(np.mean(log_probs, axis=0)[known], truth))


def _both(views: list[dict[str, np.ndarray]], spec: ModelSpec) -> np.ndarray:
    """Return the shown probabilities (N, 7), averaged over the views."""
    return np.mean([decide(view, replace(spec, head=SHOWN)) for view in views], axis=0)


def head_truths(data: Dataset, ids: np.ndarray) -> dict[str, np.ndarray]:
    """Return the true classes (N,) for each answer, -1 if unknown: the labels, and the class with the most votes."""
    truths = {"fer2013": data.labels[ids]}
    if data.votes is None:
        return truths
    most = plurality_votes(data.votes[ids])
    return {**truths, "ferplus": most, SHOWN: most}
