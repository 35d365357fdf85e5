"""Measures a checkpoint: accuracy, macro-F1, recall per class, confusion matrix, calibration. train.py uses the same code.

    python -m training.evaluate --model models/weights/best_model.pt --data DATA --split PrivateTest [--votes FILE]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from models.checkpoint import EMOTIONS, HEADS, CheckpointError, ModelSpec, load_checkpoint
from models.device import DeviceError, choose_device
from models.preprocess import normalize
from training.commands import ResultsError, check_file, write_json
from training.data import DataError, Dataset, fingerprints, load_dataset
from training.votes import clear_votes, majority_votes, plurality_votes

MEAN = "mean"  # the mean of both heads' probabilities, measured beside them


@torch.inference_mode()
def predict_heads(
    model: nn.Module, images: np.ndarray, spec: ModelSpec, flip: bool = False
) -> dict[str, np.ndarray]:
    """Logits of every head for pictures (N, S, S) uint8: {"fer2013": (N, 7), ...} float32, temperature not yet applied.

    flip: the mean of the logits of a picture and its mirror image.
    """
    device = next(model.parameters()).device
    batch = 512 if device.type == "cuda" else 64  # a CPU is slowed down by what does not fit its caches
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
        "recall": {name: float(r) for name, r in zip((*EMOTIONS, "contempt"), recall, strict=False)},
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


def head_probs(model: nn.Module, spec: ModelSpec, images: np.ndarray, flip: bool = False) -> dict[str, np.ndarray]:
    """(N, S, S) uint8 -> probabilities of every head at its own temperature, {"fer2013": (N, 7), "ferplus": (N, 8)}."""
    logits = predict_heads(model, images, spec, flip)
    return {head: softmax(logits[head], temperature) for head, temperature in spec.heads.items()}


def answer(probs: dict[str, np.ndarray], head: str) -> np.ndarray:
    """Probabilities (N, 7) of a head over the seven classes, or of MEAN, the mean of both heads."""
    if head == MEAN:
        return (answer(probs, "fer2013") + answer(probs, "ferplus")) / 2
    seven = probs[head][:, : len(EMOTIONS)]
    return seven / seven.sum(1, keepdims=True)


def measure_split(model: nn.Module, spec: ModelSpec, data: Dataset, split: str, flip: bool = False) -> dict[str, dict]:
    """Figures of every head, and of their mean, on a split.

    {head: {"standard": all its pictures, "duplicate_free": those that do not also stand in the training split, and where
    votes are known "clear_votes" and "most_votes": what over half, or just the most, of the FER+ voters saw; for the FER+
    head "ferplus_official": eight classes by FER+'s majority rule}}, each as `measure` gives it.
    """
    ids = data.split(split)
    probs = head_probs(model, spec, data.images[ids], flip)
    truths = {"standard": data.labels[ids]}
    trained = "Training" if split in ("PublicTest", "PrivateTest") else "train"
    if trained in data.splits and trained != split:
        copied = np.isin(fingerprints(data.images[ids]), fingerprints(data.images[data.splits[trained]]))
        truths["duplicate_free"] = np.where(copied, -1, data.labels[ids])
    if data.votes is not None:
        truths["clear_votes"], truths["most_votes"] = clear_votes(data.votes[ids]), plurality_votes(data.votes[ids])
    results: dict[str, dict] = {}
    for head in [*spec.heads, *([MEAN] if len(spec.heads) == 2 else [])]:
        results[head] = {"split": split, "head": head, "flip": flip, "temperature": spec.heads.get(head, 1.0)}
        for name, truth in truths.items():
            results[head][name] = measure(answer(probs, head)[truth >= 0], truth[truth >= 0])
    if data.votes is not None and "ferplus" in results:
        truth = majority_votes(data.votes[ids])
        results["ferplus"]["ferplus_official"] = measure(probs["ferplus"][truth >= 0], truth[truth >= 0])
    return results


def describe(result: dict) -> str:
    """The figures as text for people."""
    lines = [f"{result['split']}, head {result['head']}, {'with flip' if result['flip'] else 'single crop'}"]
    titles = {"standard": "all pictures", "duplicate_free": "not also in training", "clear_votes": "over half of the votes",
              "most_votes": "most votes", "ferplus_official": "FER+ official, 8 cl."}
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
    parser.add_argument("--head", choices=(*HEADS, MEAN), help="which head answers (default: the checkpoint's)")
    parser.add_argument("--flip", action="store_true", help="average with the mirror image")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args(arguments)
    try:
        check_file(args.json)
        model, spec = load_checkpoint(args.model, choose_device(args.device)[0])
        data = load_dataset(args.data, args.votes, spec.input_size)
        results = measure_split(model, spec, data, args.split, args.flip)
        result = results.get(args.head or spec.head)
        if result is None:
            raise CheckpointError(f"these weights cannot answer as {args.head!r}; they can as: {', '.join(results)}")
        print(describe(result))
        write_json(args.json, result)
    except (CheckpointError, DataError, DeviceError, ResultsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
