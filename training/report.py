"""The pictures of a run: curves, confusion matrices, a sheet of predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.checkpoint import EMOTIONS

SHEET = 24  # pictures on the sheet of predictions


def draw_all(out: Path, history: list[dict], metrics: dict, images: np.ndarray, labels: np.ndarray, probs: np.ndarray) -> None:
    """Write curves.png, confusion.png and predictions.png into `out`.

    metrics: {head: result of measure_split}. images (N, S, S) uint8, labels (N,), probs (N, 7): the sheet's pictures.
    """
    import matplotlib

    matplotlib.use("Agg")
    draw_curves(out / "curves.png", history)
    draw_confusion(out / "confusion.png", {k: v["standard"] for k, v in metrics.items() if isinstance(v, dict)})
    draw_predictions(out / "predictions.png", images, labels, probs)


def draw_curves(path: Path, history: list[dict]) -> None:
    """Loss and accuracy by epoch; the best epoch by validation loss is marked."""
    import matplotlib.pyplot as plt

    epochs = [entry["epoch"] for entry in history]
    best = min(history, key=lambda entry: entry["val_loss"])["epoch"]
    figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for axis, what in zip(axes, ("loss", "accuracy"), strict=True):
        axis.plot(epochs, [entry[f"train_{what}"] for entry in history], label="training (augmented)")
        axis.plot(epochs, [entry[f"val_{what}"] for entry in history], label="validation")
        axis.axvline(best, color="grey", linestyle=":", label=f"best epoch: {best}")
        axis.set(xlabel="epoch", ylabel=what)
        axis.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_confusion(path: Path, results: dict[str, dict]) -> None:
    """One matrix a head, in shares of the true class."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(results), figsize=(6 * len(results), 5.4), layout="constrained", squeeze=False)
    for axis, (head, result) in zip(axes[0], results.items(), strict=True):
        counts = np.array(result["confusion"])
        shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        axis.imshow(shares, vmin=0, vmax=1, cmap="Blues")
        for i, j in np.ndindex(counts.shape):
            axis.text(j, i, f"{shares[i, j]:.2f}", ha="center", va="center", color="white" if shares[i, j] > 0.5 else "black")
        axis.set_xticks(range(len(EMOTIONS)), EMOTIONS, rotation=45)
        axis.set_yticks(range(len(EMOTIONS)), EMOTIONS)
        axis.set(xlabel="predicted", ylabel="label", title=f"head {head}: accuracy {result['accuracy']:.3f} "
                                                           f"on {result['pictures']:,}")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_predictions(path: Path, images: np.ndarray, labels: np.ndarray, probs: np.ndarray) -> None:
    """Each picture with its label, the prediction and bars of all seven probabilities; wrong ones in orange."""
    import matplotlib.pyplot as plt

    columns = 6
    rows = -(-len(images) // columns)
    figure, axes = plt.subplots(2 * rows, columns, figsize=(2 * columns, 3.1 * rows), layout="constrained",
                                height_ratios=[3, 2] * rows, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for i, (image, label, prob) in enumerate(zip(images, labels, probs, strict=True)):
        top, bottom = axes[2 * (i // columns), i % columns], axes[2 * (i // columns) + 1, i % columns]
        right = prob.argmax() == label
        top.imshow(image, cmap="gray", vmin=0, vmax=255)
        top.set_title(f"{EMOTIONS[prob.argmax()]} {prob.max():.0%}\nlabel {EMOTIONS[label]}", fontsize=8,
                      color="#0072B2" if right else "#D55E00")
        bottom.set_axis_on()
        bottom.bar(range(len(prob)), prob, color="#0072B2" if right else "#D55E00")
        bottom.set_xticks(range(len(prob)), [name[:3] for name in EMOTIONS], fontsize=6)
        bottom.set_yticks([])
        bottom.set_ylim(0, 1)
    figure.savefig(path, dpi=110)
    plt.close(figure)
