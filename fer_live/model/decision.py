"""Logits of the heads -> the answer that is shown. Training, evaluation and every runtime call this one function.

A network trained on pictures as they come answers with the classes' frequencies in mind: among FER+'s votes a face is "neutral"
33 times as often as "disgust", so a doubtful one is called neutral. Logit adjustment (Menon et al. 2021, arXiv:2007.07314) takes
a share of that prior out again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fer_live.model.spec import ModelSpec

SHOWN = "shown"  # the name of the answer that combines the heads; the others are named like their heads


@dataclass(frozen=True)
class Decision:
    """How the shown answer comes from the heads.

    weights: share of each head in the sum of log-probabilities; sums to 1.
    strength: tau of the logit adjustment: 0 keeps the prior of the training data, 1 treats all classes as equally common.
    temperature: divides the result, so that the largest probability is how often that label is right.
    """

    weights: dict[str, float]
    strength: float = 0.0
    temperature: float = 1.0


def decide(logits: dict[str, np.ndarray], spec: ModelSpec) -> np.ndarray:
    """Probabilities (N, 7) float32 of the answer `spec.head`, in the order of `spec.labels`.

    logits: of each head the answer needs, (N, K), K >= 7; outputs beyond the seven classes (contempt) are left out.
    """
    decision = spec.decision if spec.head == SHOWN else Decision({spec.head: 1.0})
    assert decision is not None  # parse_spec has checked it
    score = np.zeros(())  # grows to (N, 7)
    for head, weight in decision.weights.items():
        log_probs = log_softmax(logits[head][:, : len(spec.labels)] / spec.heads[head])
        if decision.strength:
            log_probs = log_probs - decision.strength * np.log(np.array(spec.class_shares[head], np.float32))
        score = score + weight * log_probs
    return np.asarray(np.exp(log_softmax(score / decision.temperature)), np.float32)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """(N, K) logits -> (N, K) log-probabilities."""
    shifted = logits - logits.max(1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(1, keepdims=True)))
