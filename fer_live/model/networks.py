"""Networks: a timm or ResNet9 trunk with one linear head per kind of label, or several of them whose logits are averaged.

timm is used for its architectures and ImageNet weights only. Everything that differs between training and use (dropout,
smoothing, augmentation) belongs to the training package.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import nn

from fer_live.model.spec import FORMAT, CheckpointError, ModelSpec, parse_spec

PLUS = "+"  # between the names of networks whose logits are averaged: "efficientnet_lite0+efficientnet_lite2"
MAX_NETWORKS = 8
HEAD_OUTPUTS = {"fer2013": 7, "ferplus": 8}  # FER+ has contempt as an eighth class, after the seven


class EmotionNet(nn.Module):
    """A trunk and one linear head per kind of label. With `others`, the logits are the mean of its own and theirs.

    others: networks with the same heads, trained apart: an ensemble, as `python -m training.soup --logits` makes it.
    """

    def __init__(self, trunk: nn.Module, heads: dict[str, int], resolution: int, others: Sequence[EmotionNet] = ()):
        super().__init__()
        self.trunk = trunk
        self.dropout = nn.Dropout(0.0)
        features: Any = getattr(trunk, "head_hidden_size", trunk.num_features)  # MobileNetV3 has a wider layer before its head
        self.heads = nn.ModuleDict({name: nn.Linear(features, outputs) for name, outputs in heads.items()})
        for linear in cast(Iterable[nn.Linear], self.heads.values()):  # timm's initialization gives huge logits for few classes
            nn.init.normal_(linear.weight, std=0.01)
            nn.init.zeros_(linear.bias)
        self.resolution = resolution
        self.others = nn.ModuleList(others)
        self.has_trained_heads = False  # whether the initial weights include trained heads

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Map normalized input (N, P, S, S) to features (N, F), upsampling it to the training resolution."""
        if x.shape[-1] != self.resolution:
            size = (self.resolution, self.resolution)
            x = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
        return cast(torch.Tensor, self.dropout(self.trunk(x)))

    def forward_heads(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Map normalized input (N, P, S, S) to the logits of each head, (N, 7) and, for FER+, (N, 8)."""
        features = self.features(x)
        own = {name: linear(features) for name, linear in self.heads.items()}
        if not self.others:
            return own
        parts = [own, *(cast(EmotionNet, other).forward_heads(x) for other in self.others)]
        return {name: torch.stack([logits[name] for logits in parts]).mean(0) for name in own}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map normalized input (N, P, S, S) to logits (N, H, 7) of the H heads in order, without FER+'s contempt."""
        return torch.stack([logits[:, :7] for logits in self.forward_heads(x).values()], dim=1)


class ResNet9(nn.Module):
    """The nine-layer residual network of the DAWNBench CIFAR-10 entries (D. Page, "How to train your ResNet", 2018)."""

    def __init__(self, in_chans: int = 1, num_features: int = 512):
        super().__init__()
        self.num_features = num_features
        self.stem = nn.Sequential(_conv(in_chans, 64), _conv(64, 128, pool=True))
        self.residual1 = nn.Sequential(_conv(128, 128), _conv(128, 128))
        self.middle = nn.Sequential(_conv(128, 256, pool=True), _conv(256, num_features, pool=True))
        self.residual2 = nn.Sequential(_conv(num_features, num_features), _conv(num_features, num_features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, C, R, R) to features (N, F)."""
        x = self.stem(x)
        x = self.residual1(x) + x
        x = self.middle(x)
        x = self.residual2(x) + x
        return x.amax(dim=(2, 3))


def _conv(inputs: int, outputs: int, pool: bool = False) -> nn.Sequential:
    layers = [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, *([nn.MaxPool2d(2)] if pool else []))


def build_model(spec: ModelSpec, pretrained: bool | Path = False, drop_path: float = 0.0) -> nn.Module:
    """Build the network described by `spec`, on the CPU, in channels_last.

    pretrained: False for random weights, True for timm's ImageNet weights (needs its hub), a file of such weights, or a
    checkpoint of the same network, including its heads.
    drop_path: stochastic depth of the trunk in training. Raises CheckpointError for an unknown arch or unsuitable weights.
    """
    planes = len(spec.mean)
    arch, *other_archs = spec.arch.split(PLUS)
    if len(other_archs) >= MAX_NETWORKS:
        raise CheckpointError(f"{spec.arch:.80} names {len(other_archs) + 1} networks; at most {MAX_NETWORKS} are averaged")
    if arch == "resnet9":
        trunk: nn.Module = ResNet9(planes)
    else:
        trunk = _timm_trunk(arch, planes, pretrained is True, drop_path)
    others = [cast(EmotionNet, build_model(replace(spec, arch=other))) for other in other_archs]
    model = EmotionNet(trunk, {name: HEAD_OUTPUTS[name] for name in spec.heads}, spec.resolution, others)
    if isinstance(pretrained, Path):
        _load_weights(model, pretrained, spec)
    return model.to(memory_format=torch.channels_last)


def _timm_trunk(arch: str, planes: int, pretrained: bool, drop_path: float) -> nn.Module:
    import timm

    if not timm.is_model(arch):
        close = timm.list_models(f"*{arch.split('_')[0]}*")[:8]
        hint = f"; did you mean one of {', '.join(close)}" if close else ""
        raise CheckpointError(f"timm {timm.__version__} has no network {arch!r}{hint}")
    extra: dict[str, Any] = {"drop_path_rate": drop_path} if drop_path else {}
    try:
        return timm.create_model(arch, pretrained=pretrained, num_classes=0, in_chans=planes, **extra)
    except (OSError, RuntimeError) as error:  # the hub raises OSError; timm raises RuntimeError for missing weights
        if not pretrained:
            raise
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"cannot load timm's ImageNet weights of {arch} ({reason}); give --pretrained FILE, or none")


def _load_weights(model: EmotionNet, path: Path, spec: ModelSpec) -> None:
    """Load a fer_live checkpoint into the network, or ImageNet weights into its trunk."""
    source: dict[str, Any] = _read_weights(path)
    if source.get("format") != FORMAT:
        return _load_trunk(model.trunk, source, path)
    if (labels := parse_spec(source.get("spec")).labels) != spec.labels:
        raise CheckpointError(f"{path} has the classes {', '.join(labels)}, but training needs {', '.join(spec.labels)}; "
                              "give a checkpoint with the same classes in the same order")
    try:
        model.load_state_dict(source["state_dict"])
        model.has_trained_heads = True
    except (KeyError, RuntimeError):
        raise CheckpointError(f"{path} has a different network or heads than the recipe; give a matching checkpoint")


def _read_weights(path: Path) -> dict[str, Any]:
    """Read a fer_live checkpoint or a state_dict, also from a .safetensors file or nested as training scripts save it."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            source: Any = load_file(path)
        else:
            source = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"{path} cannot be read as weights ({type(error).__name__}); give a state_dict file")
    if not isinstance(source, dict):
        raise CheckpointError(f"{path} has no named weights; give a state_dict file")
    if source.get("format") == FORMAT:
        return dict(source)
    source = next((source[key] for key in ("state_dict", "model") if isinstance(source.get(key), dict)), source)
    if not all(isinstance(tensor, torch.Tensor) for tensor in source.values()):
        raise CheckpointError(f"{path} has entries other than named weights; give a state_dict file")
    return dict(source)


def _load_trunk(trunk: nn.Module, source: dict[str, torch.Tensor], path: Path) -> None:
    """Load ImageNet weights into the trunk: by name, or by position if names differ but kinds and shapes match.

    For a one-plane network, the three color planes of the first convolution are summed. This is exact for gray images if
    all planes have the same mean and deviation.
    """
    target = trunk.state_dict()
    if target.keys() <= source.keys():
        source = {name: source[name] for name in target}
    if len(source) < len(target):
        raise CheckpointError(f"{path} does not fit this network: it has {len(source)} tensors, the network {len(target)}")
    for name, (theirs, tensor) in zip(target, source.items(), strict=False):
        if tensor.ndim == 4 and target[name].ndim == 4 and (target[name].shape[1], tensor.shape[1]) == (1, 3):
            tensor = tensor.sum(1, keepdim=True)
        # alphabetically sorted names can have matching shapes in another order, so a bias could become a weight
        if target[name].shape != tensor.shape or _kind(name) != _kind(theirs):
            raise CheckpointError(f"{path} does not fit this network: {name} is {tuple(target[name].shape)}, "
                                  f"but {theirs} in the file is {tuple(tensor.shape)}")
        target[name] = tensor
    trunk.load_state_dict(target)


def _kind(name: str) -> str:
    """Return the last part of a name: "weight", "bias", "running_mean" and so on."""
    return str(name).rpartition(".")[2]
