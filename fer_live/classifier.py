"""Crops -> probabilities, all faces of a frame in one batch."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fer_live.runtime import OnnxNetwork
from models.checkpoint import CheckpointError, load_checkpoint
from models.device import DeviceError, check_device_name, choose_device
from models.preprocess import normalize


class EmotionClassifier:
    """A checkpoint, or an exported .onnx file, ready to answer. `describe` says where it runs, in what precision, and why."""

    def __init__(self, path: str | Path, device: str = "auto", head: str | None = None):
        # One face keeps no more than a core busy, and torch's threads wait for each other by spinning: with a core taken by
        # another program two threads took 0.66 s for a face, where one thread took a few hundredths.
        threads = max(1, (os.cpu_count() or 2) // 2)
        torch.set_num_threads(threads)
        if Path(path).suffix == ".onnx":
            self._use_onnx(Path(path), device, head, threads)
        else:
            self._use_torch(path, device, head)
        self(np.zeros((1, self.spec.input_size, self.spec.input_size, self.spec.channels), np.uint8))  # warm-up

    def _use_torch(self, path: str | Path, device: str, head: str | None) -> None:
        self.device, why = choose_device(device)
        model, self.spec = load_checkpoint(path, self.device, head)
        cuda = self.device.type == "cuda"
        dtype = torch.float16 if cuda else torch.float32
        fuse(model)
        model = model.to(dtype=dtype, memory_format=torch.channels_last)
        self.infer = lambda faces: model(faces.to(dtype)).float()
        name = torch.cuda.get_device_name(self.device) if cuda else f"{torch.get_num_threads()} threads"
        self.describe = f"{self.spec.arch} on {self.device} ({name}), {'16' if cuda else '32'} bits: {why}"

    def _use_onnx(self, path: Path, device: str, head: str | None, threads: int) -> None:
        if check_device_name(device) not in ("auto", "cpu"):
            raise DeviceError(f"an .onnx model runs on the CPU here, not on {device}; give a best_model.pt, or --device cpu")
        network = OnnxNetwork(path, threads)
        self.device, self.spec = torch.device("cpu"), network.spec.for_head(head)
        if self.spec.head != network.spec.head:
            raise CheckpointError(f"{path} was exported with the head {network.spec.head}; export it with --head {head}")
        self.infer = lambda faces: torch.from_numpy(network(faces.contiguous().numpy()))
        self.describe = f"{self.spec.arch} on cpu (ONNX Runtime {network.version}, {threads} threads), 32 bits: an .onnx model"

    @torch.inference_mode()
    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """(N, S, S, C) uint8 from `crop_faces` -> probabilities (N, 7) float32 in the order of `spec.labels`."""
        if not len(crops):
            return np.empty((0, len(self.spec.labels)), np.float32)
        logits = self.infer(normalize(torch.from_numpy(crops).to(self.device), self.spec))
        return torch.softmax(logits / self.spec.temperature, dim=1).cpu().numpy()


def fuse(model: nn.Module) -> None:
    """Fold each batch norm into the convolution before it, in place; the model must be in eval mode.

    Pairs are found by name order inside each module, which for timm's EfficientNets and our ResNet9 is the order of
    execution; a pair is only folded where the channels agree. timm's norm keeps its activation, which stays behind.
    """
    for module in model.modules():
        children = list(module.named_children())
        for (conv_name, conv), (norm_name, norm) in pairwise(children):
            fits = isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and conv.out_channels == norm.num_features
            if not fits:
                continue
            setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
            rest = [part for name in ("drop", "act") if isinstance(part := getattr(norm, name, None), nn.Module)]
            setattr(module, norm_name, nn.Sequential(*(part for part in rest if not isinstance(part, nn.Identity))))
