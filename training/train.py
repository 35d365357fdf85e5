"""The training loop: one recipe, one data set, one output folder. Writes best_model.pt, last.pt and history.csv.

The images stay on the device as uint8 and are augmented there in whole batches, without a DataLoader. All random numbers of
an epoch derive from (seed, epoch), so a run resumed from last.pt continues bit for bit.
"""

from __future__ import annotations

import copy
import csv
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import cast

import torch
from torch import nn
from tqdm import tqdm

from fer_live.model.checkpoint import save_checkpoint, write_atomically
from fer_live.model.networks import PLUS, EmotionNet, build_model
from fer_live.model.preprocess import normalize
from fer_live.model.spec import ModelSpec
from training.allocator import keep_freed_memory
from training.augment import augment
from training.boxes import detector_boxes
from training.commands import writing_to
from training.data import Dataset
from training.distributed import Team, compiled, heads_of
from training.evaluate import predict_heads
from training.objective import ClassPrior, Targets, batch_loss, joint_loss, mean_teacher_logits
from training.optim import clip_gradients, learning_rate, make_optimizer, set_learning_rate, update_average
from training.recipes import Recipe
from training.roles import TrainingError, selection_ids, training_ids

FORMAT = "fer_live/last/1"
ALONE = Team()


def make_spec(recipe: Recipe, data: Dataset) -> ModelSpec:
    """Return the spec of the network that this recipe trains. With votes, the default head is FER+'s."""
    heads = {"fer2013": 1.0, "ferplus": 1.0} if data.votes is not None and recipe.use_votes else {"fer2013": 1.0}
    return ModelSpec(
        arch=recipe.arch, input_size=data.images.shape[1], mean=recipe.mean, std=recipe.std,
        resolution=recipe.phases[-1][1], heads=heads, head=list(heads)[-1],
    )


