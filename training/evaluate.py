"""Measures a checkpoint with the decision that the app uses: accuracy, mean recall, recall by class, confusion, calibration.

    python -m training.evaluate --model models/weights/best_model.pt --data DATA --split PublicTest [--votes FILE]
    python -m training.evaluate --model models/weights/best_model.pt --faces FILE.npz
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from fer_live.model.decision import SHOWN, decide, log_softmax
from fer_live.model.device import DeviceError, choose_device
from fer_live.model.networks import EmotionNet
from fer_live.model.paths import named_path
from fer_live.model.preprocess import normalize
from fer_live.model.spec import ANSWERS, EMOTIONS, CheckpointError, ModelSpec
from fer_live.model.suggest import suggest_names
from training.commands import ResultsError, check_file, failed, load_trained, start_logging, write_json
from training.data import DataError, Dataset, fingerprints, load_dataset
from training.faces import read_faces
from training.metrics import measure
from training.votes import clear_votes, majority_votes, plurality_votes

OFFICIAL_HEAD = "ferplus"  # the head with contempt, an eighth class in FER+'s official rule


@torch.inference_mode()
def predict_views(model: EmotionNet, images: np.ndarray, spec: ModelSpec, flip: bool = False) -> list[dict[str, np.ndarray]]:
    """Return the logits of every head for images (N, S, S) uint8 and, with `flip`, also for their mirror images.

    One dictionary per view: {"fer2013": (N, 7), "ferplus": (N, 8)} float32, before the temperature.
    """
    device = next(model.parameters()).device
    batch = 512 if device.type == "cuda" else 64  # larger batches exceed a CPU's caches
    views: list[list[dict[str, np.ndarray]]] = [[], []] if flip else [[]]
    for start in range(0, len(images), batch):
        crops = torch.from_numpy(images[start : start + batch]).to(device)[..., None]
        x = normalize(crops.expand(-1, -1, -1, spec.channels), spec)
        for parts, view in zip(views, (x, x.flip(-1)), strict=False):
            parts.append({name: value.float().cpu().numpy() for name, value in model.forward_heads(view).items()})
    return [{name: np.concatenate([part[name] for part in parts]) for name in parts[0]} for parts in views]


def predict_heads(model: EmotionNet, images: np.ndarray, spec: ModelSpec, flip: bool = False) -> dict[str, np.ndarray]:
    """Return the logits of every head, (N, K) float32; with `flip` the mean of both views."""
    views = predict_views(model, images, spec, flip)
    return {name: np.mean([view[name] for view in views], axis=0) for name in views[0]}


def answers(views: list[dict[str, np.ndarray]], spec: ModelSpec) -> dict[str, np.ndarray]:
    """Return probabilities (N, 7) for every answer that `spec` can give; the mean over several views, as in the app."""
    return {name: np.mean([decide(view, spec.for_head(name)) for view in views], axis=0) for name in spec.answers}


def measure_split(model: EmotionNet, spec: ModelSpec, data: Dataset, split: str, flip: bool = False) -> dict[str, dict]:
    """Return the metrics of every answer (each head, and the shown one) on a split.

    {answer: {"standard": all images, against the labels; "duplicate_free": images that are not also in the training split; with
    votes "clear_votes" and "most_votes": the class with over half, or with the most, of the FER+ votes; for the FER+ head
    "ferplus_official": eight classes by FER+'s majority rule}}, each as returned by `measure`.
    """
    ids = data.split(split)
    views = predict_views(model, data.images[ids], spec, flip)
    truths = {"standard": data.labels[ids]}
    trained = "Training" if split in ("PublicTest", "PrivateTest") else "train"
    if trained in data.splits and trained != split:
        copied = np.isin(fingerprints(data.images[ids]), fingerprints(data.images[data.splits[trained]]))
        truths["duplicate_free"] = np.where(copied, -1, data.labels[ids])
    if data.votes is not None:
        truths["clear_votes"], truths["most_votes"] = clear_votes(data.votes[ids]), plurality_votes(data.votes[ids])
    results: dict[str, dict] = {}
    for name, probs in answers(views, spec).items():
        results[name] = {"split": split, "head": name, "flip": flip, **_settings(spec, name)}
        for kind, truth in truths.items():
            results[name][kind] = measure(probs[truth >= 0], truth[truth >= 0])
    if data.votes is not None and OFFICIAL_HEAD in spec.heads:
        truth, temperature = majority_votes(data.votes[ids]), spec.heads[OFFICIAL_HEAD]
        eight = np.mean([np.exp(log_softmax(view[OFFICIAL_HEAD] / temperature)) for view in views], axis=0)
        results[OFFICIAL_HEAD]["ferplus_official"] = measure(eight[truth >= 0], truth[truth >= 0])
    return results


def measure_faces(model: EmotionNet, spec: ModelSpec, path: Path, flip: bool = False) -> dict[str, dict]:
    """Return every answer's metrics on a file of labeled faces: {answer: {"faces": result of `measure`}}. Raises DataError."""
    images, classes = read_faces(path, spec.input_size)
    probs = answers(predict_views(model, images, spec, flip), spec)
    return {name: {"split": path.name, "head": name, "flip": flip, **_settings(spec, name), "faces": measure(each, classes)}
            for name, each in probs.items()}


def _settings(spec: ModelSpec, name: str) -> dict:
    return asdict(spec.decision) if name == SHOWN and spec.decision else {"temperature": spec.heads[name]}


TITLES = {"standard": "all images", "duplicate_free": "not also in training", "clear_votes": "over half of the votes",
          "most_votes": "most votes", "ferplus_official": "FER+ official, 8 cl.", "faces": "labeled faces"}


def describe(result: dict) -> str:
    """Format the metrics as text; recall and confusion are those of the first set of images."""
    lines = [f"{result['split']}, answer {result['head']}, {'both views' if result['flip'] else 'single view'}"]
    shown = [key for key in TITLES if key in result]
    for key in shown:
        m = result[key]
        lines.append(f"  {TITLES[key]:22s} {m['images']:6,d}  accuracy {m['accuracy']:.4f}  "
                     f"mean recall {m['mean_recall']:.4f}  macro-F1 {m['macro_f1']:.4f}  ECE {m['ece']:.4f}  NLL {m['nll']:.4f}")
    m = result[shown[0]]
    lines.append("  recall  " + "  ".join(f"{name} {m['recall'][name]:.3f}" for name in EMOTIONS))
    lines.append("  confusion (rows: truth, columns: prediction)")
    lines += [f"  {name:>9s} " + " ".join(f"{v:5d}" for v in row) for name, row in zip(EMOTIONS, m["confusion"], strict=True)]
    return "\n".join(lines)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=__doc__.splitlines()[0])
    parser.register("type", Path, named_path)
    parser.add_argument("--model", type=Path, required=True, help="a best_model.pt")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--data", type=Path, help="folder of class folders, or fer2013.csv; needs --split")
    what.add_argument("--faces", type=Path, metavar="FILE.npz", help="labeled faces: X (N, S, S) uint8 gray, Y class names")
    parser.add_argument("--votes", type=Path, help="FER+'s fer2013new.csv")
    parser.add_argument("--split",
                        help="train, validation, Training or PublicTest; test and PrivateTest are for released weights, once")
    parser.add_argument("--head", choices=ANSWERS, help="which answer to measure (default: the one that the app shows)")
    parser.add_argument("--flip", action="store_true", help="average each image and its mirror image, as the app does")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--json", type=Path, help="also write the metrics to this file")
    args = suggest_names(parser).parse_args(arguments)
    if args.data and not args.split:
        parser.error("--data needs --split: PublicTest or validation to compare, PrivateTest once for released weights")
    if args.faces and (args.votes or args.split):
        parser.error("--votes and --split are for --data; the file of --faces contains its labels")
    return args


def main(arguments: list[str] | None = None) -> int:
    args = parse(arguments)
    start_logging()
    try:
        check_file(args.json)
        model, spec = load_trained(args.model, choose_device(args.device)[0], args.head)
        if args.faces:
            result = measure_faces(model, spec, args.faces, args.flip)[spec.head]
        else:
            data = load_dataset(args.data, args.votes, spec.input_size)
            result = measure_split(model, spec, data, args.split, args.flip)[spec.head]
        print(describe(result))
        write_json(args.json, result)
    except (CheckpointError, DataError, DeviceError, ResultsError, OSError) as error:
        return failed(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
