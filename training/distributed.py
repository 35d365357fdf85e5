"""Training by several processes under torchrun: each takes its share of every batch, gradients are averaged.

Every process draws and augments the same batches from the same seeds, so that the result is that of one process with the
whole batch, up to rounding, and up to batch norm's statistics where these cannot be synchronised (on the CPU).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

Logits = dict[str, torch.Tensor]  # head -> (B, classes)


@dataclass(frozen=True)
class Team:
    """Which of how many processes this one is."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes and prints."""
        return self.rank == 0

    def share(self, batch: torch.Tensor) -> torch.Tensor:
        """This process's part of a batch (B, ...); B must be a multiple of the team's size."""
        return batch[self.rank :: self.size]

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """The mean of the processes' values."""
        if self.size > 1:
            dist.all_reduce(values)
            values /= self.size
        return values


def join_team(device: torch.device) -> tuple[Team, torch.device]:
    """The team that torchrun started, if it did, and this process's device."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return Team(), device
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Team(dist.get_rank(), dist.get_world_size()), device


def leave_team(team: Team) -> None:
    """End the connection to the others."""
    if team.size > 1:
        dist.destroy_process_group()


class AllHeads(nn.Module):
    """Lets DistributedDataParallel, which only wraps `forward`, answer with every head."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """As EmotionNet.forward_heads."""
        return self.model.forward_heads(x)


def heads_of(model: nn.Module, team: Team, device: torch.device) -> Callable[[torch.Tensor], Logits]:
    """What the training step calls: the model's heads, with gradients averaged over the team."""
    if team.size == 1:
        return model.forward_heads
    return DistributedDataParallel(AllHeads(model), device_ids=[device] if device.type == "cuda" else None)


def compiled(heads: Callable[[torch.Tensor], Logits], backend: str | Callable = "inductor") -> Callable[[torch.Tensor], Logits]:
    """`heads` through torch.compile; as they are, after a line that says so, where the compiler fails at the first batch."""
    fast = torch.compile(heads, dynamic=False, backend=backend)  # one resolution at a time: a phase compiles once

    def answer(x: torch.Tensor) -> Logits:
        nonlocal fast
        try:
            return fast(x)
        except torch._dynamo.exc.TorchDynamoException as error:
            print(f"torch.compile failed ({type(error).__name__}): going on without it", file=sys.stderr)
            fast = heads
            return heads(x)

    return answer
