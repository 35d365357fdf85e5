"""Averages runs: the weights of runs that share their first epochs, or, with --logits, the logits of any runs.

    python -m training.soup RUN RUN ... --data DATA --out DIR [--votes FILE] [--shares A,B,...] [--logits]

Averaged weights keep the gain of fine-tuning, lose less elsewhere, and run as fast as one network. Model soups (Wortsman
et al. 2022, arXiv:2203.05482); for a network and its own fine-tuning also arXiv:2109.01903. This works for runs fine-tuned from
the same weights; averaging independently trained networks gives useless weights. Averaging logits (an ensemble) also works for
runs of different networks, and takes the time of all of them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from torch import nn

from fer_live.model.checkpoint import save_checkpoint
from fer_live.model.networks import PLUS, EmotionNet
from fer_live.model.paths import named_path
from fer_live.model.spec import CheckpointError, ModelSpec
from fer_live.model.suggest import suggest_names
from training.calibrate import calibrate, check_votes
from training.commands import ResultsError, check_unused, check_writable, failed, start_logging, write_json, writing_to
from training.data import DataError, data_sha256, load_dataset
from training.evaluate import describe, measure_split
from training.record import RECORD, load_run, runs_behind, warn_if_other_data
from training.roles import TrainingError, split_names


def mean_state(states: list[dict[str, torch.Tensor]], shares: list[float]) -> dict[str, torch.Tensor]:
    """Return the weighted mean of one network's state dicts; integers, such as counters, are taken from the first."""
    mean = {}
    for name, first in states[0].items():
        mean[name] = first
        if first.is_floating_point():
            mean[name] = torch.stack([share * state[name].float() for share, state in zip(shares, states, strict=True)]).sum(0)
    return mean


def mean_logits(models: list[EmotionNet], shares: list[float]) -> EmotionNet:
    """Return one network whose logits are the weighted mean of the logits of `models`, which become part of it.

    The network takes the plain mean of its members, so each member's heads are scaled by its share.
    """
    parts: list[tuple[EmotionNet, float]] = []
    for model, share in zip(models, shares, strict=True):
        members = [model, *cast(Iterable[EmotionNet], model.others)]  # an ensemble contributes its members
        model.others = nn.ModuleList()
        parts += [(member, share / len(members)) for member in members]
    for member, share in parts:
        for parameter in member.heads.parameters():
            parameter.data *= share * len(parts)
    first, *others = (member for member, _ in parts)
    first.others = nn.ModuleList(others)
    return first


def mix(
    runs: list[Path], shares: list[float], data_path: Path, votes: Path | None, out: Path, logits: bool = False
) -> dict[str, dict]:
    """Write the average of the runs' weights, or logits, into `out`. Return its metrics on the selection split.

    Raises CheckpointError, DataError, ResultsError, TrainingError.
    """
    check_unused(out)
    check_writable(out)
    models, specs = (list(loaded) for loaded in zip(*(load_run(run) for run in runs), strict=True))
    model, spec = models[0], specs[0]
    parts = [runs_behind(run) for run in runs]
    common = _input if logits else _architecture
    if other := [run for run, one in zip(runs, specs, strict=True) if common(one) != common(spec)]:
        advice = "give runs with the same heads at one resolution" if logits else (
            "average runs of one network at one resolution, or their logits with --logits")
        raise CheckpointError(f"{other[0]} has another network or input than {runs[0]}; {advice}")
    data = load_dataset(data_path, votes, spec.input_size)
    check_votes(spec, data)
    for run, made in zip(runs, parts, strict=True):
        warn_if_other_data(made, data_sha256(data), run)
    if logits:
        model, spec = mean_logits(models, shares), replace(spec, arch=PLUS.join(one.arch for one in specs))
    else:
        model.load_state_dict(mean_state([one.state_dict() for one in models], shares))
    spec = calibrate(model, spec, data)
    metrics = measure_split(model, spec, data, split_names(data)[1])
    how = "logits" if logits else "weights"
    mixed = [{**part, "share": round(part["share"] * share, 4), "averaged": [*part.get("averaged", []), how]}
             for made, share in zip(parts, shares, strict=True) for part in made]
    with writing_to(out, "free some space, then run the command again"):
        save_checkpoint(out / "best_model.pt", model, spec, metrics)
    write_json(out / RECORD, mixed)
    return metrics


def _input(spec: ModelSpec) -> tuple:
    """Return the properties that networks must share for their logits to be averaged."""
    return set(spec.heads), spec.mean, spec.std, spec.input_size, spec.channels, spec.crop_margin, spec.resolution


def _architecture(spec: ModelSpec) -> tuple:
    """Return the properties that networks must share for their weights to be averaged."""
    return spec.arch, *_input(spec)


def read_shares(text: str | None, count: int) -> list[float]:
    """Parse `count` shares, scaled to sum 1, from text such as "2,1,1"; without a text all are equal. Raises TrainingError."""
    try:
        numbers = [float(number) for number in text.split(",")] if text else [1.0] * count
    except ValueError:
        numbers = []
    if len(numbers) != count or not all(0 < number < float("inf") for number in numbers):
        raise TrainingError(f"--shares {text}: not {count} numbers above 0; give one for each run, such as 2,1,1")
    return [number / sum(numbers) for number in numbers]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.soup", description=__doc__.splitlines()[0])
    parser.register("type", Path, named_path)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="the --out folder of a run or a soup")
    parser.add_argument("--data", type=Path, required=True, help="the data that the runs were trained on")
    parser.add_argument("--votes", type=Path, help="FER+'s fer2013new.csv")
    parser.add_argument("--shares", metavar="A,B,...", help="the weight of each run (default: equal)")
    parser.add_argument("--logits", action="store_true",
                        help="average the logits instead of the weights: takes the time of all networks")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="output folder")
    args = suggest_names(parser).parse_args(arguments)
    start_logging()
    try:
        metrics = mix(args.runs, read_shares(args.shares, len(args.runs)), args.data, args.votes, args.out, args.logits)
    except (CheckpointError, DataError, ResultsError, TrainingError, OSError) as error:
        return failed(error)
    for result in metrics.values():
        print(describe(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
