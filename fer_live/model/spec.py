"""The spec of a model: network, classes, input, heads and decision."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from fer_live.model.decision import SHOWN, Decision

EMOTIONS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
HEADS = ("fer2013", "ferplus")  # dataset labels (search keywords), and crowd votes (FER+)
ANSWERS = (SHOWN, *HEADS)  # choices of --head
FORMAT = "fer_live/1"  # of checkpoint files


class CheckpointError(ValueError):
    """Weights are missing, damaged, or unsupported. The message says what to do.

    >>> fer_live.load("missing.pt")
    Traceback (most recent call last):
    fer_live.model.spec.CheckpointError: no model file at missing.pt; ...
    """


@dataclass(frozen=True)
class ModelSpec:
    """Everything needed to use the weights; stored inside the checkpoint.

    arch: a timm name, or "resnet9"; several joined by "+" are networks whose logits are averaged.
    labels: class names in the order of the logits.
    input_size: side S of the crops in pixels. channels: 1 for gray crops, 3 for color ones.
    mean, std: one number per input plane of the network, for pixels scaled to 0..1; gray crops are repeated to three planes.
    crop_margin: margin of the crop around the face box, as a fraction of the box (0.0 is the box itself).
    resolution: side in pixels to which the network upsamples its input.
    heads: temperature of each head, which divides its logits (arXiv:1706.04599).
    class_shares: per head, the frequency of each label in the training data, (7,); the prior for logit adjustment.
    decision: how the shown answer is computed. head: which answer to return: a head's, or "shown".
    """

    arch: str
    labels: tuple[str, ...] = EMOTIONS
    input_size: int = 48
    channels: int = 1
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.5,)
    crop_margin: float = 0.0
    resolution: int = 48
    heads: dict[str, float] = field(default_factory=lambda: {"fer2013": 1.0})
    class_shares: dict[str, tuple[float, ...]] = field(default_factory=dict)
    decision: Decision | None = None
    head: str = "fer2013"

    @property
    def answers(self) -> tuple[str, ...]:
        """The valid values of `head`."""
        return (*self.heads, *([SHOWN] if self.decision else []))

    def for_head(self, head: str | None) -> ModelSpec:
        """Return a copy with another `head` (None: unchanged). Raises CheckpointError if the weights do not support it."""
        head = self.head if head is None else head
        if head not in self.answers:
            raise CheckpointError(f"these weights have no head {head!r}; choose from: {', '.join(self.answers)}")
        return dataclasses.replace(self, head=head)


def parse_spec(fields: Any) -> ModelSpec:
    """Build a ModelSpec from its stored dictionary, converting lists back to tuples. Raises CheckpointError."""
    known = {"temperature", *(f.name for f in dataclasses.fields(ModelSpec))}  # redundant field of older versions
    if not isinstance(fields, dict) or set(fields) - known or "arch" not in fields:
        raise CheckpointError("the checkpoint's spec has unknown or missing fields; it needs another version of fer_live")
    spec = ModelSpec(**{name: _restored(name, value) for name, value in fields.items() if name != "temperature"})
    for name, is_good in CHECKS.items():
        if not is_good(spec):
            raise CheckpointError(f"invalid {name} in the spec: {getattr(spec, name)!r:.80}; download or export it again")
    return spec


def _restored(name: str, value: Any) -> Any:
    """Convert a field from plain lists and dictionaries to ModelSpec's types; invalid values are left for CHECKS to reject."""
    if isinstance(value, list):
        return tuple(value)
    if name == "class_shares" and isinstance(value, dict):
        return {head: tuple(shares) if isinstance(shares, list) else shares for head, shares in value.items()}
    if name == "decision" and isinstance(value, dict) and set(value) == {"weights", "strength", "temperature"}:
        return Decision(**value)
    return value


def _good_decision(spec: ModelSpec) -> bool:
    """Whether the decision uses existing heads with weights that sum to 1, and class shares exist if it needs them."""
    decision = spec.decision
    if decision is None:
        return True
    if not isinstance(decision, Decision) or not isinstance(decision.weights, dict) or not decision.weights:
        return False
    weights = decision.weights
    if not all(head in spec.heads and _number(weight, 0, 1) for head, weight in weights.items()):
        return False
    knows_shares = not decision.strength or set(weights) <= set(spec.class_shares)
    return (knows_shares and abs(sum(weights.values()) - 1) < 1e-3 and _number(decision.strength, 0, 3)
            and _number(decision.temperature, 1e-3, 1e3))


def _number(value: Any, low: float, high: float) -> bool:
    return type(value) in (int, float) and bool(low <= value <= high)  # NaN compares false


def _whole(value: Any, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def _planes(values: object, spec: ModelSpec, low: float, high: float) -> bool:
    """Whether these are valid numbers per plane: three for color crops, one or three for gray ones."""
    if not isinstance(values, tuple) or len(values) not in (1, 3) or (spec.channels == 3 and len(values) != 3):
        return False
    return all(_number(value, low, high) for value in values)


# Validation of specs from untrusted files, in this order. The upper bounds keep memory use reasonable.
CHECKS: dict[str, Callable[[ModelSpec], bool]] = {
    "arch": lambda s: isinstance(s.arch, str) and 0 < len(s.arch) < 200,
    "labels": lambda s: isinstance(s.labels, tuple) and len(s.labels) == len(EMOTIONS)
    and all(isinstance(label, str) and 0 < len(label) < 40 and label.isprintable() for label in s.labels)
    and len(set(s.labels)) == len(EMOTIONS),
    "input_size": lambda s: _whole(s.input_size, 8, 512),
    "resolution": lambda s: _whole(s.resolution, 8, 1024),
    "channels": lambda s: s.channels in (1, 3) and type(s.channels) is int,
    "mean": lambda s: _planes(s.mean, s, -10, 10),
    "std": lambda s: _planes(s.std, s, 1e-6, 100) and len(s.std) == len(s.mean),
    "crop_margin": lambda s: _number(s.crop_margin, -0.9, 10),
    "heads": lambda s: isinstance(s.heads, dict) and len(s.heads) > 0
    and all(isinstance(name, str) and _number(value, 1e-3, 1e3) for name, value in s.heads.items()),
    "class_shares": lambda s: isinstance(s.class_shares, dict)
    and all(isinstance(name, str) and isinstance(shares, tuple) and len(shares) == len(EMOTIONS)
            and all(_number(share, 1e-6, 1) for share in shares) for name, shares in s.class_shares.items()),
    "decision": _good_decision,
    "head": lambda s: isinstance(s.head, str) and s.head in s.answers,
}


class Classifier(Protocol):
    """Classifies face crops. Thread-safe."""

    @property
    def spec(self) -> ModelSpec:
        """The input format and the classes."""
        ...

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """Map crops (N, S, S, C) uint8 from `crop_faces` to probabilities (N, 7) float32 in the order of `spec.labels`."""
        ...
