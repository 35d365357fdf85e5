"""Releases the weights of a run or a soup: converts them to 16 bits, measures them once, and writes their card and export.

    python -m training.release RUN --data DATA --votes FILE [--faces FILE.npz] [--out models/weights]

PrivateTest is evaluated only here, once per released model.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import logging
import re
import sys
import time
from pathlib import Path

import torch

from fer_live.model import DEFAULT_WEIGHTS
from fer_live.model.checkpoint import save_checkpoint
from fer_live.model.paths import named_path
from fer_live.model.spec import CheckpointError
from fer_live.model.suggest import suggest_names
from training.calibrate import calibrate, check_votes
from training.commands import ResultsError, check_writable, failed, start_logging, writing_to
from training.data import DataError, data_sha256, load_dataset
from training.evaluate import describe, measure_faces, measure_split
from training.export import ExportError, export
from training.record import RECORD, load_run, runs_behind, warn_if_other_data
from training.roles import TrainingError, split_names

logger = logging.getLogger("training")
LICENSE = ("weights: for research use, like FER2013, on whose images they were trained; initial weights: Google's "
           "EfficientNet-Lite (Apache-2.0); votes: FER+ (MIT)")
DISK_ADVICE = "free some space, then release again"


def release(run: Path, data_path: Path, votes: Path | None, out: Path, faces: Path | None = None) -> dict:
    """Write best_model.pt (16 bits), best_model.onnx and best_model.json into `out`. Return the card.

    Raises CheckpointError, DataError, ResultsError, TrainingError.
    """
    if found := [name for name in ("last.pt", RECORD) if (out / name).exists()]:
        raise ResultsError(f"{out} contains a run or a soup ({', '.join(found)}), which are never overwritten; choose another "
                           "--out")
    check_writable(out)
    parts = runs_behind(run)
    model, spec = load_run(run)
    data = load_dataset(data_path, votes, spec.input_size)
    check_votes(spec, data)
    warn_if_other_data(parts, data_sha256(data), run)
    path = out / DEFAULT_WEIGHTS.name
    model.load_state_dict({name: t.half() if t.is_floating_point() else t for name, t in model.state_dict().items()})
    spec = calibrate(model, spec, data)  # with weights rounded to 16 bits, as released
    splits = [name for name in ("validation", "test", "PublicTest", "PrivateTest") if name in data.splits]
    metrics: dict[str, dict[str, dict]] = {}
    for split in splits:
        metrics[split] = measure_split(model, spec, data, split)
        metrics[f"{split}, both views"] = measure_split(model, spec, data, split, flip=True)
    if faces:
        metrics["labeled faces, both views"] = measure_faces(model, spec, faces, flip=True)
    with writing_to(out, DISK_ADVICE):  # last, so that earlier errors leave the old weights in place
        save_checkpoint(path, model, spec, {}, half=True)
    card = {
        "file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "spec": dataclasses.asdict(spec),
        "made_of": parts, "seconds": sum(part["seconds"] for part in parts), "torch": torch.__version__,
        "data": f"{split_names(data)[0]} trained; {split_names(data)[1]} selected the epoch, the temperatures and the decision",
        "license": LICENSE, "private_test_measured": time.strftime("%Y-%m-%d"), "metrics": metrics,
    }
    try:  # the app uses the export on CPUs
        export(path, None, path.with_suffix(".onnx"), half=True)
    except ExportError as error:
        logger.warning("not exported: %s", error)
    text = re.sub(r"\[[^\[\]{}]*\]", lambda match: " ".join(match[0].split()), json.dumps(card, indent=1))  # one row per line
    with writing_to(out, DISK_ADVICE):
        path.with_suffix(".json").write_text(text + "\n")
    for results in metrics.values():
        print(*map(describe, results.values()), sep="\n")
    return card


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.release", description=__doc__.splitlines()[0])
    parser.register("type", Path, named_path)
    parser.add_argument("run", type=Path, help="the --out folder of a finished training run")
    parser.add_argument("--data", type=Path, required=True, help="the data that the run was trained on")
    parser.add_argument("--votes", type=Path, help="FER+'s fer2013new.csv")
    parser.add_argument("--faces", type=Path, metavar="FILE.npz", help="also measure on these labeled faces")
    parser.add_argument("--out", type=Path, default=DEFAULT_WEIGHTS.parent, help="output folder (default: models/weights)")
    args = suggest_names(parser).parse_args(arguments)
    start_logging()
    try:
        release(args.run, args.data, args.votes, args.out, args.faces)
    except (CheckpointError, DataError, ResultsError, TrainingError, OSError) as error:
        return failed(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
