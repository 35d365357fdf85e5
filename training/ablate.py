"""Ablations: trains a recipe with one thing changed, over several seeds, and measures it on PublicTest.

    python -m training.ablate --data DATA --votes FILE --out DIR [--only NAME] [--seeds N] [--teacher FILE]

Each run writes a JSON file into DIR and is not repeated. Several processes may share DIR: each locks its current run, and the
others take the next one. PrivateTest is not measured.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from fer_live.model.device import DeviceError, choose_device
from fer_live.model.paths import named_path
from fer_live.model.spec import CheckpointError
from fer_live.model.suggest import suggest_names
from training.__main__ import pretrained_weights
from training.calibrate import head_truths
from training.commands import (
    ResultsError,
    check_writable,
    failed,
    has_types,
    load_trained,
    positive_int,
    start_logging,
    write_json,
)
from training.data import DataError, Dataset, data_sha256, load_dataset
from training.evaluate import measure_split
from training.recipes import LIVE, RECIPES, Recipe, as_webcam, stretched
from training.record import file_sha256
from training.robustness import UNDISTURBED, robustness
from training.train import Trainer, TrainingError, train

logger = logging.getLogger("training")
BASE = "none"
BASE_SEEDS = 3  # runs of the unchanged recipe, to compare the changes with the spread between seeds
DISTILL = 0.5  # weight of the distillation loss if the recipe has none
RESULT = {"variant": str, "seed": int, "epochs": int, "seconds": float}  # required in each JSON file
COLUMNS = ("fer2013", "ferplus", "disturbed fer2013", "disturbed ferplus")


def variants(recipe: Recipe) -> dict[str, Recipe]:
    """Return the recipe and its variants with one thing changed. All but `distilled` train without a teacher."""
    plain, augmentation = replace(recipe, distill=0.0), recipe.augmentation
    return {
        BASE: plain,
        "webcam": replace(plain, augmentation=as_webcam(augmentation, detector_box=0.5)),
        "detector's boxes": replace(plain, augmentation=replace(augmentation, detector_box=0.5)),
        "one head": replace(plain, use_votes=False),
        "no averaging": replace(plain, ema=0.0),
        "distilled": replace(recipe, distill=recipe.distill or DISTILL),
        "adjusted loss": replace(plain, adjust=1.0),
        "rare classes count more": replace(plain, balance=0.5),
        "a camera's light and angles": replace(plain, augmentation=LIVE),
        "twice as long": stretched(plain, 2 * recipe.epochs),
        "no label smoothing": replace(plain, label_smoothing=0.0),
    }


def run_one(name: str, recipe: Recipe, seed: int, data: Dataset, args: argparse.Namespace) -> dict:
    """Train one variant and measure it; accuracies in 0..1. "disturbed" is the mean over the robustness table."""
    device, _ = choose_device(args.device)
    out = args.out / f"{name.replace(' ', '-')}-{seed}"
    out.mkdir(parents=True, exist_ok=True)
    teachers = args.teacher if recipe.distill else []
    start = time.monotonic()
    trainer = Trainer(recipe, data, device, seed, pretrained_weights(args.pretrained, recipe), teachers=teachers)
    train(trainer, out, {})
    seconds = time.monotonic() - start
    model, spec = load_trained(out / "best_model.pt", device)
    metrics = measure_split(model, spec, data, "PublicTest")
    ids = data.split("PublicTest")
    truths = {head: truth for head, truth in head_truths(data, ids).items() if head in spec.heads}
    table = robustness(model, spec, data.images[ids], truths)
    result = {"variant": name, "seed": seed, "epochs": recipe.epochs, "seconds": round(seconds, 1), "table": table}
    for head in truths:
        own = metrics[head]["standard" if head == "fer2013" else "most_votes"]
        result[head] = own["accuracy"]
        result[f"disturbed {head}"] = float(np.mean([row[head] for kind, row in table.items() if kind != UNDISTURBED]))
    return result


def describe(results: list[dict]) -> str:
    """Return a Markdown table in percent: mean, standard deviation over the seeds, and difference from the base."""
    lines = ["| change | " + " | ".join(COLUMNS) + " | seeds | seconds |", "|---" * (len(COLUMNS) + 3) + "|"]
    by_name: dict[str, list[dict]] = {}
    for result in results:
        by_name.setdefault(result["variant"], []).append(result)
    base = by_name.get(BASE, [])
    for name in sorted(by_name, key=lambda name: name != BASE):
        runs, cells = by_name[name], []
        for column in COLUMNS:
            values = [100 * run[column] for run in runs if column in run]
            cell = f"{np.mean(values):.1f}" if values else "-"
            cell += f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
            if values and base and name != BASE:
                cell += f" ({np.mean(values) - 100 * np.mean([run[column] for run in base]):+.1f})"
            cells.append(cell)
        lines.append(f"| {name} | {' | '.join(cells)} | {len(runs)} | {np.mean([run['seconds'] for run in runs]):.0f} |")
    return "\n".join(lines)


def run_if_missing(path: Path, name: str, recipe: Recipe, seed: int, data: Dataset, origin: dict,
                   args: argparse.Namespace) -> None:
    """Run a variant unless its result exists or another process is running it. origin: what all results in a table must share.

    Raises ResultsError if the file is not a result, or the result of another recipe or other data.
    """
    teachers = {"teacher_sha256": [file_sha256(teacher) for teacher in (args.teacher if recipe.distill else [])]}
    origin = {**origin, **teachers, "settings": json.loads(json.dumps(asdict(recipe)))}  # with tuples as JSON's lists
    try:
        with FileLock(path.with_suffix(".lock"), timeout=0):
            if not path.exists():
                write_json(path, {**run_one(name, recipe, seed, data, args), **origin})
    except Timeout:
        logger.warning("another process is running %s: it is missing from this table", path.stem)
        return
    result = read_result(path)
    if result is None:
        raise ResultsError(f"{path} cannot be read as a result; delete it to run it again")
    changed = [key for key in origin if result.get(key, origin[key]) != origin[key]]
    if changed or result["epochs"] != recipe.epochs:
        raise ResultsError(f"{path} is from a run with other {', '.join(changed) or 'epochs'}; choose another --out")


def read_result(path: Path) -> dict | None:
    """Return the result in this file, or None if the file contains anything else."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return content if has_types(content, RESULT) and all(isinstance(content.get(c, 0.0), float) for c in COLUMNS) else None


