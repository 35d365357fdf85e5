"""Data-parallel training under torchrun: each process takes its share of every batch, and gradients are averaged.

All processes draw and augment the same batches from the same seeds, so the result equals that of one process with the whole
batch, up to rounding and, on the CPU, up to batch norm's statistics, which are only synchronized on CUDA.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from fer_live.model.networks import EmotionNet

logger = logging.getLogger("training")
Logits = dict[str, torch.Tensor]  # head -> (B, classes)


@dataclass(frozen=True)
class Team:
    """The rank of this process and the number of processes."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def share(self, batch: torch.Tensor) -> torch.Tensor:
        """Return this process's part of a batch (B, ...); B must be a multiple of the team's size."""
        return batch[self.rank :: self.size]

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Return the mean of the processes' values."""
        if self.size > 1:
            dist.all_reduce(values)
            values /= self.size
        return values


def join_team(device: torch.device) -> tuple[Team, torch.device]:
    """Return the team and this process's device under torchrun, else a team of one and `device`."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return Team(), device
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Team(dist.get_rank(), dist.get_world_size()), device


def leave_team(team: Team) -> None:
    """Disconnect from the other processes."""
    if team.size > 1:
        dist.destroy_process_group()


class AllHeads(nn.Module):
    """Returns the logits of every head from `forward`, the only method that DistributedDataParallel wraps."""

    def __init__(self, model: EmotionNet):
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> Logits:
        """Like EmotionNet.forward_heads."""
        return self.model.forward_heads(x)


def heads_of(model: EmotionNet, team: Team, device: torch.device) -> Callable[[torch.Tensor], Logits]:
    """Return the forward function of the training step: all heads' logits, with gradients averaged over the team."""
    if team.size == 1:
        return model.forward_heads
    return DistributedDataParallel(AllHeads(model), device_ids=[device] if device.type == "cuda" else None)


def compiled(heads: Callable[[torch.Tensor], Logits], backend: str | Callable = "inductor") -> Callable[[torch.Tensor], Logits]:
    """Return `heads` compiled by torch.compile; if the compiler fails, log a warning once and fall back to `heads`."""
    fast = torch.compile(heads, dynamic=False, backend=backend)  # static shapes: compiles once per resolution

    def run(x: torch.Tensor) -> Logits:
        nonlocal fast
        try:
            return fast(x)
        except torch._dynamo.exc.TorchDynamoException as error:
            logger.warning("torch.compile failed (%s): continuing without it", type(error).__name__)
            fast = heads
            return heads(x)

    return run
