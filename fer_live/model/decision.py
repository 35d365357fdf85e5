"""Converts the heads' logits to the displayed probabilities, for training, evaluation and every runtime.

A network trained on imbalanced data learns the class frequencies: in FER+'s votes "neutral" is 33 times as frequent as
"disgust", so ambiguous faces become neutral. Logit adjustment (Menon et al. 2021, arXiv:2007.07314) removes part of that prior.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fer_live.model.spec import ModelSpec

SHOWN = "shown"  # the answer that combines the heads; other answers are named after their heads


@dataclass(frozen=True)
class Decision:
    """How the shown answer is computed from the heads.

    weights: weight of each head's log-probabilities; sums to 1.
    strength: tau of the logit adjustment; 0 keeps the training prior, 1 assumes equally frequent classes.
    temperature: divides the result, so that the largest probability matches the accuracy.
    """

    weights: dict[str, float]
    strength: float = 0.0
    temperature: float = 1.0


def decide(logits: dict[str, np.ndarray], spec: ModelSpec) -> np.ndarray:
    """Return the probabilities (N, 7) float32 of the answer `spec.head`, in the order of `spec.labels`.

    logits: (N, K) per head, K >= 7; outputs beyond the seven classes (contempt) are ignored.
    """
    decision = spec.decision if spec.head == SHOWN else Decision({spec.head: 1.0})
    assert decision is not None  # ensured by parse_spec
    score = np.zeros(())  # broadcasts to (N, 7)
    for head, weight in decision.weights.items():
        log_probs = log_softmax(logits[head][:, : len(spec.labels)] / spec.heads[head])
        if decision.strength:
            log_probs = log_probs - decision.strength * np.log(np.array(spec.class_shares[head], np.float32))
        score = score + weight * log_probs
    return np.asarray(np.exp(log_softmax(score / decision.temperature)), np.float32)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Convert logits (N, K) to log-probabilities (N, K)."""
    shifted = logits - logits.max(1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(1, keepdims=True)))
