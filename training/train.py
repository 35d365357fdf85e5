"""The training loop: one recipe, one data set, one folder of results. Writes best_model.pt and last.pt.

The pictures live on the device as uint8 and are augmented there in whole batches; there is no DataLoader. All chance in
an epoch comes from (seed, epoch), so that a run resumed from last.pt continues bit for bit.
"""

from __future__ import annotations

import copy
import csv
import math
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from models.checkpoint import EMOTIONS, ModelSpec, save_checkpoint, write_atomically
from models.networks import build_model
from models.preprocess import normalize
from training.augment import augment
from training.data import Dataset, vote_targets
from training.evaluate import fit_temperature, measure_split, predict_heads, softmax
from training.recipes import Recipe

FORMAT = "fer_live/last/1"


class TrainingError(Exception):
    """Training cannot start or go on. The text says what was tried and what to do next."""


@dataclass(frozen=True)
class Targets:
    """The pictures and truths of one split, on the device."""

    images: torch.Tensor  # (N, S, S) uint8
    labels: torch.Tensor  # (N,) int64
    votes: torch.Tensor  # (N, 8) float32 distributions; zeros without votes
    weights: torch.Tensor  # (N,) float32, 0 where there is no usable vote

    @staticmethod
    def of(data: Dataset, ids: np.ndarray, device: torch.device) -> Targets:
        if data.votes is None:
            votes, weights = np.zeros((len(ids), 8), np.float32), np.zeros(len(ids), np.float32)
        else:
            votes, weights = vote_targets(data.votes[ids])
        arrays = data.images[ids], data.labels[ids], votes, weights
        return Targets(*(torch.from_numpy(a).to(device) for a in arrays))


def split_names(data: Dataset) -> tuple[str, str]:
    """The splits to train and to choose on: the official ones where they are known. PrivateTest chooses nothing."""
    if "Training" in data.splits and "PublicTest" in data.splits:
        return "Training", "PublicTest"
    return "train", "validation"


def make_spec(recipe: Recipe, data: Dataset) -> ModelSpec:
    """The spec of what this recipe trains. With votes the live app shows the FER+ head: what people said they saw."""
    heads = {"fer2013": 1.0} if data.votes is None else {"fer2013": 1.0, "ferplus": 1.0}
    return ModelSpec(
        arch=recipe.arch, input_size=data.images.shape[1], mean=recipe.mean, std=recipe.std,
        resolution=recipe.phases[-1][1], heads=heads, head=list(heads)[-1],
    )


