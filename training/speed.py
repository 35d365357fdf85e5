"""Measures training speed, against the same recipe with torchvision's ImageFolder and a DataLoader.

    python -m training.speed [--data FOLDERS] [--recipe best] [--resolution 112] [--batch 512] [--steps 20] [--device cuda]

Without --data it uses random images, which take the same time. The bandwidth limit is the speed at which the device could
transfer the inputs and outputs of the network's layers, at the bandwidth of a large copy.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from fer_live.model.device import DeviceError, choose_device
from fer_live.model.networks import EmotionNet
from fer_live.model.paths import named_path
from fer_live.model.preprocess import normalize
from fer_live.model.spec import EMOTIONS
from fer_live.model.suggest import suggest_names
from training.commands import failed, positive_int, start_logging
from training.data import DataError, Dataset, load_dataset
from training.objective import Targets, batch_loss
from training.recipes import RECIPES, Recipe
from training.train import Trainer, TrainingError

WARM_UP = 3  # untimed steps


def random_images(count: int) -> Dataset:
    """Return `count` random gray images in the training split, and 14 in the validation split."""
    rng = np.random.default_rng(0)
    total = count + 14
    images = rng.integers(0, 256, (total, 48, 48), dtype=np.uint8)
    splits = {"train": np.arange(count), "validation": np.arange(count, total)}
    return Dataset(images, np.arange(total) % len(EMOTIONS), np.full(total, -1), splits)


def write_folders(data: Dataset, ids: np.ndarray, root: Path) -> None:
    """Write the images in Kaggle's layout: one folder per class, JPEG files."""
    for name in EMOTIONS:
        (root / name).mkdir(parents=True)
    for i in ids:
        cv2.imwrite(str(root / EMOTIONS[data.labels[i]] / f"{i}.jpg"), data.images[i])


