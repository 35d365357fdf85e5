"""The mean of the weights of runs that went on from one another: what fine-tuning gained, without what it cost elsewhere.

    python -m training.soup RUN RUN ... --data DATA --out DIR [--votes FILE] [--shares A,B,...]

Model soups (Wortsman et al. 2022, arXiv:2203.05482); between a network and its own fine-tuning also arXiv:2109.01903. It
works for runs that share their beginning; networks that were trained apart have nothing between them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from fer_live.model.checkpoint import save_checkpoint
from fer_live.model.paths import named_path, one_line
from fer_live.model.spec import CheckpointError, ModelSpec
from training.calibrate import calibrate, check_votes
from training.commands import ResultsError, check_unused, check_writable, write_json, writing_to
from training.data import DataError, data_sha256, load_dataset
from training.evaluate import describe, measure_split
from training.record import RECORD, load_run, parts_of, say_if_not_trained_on
from training.roles import TrainingError, split_names


def mean_state(states: list[dict[str, torch.Tensor]], shares: list[float]) -> dict[str, torch.Tensor]:
    """The weighted mean of state dicts of one network; whole numbers, such as counters, are the first one's."""
    return {
        name: sum(share * state[name].float() for share, state in zip(shares, states, strict=True))
        if first.is_floating_point() else first
        for name, first in states[0].items()
    }


def mix(runs: list[Path], shares: list[float], data_path: Path, votes: Path | None, out: Path) -> dict[str, dict]:
    """Write the mean into `out`; returns its figures on the split that chooses.

    Raises CheckpointError, DataError, ResultsError, TrainingError.
    """
    check_unused(out)
    check_writable(out)
    models, specs = zip(*(load_run(run) for run in runs), strict=True)
    model, spec = models[0], specs[0]
    parts = [parts_of(run) for run in runs]
    if other := [run for run, one in zip(runs, specs, strict=True) if _kind(one) != _kind(spec)]:
        raise CheckpointError(f"{other[0]} is of another network than {runs[0]}, or sees other pictures; "
                              "mix runs of one network at one resolution")
    data = load_dataset(data_path, votes, spec.input_size)
    check_votes(spec, data)
    for run, made in zip(runs, parts, strict=True):
        say_if_not_trained_on(made, data_sha256(data), run)
    model.load_state_dict(mean_state([one.state_dict() for one in models], shares))
    spec = calibrate(model, spec, data)
    metrics = measure_split(model, spec, data, split_names(data)[1])
    mixed = [{**part, "share": round(part["share"] * share, 4)}
             for made, share in zip(parts, shares, strict=True) for part in made]
    with writing_to(out, "make room, then mix again"):
        save_checkpoint(out / "best_model.pt", model, spec, metrics)
    write_json(out / RECORD, mixed)
    return metrics


def _kind(spec: ModelSpec) -> tuple:
    """What two networks must share for their mean to be one."""
    return spec.arch, set(spec.heads), spec.mean, spec.std, spec.input_size, spec.channels, spec.crop_margin, spec.resolution


def read_shares(text: str | None, count: int) -> list[float]:
    """`count` shares that sum to 1, from text such as "2,1,1"; equal ones without a text. Raises TrainingError."""
    try:
        numbers = [float(number) for number in text.split(",")] if text else [1.0] * count
    except ValueError:
        numbers = []
    if len(numbers) != count or not all(0 < number < float("inf") for number in numbers):
        raise TrainingError(f"--shares {text} are not {count} numbers above 0; give one for each run, such as 2,1,1")
    return [number / sum(numbers) for number in numbers]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.soup", description=__doc__.splitlines()[0])
    parser.register("type", Path, named_path)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="the --out folder of a finished run, or of a soup")
    parser.add_argument("--data", type=Path, required=True, help="the data that they were trained on")
    parser.add_argument("--votes", type=Path, help="FER+'s fer2013new.csv")
    parser.add_argument("--shares", metavar="A,B,...", help="how much of each (default: equal shares)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where best_model.pt goes")
    args = parser.parse_args(arguments)
    try:
        metrics = mix(args.runs, read_shares(args.shares, len(args.runs)), args.data, args.votes, args.out)
    except (CheckpointError, DataError, ResultsError, TrainingError, OSError) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    for result in metrics.values():
        print(describe(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