class Trainer:
    """Everything that changes while training, and the steps that change it."""

    def __init__(self, recipe: Recipe, data: Dataset, device: torch.device, seed: int, pretrained: bool | Path = False):
        self.recipe, self.data, self.device, self.seed = recipe, data, device, seed
        train_name, self.choose_name = split_names(data)
        self.train_set = Targets.of(data, data.split(train_name), device)
        self.choose_set = Targets.of(data, data.split(self.choose_name), device)
        if len(self.train_set.images) < recipe.batch_size:
            raise TrainingError(f"{len(self.train_set.images)} pictures to train on are fewer than one batch of "
                                f"{recipe.batch_size}; add pictures, or choose a recipe with a smaller batch")
        torch.manual_seed(seed)
        self.spec = make_spec(recipe, data)
        self.model = build_model(self.spec, pretrained, recipe.drop_path).to(device)
        self.model.dropout.p = recipe.dropout
        self.average = copy.deepcopy(self.model)
        self.optimizer = _optimizer(recipe, self.model)
        self.epoch = self.step = 0
        self.history: list[dict] = []
        self.best_loss = math.inf

    @property
    def steps_per_epoch(self) -> int:
        return len(self.train_set.images) // self.recipe.batch_size  # the last, smaller batch waits for another shuffle

    def run_epoch(self) -> None:
        """Train one epoch, then measure the averaged weights on the split that chooses."""
        started = time.monotonic()
        resolution = self.recipe.resolution(self.epoch)
        self.model.resolution = self.average.resolution = resolution
        loss, accuracy = self._train_epoch(resolution)
        if not math.isfinite(loss):
            raise TrainingError(f"the loss of epoch {self.epoch + 1} is {loss}; the epoch before is safe in last.pt: "
                                "lower the learning rate and train again")
        seconds = time.monotonic() - started
        self.history.append({
            "epoch": self.epoch + 1, "resolution": resolution, "learning_rate": self._rate(self.step - 1),
            "train_loss": loss, "train_accuracy": accuracy, **self._validate(),
            "images_per_s": self.steps_per_epoch * self.recipe.batch_size / seconds, "seconds": seconds,
        })
        self.epoch += 1

    def _train_epoch(self, resolution: int) -> tuple[float, float]:
        chance = torch.Generator(self.device).manual_seed(1_000_003 * self.seed + self.epoch)
        torch.manual_seed(1_000_003 * self.seed + self.epoch)  # dropout and drop path draw from the global generator
        self.model.train()
        order = torch.randperm(len(self.train_set.images), generator=chance, device=self.device)
        batches = order[: self.steps_per_epoch * self.recipe.batch_size].view(-1, self.recipe.batch_size)
        sums = torch.zeros(2, device=self.device)
        title = f"epoch {self.epoch + 1}/{self.recipe.epochs} at {resolution} px"
        bar = tqdm(total=batches.numel(), desc=title, unit="img", mininterval=1.0, file=sys.stdout)
        with bar:
            for i, ids in enumerate(batches):
                loss, hits = self._train_step(ids, resolution, chance)
                sums += torch.stack([loss, hits / len(ids)])
                bar.update(len(ids))
                if (i + 1) % 20 == 0:  # reading the sums waits for the device, so not at every step
                    loss_mean, accuracy = (sums / (i + 1)).tolist()
                    bar.set_postfix(loss=f"{loss_mean:.3f}", accuracy=f"{accuracy:.3f}", refresh=False)
        loss_mean, accuracy = (sums / len(batches)).tolist()
        return loss_mean, accuracy

    def _train_step(self, ids: torch.Tensor, resolution: int, chance: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        recipe, truth = self.recipe, self.train_set
        x = normalize(augment(truth.images[ids], resolution, recipe.augmentation, chance), self.spec)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            logits = self.model.forward_heads(x)  # on the CPU 32 bits were measured to be twice as fast as bf16
        loss = _loss(logits, truth, ids, recipe.label_smoothing, recipe.votes_weight)
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if recipe.clip_norm:
            nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip_norm)
        self.optimizer.step()
        self.step += 1
        _update_average(self.average, self.model, recipe.ema, self.step)
        return loss.detach(), (logits["fer2013"].argmax(1) == truth.labels[ids]).sum()

    def _rate(self, step: int) -> float:
        recipe, total = self.recipe, self.recipe.epochs * self.steps_per_epoch
        if recipe.schedule == "constant":
            return recipe.learning_rate
        warm = min(recipe.warmup_steps, total // 3)
        if step < warm:
            return recipe.learning_rate * (step + 1) / warm
        return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))

    @torch.inference_mode()
    def _validate(self) -> dict:
        truth, model = self.choose_set, self.average.eval()
        logits = predict_heads(model, truth.images.cpu().numpy(), self.spec)
        tensors = {name: torch.from_numpy(value).to(self.device) for name, value in logits.items()}
        everything = torch.arange(len(truth.labels), device=self.device)
        loss = _loss(tensors, truth, everything, 0.0, self.recipe.votes_weight)
        accuracy = (tensors["fer2013"].argmax(1) == truth.labels).float().mean()
        return {"val_loss": float(loss), "val_accuracy": float(accuracy)}

    def save_last(self, path: Path, run: dict) -> None:
        """Everything that the next epoch needs."""
        state = {
            "format": FORMAT, "run": run, "epoch": self.epoch, "step": self.step, "history": self.history,
            "best_loss": self.best_loss, "model": self.model.state_dict(), "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        write_atomically(path, lambda temporary: torch.save(state, temporary))

    def restore(self, state: dict) -> None:
        """Continue from what `save_last` wrote."""
        self.epoch, self.step, self.history = state["epoch"], state["step"], state["history"]
        self.best_loss = state["best_loss"]
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])


