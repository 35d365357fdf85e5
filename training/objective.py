"""Training targets and loss: labels, votes, teacher logits, and class weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from fer_live.model.spec import CheckpointError
from training.commands import load_trained
from training.data import Dataset
from training.evaluate import predict_heads
from training.recipes import Recipe
from training.votes import vote_targets

Logits = dict[str, torch.Tensor]  # head -> (B, classes)
DISTILL_TEMPERATURE = 2.0
MIN_SHARE = 1e-4  # minimum fraction of a class, so that the logarithm is finite for an absent class


@dataclass(frozen=True)
class Targets:
    """The images and targets of one split or batch, on the device."""

    images: torch.Tensor  # (N, S, S) uint8
    labels: torch.Tensor  # (N,) int64
    votes: torch.Tensor  # (N, 8) float32 distributions; zeros without votes
    weights: torch.Tensor  # (N,) float32; 0 without usable votes
    teacher_logits: Logits = field(default_factory=dict)  # empty without teachers

    @staticmethod
    def of(data: Dataset, ids: np.ndarray, device: torch.device) -> Targets:
        """Return the images `ids` of `data` and their targets, moved to the device."""
        if data.votes is None:
            votes, weights = np.zeros((len(ids), 8), np.float32), np.zeros(len(ids), np.float32)
        else:
            votes, weights = vote_targets(data.votes[ids])
        images, labels = torch.from_numpy(data.images[ids]), torch.from_numpy(data.labels[ids])
        return Targets(images.to(device), labels.to(device), torch.from_numpy(votes).to(device),
                       torch.from_numpy(weights).to(device))

    def pick(self, ids: torch.Tensor) -> Targets:
        """Return the batch at the indices `ids` (B,)."""
        teacher_logits = {head: logits[ids] for head, logits in self.teacher_logits.items()}
        return Targets(self.images[ids], self.labels[ids], self.votes[ids], self.weights[ids], teacher_logits)

    def class_shares(self) -> Logits:
        """Return the fraction of each class in each head's targets: {"fer2013": (7,), "ferplus": (8,)}, each with sum 1."""
        counts = {"fer2013": torch.bincount(self.labels, minlength=7).float()}
        if self.weights.any():
            counts["ferplus"] = (self.votes * self.weights[:, None]).sum(0)
        return {head: (count / count.sum()).clamp_min(MIN_SHARE) for head, count in counts.items()}


def class_shares(data: Dataset, ids: np.ndarray) -> dict[str, tuple[float, ...]]:
    """Return the fraction of each of the seven classes in each head's targets for these images: {head: (7,)}, sum 1."""
    shares = Targets.of(data, ids, torch.device("cpu")).class_shares()
    return {head: tuple(round(float(value), 6) for value in share[:7] / share[:7].sum()) for head, share in shares.items()}


@dataclass(frozen=True)
class ClassPrior:
    """Initial biases and loss weights that balance common and rare classes.

    bias: (K,) per head, tau * log(share): the initial bias of the head. The logit-adjusted loss (Menon et al. 2021,
    arXiv:2007.07314) adds tau * log(share) to the logits inside the loss instead. Both train the same network up to that
    constant: biases have no weight decay, and Adam's steps do not depend on the initial value. With the constant in the bias
    the logits are those of the posterior for every tau, so that temperatures, teachers, averaged weights and the decision
    (fer_live.model.decision) do not depend on the recipe.
    weight: (K,) per head, share ** -balance, scaled to a mean of 1 over the data: the loss weight of each class.
    The loss adds log(weight) to the logits, so that they stay those of the posterior.
    """

    bias: Logits
    weight: Logits

    @staticmethod
    def of(shares: Logits, adjust: float, balance: float) -> ClassPrior:
        """Create from the class shares (K,) per head, the recipe's `adjust` (tau) and its `balance`."""
        weight = {head: share**-balance / (share ** (1 - balance)).sum() for head, share in shares.items()}
        return ClassPrior({head: adjust * share.log() for head, share in shares.items()}, weight)


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """(B, K) logits, (B, K) target distributions, (K,) class weights -> (B,) weighted cross entropy."""
    return F.cross_entropy(logits.float() + weight.log(), targets, weight, reduction="none")


def joint_loss(logits: Logits, targets: Targets, recipe: Recipe, prior: ClassPrior) -> torch.Tensor:
    """Return the cross entropy on the labels plus that on the vote distributions, weighted per image; a scalar."""
    classes = logits["fer2013"].shape[1]
    labels = F.one_hot(targets.labels, classes) * (1 - recipe.label_smoothing) + recipe.label_smoothing / classes
    loss = cross_entropy(logits["fer2013"], labels, prior.weight["fer2013"]).mean()
    if "ferplus" in logits and "ferplus" in prior.weight:
        each = cross_entropy(logits["ferplus"], targets.votes, prior.weight["ferplus"])
        loss = loss + recipe.votes_weight * (each * targets.weights).mean()
    return loss


def distillation_loss(logits: Logits, teacher_logits: Logits, prior: ClassPrior) -> torch.Tensor:
    """Return the KL divergence of each head from the teachers' softened probabilities (Hinton et al. 2015, arXiv:1503.02531)."""
    losses = []
    for head in logits.keys() & teacher_logits.keys():
        target = F.softmax(teacher_logits[head] / DISTILL_TEMPERATURE, dim=1)
        entropy = -torch.special.xlogy(target, target) @ prior.weight[head]  # subtracted so that a perfect match has loss 0
        each = cross_entropy(logits[head] / DISTILL_TEMPERATURE, target, prior.weight[head]) - entropy
        losses.append(each.mean() * DISTILL_TEMPERATURE**2)
    return torch.stack(losses).sum()


def batch_loss(logits: Logits, targets: Targets, recipe: Recipe, prior: ClassPrior) -> torch.Tensor:
    """Return a batch's loss, a scalar: the joint loss; with teachers, (1 - distill) of it plus distill * distillation loss."""
    loss = joint_loss(logits, targets, recipe, prior)
    if not targets.teacher_logits:
        return loss
    return (1 - recipe.distill) * loss + recipe.distill * distillation_loss(logits, targets.teacher_logits, prior)


def mean_teacher_logits(paths: Sequence[Path], images: np.ndarray, device: torch.device, heads: set[str]) -> Logits:
    """Return the teachers' mean logits for images (N, S, S) uint8 and their mirror images, for the `heads` that all have.

    Teachers see the original images, and the student augmented ones, so it learns to recognize what is only clear in the original
    (Xie et al. 2020, arXiv:1911.04252). Computed once before training. Raises CheckpointError.
    """
    results = []
    for path in paths:
        model, spec = load_trained(path, device)
        if spec.input_size != images.shape[1]:
            raise CheckpointError(f"the teacher {path} takes crops of {spec.input_size} pixels, the data has {images.shape[1]}")
        results.append(predict_heads(model, images, spec, flip=True))
    shared = sorted(heads.intersection(*results))
    if not shared:
        raise CheckpointError(f"the teachers {', '.join(map(str, paths))} and the network to train have no head in common "
                              f"({', '.join(sorted(heads))} to train); give other teachers")
    return {head: torch.from_numpy(np.mean([logits[head] for logits in results], axis=0)).to(device) for head in shared}
