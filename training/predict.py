"""One picture of a face, and what the model sees in it: as bars in the terminal and as a picture with a bar chart.

    python -m training.predict IMAGE [--model FILE] [--head NAME] [--out FILE]

The picture is taken as a face, cut as FER2013 cuts them; for faces in a scene use python -m fer_live.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from fer_live.model import DEFAULT_WEIGHTS
from fer_live.model.checkpoint import load_checkpoint
from fer_live.model.decision import decide
from fer_live.model.paths import named_path, shortened
from fer_live.model.pictures import PictureError, load_picture
from fer_live.model.preprocess import crop_faces
from fer_live.model.spec import ANSWERS, CheckpointError
from training.evaluate import predict_heads

CHARTS = (".png", ".pdf", ".svg", ".jpg")


def predict(path: Path, model_path: Path, head: str | None) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """The crop (S, S) uint8 that the network sees, its probabilities (7,) and their labels.

    Raises CheckpointError, PictureError.
    """
    model, spec = load_checkpoint(model_path, "cpu", head)
    image = load_picture(path)
    height, width = image.shape[:2]
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    crop = crop_faces(image, np.array([[left, top, left + side, top + side]]), spec)[0, ..., 0]
    return crop, decide(predict_heads(model, crop[None], spec), spec)[0], spec.labels


def draw(path: Path, crop: np.ndarray, probs: np.ndarray, labels: tuple[str, ...]) -> None:
    """Write the crop beside a bar chart of its probabilities."""
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
    parser.add_argument("image", type=Path, help="a picture of one face")
    parser.add_argument("--model", type=Path, default=DEFAULT_WEIGHTS, help="a best_model.pt (default: the shipped one)")
    parser.add_argument("--head", choices=ANSWERS, help="which answer (default: what the app shows)")
    parser.add_argument("--out", type=Path, help="where the chart goes (default: IMAGE-prediction.png here)")
    args = parser.parse_args(arguments)
    out = args.out or Path(f"{args.image.stem}-prediction.png")
    if out.suffix.lower() not in CHARTS:
        print(f"error: --out {out}: charts are {' '.join(CHARTS)}", file=sys.stderr)
        return 2
    try:
        crop, probs, labels = predict(args.image, args.model, args.head)
        draw(out, crop, probs, labels)
    except CheckpointError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except PictureError as error:
        print(f"error: cannot read the picture {shortened(args.image)}: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: cannot write {out} ({error.strerror}); choose another --out", file=sys.stderr)
        return 2
    for name, prob in sorted(zip(labels, probs, strict=True), key=lambda pair: -pair[1]):
        print(f"{name:9s} {prob:6.1%} {'#' * round(40 * prob)}")
    print(f"wrote {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
