"""Augments whole batches of uint8 images on their device.

Resizing, flip, rotation, scale and shift are one affine resampling, so each image is interpolated only once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

Uniform = Callable[..., torch.Tensor]  # uniform(*shape) -> random values in -1..1


@dataclass(frozen=True)
class Augmentation:
    """Augmentation strengths. Zero turns an augmentation off."""

    flip: float = 0.5  # probability
    rotation_degrees: float = 15.0  # degrees; maximum angle in either direction, uniform
    scale: float = 0.15  # zoom by 1 plus or minus this, uniform
    shift: float = 0.08  # maximum shift in x and y, in either direction, as a fraction of the side
    brightness: float = 0.25  # maximum change in either direction, as a fraction of full white
    contrast: float = 0.35  # factor of 1 plus or minus this, about the image's mean
    blur: float = 0.0  # probability of downscaling and upscaling again; see `detail`
    noise: float = 0.0  # maximum standard deviation, as a fraction of full white; applied to half of the images
    erase: float = 0.4  # probability of a gray rectangle of 2% to 20% of the area
    pixel_shift: int = 0  # pixels; maximum shift in either direction: a random crop after reflection padding
    detail: float = 0.5  # smallest side to which `blur` downscales, as a fraction of the side
    detector_box: float = 0.0  # probability of cropping to the box of the live app's detector
    low_light: float = 0.0  # probability of dimming to 5% to 60% of the light, with sensor noise
    jpeg: float = 0.0  # probability of JPEG compression at quality 10 to 60
    gamma: float = 0.0  # gamma correction with an exponent from exp(-gamma) to exp(gamma)


def augment(images: torch.Tensor, resolution: int, config: Augmentation, generator: torch.Generator,
            boxes: torch.Tensor | None = None) -> torch.Tensor:
    """(B, S, S) uint8 gray -> (B, R, R, 1) float in 0..255, R = resolution, on the same device.

    boxes: (B, 3), the detector's boxes as center x, center y and side, as fractions of the image's side.
    """
    x = images[:, None].float()  # (B, 1, S, S)

    def uniform(*shape: int) -> torch.Tensor:  # -1..1
        return torch.rand(shape, generator=generator, device=x.device) * 2 - 1

    def selected(probability: float) -> torch.Tensor:  # (B, 1, 1, 1) bool
        return torch.rand((len(x), 1, 1, 1), generator=generator, device=x.device) < probability

    if config.blur:
        side = x.shape[-1]
        middle, reach = (1 + config.detail) / 2, (1 - config.detail) / 2
        small = max(8, round(side * (middle + reach * float(uniform(1)))))  # one size per batch, so that it is a single operation
        coarse = F.interpolate(F.interpolate(x, size=small, mode="area"), size=side, mode="bilinear", align_corners=False)
        x = torch.where(selected(config.blur), coarse, x)
    if config.low_light:
        light = 0.05 * 12 ** (uniform(len(x), 1, 1, 1) * 0.5 + 0.5)  # log-uniform in 0.05..0.6
        sensor = 3 * torch.randn(x.shape, generator=generator, device=x.device)
        x = torch.where(selected(config.low_light), (x * light + sensor).clamp(0, 255), x)
    if config.jpeg:
        quality = 35 + 25 * uniform(len(x), 1, 1, 1)
        x = torch.where(selected(config.jpeg), jpeg(x, quality), x)
    if config.detector_box and boxes is not None:
        whole = torch.tensor([0.5, 0.5, 1.0], device=x.device)
        boxes = torch.where(selected(config.detector_box)[:, :, 0, 0], boxes, whole)
    else:
        boxes = None
    x = _resample(x, _geometry(len(x), x.shape[-1], resolution, config, uniform, boxes))
    if config.gamma:
        x = 255 * (x / 255) ** torch.exp(config.gamma * uniform(len(x), 1, 1, 1))
    if config.contrast or config.brightness:
        mean = x.mean((2, 3), keepdim=True)
        x = (x - mean) * (1 + config.contrast * uniform(len(x), 1, 1, 1)) + mean
        x = x + 255 * config.brightness * uniform(len(x), 1, 1, 1)
    if config.noise:
        sigma = 255 * config.noise * uniform(len(x), 1, 1, 1).clamp_min(0)
        x = x + sigma * torch.randn(x.shape, generator=generator, device=x.device)
    if config.erase:
        x = torch.where(_rectangles(len(x), resolution, uniform) & selected(config.erase), 128.0, x)
    return x.clamp_(0, 255).permute(0, 2, 3, 1)


def _geometry(n: int, side: int, resolution: int, config: Augmentation, uniform: Uniform,
              boxes: torch.Tensor | None) -> torch.Tensor:
    """Return the sampling grid (n, R, R, 2) for all geometric augmentations of n images of `side` pixels."""
    angle = math.radians(config.rotation_degrees) * uniform(n)
    scale = 1 + config.scale * uniform(n)
    mirror = torch.where(uniform(n) * 0.5 + 0.5 < config.flip, -1.0, 1.0)
    shift = 2 * config.shift * uniform(n, 2)  # grid_sample's coordinates run from -1 to 1
    if config.pixel_shift:
        shift = shift + (uniform(n, 2) * (config.pixel_shift + 0.5)).round() * 2 / side
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    rows = torch.stack([cos * mirror, -sin, shift[:, 0], sin * mirror, cos, shift[:, 1]], dim=1)
    if boxes is not None:  # crop to the box first, then augment the crop
        rows = rows * boxes[:, 2:3]
        rows[:, [2, 5]] += 2 * boxes[:, :2] - 1
    return F.affine_grid(rows.view(n, 2, 3), [n, 1, resolution, resolution], align_corners=False)


def _resample(x: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """Resample (B, 1, S, S) -> (B, 1, R, R) bilinearly, with reflection at the border."""
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


# ITU-T T.81, annex K.1: the luminance quantization table at quality 50.
LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55), (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62), (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)


def jpeg(x: torch.Tensor, quality: torch.Tensor) -> torch.Tensor:
    """Apply JPEG compression to gray images (B, 1, S, S) in 0..255 at `quality` (B, 1, 1, 1) in 1..99; S is a multiple of 8."""
    n, side = len(x), x.shape[-1]
    k = torch.arange(8, device=x.device, dtype=x.dtype)
    cosines = torch.cos(math.pi * (2 * k[None] + 1) * k[:, None] / 16) * 0.5  # DCT-II; rows are frequencies
    cosines[0] *= 0.5**0.5
    blocks = (x - 128).view(n, side // 8, 8, side // 8, 8).transpose(2, 3)  # (B, S/8, S/8, 8, 8)
    factor = torch.where(quality < 50, 50 / quality, 2 - quality / 50)  # libjpeg's scaling of the table
    table = (torch.tensor(LUMINANCE, device=x.device, dtype=x.dtype) * factor).round().clamp(1, 255)  # (B, 1, 8, 8)
    quantized = ((cosines @ blocks @ cosines.T) / table[:, :, None]).round() * table[:, :, None]
    return ((cosines.T @ quantized @ cosines).transpose(2, 3).reshape(x.shape) + 128).round().clamp(0, 255)


def _rectangles(n: int, resolution: int, uniform: Uniform) -> torch.Tensor:
    """Return masks (n, 1, R, R) bool, one rectangle per image (random erasing, Zhong et al. 2017, arXiv:1708.04896)."""
    area = 0.11 + 0.09 * uniform(n, 1)
    aspect = torch.exp(0.7 * uniform(n, 1))
    half_hw = torch.cat([(area * aspect).sqrt(), (area / aspect).sqrt()], dim=1) / 2
    center_yx = uniform(n, 2) * 0.5 + 0.5
    line = (torch.arange(resolution, device=area.device) + 0.5) / resolution
    inside_y = (line[None] - center_yx[:, :1]).abs() < half_hw[:, :1]  # (n, R)
    inside_x = (line[None] - center_yx[:, 1:]).abs() < half_hw[:, 1:]
    return (inside_y[:, :, None] & inside_x[:, None, :])[:, None]
