"""How fast training runs here, beside the same recipe through torchvision's ImageFolder and a DataLoader.

    python -m training.speed [--data FOLDERS] [--recipe best] [--resolution 112] [--batch 512] [--steps 20] [--device cuda]

Without --data it makes pictures of noise, which cost the same. The floor is the time that the device needs to move what
the network's layers read and write, at the bandwidth that a copy reaches on it.
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
from torch import nn

from fer_live.model.device import DeviceError, choose_device
from fer_live.model.paths import named_path, one_line
from fer_live.model.preprocess import normalize
from fer_live.model.spec import EMOTIONS
from training.commands import whole_number
from training.data import DataError, Dataset, load_dataset
from training.objective import Targets, batch_loss
from training.recipes import RECIPES, Recipe
from training.train import Trainer, TrainingError

WARM_UP = 3  # steps; compilers and caches settle


def pictures_of_noise(count: int) -> Dataset:
    """`count` grey pictures in a training split, and a few in a validation split."""
    chance = np.random.default_rng(0)
    total = count + 14
    images = chance.integers(0, 256, (total, 48, 48), dtype=np.uint8)
    splits = {"train": np.arange(count), "validation": np.arange(count, total)}
    return Dataset(images, np.arange(total) % len(EMOTIONS), np.full(total, -1), splits)


def write_folders(data: Dataset, ids: np.ndarray, root: Path) -> None:
    """The pictures as Kaggle has them: a folder a class, a JPEG file each."""
    for name in EMOTIONS:
        (root / name).mkdir(parents=True)
    for i in ids:
        cv2.imwrite(str(root / EMOTIONS[data.labels[i]] / f"{i}.jpg"), data.images[i])


def folder_batches(root: Path, recipe: Recipe, resolution: int, workers: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches (B, R, R, 1) of 0..255 and labels (B,), for ever, as tutorials make them: decoded and augmented on the CPU."""
    from torch.utils.data import DataLoader
    from torchvision import transforms as T
    from torchvision.datasets import ImageFolder

    how = recipe.augmentation
    steps = T.Compose([
        T.Grayscale(), T.Resize(resolution), T.RandomHorizontalFlip(how.flip),
        T.RandomAffine(how.rotation_degrees, (how.shift, how.shift), (1 - how.scale, 1 + how.scale)),
        T.ColorJitter(how.brightness, how.contrast), T.PILToTensor(), T.RandomErasing(how.erase, value=128),
    ])
    loader = DataLoader(ImageFolder(str(root), steps), recipe.batch_size, shuffle=True, num_workers=workers, drop_last=True,
                        persistent_workers=workers > 0, pin_memory=torch.cuda.is_available())
    while True:
        for images, labels in loader:
            yield images.permute(0, 2, 3, 1).float(), labels


def images_per_s(step: Callable[[], None], batch: int, steps: int, device: torch.device) -> float:
    """Pictures a second over `steps` steps after the warm-up; the device is waited for."""
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
    """One step of train.py's own loop, on pictures that are on the device."""
    chance = torch.Generator(trainer.device).manual_seed(0)
    size, batch = len(trainer.train_set.images), trainer.recipe.batch_size

    def step() -> None:
        ids = torch.randint(size, (batch,), generator=chance, device=trainer.device)
        trainer.train_step(ids, resolution, chance)

    return step


def folder_step(trainer: Trainer, batches: Iterator[tuple[torch.Tensor, torch.Tensor]]) -> Callable[[], None]:
    """The same network, loss and optimizer, fed by a DataLoader; it is spared the clipping and the averaging of ours."""
    device = trainer.device

    def step() -> None:
        crops, labels = next(batches)
        labels = labels.to(device, non_blocking=True)
        x = normalize(crops.to(device, non_blocking=True), trainer.spec)
        blank = torch.zeros(len(labels), 8, device=device)
        truth = Targets(crops, labels, blank, blank[:, 0])
        with torch.autocast(device.type, torch.bfloat16, enabled=trainer.bf16):
            logits = trainer.heads(x)
        trainer.optimizer.zero_grad(set_to_none=True)
        batch_loss(logits, truth, trainer.recipe, trainer.prior).backward()
        trainer.optimizer.step()

    return step


def bandwidth(device: torch.device, megabytes: int = 256) -> float:
    """Bytes a second that a copy of a large array moves, reading and writing counted; the best of five."""
    source = torch.ones(megabytes << 18, device=device)
    target, best_s = torch.empty_like(source), float("inf")
    for _ in range(6):  # the first only touches the memory
        _wait(device)
        started_s = time.perf_counter()
        target.copy_(source)
        _wait(device)
        best_s = min(best_s, time.perf_counter() - started_s)
    return 2 * source.nbytes / best_s


def bytes_per_image(model: nn.Module, channels: int, resolution: int, bytes_each: int) -> float:
    """What a training step moves for one picture at least, were each layer alone: inputs and outputs once forward, and
    their gradients beside them backward, so three times in all; weights are shared by the batch and not counted."""
    moved = 0

    def count(_module, inputs, output) -> None:
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
    """The figures: images a second of both ways and at the floor."""
    device, _ = choose_device(args.device)
    recipe = replace(RECIPES[args.recipe], batch_size=args.batch, phases=((1, args.resolution),))
    data = load_dataset(args.data) if args.data else pictures_of_noise(max(2048, 2 * args.batch))
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
    figures["floor of the bandwidth"] = bandwidth(device) / moved
    return figures


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.speed", description=__doc__.splitlines()[0])
    parser.register("type", Path, named_path)
    parser.add_argument("--data", type=Path, help="folders of classes, or fer2013.csv (default: pictures of noise)")
    parser.add_argument("--recipe", default="best", choices=RECIPES, metavar="NAME", help="network and augmentation")
    parser.add_argument("--resolution", type=whole_number, default=112, help="side in pixels (default: 112)")
    parser.add_argument("--batch", type=whole_number, default=512, help="pictures a step (default: 512)")
    parser.add_argument("--steps", type=whole_number, default=20, help="steps that are timed (default: 20)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    args = parser.parse_args(arguments)
    try:
        figures = compare(args)
    except (DataError, DeviceError, TrainingError, OSError) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    ours = figures["on the device"]
    for name, value in figures.items():
        print(f"{name:28s} {value:10,.0f} images/s   {ours / value:6.2f}: ours as a multiple")
    return 0


if __name__ == "__main__":
    sys.exit(main())