def folder_batches(root: Path, recipe: Recipe, resolution: int, workers: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield endless batches (B, R, R, 1) in 0..255 with labels (B,), decoded and augmented on the CPU as in common tutorials."""
    from torch.utils.data import DataLoader
    from torchvision import transforms as T
    from torchvision.datasets import ImageFolder

    config = recipe.augmentation
    steps = T.Compose([
        T.Grayscale(), T.Resize(resolution), T.RandomHorizontalFlip(config.flip),
        T.RandomAffine(config.rotation_degrees, (config.shift, config.shift), (1 - config.scale, 1 + config.scale)),
        T.ColorJitter(config.brightness, config.contrast), T.PILToTensor(), T.RandomErasing(config.erase, value=128),
    ])
    loader = DataLoader(ImageFolder(str(root), steps), recipe.batch_size, shuffle=True, num_workers=workers, drop_last=True,
                        persistent_workers=workers > 0, pin_memory=torch.cuda.is_available())
    while True:
        for images, labels in loader:
            yield images.permute(0, 2, 3, 1).float(), labels


def images_per_s(step: Callable[[], None], batch: int, steps: int, device: torch.device) -> float:
    """Return images per second over `steps` steps after the warm-up, synchronized with the device."""
    for _ in range(WARM_UP):
        step()
    _wait(device)
    started_s = time.perf_counter()
    for _ in range(steps):
        step()
    _wait(device)
    return steps * batch / (time.perf_counter() - started_s)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def our_step(trainer: Trainer, resolution: int) -> Callable[[], None]:
    """Return one training step of train.py, with the images on the device."""
    generator = torch.Generator(trainer.device).manual_seed(0)
    size, batch = len(trainer.train_set.images), trainer.recipe.batch_size

    def step() -> None:
        ids = torch.randint(size, (batch,), generator=generator, device=trainer.device)
        trainer.train_step(ids, resolution, generator)

    return step


def folder_step(trainer: Trainer, batches: Iterator[tuple[torch.Tensor, torch.Tensor]]) -> Callable[[], None]:
    """Return one step with the same network, loss and optimizer, fed by a DataLoader; without clipping and weight averaging."""
    device = trainer.device

    def step() -> None:
        crops, labels = next(batches)
        labels = labels.to(device, non_blocking=True)
        x = normalize(crops.to(device, non_blocking=True), trainer.spec)
        blank = torch.zeros(len(labels), 8, device=device)
        targets = Targets(crops, labels, blank, blank[:, 0])
        with torch.autocast(device.type, torch.bfloat16, enabled=trainer.bf16):
            logits = trainer.heads(x)
        trainer.optimizer.zero_grad(set_to_none=True)
        batch_loss(logits, targets, trainer.recipe, trainer.prior).backward()
        trainer.optimizer.step()

    return step


def bandwidth(device: torch.device, megabytes: int = 256) -> float:
    """Return bytes per second of a large copy, reads plus writes; the best of five."""
    source = torch.ones(megabytes << 18, device=device)
    target, best_s = torch.empty_like(source), float("inf")
    for _ in range(6):  # the first run allocates the memory
        _wait(device)
        started_s = time.perf_counter()
        target.copy_(source)
        _wait(device)
        best_s = min(best_s, time.perf_counter() - started_s)
    return 2 * source.nbytes / best_s


def bytes_per_image(model: EmotionNet, channels: int, resolution: int, bytes_each: int) -> float:
    """Return a lower bound of the bytes that a training step transfers per image without fused layers.

    Each layer's inputs and outputs are transferred once forward and twice backward, with their gradients. Weights are not
    counted, since the batch shares them.
    """
    moved = 0

    def count(_module: torch.nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        nonlocal moved
        moved += sum(t.numel() for t in (*inputs, output) if isinstance(t, torch.Tensor))

    leaves = [m for m in model.modules() if not list(m.children())]
    hooks = [m.register_forward_hook(count) for m in leaves]
    was_training = model.training
    with torch.inference_mode():
        model.eval().forward_heads(torch.zeros(1, channels, resolution, resolution, device=next(model.parameters()).device))
    for hook in hooks:
        hook.remove()
    model.train(was_training)
    return 3.0 * moved * bytes_each


def compare(args: argparse.Namespace) -> dict[str, float]:
    """Return images per second of train.py, of the DataLoader, and at the bandwidth limit."""
    device, _ = choose_device(args.device)
    recipe = replace(RECIPES[args.recipe], batch_size=args.batch, phases=((1, args.resolution),))
    data = load_dataset(args.data) if args.data else random_images(max(2048, 2 * args.batch))
    trainer = Trainer(recipe, data, device, 0, compile_network=device.type == "cuda")
    trainer.model.resolution = args.resolution
    trainer.model.train()
    figures = {"on the device": images_per_s(our_step(trainer, args.resolution), args.batch, args.steps, device)}
    with tempfile.TemporaryDirectory() as folder:
        split = "train" if "train" in data.splits else "Training"
        write_folders(data, data.split(split), Path(folder))
        batches = folder_batches(Path(folder), recipe, args.resolution, os.cpu_count() or 0)
        figures["ImageFolder and DataLoader"] = images_per_s(folder_step(trainer, batches), args.batch, args.steps, device)
    moved = bytes_per_image(trainer.model, len(trainer.spec.mean), args.resolution, 2 if device.type == "cuda" else 4)
    figures["bandwidth limit"] = bandwidth(device) / moved
    return figures


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.speed", description=__doc__.splitlines()[0])
    parser.register("type", Path, named_path)
    parser.add_argument("--data", type=Path, help="folder of class folders, or fer2013.csv (default: random images)")
    parser.add_argument("--recipe", default="best", choices=RECIPES, metavar="NAME", help="network and augmentation")
    parser.add_argument("--resolution", type=positive_int, default=112, help="side in pixels (default: 112)")
    parser.add_argument("--batch", type=positive_int, default=512, help="images per step (default: 512)")
    parser.add_argument("--steps", type=positive_int, default=20, help="number of timed steps (default: 20)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    args = suggest_names(parser).parse_args(arguments)
    start_logging()
    try:
        figures = compare(args)
    except (DataError, DeviceError, TrainingError, OSError) as error:
        return failed(error)
    for name, value in figures.items():
        print(f"{name:28s} {value:10,.0f} images/s   train.py: {figures['on the device'] / value:6.2f} times this")
    return 0


if __name__ == "__main__":
    sys.exit(main())
