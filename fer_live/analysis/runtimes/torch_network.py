"""Runs a checkpoint on torch: in 32 bits on the CPU, in 16 bits with CUDA graphs on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fer_live.model.checkpoint import load_checkpoint
from fer_live.model.device import choose_device
from fer_live.model.preprocess import normalize


class TorchNetwork:
    """A checkpoint's network. threads: maximum number of CPU threads, set for the whole process.

    `why` gives the reason for the device. Raises CheckpointError, DeviceError.
    """

    def __init__(self, path: str | Path, device: str = "cpu", head: str | None = None, threads: int = 1):
        torch.set_num_threads(threads)
        self.device, self.why = choose_device(device)
        model, self.spec = load_checkpoint(path, self.device, head)
        fuse(model)
        self.model = model.to(memory_format=torch.channels_last)
        if self.device.type == "cuda":
            from fer_live.analysis.runtimes.cuda_network import CudaNetwork

            cuda = CudaNetwork(self.model, self.spec, self.device)
            self.run: Callable[[np.ndarray], np.ndarray] = cuda
            self.describe = f"{self.device} ({torch.cuda.get_device_name(self.device)}, {cuda.how}), 16 bits"
        else:
            self.run = self._run
            self.describe = f"cpu (torch {torch.__version__.split('+')[0]}, {threads} threads), 32 bits"

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """(N, S, S, C) uint8, N >= 1 -> logits (N, H, 7) float32 of the heads, in the order of `spec.heads`."""
        return self.run(crops)

    @torch.inference_mode()
    def _run(self, crops: np.ndarray) -> np.ndarray:
        return self.model(normalize(torch.from_numpy(crops), self.spec)).numpy()


def fuse(model: nn.Module) -> None:
    """Fold each batch norm into the preceding convolution, in place; the model must be in eval mode.

    Pairs are found by name order within each module, which is the order of execution in timm's EfficientNets and our ResNet9. A
    pair is folded only if the channels match. The activation inside timm's norm layers is kept.
    """
    for module in model.modules():
        children = list(module.named_children())
        for (conv_name, conv), (norm_name, norm) in pairwise(children):
            if not (isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)) or conv.out_channels != norm.num_features:
                continue
            setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
            rest = [part for name in ("drop", "act") if isinstance(part := getattr(norm, name, None), nn.Module)]
            setattr(module, norm_name, nn.Sequential(*(part for part in rest if not isinstance(part, nn.Identity))))
