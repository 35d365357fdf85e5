"""How weights came about: what a run's folder remembers of it, the command that makes it again, the runs behind a soup."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import nn

from fer_live.model.checkpoint import read_checkpoint
from fer_live.model.spec import ModelSpec
from training.commands import holds, load_trained
from training.recipes import RECIPES, Recipe
from training.roles import TrainingError
from training.train import FORMAT

RECORD = "soup.json"
STATE = {"run": dict, "epoch": int, "step": int, "history": list, "best_loss": float, "model": dict, "average": dict,
         "optimizer": dict}  # what last.pt must hold; "recipe" since the recipe is compared on --resume
RUN = {"data": str, "votes": str, "recipe": str, "seed": int}
ENTRY = {"epoch": int, "resolution": int, "val_loss": float, "seconds": float}
PART = {"command": str, "seconds": int, "share": float}


def read_last(folder: Path) -> dict:
    """The state that a run left in `folder`/last.pt. Raises TrainingError where there is none, or none that can be read."""
    path = folder / "last.pt"
    if not path.is_file():
        raise TrainingError(f"nothing to resume or release: no {path}; start the run with --data, --recipe and --out")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise TrainingError(f"{path} cannot be read ({type(error).__name__}); start the run again")
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise TrainingError(f"{path} was not written by this training; start the run again")
    good = holds(state, STATE) and all(holds(entry, ENTRY) for entry in state["history"])
    if not good or len(state["history"]) != state["epoch"] or not state["epoch"]:
        raise TrainingError(f"{path} is damaged; start the run again")
    if not holds(state["run"], RUN):
        raise TrainingError(f"{path} does not say how the run was started, as those of training.ablate; start one with "
                            "python -m training")
    return state


def inputs_of(data_sha256: str, teachers: Iterable[Path]) -> dict:
    """What a run is made of beside its options, to be compared on --resume."""
    return {"data_sha256": data_sha256, "teacher_sha256": [file_sha256(path) for path in teachers]}


def file_sha256(path: Path) -> str:
    """The hash of a file's content. Raises TrainingError if it cannot be read."""
    try:
        with open(path, "rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise TrainingError(f"cannot read {path} ({error.strerror}); give a file that is there") from None


def check_same(folder: Path, state: dict, recipe: Recipe, inputs: dict) -> None:
    """Refuse to go on where data, teachers or recipe are not those that the run began with.

    What an older version left out of last.pt cannot be compared, and that is printed. Raises TrainingError.
    """
    known = state["run"]
    missing = [name for name in inputs if name not in known] + [name for name in ("recipe",) if name not in state]
    if missing:
        print(f"{folder / 'last.pt'} is of an older version without {', '.join(missing)}: whether these changed is not checked")
    named = {"data_sha256": f"the data in {known['data']} or its votes", "teacher_sha256": "a file given as --teacher"}
    for name, what in named.items():
        if name in known and known[name] != inputs[name]:
            raise TrainingError(f"{what} changed since the run in {folder} began; put it back, or start a new run with --out")
    before, now = state.get("recipe"), asdict(recipe)
    names = sorted((before.keys() | now.keys()) - {"about"}) if isinstance(before, dict) else []
    if changed := [name for name in names if before.get(name) != now.get(name)]:
        raise TrainingError(f"the recipe {known['recipe']} changed since the run in {folder} began ({', '.join(changed)}); "
                            "start a new run with --out")


def recipe_named(name: str) -> Recipe:
    """Raises TrainingError for a recipe that this version has not."""
    if name not in RECIPES:
        raise TrainingError(f"no recipe {name!r:.80}; there are: {', '.join(RECIPES)}")
    return RECIPES[name]


def command_line(plan: dict, out: Path) -> str:
    """The command that starts this run."""
    names = ("data", "votes", "recipe", "seed", "arch", "optimizer", "epochs", "pretrained")
    options = [f"--{name} {plan[name]}" for name in names if plan.get(name, "") != ""]
    options += [f"--teacher {path}" for path in plan.get("teachers", [])]
    options += {True: ["--bf16"], False: ["--no-bf16"]}.get(plan.get("bf16"), [])
    return " ".join(["python -m training", *options, f"--out {out}", *(["--clean"] if plan.get("clean") else [])])


def parts_of(folder: Path) -> list[dict]:
    """How the best_model.pt in the folder came about: a run's command, epochs and time, or those of all runs of a soup.

    Paths are shortened to their last two names. Raises TrainingError, CheckpointError.
    """
    if (folder / RECORD).is_file():
        try:
            parts = json.loads((folder / RECORD).read_text())
        except (OSError, ValueError):
            parts = None
        if not isinstance(parts, list) or not parts or not all(holds(part, PART) for part in parts):
            raise TrainingError(f"{folder / RECORD} cannot be read; mix the runs again with python -m training.soup")
        return parts
    state = read_last(folder)
    plan, history = state["run"], state["history"]
    plan = {**plan, **{name: Path(plan[name]).name for name in ("data", "votes") if plan[name]},
            "teachers": [_short(path) for path in plan.get("teachers", [])]}
    if plan.get("pretrained", "") not in ("", "none", "timm"):
        plan["pretrained"] = _short(plan["pretrained"])
    part = {"command": command_line(plan, Path(_short(folder.resolve()))), "recipe": plan["recipe"], "seed": plan["seed"],
            "epoch": _epoch_of(folder / "best_model.pt"), "epochs": len(history),
            "seconds": round(sum(entry["seconds"] for entry in history)), "share": 1.0}
    return [{**part, "data_sha256": plan["data_sha256"]} if "data_sha256" in plan else part]


def load_run(folder: Path) -> tuple[nn.Module, ModelSpec]:
    """The best_model.pt of a run or a soup, at the resolution that its epoch was measured at.

    Older versions stored the last phase's resolution; the run's history knows better. Raises CheckpointError, TrainingError.
    """
    path = folder / "best_model.pt"
    model, spec = load_trained(path)
    if not (folder / RECORD).is_file():
        epoch = _epoch_of(path)
        resolutions = {entry["epoch"]: entry["resolution"] for entry in read_last(folder)["history"]}
        measured = resolutions.get(epoch, spec.resolution)
        if measured != spec.resolution:
            print(f"note: {path} is used at {measured} px, at which its epoch was measured, not at {spec.resolution} px",
                  file=sys.stderr)
            model.resolution, spec = measured, replace(spec, resolution=measured)
    return model, spec


def _epoch_of(path: Path) -> int | None:
    metrics = read_checkpoint(path).get("metrics")
    return metrics.get("epoch") if isinstance(metrics, dict) else None


def say_if_not_trained_on(parts: list[dict], data_sha256: str, place: Path) -> None:
    """Print where the data is not what all of these runs were trained on; runs of older versions do not say."""
    if any(part.get("data_sha256", data_sha256) != data_sha256 for part in parts):
        print(f"note: {place} was trained on other data or other votes than these: pictures that it learned may be among those "
              "that it is measured on", file=sys.stderr)


def _short(path: str | Path) -> str:
    return "/".join(Path(path).parts[-2:])
