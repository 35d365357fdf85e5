"""What each part of a recipe is worth: the recipe with one thing changed, over seeds, measured on PublicTest.

    python -m training.ablate --data DATA --votes FILE --out DIR [--only NAME] [--seeds N] [--teacher FILE]

Each run leaves a JSON file in DIR and is not repeated. Several processes may share DIR: each run is locked by the one that
runs it, and the others take the next. PrivateTest is not looked at.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from fer_live.model.device import DeviceError, choose_device
from fer_live.model.paths import named_path, one_line
from fer_live.model.spec import CheckpointError
from training.__main__ import pretrained_weights
from training.calibrate import head_truths
from training.commands import ResultsError, check_writable, holds, load_trained, whole_number, write_json
from training.data import DataError, Dataset, data_sha256, load_dataset
from training.evaluate import measure_split
from training.recipes import LIVE, RECIPES, WEBCAM, Recipe, stretched
from training.record import file_sha256
from training.robustness import robustness
from training.train import Trainer, TrainingError, train

BASE = "as it is"
MANY_SEEDS = 3  # the base is run over these, so that the others can be seen against chance
DISTILL = 0.5  # the teachers' share of the loss where the recipe has none
RESULT = {"variant": str, "seed": int, "epochs": int, "seconds": float}  # what each JSON file holds, and figures
COLUMNS = ("fer2013", "ferplus", "disturbed fer2013", "disturbed ferplus")


def variants(recipe: Recipe) -> dict[str, Recipe]:
    """The recipe, and the recipe with one thing changed. All but `distilled` learn without a teacher."""
    plain, how = replace(recipe, distill=0.0), recipe.augmentation
    return {
        BASE: plain,
        "webcam": replace(plain, augmentation=replace(how, **WEBCAM)),
        "detector's boxes": replace(plain, augmentation=replace(how, detector_box=WEBCAM["detector_box"])),
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
    """Train one variant and measure it; shares are 0..1. "disturbed" is the mean over the table of disturbances."""
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
        result[f"disturbed {head}"] = float(np.mean([row[head] for kind, row in table.items() if kind != "as it is"]))
    return result


def describe(results: list[dict]) -> str:
    """A Markdown table: mean and, over several seeds, standard deviation in percent, and the change against the base."""
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


def ensure(path: Path, name: str, recipe: Recipe, seed: int, data: Dataset, made: dict, args: argparse.Namespace) -> None:
    """Run a variant whose result is not there yet, unless another process is at it. made: what all results here must share.

    Raises ResultsError where the file holds something else, or a run of something else.
    """
    teachers = {"teacher_sha256": [file_sha256(teacher) for teacher in (args.teacher if recipe.distill else [])]}
    made = {**made, **teachers, "settings": json.loads(json.dumps(asdict(recipe)))}  # in the types of JSON
    try:
        with FileLock(path.with_suffix(".lock"), timeout=0):
            if not path.exists():
                write_json(path, {**run_one(name, recipe, seed, data, args), **made})
    except Timeout:
        print(f"{path.stem} is being run by another process: it is not in this table", file=sys.stderr)
        return
    result = read_result(path)
    if result is None:
        raise ResultsError(f"{path} cannot be read as a result; delete it to run it again")
    changed = [key for key in made if result.get(key, made[key]) != made[key]]
    if changed or result["epochs"] != recipe.epochs:
        raise ResultsError(f"{path} is of a run with other {', '.join(changed) or 'epochs'}; choose another --out")


def read_result(path: Path) -> dict | None:
    """A result in this file, or None where it holds something else."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return content if holds(content, RESULT) and all(isinstance(content.get(c, 0.0), float) for c in COLUMNS) else None


def tabled(folder: Path, made: dict) -> str:
    """The table of the results in a folder that share `made`; what else is there is named on stderr."""
    mine = []
    for path in sorted(folder.glob("*.json")):
        result = read_result(path)
        if result is None:
            print(f"left out: {path} is no result of training.ablate", file=sys.stderr)
        elif any(result.get(key, value) != value for key, value in made.items()):
            print(f"left out: {path} is of another recipe, other data or another start", file=sys.stderr)
        else:
            mine.append(result)
    return describe(mine)


def main(arguments: list[str] | None = None) -> int:
    args = parse(arguments)
    known = variants(RECIPES[args.recipe])
    if not args.teacher:
        known.pop("distilled")
    try:
        if wrong := set(args.only or ()) - set(known):
            there = f"{', '.join(known)} (and distilled, with --teacher)" if not args.teacher else ", ".join(known)
            raise TrainingError(f"no change {', '.join(sorted(wrong))}; there are: {there}")
        if args.teacher and args.only and "distilled" not in args.only:
            raise TrainingError("--teacher is for the change distilled alone; add --only distilled, or leave --teacher out")
        check_writable(args.out)
        data = load_dataset(args.data, args.votes)
        made = {"recipe": args.recipe, "pretrained": args.pretrained, "data_sha256": data_sha256(data)}
        for name in args.only or known:
            for seed in range(args.seeds or (MANY_SEEDS if name == BASE else 1)):
                ensure(args.out / f"{name.replace(' ', '-')}-{seed}.json", name, known[name], seed, data, made, args)
    except (CheckpointError, DataError, DeviceError, ResultsError, TrainingError, OSError) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    print(tabled(args.out, made))
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training.ablate", description=__doc__.splitlines()[0])
    parser.register("type", Path, named_path)
    parser.add_argument("--data", type=Path, required=True, help="folders of classes, or fer2013.csv")
    parser.add_argument("--votes", type=Path, required=True, help="FER+'s fer2013new.csv")
    parser.add_argument("--out", type=Path, required=True, help="where the runs go")
    parser.add_argument("--recipe", default="ablation", choices=RECIPES, metavar="NAME", help="the base (default: ablation)")
    parser.add_argument("--only", action="append", metavar="NAME", help="one change; may be given several times (default: all)")
    parser.add_argument("--seeds", type=whole_number, help=f"how many (default: {MANY_SEEDS} of the base, 1 of each change)")
    parser.add_argument("--teacher", type=Path, action="append", default=[], metavar="FILE", help="what `distilled` imitates")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--pretrained", default="auto", metavar="auto|timm|none|FILE", help="as in python -m training")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