def result_table(folder: Path, origin: dict) -> str:
    """Return the table of the results in a folder that share `origin`; other files are logged."""
    results = []
    for path in sorted(folder.glob("*.json")):
        result = read_result(path)
        if result is None:
            logger.warning("skipped: %s is not a result of training.ablate", path)
        elif any(result.get(key, value) != value for key, value in origin.items()):
            logger.warning("skipped: %s has another recipe, other data or other initial weights", path)
        else:
            results.append(result)
    return describe(results)


def main(arguments: list[str] | None = None) -> int:
    args = parse(arguments)
    start_logging()
    known = variants(RECIPES[args.recipe])
    if not args.teacher:
        known.pop("distilled")
    try:
        if wrong := set(args.only or ()) - set(known):
            names = f"{', '.join(known)} (and distilled, with --teacher)" if not args.teacher else ", ".join(known)
            raise TrainingError(f"no change {', '.join(sorted(wrong))}; known changes: {names}")
        if args.teacher and args.only and "distilled" not in args.only:
            raise TrainingError("--teacher is only for the change distilled; add --only distilled, or leave --teacher out")
        check_writable(args.out)
        data = load_dataset(args.data, args.votes)
        origin = {"recipe": args.recipe, "pretrained": args.pretrained, "data_sha256": data_sha256(data)}
        for name in args.only or known:
            for seed in range(args.seeds or (BASE_SEEDS if name == BASE else 1)):
                run_if_missing(args.out / f"{name.replace(' ', '-')}-{seed}.json", name, known[name], seed, data, origin, args)
    except (CheckpointError, DataError, DeviceError, ResultsError, TrainingError, OSError) as error:
        return failed(error)
    print(result_table(args.out, origin))
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training.ablate", description=__doc__.splitlines()[0])
    parser.register("type", Path, named_path)
    parser.add_argument("--data", type=Path, required=True, help="folder of class folders, or fer2013.csv")
    parser.add_argument("--votes", type=Path, required=True, help="FER+'s fer2013new.csv")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--recipe", default="ablation", choices=RECIPES, metavar="NAME",
                        help="recipe to change (default: ablation)")
    parser.add_argument("--only", action="append", metavar="NAME", help="one change; may be repeated (default: all)")
    parser.add_argument("--seeds", type=positive_int,
                        help=f"number of seeds (default: {BASE_SEEDS} for the unchanged recipe, 1 for each change)")
    parser.add_argument("--teacher", type=Path, action="append", default=[], metavar="FILE",
                        help="a trained best_model.pt for the change distilled")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--pretrained", default="auto", metavar="auto|timm|none|FILE", help="as in python -m training")
    return suggest_names(parser).parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