def train(trainer: Trainer, out: Path, run: dict) -> None:
    """Run the epochs that are left; after each write last.pt and history.csv, and best_model.pt if it is the best yet."""
    while trainer.epoch < trainer.recipe.epochs:
        trainer.run_epoch()
        entry = trainer.history[-1]
        print(f"epoch {entry['epoch']}: loss {entry['train_loss']:.4f}, accuracy {entry['train_accuracy']:.4f}; "
              f"{trainer.choose_name}: loss {entry['val_loss']:.4f}, accuracy {entry['val_accuracy']:.4f}; "
              f"{entry['images_per_s']:.0f} images/s", flush=True)
        if entry["val_loss"] < trainer.best_loss:
            trainer.best_loss = entry["val_loss"]
            save_checkpoint(out / "best_model.pt", trainer.average, trainer.spec, {"epoch": entry["epoch"]})
        trainer.save_last(out / "last.pt", run)
        _write_history(out / "history.csv", trainer.history)


def calibrate(model: nn.Module, spec: ModelSpec, data: Dataset) -> ModelSpec:
    """The spec with each head's temperature fitted on the split that chooses: FER2013's head on its labels, FER+'s on
    the vote distributions over the seven classes."""
    ids = data.split(split_names(data)[1])
    logits = predict_heads(model, data.images[ids], spec)
    heads = {"fer2013": fit_temperature(logits["fer2013"], np.eye(len(EMOTIONS))[data.labels[ids]])}
    if "ferplus" in spec.heads:
        votes, weight = vote_targets(data.votes[ids])
        seven, usable = votes[:, :7], (weight > 0) & (votes[:, :7].sum(1) > 0)
        targets = seven[usable] / seven[usable].sum(1, keepdims=True)
        heads["ferplus"] = fit_temperature(logits["ferplus"][usable, :7], targets)
    return ModelSpec(**{**asdict(spec), "heads": heads}).for_head(spec.head)


def final_metrics(model: nn.Module, spec: ModelSpec, data: Dataset) -> dict:
    """Figures of every head on the split that chose. PrivateTest is left to `training.evaluate`, once per release."""
    split = split_names(data)[1]
    return {head: measure_split(model, spec.for_head(head), data, split) for head in spec.heads}


def example_probs(model: nn.Module, spec: ModelSpec, images: np.ndarray) -> np.ndarray:
    """(N, S, S) uint8 -> (N, 7) probabilities of the spec's head."""
    return softmax(predict_heads(model, images, spec)[spec.head][:, : len(EMOTIONS)], spec.temperature)


def _loss(logits: dict[str, torch.Tensor], truth: Targets, ids: torch.Tensor, smoothing: float, votes_weight: float):
    """Cross entropy on the labels, plus that on the votes where a picture has any; a scalar."""
    loss = F.cross_entropy(logits["fer2013"].float(), truth.labels[ids], label_smoothing=smoothing)
    if "ferplus" in logits:
        each = F.cross_entropy(logits["ferplus"].float(), truth.votes[ids], reduction="none")
        loss = loss + votes_weight * (each * truth.weights[ids]).mean()
    return loss


@torch.no_grad()
def _update_average(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Exponential moving average of weights and statistics; it starts as a plain mean, so that short runs are not held back.

    torch's own AveragedModel reads its counter back from the device at every step; this one never waits for it.
    """
    keep = min(decay, (1 + step) / (10 + step)) if decay else 0.0
    pairs = list(zip(average.state_dict().values(), model.state_dict().values(), strict=True))
    floats = [(a, b) for a, b in pairs if a.is_floating_point()]
    counts = [(a, b) for a, b in pairs if not a.is_floating_point()]
    torch._foreach_lerp_([a for a, _ in floats], [b for _, b in floats], 1 - keep)
    torch._foreach_copy_([a for a, _ in counts], [b for _, b in counts])


def _optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """The recipe's optimiser; weight decay spares norms and biases, the one-dimensional parameters."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, recipe.learning_rate, momentum=0.9, nesterov=True)
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[recipe.optimizer]
    return kind(groups, recipe.learning_rate, fused=True)


def _write_history(path: Path, history: list[dict]) -> None:
    def write(temporary: Path) -> None:
        with open(temporary, "w", newline="") as handle:
            table = csv.DictWriter(handle, history[0])
            table.writeheader()
            table.writerows(history)

    write_atomically(path, write)
