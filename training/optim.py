"""The optimizer, gradient clipping, learning rate schedule and weight averaging."""

from __future__ import annotations

import math

import torch
from torch import nn

from training.recipes import Recipe


def make_optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """Return the recipe's optimizer, without weight decay on norms and biases (the one-dimensional parameters)."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, recipe.learning_rate, momentum=0.9, nesterov=True)
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[recipe.optimizer]
    return kind(groups, recipe.learning_rate, fused=True)


def learning_rate(recipe: Recipe, step: int, total: int) -> float:
    """Return the learning rate of step number `step` (from 0) of `total`.

    cosine: linear warm-up, then a cosine to 0 (Loshchilov and Hutter 2016, arXiv:1608.03983). onecycle: like torch's OneCycleLR
    with default settings: a cosine from peak/25 to the peak in 30% of the steps, then to peak/250,000 (arXiv:1803.09820).
    """
    peak = recipe.learning_rate
    if recipe.schedule == "constant":
        return peak
    if recipe.schedule == "onecycle":
        top = 0.3 * total - 1
        low, at = (peak / 25, step / max(top, 1)) if step <= top else (peak / 25e4, (total - 1 - step) / max(total - 1 - top, 1))
        return low + (peak - low) * 0.5 * (1 - math.cos(math.pi * at))
    warm = min(recipe.warmup_steps, total // 3)
    if step < warm:
        return peak * (step + 1) / warm
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))


def clip_gradients(recipe: Recipe, model: nn.Module) -> None:
    """Clip the gradients' total norm, or each element, as the recipe requires."""
    if recipe.clip_norm:
        nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
    if recipe.clip_value:
        nn.utils.clip_grad_value_(model.parameters(), recipe.clip_value)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all parameter groups."""
    for group in optimizer.param_groups:
        group["lr"] = rate


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Exponential moving average of weights and statistics. The decay ramps up over the first steps, so that short runs converge.

    torch's AveragedModel reads its step counter back from the device in every step; this function never synchronizes.
    """
    keep = min(decay, (1 + step) / (10 + step)) if decay else 0.0
    pairs = list(zip(average.state_dict().values(), model.state_dict().values(), strict=True))
    floats = [(a, b) for a, b in pairs if a.is_floating_point()]
    counts = [(a, b) for a, b in pairs if not a.is_floating_point()]
    torch._foreach_lerp_([a for a, _ in floats], [b for _, b in floats], 1 - keep)
    if counts:  # batch norm's step counters; other networks have none
        torch._foreach_copy_([a for a, _ in counts], [b for _, b in counts])
