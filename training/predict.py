"""Predicts the expression in one image of a face; prints the probabilities and draws them as a bar chart.

    python -m training.predict IMAGE [--model FILE] [--head NAME] [--out FILE]

The image must be cropped to the face, as in FER2013; for all other images use python -m fer_live.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from fer_live.model import DEFAULT_WEIGHTS
from fer_live.model.decision import decide
from fer_live.model.images import ImageError, load_image
from fer_live.model.paths import named_path, shortened
from fer_live.model.preprocess import crop_faces
from fer_live.model.spec import ANSWERS, CheckpointError
from fer_live.model.suggest import suggest_names
from training.commands import ResultsError, failed, load_network, start_logging
from training.evaluate import predict_heads

CHARTS = (".png", ".pdf", ".svg", ".jpg")


def predict(path: Path, model_path: Path, head: str | None) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Return the network's input crop (S, S) uint8, its probabilities (7,) and their labels.

    Raises CheckpointError, ImageError.
    """
    model, spec = load_network(model_path, "cpu", head)
    image = load_image(path)
    height, width = image.shape[:2]
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    crop = crop_faces(image, np.array([[left, top, left + side, top + side]]), spec)[0, ..., 0]
    return crop, decide(predict_heads(model, crop[None], spec), spec)[0], spec.labels


def draw(path: Path, crop: np.ndarray, probs: np.ndarray, labels: tuple[str, ...]) -> None:
    """Draw the crop and a bar chart of its probabilities."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(7, 3), layout="constrained")
    left.imshow(crop, cmap="gray", vmin=0, vmax=255)
    left.set_axis_off()
    left.set_title(f"{labels[probs.argmax()]} {probs.max():.0%}")
    right.barh(labels, probs, color="#0072B2")
    right.set_xlim(0, 1)
    right.invert_yaxis()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.predict", description=__doc__.splitlines()[0])
    parser.register("type", Path, named_path)
    parser.add_argument("image", type=Path, help="an image of one face")
    parser.add_argument("--model", type=Path, default=DEFAULT_WEIGHTS, help="a best_model.pt (default: the released one)")
    parser.add_argument("--head", choices=ANSWERS, help="which answer (default: the one that the app shows)")
    parser.add_argument("--out", type=Path, help="file for the chart (default: IMAGE-prediction.png in the working folder)")
    args = suggest_names(parser).parse_args(arguments)
    start_logging()
    out = args.out or Path(f"{args.image.stem}-prediction.png")
    if out.suffix.lower() not in CHARTS:
        return failed(ResultsError(f"--out {out}: charts are {', '.join(CHARTS)}"))
    try:
        crop, probs, labels = predict(args.image, args.model, args.head)
        draw(out, crop, probs, labels)
    except CheckpointError as error:
        return failed(error)
    except ImageError as error:
        return failed(ImageError(f"cannot read the image {shortened(args.image)}: {error}"))
    except OSError as error:
        return failed(ResultsError(f"cannot write {out} ({error.strerror}); choose another --out"))
    for name, prob in sorted(zip(labels, probs, strict=True), key=lambda pair: -pair[1]):
        print(f"{name:9s} {prob:6.1%} {'#' * round(40 * prob)}")
    print(f"wrote {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
