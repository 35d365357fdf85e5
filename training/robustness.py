"""Measures accuracy under disturbances: crops, light, blur, noise and compression unlike FER2013's.

    python -m training.robustness --data DATA [--votes FILE] [--model FILE] [--split PublicTest]
                                  [--detector both] [--json FILE]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from fer_live.model import DEFAULT_WEIGHTS
from fer_live.model.detections import DETECTORS
from fer_live.model.networks import EmotionNet
from fer_live.model.paths import named_path
from fer_live.model.spec import CheckpointError, ModelSpec
from fer_live.model.suggest import suggest_names
from training.calibrate import head_truths
from training.commands import ResultsError, check_file, failed, load_trained, start_logging, write_json
from training.data import DataError, load_dataset
from training.detected import detected
from training.evaluate import answers, predict_views

Disturb = Callable[[np.ndarray, np.random.Generator], np.ndarray]  # (S, S) uint8 -> (S, S) uint8
UNDISTURBED = "none"  # row of the original images


def affine(shift: float = 0.0, scale: float = 1.0, degrees: float = 0.0) -> Disturb:
    """Shift in a random direction by a fraction of the side, scale, and rotate in a random direction; the border is reflected."""

    def disturb(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        side, direction = image.shape[0], rng.uniform(0, 2 * np.pi)
        center = (side - 1) / 2
        matrix = cv2.getRotationMatrix2D((center, center), degrees * rng.choice([-1, 1]), scale)
        matrix[:, 2] += shift * side * np.array([np.cos(direction), np.sin(direction)])
        return cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)

    return disturb


def blur(sigma: float) -> Disturb:
    """Gaussian blur; sigma in pixels."""
    return lambda image, rng: cv2.GaussianBlur(image, (0, 0), sigma)


def noise(sigma: float) -> Disturb:
    """Gaussian noise; sigma in gray levels."""
    return lambda image, rng: np.clip(image + rng.normal(0, sigma, image.shape), 0, 255).astype(np.uint8)


def darkness(share: float) -> Disturb:
    """Dim the image to `share` of its brightness, and add sensor noise with a sigma of 2 gray levels."""
    return lambda image, rng: np.clip(image * share + rng.normal(0, 2, image.shape), 0, 255).astype(np.uint8)


def size(pixels: int) -> Disturb:
    """Downscale to `pixels` x `pixels`, as for a small face, then upscale again."""

    def disturb(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        small = cv2.resize(image, (pixels, pixels), interpolation=cv2.INTER_AREA)
        return cv2.resize(small, image.shape[::-1], interpolation=cv2.INTER_LINEAR)

    return disturb


def jpeg(quality: int) -> Disturb:
    """Apply JPEG compression at `quality`, 1..100."""

    def disturb(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE))

    return disturb


TABLE: dict[str, Disturb] = {
    UNDISTURBED: lambda image, rng: image,
    "shift 5%": affine(shift=0.05), "shift 10%": affine(shift=0.10), "shift 20%": affine(shift=0.20),
    "scale 0.7": affine(scale=0.7), "scale 0.85": affine(scale=0.85),
    "scale 1.15": affine(scale=1.15), "scale 1.3": affine(scale=1.3),
    "rotation 10": affine(degrees=10), "rotation 20": affine(degrees=20), "rotation 30": affine(degrees=30),
    "blur 1 px": blur(1.0), "blur 2 px": blur(2.0), "noise 10": noise(10), "noise 25": noise(25),
    "light 50%": darkness(0.5), "light 25%": darkness(0.25), "light 10%": darkness(0.1),
    "size 36 px": size(36), "size 24 px": size(24), "JPEG 30": jpeg(30),
}


def robustness(
    model: EmotionNet, spec: ModelSpec, images: np.ndarray, truths: dict[str, np.ndarray]
) -> dict[str, dict[str, float]]:
    """Return {disturbance: {answer: accuracy}} on images (N, S, S) uint8 with classes {answer: (N,)}, -1 if unknown."""
    table: dict[str, dict[str, float]] = {}
    for name, disturb in TABLE.items():
        rng = np.random.default_rng(0)  # the same directions and noise for every model
        probs = _answers(model, spec, np.stack([disturb(image, rng) for image in images]))
        table[name] = {}
        for head, truth in truths.items():
            known = truth >= 0
            table[name][head] = float((probs[head][known].argmax(1) == truth[known]).mean())
    return table


def _answers(model: EmotionNet, spec: ModelSpec, images: np.ndarray) -> dict[str, np.ndarray]:
    return answers(predict_views(model, images, spec), spec)


def describe(table: dict[str, dict[str, float]]) -> str:
    """Return a Markdown table in percent, with the change from undisturbed images in points."""
    plain = table[UNDISTURBED]
    lines = ["| disturbance | " + " | ".join(f"{head} | cost" for head in plain) + " |", "|---" * (1 + 2 * len(plain)) + "|"]
    for name, row in table.items():
        cells = " | ".join(f"{100 * value:.1f} | {100 * (value - plain[head]):+.1f}" for head, value in row.items())
        lines.append(f"| {name} | {cells} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.robustness", description=__doc__.splitlines()[0])
    parser.register("type", Path, named_path)
    parser.add_argument("--model", type=Path, default=DEFAULT_WEIGHTS, help="a best_model.pt (default: the released one)")
    parser.add_argument("--data", type=Path, required=True, help="folder of class folders, or fer2013.csv")
    parser.add_argument("--votes", type=Path, help="FER+'s fer2013new.csv")
    parser.add_argument("--split", default="PublicTest",
                        help="split to measure; PrivateTest is for released weights only (default: PublicTest)")
    parser.add_argument("--detector", choices=DETECTORS, help="measure rotations as in the app: this detector finds the face, "
                        "and the crop is rotated upright if the detector reports the tilt")
    parser.add_argument("--json", type=Path, help="also write the table to this file")
    args = suggest_names(parser).parse_args(arguments)
    start_logging()
    try:
        check_file(args.json)
        model, spec = load_trained(args.model)
        data = load_dataset(args.data, args.votes, spec.input_size)
        ids = data.split(args.split)
        truths = {head: truth for head, truth in head_truths(data, ids).items() if head in spec.answers}
        if args.detector:
            predict = partial(_answers, model, spec)
            table = detected(data.images[ids], spec, predict, truths, args.detector)
        else:
            table = robustness(model, spec, data.images[ids], truths)
        print(describe(table))
        write_json(args.json, table)
    except (CheckpointError, DataError, ResultsError, OSError) as error:
        return failed(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
