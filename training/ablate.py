"""What each part of a recipe is worth: the recipe with one thing changed, over seeds, measured on PublicTest.

    python -m training.ablate --data DATA --votes FILE --out DIR [--only NAME] [--seeds N] [--teacher FILE]

Each run leaves a JSON file in DIR and is not repeated; several processes may share DIR. PrivateTest is not looked at.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from fer_live.model.checkpoint import load_checkpoint
from fer_live.model.device import DeviceError, choose_device
from fer_live.model.spec import CheckpointError
from training.__main__ import pretrained_weights
from training.calibrate import head_truths
from training.commands import ResultsError, check_writable, whole_number, write_json
from training.data import DataError, Dataset, load_dataset
from training.evaluate import measure_split
from training.recipes import LIVE, RECIPES, WEBCAM, Recipe, stretched
from training.robustness import robustness
from training.train import Trainer, TrainingError, train

BASE = "as it is"
MANY_SEEDS = 3  # the base is run over these, so that the others can be seen against chance
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
        "distilled": recipe,
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
    model, spec = load_checkpoint(out / "best_model.pt", device)
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


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.ablate", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folders of classes, or fer2013.csv")
    parser.add_argument("--votes", type=Path, required=True, help="FER+'s fer2013new.csv")
    parser.add_argument("--out", type=Path, required=True, help="where the runs go")
    parser.add_argument("--recipe", default="ablation", choices=RECIPES, metavar="NAME", help="the base (default: ablation)")
    parser.add_argument("--only", action="append", metavar="NAME", help="one change; may be given several times (default: all)")
    parser.add_argument("--seeds", type=whole_number, help=f"how many (default: {MANY_SEEDS} of the base, 1 of each change)")
    parser.add_argument("--teacher", type=Path, action="append", default=[], metavar="FILE", help="what `distilled` imitates")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--pretrained", default="auto", metavar="auto|timm|none|FILE", help="as in python -m training")
    args = parser.parse_args(arguments)
    known = variants(RECIPES[args.recipe])
    if not args.teacher:
        known.pop("distilled")
    try:
        if wrong := set(args.only or ()) - set(known):
            there = f"{', '.join(known)} (and distilled, with --teacher)" if not args.teacher else ", ".join(known)
            raise TrainingError(f"no change {', '.join(sorted(wrong))}; there are: {there}")
        check_writable(args.out)
        data = load_dataset(args.data, args.votes)
        for name in args.only or known:
            for seed in range(args.seeds or (MANY_SEEDS if name == BASE else 1)):
                path = args.out / f"{name.replace(' ', '-')}-{seed}.json"
                if not path.exists():
                    write_json(path, run_one(name, known[name], seed, data, args))
    except (CheckpointError, DataError, DeviceError, ResultsError, TrainingError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(describe([json.loads(path.read_text()) for path in sorted(args.out.glob("*.json"))]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
