"""Augmentation of whole batches of uint8 pictures, on the device where they are.

Resizing, flip, rotation, scale and shift are one affine resampling, so that the picture is blurred only once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class Augmentation:
    """How strongly a recipe disturbs its pictures. Zero switches a part off."""

    flip: float = 0.5  # probability
    rotation_degrees: float = 15.0  # uniform in plus or minus
    scale: float = 0.15  # side times 1 plus or minus
    shift: float = 0.08  # share of the side, either way, in x and y
    brightness: float = 0.25  # share of full white, either way
    contrast: float = 0.35  # contrast times 1 plus or minus, about the picture's mean
    blur: float = 0.0  # probability of losing detail: shrunk by up to half, then enlarged again
    noise: float = 0.0  # standard deviation at most, share of full white; half of the pictures
    erase: float = 0.4  # probability of a grey rectangle of 2% to 20% of the area
    pixel_shift: int = 0  # by whole pixels of the original, either way: a random crop after reflecting padding


def augment(images: torch.Tensor, resolution: int, how: Augmentation, generator: torch.Generator) -> torch.Tensor:
    """(B, S, S) uint8 grey -> (B, R, R, 1) float with values 0..255, R = resolution, on the same device."""
    x = images[:, None].float()  # (B, 1, S, S)

    def uniform(*shape: int) -> torch.Tensor:  # -1..1
        return torch.rand(shape, generator=generator, device=x.device) * 2 - 1

    def chosen(probability: float) -> torch.Tensor:  # (B, 1, 1, 1) bool
        return (torch.rand((len(x), 1, 1, 1), generator=generator, device=x.device) < probability)

    if how.blur:
        side = x.shape[-1]
        small = max(8, round(side * (0.75 + 0.25 * float(uniform(1)))))  # one size a batch keeps this a batch operation
        coarse = F.interpolate(F.interpolate(x, size=small, mode="area"), size=side, mode="bilinear", align_corners=False)
        x = torch.where(chosen(how.blur), coarse, x)
    x = _resample(x, resolution, how, uniform)
    if how.contrast or how.brightness:
        mean = x.mean((2, 3), keepdim=True)
        x = (x - mean) * (1 + how.contrast * uniform(len(x), 1, 1, 1)) + mean
        x = x + 255 * how.brightness * uniform(len(x), 1, 1, 1)
    if how.noise:
        sigma = 255 * how.noise * uniform(len(x), 1, 1, 1).clamp_min(0)
        x = x + sigma * torch.randn(x.shape, generator=generator, device=x.device)
    if how.erase:
        x = torch.where(_rectangles(len(x), resolution, uniform) & chosen(how.erase), 128.0, x)
    return x.clamp_(0, 255).permute(0, 2, 3, 1)


def _resample(x: torch.Tensor, resolution: int, how: Augmentation, uniform) -> torch.Tensor:
    """One bilinear resampling (B, 1, S, S) -> (B, 1, R, R) for all geometry; the edge is mirrored outwards."""
    n = len(x)
    angle = math.radians(how.rotation_degrees) * uniform(n)
    scale = 1 + how.scale * uniform(n)
    mirror = torch.where(uniform(n) * 0.5 + 0.5 < how.flip, -1.0, 1.0)
    shift = 2 * how.shift * uniform(n, 2)  # in grid_sample's units the side is 2
    if how.pixel_shift:
        shift = shift + (uniform(n, 2) * (how.pixel_shift + 0.5)).round() * 2 / x.shape[-1]
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    rows = torch.stack([cos * mirror, -sin, shift[:, 0], sin * mirror, cos, shift[:, 1]], dim=1)
    grid = F.affine_grid(rows.view(n, 2, 3), [n, 1, resolution, resolution], align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _rectangles(n: int, resolution: int, uniform) -> torch.Tensor:
    """(n, 1, R, R) bool, one rectangle each (random erasing, Zhong et al. 2017, arXiv:1708.04896)."""
    area = 0.11 + 0.09 * uniform(n, 1)
    aspect = torch.exp(0.7 * uniform(n, 1))
    half_hw = torch.cat([(area * aspect).sqrt(), (area / aspect).sqrt()], dim=1) / 2
    centre_yx = uniform(n, 2) * 0.5 + 0.5
    line = (torch.arange(resolution, device=area.device) + 0.5) / resolution
    inside_y = (line[None] - centre_yx[:, :1]).abs() < half_hw[:, :1]  # (n, R)
    inside_x = (line[None] - centre_yx[:, 1:]).abs() < half_hw[:, 1:]
    return (inside_y[:, :, None] & inside_x[:, None, :])[:, None]
