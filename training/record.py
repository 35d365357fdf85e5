"""Provenance of weights: the state in a run's folder, the command that reproduces it, and the runs in a soup."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

import torch

from fer_live.model.checkpoint import read_checkpoint
from fer_live.model.networks import EmotionNet
from fer_live.model.spec import ModelSpec
from fer_live.model.suggest import did_you_mean
from training.commands import has_types, load_trained
from training.recipes import RECIPES, Recipe
from training.roles import TrainingError
from training.train import FORMAT

logger = logging.getLogger("training")
RECORD = "soup.json"
STATE = {"run": dict, "epoch": int, "step": int, "history": list, "best_loss": float, "model": dict, "average": dict,
         "optimizer": dict}  # required in last.pt; "recipe" is missing in files of older versions
RUN = {"data": str, "votes": str, "recipe": str, "seed": int}
ENTRY = {"epoch": int, "resolution": int, "val_loss": float, "seconds": float}
PART = {"command": str, "seconds": int, "share": float}


def read_last(folder: Path) -> dict:
    """Return the state in `folder`/last.pt. Raises TrainingError if the file is missing or damaged."""
    path = folder / "last.pt"
    if not path.is_file():
        raise TrainingError(f"nothing to resume or release: no {path}; start the run with --data, --recipe and --out")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise TrainingError(f"{path} cannot be read ({type(error).__name__}); start the run again")
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise TrainingError(f"{path} was not written by this training; start the run again")
    good = has_types(state, STATE) and all(has_types(entry, ENTRY) for entry in state["history"])
    if not good or len(state["history"]) != state["epoch"] or not state["epoch"]:
        raise TrainingError(f"{path} is damaged; start the run again")
    if not has_types(state["run"], RUN):
        raise TrainingError(f"{path} does not say how the run was started, like those of training.ablate; start a new one "
                            "with python -m training")
    return state


def inputs_of(data_sha256: str, teachers: Iterable[Path]) -> dict:
    """Hashes of a run's data and teachers, compared on --resume."""
    return {"data_sha256": data_sha256, "teacher_sha256": [file_sha256(path) for path in teachers]}


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file. Raises TrainingError if it cannot be read."""
    try:
        with open(path, "rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise TrainingError(f"cannot read {path} ({error.strerror}); give an existing file") from None


def check_same(folder: Path, state: dict, recipe: Recipe, inputs: dict) -> None:
    """Raise TrainingError if the data, the teachers or the recipe have changed since the run started.

    Logs what cannot be compared because an older version did not store it in last.pt.
    """
    known = state["run"]
    missing = [name for name in inputs if name not in known] + [name for name in ("recipe",) if name not in state]
    if missing:
        logger.warning("%s is from an older version without %s: cannot check whether these changed", folder / "last.pt",
                       ", ".join(missing))
    named = {"data_sha256": f"the data in {known['data']} or its votes", "teacher_sha256": "a file given as --teacher"}
    for name, what in named.items():
        if name in known and known[name] != inputs[name]:
            raise TrainingError(f"{what} changed since the run in {folder} was started; restore it, or "
                                "start a new run with --out")
    before, now = state.get("recipe"), asdict(recipe)
    if not isinstance(before, dict):
        return
    names = sorted((before.keys() | now.keys()) - {"about"})
    if changed := [name for name in names if before.get(name) != now.get(name)]:
        raise TrainingError(f"the recipe {known['recipe']} changed since the run in {folder} was started "
                            f"({', '.join(changed)}); start a new run with --out")


def recipe_named(name: str) -> Recipe:
    """Return the recipe with this name. Raises TrainingError for an unknown name."""
    if name not in RECIPES:
        raise TrainingError(f"no recipe {name!r:.80}{did_you_mean(name, RECIPES)}; known recipes: {', '.join(RECIPES)}")
    return RECIPES[name]


def command_line(plan: dict, out: Path) -> str:
    """Return the command that starts this run."""
    names = ("data", "votes", "recipe", "seed", "arch", "optimizer", "epochs", "pretrained")
    options = [f"--{name} {plan[name]}" for name in names if plan.get(name, "") != ""]
    options += [f"--teacher {path}" for path in plan.get("teachers", [])]
    if plan.get("bf16") is not None:
        options.append("--bf16" if plan["bf16"] else "--no-bf16")
    return " ".join(["python -m training", *options, f"--out {out}", *(["--clean"] if plan.get("clean") else [])])


def runs_behind(folder: Path) -> list[dict]:
    """Return the runs behind the folder's best_model.pt: one, or all runs of a soup, with command, epochs, time and share.

    Paths are shortened to their last two names. Raises CheckpointError, TrainingError.
    """
    if (folder / RECORD).is_file():
        try:
            parts = json.loads((folder / RECORD).read_text())
        except (OSError, ValueError):
            parts = None
        if not isinstance(parts, list) or not parts or not all(has_types(part, PART) for part in parts):
            raise TrainingError(f"{folder / RECORD} cannot be read; average the runs again with python -m training.soup")
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


def load_run(folder: Path) -> tuple[EmotionNet, ModelSpec]:
    """Load the best_model.pt of a run or a soup, at the resolution at which its epoch was evaluated.

    Older versions stored the last phase's resolution; the run's history has the right one. Raises CheckpointError, TrainingError.
    """
    path = folder / "best_model.pt"
    model, spec = load_trained(path)
    if not (folder / RECORD).is_file():
        epoch = _epoch_of(path)
        resolutions = {entry["epoch"]: entry["resolution"] for entry in read_last(folder)["history"]}
        measured = resolutions.get(epoch, spec.resolution)
        if measured != spec.resolution:
            logger.warning("note: %s is used at %d px, the resolution at which its epoch was measured, not at %d px",
                           path, measured, spec.resolution)
            model.resolution, spec = measured, replace(spec, resolution=measured)
    return model, spec


def _epoch_of(path: Path) -> int | None:
    metrics = read_checkpoint(path).get("metrics")
    return metrics.get("epoch") if isinstance(metrics, dict) else None


def warn_if_other_data(parts: list[dict], data_sha256: str, place: Path) -> None:
    """Log a warning if these runs were trained on other data; runs of older versions have no hash to compare."""
    if any(part.get("data_sha256", data_sha256) != data_sha256 for part in parts):
        logger.warning("note: %s was trained on other data or other votes: its training images may be among those that it is "
                       "measured on", place)


def _short(path: str | Path) -> str:
    return "/".join(Path(path).parts[-2:])
