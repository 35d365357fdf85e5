"""What a training step learns from: labels, votes, teachers' answers, and how much each class counts."""

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
SOFTNESS = 2.0  # the temperature at which teachers are imitated
LEAST_SHARE = 1e-4  # of a class in the data, so that its logarithm is finite where there is none


@dataclass(frozen=True)
class Targets:
    """The pictures and truths of one split or batch, on the device."""

    images: torch.Tensor  # (N, S, S) uint8
    labels: torch.Tensor  # (N,) int64
    votes: torch.Tensor  # (N, 8) float32 distributions; zeros without votes
    weights: torch.Tensor  # (N,) float32, 0 where there is no usable vote
    taught: Logits = field(default_factory=dict)  # the teachers' logits of the pictures

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
        taught = {head: logits[ids] for head, logits in self.taught.items()}
        return Targets(self.images[ids], self.labels[ids], self.votes[ids], self.weights[ids], taught)

    def class_shares(self) -> Logits:
        """How often each class is the target of each head: {"fer2013": (7,), "ferplus": (8,)}, sums 1."""
        counts = {"fer2013": torch.bincount(self.labels, minlength=7).float()}
        if self.weights.any():
            counts["ferplus"] = (self.votes * self.weights[:, None]).sum(0)
        return {head: (count / count.sum()).clamp_min(LEAST_SHARE) for head, count in counts.items()}


def class_shares(data: Dataset, ids: np.ndarray) -> dict[str, tuple[float, ...]]:
    """How often each of the seven classes is the target of each head in these pictures: {head: (7,)}, sums 1."""
    shares = Targets.of(data, ids, torch.device("cpu")).class_shares()
    return {head: tuple(round(float(value), 6) for value in share[:7] / share[:7].sum()) for head, share in shares.items()}


@dataclass(frozen=True)
class ClassPrior:
    """How the loss treats common and rare classes.

    bias: (K,) of each head, tau * log(share): where the heads' biases start. Adding tau * log(share) to the logits inside the
    loss, as the logit-adjusted loss does (Menon et al. 2021, arXiv:2007.07314), is the same training with the constant
    kept outside the bias: biases have no weight decay, and Adam's steps do not depend on where they start. Kept inside,
    the logits are those of the posterior whatever tau was, so that temperatures, teachers, mixtures and
    the decision (fer_live.model.decision) need not know the recipe.
    weight: (K,) of each head, share ** -balance scaled to a mean of 1 over the data: what each class's errors count.
    The loss adds log(weight) to the logits, so that they stay those of the posterior.
    """

    bias: Logits
    weight: Logits

    @staticmethod
    def of(shares: Logits, adjust: float, balance: float) -> ClassPrior:
        weight = {head: share**-balance / (share ** (1 - balance)).sum() for head, share in shares.items()}
        return ClassPrior({head: adjust * share.log() for head, share in shares.items()}, weight)


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """(B, K) logits, (B, K) target distributions, (K,) class weights -> (B,) weighted cross entropy."""
    return F.cross_entropy(logits.float() + weight.log(), targets, weight, reduction="none")


def joint_loss(logits: Logits, truth: Targets, recipe: Recipe, prior: ClassPrior) -> torch.Tensor:
    """Cross entropy on the labels, plus that on the vote distributions, weighted by their worth; a scalar."""
    classes = logits["fer2013"].shape[1]
    labels = F.one_hot(truth.labels, classes) * (1 - recipe.label_smoothing) + recipe.label_smoothing / classes
    loss = cross_entropy(logits["fer2013"], labels, prior.weight["fer2013"]).mean()
    if "ferplus" in logits and "ferplus" in prior.weight:
        each = cross_entropy(logits["ferplus"], truth.votes, prior.weight["ferplus"])
        loss = loss + recipe.votes_weight * (each * truth.weights).mean()
    return loss


def imitation_loss(logits: Logits, taught: Logits, prior: ClassPrior) -> torch.Tensor:
    """How far each head is from the teachers' softened answers (Hinton et al. 2015, arXiv:1503.02531); a scalar."""
    losses = []
    for head in logits.keys() & taught.keys():
        answer = F.softmax(taught[head] / SOFTNESS, dim=1)
        entropy = -torch.special.xlogy(answer, answer) @ prior.weight[head]  # so that a perfect copy has no loss
        each = cross_entropy(logits[head] / SOFTNESS, answer, prior.weight[head]) - entropy
        losses.append(each.mean() * SOFTNESS**2)
    return torch.stack(losses).sum()


def batch_loss(logits: Logits, truth: Targets, recipe: Recipe, prior: ClassPrior) -> torch.Tensor:
    """The loss of one batch: its truths, and where there are teachers `recipe.distill` of their answers; a scalar."""
    loss = joint_loss(logits, truth, recipe, prior)
    if not truth.taught:
        return loss
    return (1 - recipe.distill) * loss + recipe.distill * imitation_loss(logits, truth.taught, prior)


def teacher_logits(paths: Sequence[Path], images: np.ndarray, device: torch.device, heads: set[str]) -> Logits:
    """The mean logits of trained networks, each of pictures (N, S, S) uint8 and their mirror images; of the `heads` all have.

    The teachers see the whole pictures in full light, the student disturbed crops of them: what can be seen there, it learns
    to see in the disturbed ones (Xie et al. 2020, arXiv:1911.04252). Computed once, it costs the steps nothing.
    """
    answers = []
    for path in paths:
        model, spec = load_trained(path, device)
        if spec.input_size != images.shape[1]:
            raise CheckpointError(f"the teacher {path} takes crops of {spec.input_size} pixels, the data has {images.shape[1]}")
        answers.append(predict_heads(model, images, spec, flip=True))
    shared = sorted(heads.intersection(*answers))
    if not shared:
        raise CheckpointError(f"the teachers {', '.join(map(str, paths))} and the network to train have no head in common "
                              f"({', '.join(sorted(heads))} to train); give other teachers")
    return {head: torch.from_numpy(np.mean([answer[head] for answer in answers], axis=0)).to(device) for head in shared}
