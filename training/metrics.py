"""Accuracy, recall and F1 by class, confusion and calibration, in plain NumPy."""

from __future__ import annotations

import numpy as np

from fer_live.model.decision import log_softmax
from fer_live.model.spec import EMOTIONS


def measure(probs: np.ndarray, labels: np.ndarray) -> dict:
    """Compute metrics of probabilities (N, K) against labels (N,): fractions in 0..1, plain Python types.

    mean_recall and macro_f1 are unweighted means over the classes, without classes that have no images.
    ece: expected calibration error in 15 equal bins of confidence (Guo et al. 2017). nll: mean negative log-likelihood.
    """
    n, classes = probs.shape
    predicted = probs.argmax(1)
    confusion = np.zeros((classes, classes), np.int64)  # rows: truth, columns: prediction
    np.add.at(confusion, (labels, predicted), 1)
    hits, truth, named = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    present = truth > 0
    recall = hits / np.maximum(truth, 1)
    f1 = 2 * hits / np.maximum(truth + named, 1)
    likelihood = probs[np.arange(n), labels]
    return {
        "images": n,
        "accuracy": float(hits.sum() / max(n, 1)),
        "macro_f1": float(f1[present].mean()),
        "mean_recall": float(recall[present].mean()),
        "recall": {name: float(r) for name, r in zip((*EMOTIONS, "contempt"), recall, strict=False)},
        "ece": calibration_error(probs.max(1), (predicted == labels).astype(float)),
        "nll": float(-np.log(np.maximum(likelihood, 1e-12)).mean()),
        "confusion": confusion.tolist(),
    }


def calibration_error(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> float:
    """Return the mean gap between confidence and correctness, (N,) each, over equal bins of confidence, weighted by bin size."""
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    gap = np.bincount(index, confidence - correct, minlength=bins)
    return float(np.abs(gap).sum() / max(len(confidence), 1))


def fit_temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    """Return the temperature T that minimizes the cross entropy of softmax(logits / T) against target distributions.

    logits, targets: (N, K). Golden-section search over log T; the loss has a single minimum in 1/T.
    """
    low, high = np.log(0.2), np.log(5.0)
    golden = (5**0.5 - 1) / 2

    def loss(log_t: float) -> float:
        return float(-(targets * np.log(np.maximum(np.exp(log_softmax(logits / np.exp(log_t))), 1e-12))).sum(1).mean())

    while high - low > 1e-4:
        left, right = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, right) if loss(left) < loss(right) else (left, high)
    return float(np.exp((low + high) / 2))
