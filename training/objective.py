"""What a training step is asked to learn: labels, votes, mixtures of two pictures, the answers of teachers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from models.checkpoint import CheckpointError, load_checkpoint
from training.data import Dataset
from training.recipes import Recipe
from training.votes import vote_targets

Logits = dict[str, torch.Tensor]  # head -> (B, classes)
SOFTNESS = 2.0  # the temperature at which teachers are imitated


@dataclass(frozen=True)
class Targets:
    """The pictures and truths of one split or batch, on the device."""

    images: torch.Tensor  # (N, S, S) uint8
    labels: torch.Tensor  # (N,) int64
    votes: torch.Tensor  # (N, 8) float32 distributions; zeros without votes
    weights: torch.Tensor  # (N,) float32, 0 where there is no usable vote

    @staticmethod
    def of(data: Dataset, ids: np.ndarray, device: torch.device) -> Targets:
        """The split `ids` of `data`, moved to the device."""
        if data.votes is None:
            votes, weights = np.zeros((len(ids), 8), np.float32), np.zeros(len(ids), np.float32)
        else:
            votes, weights = vote_targets(data.votes[ids])
        arrays = data.images[ids], data.labels[ids], votes, weights
        return Targets(*(torch.from_numpy(a).to(device) for a in arrays))

    def pick(self, ids: torch.Tensor) -> Targets:
        """The batch of the numbers `ids` (B,)."""
        return Targets(*(getattr(self, field.name)[ids] for field in fields(self)))


def joint_loss(logits: Logits, truth: Targets, recipe: Recipe) -> torch.Tensor:
    """Cross entropy on the labels, plus that on the vote distributions, weighted by their worth; a scalar."""
    loss = F.cross_entropy(logits["fer2013"].float(), truth.labels, label_smoothing=recipe.label_smoothing)
    if "ferplus" in logits:
        each = F.cross_entropy(logits["ferplus"].float(), truth.votes, reduction="none")
        loss = loss + recipe.votes_weight * (each * truth.weights).mean()
    return loss


def imitation_loss(logits: Logits, taught: Logits) -> torch.Tensor:
    """How far each head is from the teachers' softened answers (Hinton et al. 2015, arXiv:1503.02531); a scalar."""
    losses = []
    for name in logits.keys() & taught.keys():
        ours = F.log_softmax(logits[name].float() / SOFTNESS, dim=1)
        losses.append(F.kl_div(ours, F.softmax(taught[name] / SOFTNESS, dim=1), reduction="batchmean") * SOFTNESS**2)
    return torch.stack(losses).sum()


class Teachers:
    """Trained networks whose mean answer is imitated. They have the student's crops before them, but in full light and
    detail: what they can see there, the student learns to see in the disturbed ones (Xie et al. 2020, arXiv:1911.04252).
    """

    def __init__(self, paths: list[Path], device: torch.device, mean: tuple[float, ...], std: tuple[float, ...]):
        self.models: list[nn.Module] = []
        for path in paths:
            model, spec = load_checkpoint(path, device)
            if (spec.mean, spec.std) != (mean, std):
                raise CheckpointError(f"the teacher {path} sees pictures normalised by {spec.mean}, {spec.std}, the student by "
                                      f"{mean}, {std}; choose a recipe with the same")
            self.models.append(model.requires_grad_(False))

    @torch.no_grad()
    def __call__(self, x: torch.Tensor) -> Logits:
        """Normalised pictures (B, P, R, R) -> the mean logits of every head that all teachers have, float32."""
        answers = [model.forward_heads(x) for model in self.models]
        names = set.intersection(*(set(answer) for answer in answers))
        return {name: torch.stack([answer[name].float() for answer in answers]).mean(0) for name in sorted(names)}


def objective(
    recipe: Recipe, truth: Targets, other: Targets | None, share: float, taught: Logits | None
) -> Callable[[Logits], torch.Tensor]:
    """The loss of one batch as a function of the logits.

    other, share: the pictures are `share` of `truth` and the rest of `other` (Zhang et al. 2017, arXiv:1710.09412).
    taught: what the teachers answer to them.
    """

    def loss(logits: Logits) -> torch.Tensor:
        asked = joint_loss(logits, truth, recipe)
        if other is not None:
            asked = share * asked + (1 - share) * joint_loss(logits, other, recipe)
        if taught is None:
            return asked
        return (1 - recipe.distill) * asked + recipe.distill * imitation_loss(logits, taught)

    return loss
