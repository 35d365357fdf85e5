"""What a model is: its network, classes, input, heads and decision; all that is needed to use the weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from fer_live.model.decision import SHOWN, Decision

EMOTIONS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
HEADS = ("fer2013", "ferplus")  # the dataset's labels (search keywords), and the crowd's votes (FER+)
ANSWERS = (SHOWN, *HEADS)  # what --head may name
FORMAT = "fer_live/1"  # of checkpoint files


class CheckpointError(ValueError):
    """Weights are missing, damaged, or of another kind. The text says what was tried and what to do next.

    >>> fer_live.load("missing.pt")
    Traceback (most recent call last):
    fer_live.model.spec.CheckpointError: no model file at missing.pt; ...
    """


@dataclass(frozen=True)
class ModelSpec:
    """All that is needed to use the weights; stored inside the checkpoint.

    arch: a timm name, or "resnet9"; several joined by "+" are networks whose logits are averaged.
    labels: class names in the order of the logits.
    input_size: side S of the crops in pixels. channels: 1 for gray crops, 3 for color ones.
    mean, std: one number per input plane of the network, for pixels scaled to 0..1; three planes on gray crops repeat them.
    crop_margin: how much larger than the face box the crop is, as a share of the box (0.0 is the box itself).
    resolution: the side to which the network itself enlarges its input.
    heads: name of each head that the weights hold, and the temperature that divides its logits (arXiv:1706.04599).
    class_shares: of each head, how often each label is the target in the training data, (7,); what the decision adjusts by.
    decision: how the shown answer comes from the heads. head: which answer is given: a head's own, or "shown".
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
        """The names that `head` may have."""
        return (*self.heads, *([SHOWN] if self.decision else []))

    def for_head(self, head: str | None) -> ModelSpec:
        """The same spec giving another answer (None: as it is). Raises CheckpointError for one that it cannot give."""
        head = self.head if head is None else head
        if head not in self.answers:
            raise CheckpointError(f"these weights cannot answer as {head!r}; they can as: {', '.join(self.answers)}")
        return dataclasses.replace(self, head=head)


def parse_spec(fields: Any) -> ModelSpec:
    """A ModelSpec from its stored dictionary; tuples come back as lists and are restored. Raises CheckpointError."""
    known = {"temperature", *(f.name for f in dataclasses.fields(ModelSpec))}  # files of older versions repeat a head's here
    if not isinstance(fields, dict) or set(fields) - known or "arch" not in fields:
        raise CheckpointError("the checkpoint's spec has unknown or missing fields; it needs another version of fer_live")
    spec = ModelSpec(**{name: _restored(name, value) for name, value in fields.items() if name != "temperature"})
    for name, is_good in CHECKS.items():
        if not is_good(spec):
            raise CheckpointError(f"the spec's {name} cannot be {getattr(spec, name)!r:.80}; train, export or download it again")
    return spec


def _restored(name: str, value: Any) -> Any:
    """A field as ModelSpec holds it, from plain lists and dictionaries; what does not fit is left for the checks to refuse."""
    if isinstance(value, list):
        return tuple(value)
    if name == "class_shares" and isinstance(value, dict):
        return {head: tuple(shares) if isinstance(shares, list) else shares for head, shares in value.items()}
    if name == "decision" and isinstance(value, dict) and set(value) == {"weights", "strength", "temperature"}:
        return Decision(**value)
    return value


def _good_decision(spec: ModelSpec) -> bool:
    """Whether the decision names heads that are there, with weights that sum to 1, and knows their shares where it needs them."""
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
    """Whether these are numbers for one plane each: three of a color crop, one or three of a gray one."""
    if not isinstance(values, tuple) or len(values) not in (1, 3) or (spec.channels == 3 and len(values) != 3):
        return False
    return all(_number(value, low, high) for value in values)


# What a spec may say, in the order in which it is checked. It comes from a file: sizes beyond these would fill the memory.
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
    """Names what faces express. May be called from several threads at once."""

    @property
    def spec(self) -> ModelSpec:
        """How crops are made, and which classes it knows."""
        ...

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """(N, S, S, C) uint8 from `crop_faces` -> probabilities (N, 7) float32 in the order of `spec.labels`."""
        ...
