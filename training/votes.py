"""FER+'s ten votes per image, as training targets and as labels for evaluation.

Counts are (N, 10): the seven classes of EMOTIONS, contempt, "unknown", "not a face" (github.com/microsoft/FERPlus).
"""

from __future__ import annotations

import numpy as np


def vote_targets(votes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """FER+ counts (N, 10) -> distributions over the eight emotions (N, 8), and weights (N,) in 0..1.

    As in FER+'s own reader, single votes are treated as mistakes and dropped. The weight is the fraction of votes for any
    emotion, or 0 if "unknown" or "not a face" leads, so that unclear images count less.
    """
    kept = np.where(votes > 1, votes, 0).astype(np.float32)
    emotion, other = kept[:, :8], kept[:, 8:]
    total = emotion.sum(1)
    leads = emotion.max(1) > other.max(1)
    weight = np.where(leads, total / np.maximum(kept.sum(1), 1), 0).astype(np.float32)
    return emotion / np.maximum(total, 1)[:, None], weight


def clear_votes(votes: np.ndarray) -> np.ndarray:
    """FER+ counts (N, 10) -> the class in EMOTIONS with more than half of all votes, or -1; (N,) int64."""
    top = votes[:, :7].argmax(1)
    clear = votes[np.arange(len(votes)), top] > 0.5 * votes.sum(1)
    return np.where(clear & (votes.sum(1) > 0), top, -1)


def majority_votes(votes: np.ndarray) -> np.ndarray:
    """FER+ counts (N, 10) -> the class in EMOTIONS plus contempt (0..7) by FER+'s own majority rule, or -1; (N,) int64.

    Single votes are dropped as mistakes; one of the eight must then have more than half of the remaining votes.
    """
    kept = np.where(votes > 1, votes, 0)
    top = kept[:, :8].argmax(1)
    return np.where(kept[np.arange(len(kept)), top] > 0.5 * kept.sum(1), top, -1)


def plurality_votes(votes: np.ndarray) -> np.ndarray:
    """FER+ counts (N, 10) -> the class in EMOTIONS with the most votes of all ten columns, -1 for others and ties; (N,) int64."""
    top = votes.argmax(1)
    ranked = np.sort(votes, axis=1)
    return np.where((top < 7) & (ranked[:, -1] > ranked[:, -2]), top, -1)
