"""Turns a finished run, or a soup of runs, into the weights that are shipped: halves them on disk, measures them once, writes
their card.

    python -m training.release RUN --data DATA --votes FILE [--faces FILE.npz] [--out models/weights]

PrivateTest is looked at here and nowhere else, once per released model.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import re
import sys
import time
from pathlib import Path

import torch

from fer_live.model import DEFAULT_WEIGHTS
from fer_live.model.checkpoint import save_checkpoint
from fer_live.model.paths import named_path, one_line
from fer_live.model.spec import CheckpointError
from training.calibrate import calibrate, check_votes
from training.commands import ResultsError, check_writable, writing_to
from training.data import DataError, data_sha256, load_dataset
from training.evaluate import describe, measure_faces, measure_split
from training.export import ExportError, export
from training.record import RECORD, load_run, parts_of, say_if_not_trained_on
from training.roles import TrainingError, split_names

LICENCE = ("weights: for research use, as FER2013, on whose pictures they were trained; ImageNet start: Google's "
           "EfficientNet-Lite (Apache-2.0); votes: FER+ (MIT)")

AGAIN = "make room, then release again"


def release(run: Path, data_path: Path, votes: Path | None, out: Path, faces: Path | None = None) -> dict:
    """Write best_model.pt (16 bits), best_model.onnx and best_model.json into `out`; returns the card.

    Raises CheckpointError, DataError, ResultsError, TrainingError.
    """
    if there := [name for name in ("last.pt", RECORD) if (out / name).exists()]:
        raise ResultsError(f"{out} holds a run or a soup ({', '.join(there)}), which is never overwritten; choose another --out")
    check_writable(out)
    parts = parts_of(run)
    model, spec = load_run(run)
    data = load_dataset(data_path, votes, spec.input_size)
    check_votes(spec, data)
    say_if_not_trained_on(parts, data_sha256(data), run)
    path = out / DEFAULT_WEIGHTS.name
    model.load_state_dict({name: t.half() if t.is_floating_point() else t for name, t in model.state_dict().items()})
    spec = calibrate(model, spec, data)  # and measured as it is shipped, rounded to 16 bits
    splits = [name for name in ("validation", "test", "PublicTest", "PrivateTest") if name in data.splits]
    metrics = {}
    for split in splits:
        metrics[split] = measure_split(model, spec, data, split)
        metrics[f"{split}, both views"] = measure_split(model, spec, data, split, flip=True)
    if faces:
        metrics["named faces, both views"] = measure_faces(model, spec, faces, flip=True)
    with writing_to(out, AGAIN):  # only now: until here the weights that were there are whole
        save_checkpoint(path, model, spec, {}, half=True)
    card = {
        "file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "spec": dataclasses.asdict(spec),
        "made_of": parts, "seconds": sum(part["seconds"] for part in parts), "torch": torch.__version__,
        "data": f"{split_names(data)[0]} trained; {split_names(data)[1]} chose the epoch, the temperatures and the decision",
        "licence": LICENCE, "private_test_measured": time.strftime("%Y-%m-%d"), "metrics": metrics,
    }
    try:  # what the app computes with on the CPU, where a runtime for it is installed
        export(path, None, path.with_suffix(".onnx"))
    except ExportError as error:
        print(f"not exported: {error}", file=sys.stderr)
    text = re.sub(r"\[[^\[\]{}]*\]", lambda found: " ".join(found[0].split()), json.dumps(card, indent=1))  # a row a line
    with writing_to(out, AGAIN):
        path.with_suffix(".json").write_text(text + "\n")
    for results in metrics.values():
        print(*map(describe, results.values()), sep="\n")
    return card


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.release", description=__doc__.splitlines()[0])
    parser.register("type", Path, named_path)
    parser.add_argument("run", type=Path, help="the --out folder of a finished training run")
    parser.add_argument("--data", type=Path, required=True, help="the data that it was trained on")
    parser.add_argument("--votes", type=Path, help="FER+'s fer2013new.csv")
    parser.add_argument("--faces", type=Path, metavar="FILE.npz", help="also measure on these named faces")
    parser.add_argument("--out", type=Path, default=DEFAULT_WEIGHTS.parent, help="where the weights go")
    args = parser.parse_args(arguments)
    try:
        release(args.run, args.data, args.votes, args.out, args.faces)
    except (CheckpointError, DataError, ResultsError, TrainingError, OSError) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
