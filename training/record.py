"""How weights came about: what a run's folder remembers of it, the command that makes it again, the runs behind a soup."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from fer_live.model.checkpoint import read_checkpoint
from training.train import FORMAT, TrainingError

RECORD = "soup.json"


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
    return state


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
            return json.loads((folder / RECORD).read_text())
        except ValueError:
            raise TrainingError(f"{folder / RECORD} cannot be read; mix the runs again with python -m training.soup")
    state = read_last(folder)
    plan, history = state["run"], state["history"]
    plan = {**plan, **{name: Path(plan[name]).name for name in ("data", "votes") if plan[name]},
            "teachers": [_short(path) for path in plan.get("teachers", [])]}
    if plan.get("pretrained", "") not in ("", "none", "timm"):
        plan["pretrained"] = _short(plan["pretrained"])
    return [{"command": command_line(plan, Path(_short(folder.resolve()))), "recipe": plan["recipe"], "seed": plan["seed"],
             "epoch": read_checkpoint(folder / "best_model.pt")["metrics"].get("epoch"), "epochs": len(history),
             "seconds": round(sum(entry["seconds"] for entry in history)), "share": 1.0}]


def _short(path: str | Path) -> str:
    return "/".join(Path(path).parts[-2:])
