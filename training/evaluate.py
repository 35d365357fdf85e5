"""Measures a checkpoint: accuracy, macro-F1, recall per class, confusion matrix, calibration. train.py uses the same code.

    python -m training.evaluate --model models/weights/best_model.pt --data DATA --split PrivateTest [--votes FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from models.checkpoint import EMOTIONS, CheckpointError, ModelSpec, load_checkpoint
from models.device import DeviceError, choose_device
from models.preprocess import normalize
from training.data import DataError, Dataset, clear_votes, fingerprints, load_dataset, plurality_votes


@torch.inference_mode()
def predict_heads(
    model: nn.Module, images: np.ndarray, spec: ModelSpec, flip: bool = False, batch: int = 512
) -> dict[str, np.ndarray]:
    """Logits of every head for pictures (N, S, S) uint8: {"fer2013": (N, 7), ...} float32, temperature not yet applied.

    flip: the mean of the logits of a picture and its mirror image.
    """
    device = next(model.parameters()).device
    parts = []
    for start in range(0, len(images), batch):
        crops = torch.from_numpy(images[start : start + batch]).to(device)[..., None]
        x = normalize(crops.expand(-1, -1, -1, spec.channels), spec)
        logits = model.forward_heads(x)
        if flip:
            mirrored = model.forward_heads(x.flip(-1))
            logits = {name: (logits[name] + mirrored[name]) / 2 for name in logits}
        parts.append({name: value.float().cpu().numpy() for name, value in logits.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """(N, K) logits -> (N, K) probabilities."""
    shifted = logits / temperature
    powers = np.exp(shifted - shifted.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def measure(probs: np.ndarray, labels: np.ndarray) -> dict:
    """Figures for probabilities (N, K) against labels (N,): all shares in 0..1, plain Python types.

    macro_f1 is the unweighted mean of the classes' F1; a class without pictures counts in neither mean. ece is the
    expected calibration error in 15 equal bins of confidence (Guo et al. 2017); nll the mean negative log-likelihood.
    """
    n, classes = probs.shape
    predicted = probs.argmax(1)
    confusion = np.zeros((classes, classes), np.int64)  # rows: truth, columns: prediction
    np.add.at(confusion, (labels, predicted), 1)
    hits, truth, named = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    present = truth > 0
    recall = hits / np.maximum(truth, 1)
    f1 = 2 * hits / np.maximum(truth + named, 1)
    likelihood = probs[np.arange(n), labels]
    return {
        "pictures": n,
        "accuracy": float(hits.sum() / max(n, 1)),
        "macro_f1": float(f1[present].mean()),
        "mean_recall": float(recall[present].mean()),
        "recall": {name: float(r) for name, r in zip(EMOTIONS, recall, strict=False)},
        "ece": calibration_error(probs.max(1), (predicted == labels).astype(float)),
        "nll": float(-np.log(np.maximum(likelihood, 1e-12)).mean()),
        "confusion": confusion.tolist(),
    }


def calibration_error(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> float:
    """Mean gap between confidence and correctness over equal bins of confidence, weighted by their pictures; (N,) each."""
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    gap = np.bincount(index, confidence - correct, minlength=bins)
    return float(np.abs(gap).sum() / max(len(confidence), 1))


def fit_temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    """The temperature under which softmax(logits / T) has the lowest cross entropy against target distributions.

    logits, targets: (N, K). Golden-section search over log T; the loss has one minimum in 1/T.
    """
    low, high = np.log(0.2), np.log(5.0)
    golden = (5**0.5 - 1) / 2

    def loss(log_t: float) -> float:
        return float(-(targets * np.log(np.maximum(softmax(logits, np.exp(log_t)), 1e-12))).sum(1).mean())

    while high - low > 1e-4:
        left, right = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, right) if loss(left) < loss(right) else (left, high)
    return float(np.exp((low + high) / 2))


def measure_split(model: nn.Module, spec: ModelSpec, data: Dataset, split: str, flip: bool = False) -> dict:
    """Figures of the spec's head on a split: on all its pictures, without those that also stand in the training split,
    and, where votes are known, against what over half, or just the most, of the FER+ voters saw."""
    ids = data.split(split)
    logits = predict_heads(model, data.images[ids], spec, flip)[spec.head][:, : len(EMOTIONS)]
    probs = softmax(logits, spec.temperature)
    result = {"split": split, "head": spec.head, "flip": flip, "temperature": spec.temperature}
    result["standard"] = measure(probs, data.labels[ids])
    trained = "Training" if split in ("PublicTest", "PrivateTest") else "train"
    if trained in data.splits and trained != split:
        known = fingerprints(data.images[data.splits[trained]])
        fresh = ~np.isin(fingerprints(data.images[ids]), known)
        result["duplicate_free"] = measure(probs[fresh], data.labels[ids][fresh])
    if data.votes is not None:
        for name, seen in (("clear_votes", clear_votes(data.votes[ids])), ("most_votes", plurality_votes(data.votes[ids]))):
            result[name] = measure(probs[seen >= 0], seen[seen >= 0])
    return result


def describe(result: dict) -> str:
    """The figures as text for people."""
    lines = [f"{result['split']}, head {result['head']}, {'with flip' if result['flip'] else 'single crop'}"]
    titles = {"standard": "all pictures", "duplicate_free": "not also in training", "clear_votes": "over half of the votes",
              "most_votes": "most votes"}
    for key, title in titles.items():
        if key in result:
            m = result[key]
            lines.append(f"  {title:22s} {m['pictures']:6,d}  accuracy {m['accuracy']:.4f}  macro-F1 {m['macro_f1']:.4f}  "
                         f"ECE {m['ece']:.4f}  NLL {m['nll']:.4f}")
    m = result["standard"]
    lines.append("  recall  " + "  ".join(f"{name} {m['recall'][name]:.3f}" for name in EMOTIONS))
    lines.append("  confusion (rows: truth, columns: prediction)")
    lines += [f"  {name:>9s} " + " ".join(f"{v:5d}" for v in row) for name, row in zip(EMOTIONS, m["confusion"], strict=True)]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="a best_model.pt")
    parser.add_argument("--data", type=Path, required=True, help="folders of classes, or fer2013.csv")
    parser.add_argument("--votes", type=Path, help="FER+'s fer2013new.csv")
    parser.add_argument("--split", default="PrivateTest", help="train, validation, Training, PublicTest or PrivateTest")
    parser.add_argument("--head", choices=("fer2013", "ferplus"), help="which head answers (default: the checkpoint's)")
    parser.add_argument("--flip", action="store_true", help="average with the mirror image")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args(arguments)
    try:
        model, spec = load_checkpoint(args.model, choose_device(args.device)[0], args.head)
        data = load_dataset(args.data, args.votes, spec.input_size)
        result = measure_split(model, spec, data, args.split, args.flip)
    except (CheckpointError, DataError, DeviceError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(describe(result))
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