class Trainer:
    """The state of a training run and the steps that change it. Raises TrainingError for conflicting options."""

    def __init__(
        self, recipe: Recipe, data: Dataset, device: torch.device, seed: int, pretrained: bool | Path = False, team: Team = ALONE,
        teachers: Sequence[Path] = (), compile_network: bool = False,
    ):
        self.recipe, self.data, self.device, self.seed, self.team = recipe, data, device, seed, team
        self.selection_name, self.selection_ids = selection_ids(recipe, data)
        train_ids = training_ids(data)
        _check_options(recipe, len(train_ids), team, teachers)
        self.train_set = Targets.of(data, train_ids, device)
        self.selection_set = Targets.of(data, self.selection_ids, device)
        if device.type == "cpu":
            keep_freed_memory()
        # Measured on a CPU: EfficientNets are twice as fast in 32 bits, ResNet9 nearly twice as fast in bfloat16.
        self.bf16 = device.type == "cuda" if recipe.bf16 is None else recipe.bf16
        torch.manual_seed(seed)
        self.spec = make_spec(recipe, data)
        self.prior = ClassPrior.of(self.train_set.class_shares(), recipe.adjust, recipe.balance)
        self.model = self._build_model(pretrained)
        self.average = copy.deepcopy(self.model)
        self.heads = heads_of(self.model, team, device)
        if compile_network:
            self.heads = compiled(self.heads)
        self.optimizer = make_optimizer(recipe, self.model)
        if teachers:
            logits = mean_teacher_logits(teachers, data.images[train_ids], device, set(self.spec.heads))
            self.train_set = replace(self.train_set, teacher_logits=logits)
        self.boxes = None  # (N, 3), the detector's boxes
        if recipe.augmentation.detector_box:
            self.boxes = torch.from_numpy(detector_boxes(self.train_set.images.cpu().numpy())).to(device)
        self.epoch = self.step = 0
        self.history: list[dict] = []
        self.best_loss = math.inf

    def _build_model(self, pretrained: bool | Path) -> EmotionNet:
        model = cast(EmotionNet, build_model(self.spec, pretrained, self.recipe.drop_path).to(self.device))
        model.dropout.p = self.recipe.dropout
        if self.recipe.adjust and not model.has_trained_heads:
            for head, bias in self.prior.bias.items():
                model.heads[head].get_parameter("bias").data.copy_(bias)
        if self.team.size > 1 and self.device.type == "cuda":
            model = cast(EmotionNet, nn.SyncBatchNorm.convert_sync_batchnorm(model))
        return model

    @property
    def steps_per_epoch(self) -> int:
        return len(self.train_set.images) // self.recipe.batch_size  # the last, smaller batch is dropped

    def run_epoch(self) -> None:
        """Train one epoch, then measure the averaged weights on the selection split."""
        started = time.monotonic()
        resolution = self.recipe.resolution(self.epoch)
        self.model.resolution = self.average.resolution = resolution
        loss, accuracy = self._train_epoch(resolution)
        seconds = time.monotonic() - started
        measured = self._validate()
        if not all(map(math.isfinite, (loss, measured["val_loss"]))):
            raise TrainingError(f"the loss of epoch {self.epoch + 1} is {loss}, in validation {measured['val_loss']}; "
                                "the epoch before is safe in last.pt: lower the learning rate and train again")
        self.history.append({
            "epoch": self.epoch + 1, "resolution": resolution, "learning_rate": self._rate(self.step - 1),
            "train_loss": loss, "train_accuracy": accuracy, **measured,
            "images_per_s": self.steps_per_epoch * self.recipe.batch_size / seconds, "seconds": seconds,
        })
        self.epoch += 1

    def _train_epoch(self, resolution: int) -> tuple[float, float]:
        generator = torch.Generator(self.device).manual_seed(1_000_003 * self.seed + self.epoch)
        # Dropout and drop path use the global generator, which must differ between the processes of a team.
        torch.manual_seed(1_000_003 * self.seed + self.epoch + 7_919 * self.team.rank)
        self.model.train()
        order = torch.randperm(len(self.train_set.images), generator=generator, device=self.device)
        batches = order[: self.steps_per_epoch * self.recipe.batch_size].view(-1, self.recipe.batch_size)
        sums = torch.zeros(2, device=self.device)
        title = f"epoch {self.epoch + 1}/{self.recipe.epochs} at {resolution} px"
        quiet = not self.team.is_first
        with tqdm(total=batches.numel(), desc=title, unit="img", mininterval=1.0, file=sys.stdout, disable=quiet) as bar:
            for i, batch in enumerate(batches):
                loss, hits = self.train_step(batch, resolution, generator)
                sums += torch.stack([loss, hits])
                bar.update(len(batch))
                if (i + 1) % 20 == 0:  # reading the sums synchronizes with the device, so not in every step
                    loss_mean, accuracy = (sums / (i + 1)).tolist()
                    bar.set_postfix(loss=f"{loss_mean:.3f}", accuracy=f"{accuracy:.3f}", refresh=False)
        loss_mean, accuracy = self.team.mean(sums / len(batches)).tolist()
        return loss_mean, accuracy

    def train_step(self, batch: torch.Tensor, resolution: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """One step on the images at indices `batch` (B,). Returns their mean loss and accuracy (0..1), as scalar tensors."""
        recipe, share = self.recipe, self.team.share
        boxes = None if self.boxes is None else self.boxes[batch]
        # Every process augments the whole batch and then takes its share, so that all draw the same random numbers.
        crops = augment(self.train_set.images[batch], resolution, recipe.augmentation, generator, boxes)
        x, targets = normalize(share(crops), self.spec), self.train_set.pick(share(batch))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            logits = self.heads(x)
        loss = batch_loss(logits, targets, recipe, self.prior)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        clip_gradients(recipe, self.model)
        set_learning_rate(self.optimizer, self._rate(self.step))
        self.optimizer.step()
        self.step += 1
        update_average(self.average, self.model, recipe.ema, self.step)
        return loss.detach(), (logits["fer2013"].argmax(1) == targets.labels).float().mean()

    def _rate(self, step: int) -> float:
        return learning_rate(self.recipe, step, self.recipe.epochs * self.steps_per_epoch)

    @torch.inference_mode()
    def _validate(self) -> dict:
        targets, model = self.selection_set, self.average.eval()
        logits = predict_heads(model, targets.images.cpu().numpy(), self.spec)
        tensors = {name: torch.from_numpy(value).to(self.device) for name, value in logits.items()}
        unweighted = ClassPrior.of(self.train_set.class_shares(), 0.0, 0.0)
        loss = joint_loss(tensors, targets, replace(self.recipe, label_smoothing=0.0), unweighted)
        accuracy = (tensors["fer2013"].argmax(1) == targets.labels).float().mean()
        return {"val_loss": float(loss), "val_accuracy": float(accuracy)}

    def save_last(self, path: Path, run: dict) -> None:
        """Write everything needed for the next epoch. run: the command's options, as plain types."""
        state = {
            "format": FORMAT, "run": run, "recipe": asdict(self.recipe), "epoch": self.epoch, "step": self.step,
            "history": self.history, "best_loss": self.best_loss, "model": self.model.state_dict(),
            "average": self.average.state_dict(), "optimizer": self.optimizer.state_dict(),
        }
        write_atomically(path, lambda temporary: torch.save(state, temporary))

    def restore(self, state: dict) -> None:
        """Continue from the state written by `save_last`. Raises TrainingError if it does not fit this run."""
        self.epoch, self.step, self.history = state["epoch"], state["step"], state["history"]
        self.best_loss = state["best_loss"]
        if self.step != self.epoch * self.steps_per_epoch:  # the learning rate would jump
            raise TrainingError(f"the run took {self.step:,} steps in {self.epoch} epochs of {self.steps_per_epoch:,}: "
                                "the data or the recipe has changed; start a new run with --out")
        try:
            self.model.load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:  # torch validates little
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise TrainingError(f"the state in last.pt does not fit its recipe ({reason:.200}); start a new run") from None


def _check_options(recipe: Recipe, image_count: int, team: Team, teachers: Sequence[Path]) -> None:
    if PLUS in recipe.arch:
        raise TrainingError(f"{recipe.arch:.80} is an ensemble, whose networks are trained separately; "
                            "then average their logits with python -m training.soup --logits")
    if recipe.batch_size % team.size:
        raise TrainingError(f"a batch of {recipe.batch_size} cannot be divided among {team.size} processes; start fewer")
    if teachers and not recipe.distill:
        raise TrainingError("--teacher has no effect in a recipe that does not distill; leave it out, or use another recipe")
    if image_count < recipe.batch_size:
        raise TrainingError(f"{image_count} images to train on are fewer than one batch of {recipe.batch_size}; "
                            "add images, or choose a recipe with a smaller batch")


def train(trainer: Trainer, out: Path, run: dict, on_epoch: Callable[[dict], None] | None = None) -> None:
    """Run the remaining epochs. After each, write last.pt and history.csv, and best_model.pt if it is the best so far.

    on_epoch: called with the history entry of every epoch. Raises ResultsError, TrainingError.
    """
    while trainer.epoch < trainer.recipe.epochs:
        trainer.run_epoch()
        if not trainer.team.is_first:  # all processes have the same result, and the first one writes it
            continue
        entry = trainer.history[-1]
        print(f"epoch {entry['epoch']}: loss {entry['train_loss']:.4f}, accuracy {entry['train_accuracy']:.4f}; "
              f"{trainer.selection_name}: loss {entry['val_loss']:.4f}, accuracy {entry['val_accuracy']:.4f}; "
              f"{entry['images_per_s']:.0f} images/s", flush=True)
        with writing_to(out, "the epoch before is complete: free some space, then continue with --resume"):
            if entry["val_loss"] < trainer.best_loss:
                trainer.best_loss = entry["val_loss"]
                spec = replace(trainer.spec, resolution=entry["resolution"])  # at which this loss was measured
                save_checkpoint(out / "best_model.pt", trainer.average, spec, {"epoch": entry["epoch"]})
            trainer.save_last(out / "last.pt", run)
            _write_history(out / "history.csv", trainer.history)
        if on_epoch:
            on_epoch(entry)


def _write_history(path: Path, history: list[dict]) -> None:
    def write(temporary: Path) -> None:
        with open(temporary, "w", newline="") as handle:
            table = csv.DictWriter(handle, history[0])
            table.writeheader()
            table.writerows(history)

    write_atomically(path, write)
