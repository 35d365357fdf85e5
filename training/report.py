"""Draws the figures of a run's report: curves, confusion matrices, reliability, sheets of predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fer_live.model.spec import EMOTIONS

SHEET = 24  # faces on a sheet
RIGHT, WRONG = "#0072B2", "#D55E00"


def draw_all(
    out: Path, history: list[dict], metrics: dict[str, dict], images: np.ndarray, truths: dict[str, np.ndarray],
    probs: dict[str, np.ndarray],
) -> None:
    """Write curves.png, confusion.png, reliability.png, predictions.png and mistakes.png into `out`.

    metrics: {answer: result of measure_split}. For the selection split: images (N, S, S) uint8; truths {answer: (N,)}, classes
    or -1 if unknown; probs {answer: (N, 7)}.
    """
    import matplotlib

    matplotlib.use("Agg")
    draw_curves(out / "curves.png", history)
    # Labels that each answer is measured against
    truth = {head: "standard" if head == "fer2013" else "most_votes" for head in metrics}
    draw_confusion(out / "confusion.png", {head: metrics[head][kind] for head, kind in truth.items()})
    draw_reliability(out / "reliability.png", probs, truths)
    fer2013, labels = probs["fer2013"], truths["fer2013"]
    some = np.random.default_rng(0).permutation(len(labels))[:SHEET]
    draw_predictions(out / "predictions.png", images[some], labels[some], fer2013[some])
    wrong = np.flatnonzero(fer2013.argmax(1) != labels)
    worst = wrong[np.argsort(-fer2013[wrong].max(1))][:SHEET]
    draw_predictions(out / "mistakes.png", images[worst], labels[worst], fer2013[worst])


def draw_curves(path: Path, history: list[dict]) -> None:
    """Plot loss and accuracy by epoch; a line marks the epoch with the lowest validation loss."""
    import matplotlib.pyplot as plt

    epochs = [entry["epoch"] for entry in history]
    best = min(history, key=lambda entry: entry["val_loss"])["epoch"]
    figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for axis, what in zip(axes, ("loss", "accuracy"), strict=True):
        axis.plot(epochs, [entry[f"train_{what}"] for entry in history], marker=".", label="training (augmented)")
        axis.plot(epochs, [entry[f"val_{what}"] for entry in history], marker=".", label="validation")
        axis.axvline(best, color="gray", linestyle=":", label=f"best epoch: {best}")
        axis.set(xlabel="epoch", ylabel=what)
        axis.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_confusion(path: Path, results: dict[str, dict]) -> None:
    """Plot one matrix per answer, normalized over the true class."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(results), figsize=(5.4 * len(results), 5), layout="constrained", squeeze=False)
    for axis, (head, result) in zip(axes[0], results.items(), strict=True):
        counts = np.array(result["confusion"])
        shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        axis.imshow(shares, vmin=0, vmax=1, cmap="Blues")
        for i, j in np.ndindex(counts.shape):
            axis.text(j, i, f"{shares[i, j]:.2f}", ha="center", va="center", color="white" if shares[i, j] > 0.5 else "black")
        axis.set_xticks(range(len(EMOTIONS)), EMOTIONS, rotation=45)
        axis.set_yticks(range(len(EMOTIONS)), EMOTIONS)
        axis.set(xlabel="predicted", ylabel="label", title=f"{head}, {result['images']:,} images: accuracy "
                                                           f"{result['accuracy']:.3f}, mean recall {result['mean_recall']:.3f}")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_reliability(path: Path, probs: dict[str, np.ndarray], truths: dict[str, np.ndarray], bins: int = 15) -> None:
    """Plot accuracy by confidence; for a calibrated answer the bars end on the diagonal."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(probs), figsize=(4.6 * len(probs), 4.4), layout="constrained", squeeze=False)
    for axis, (head, each) in zip(axes[0], probs.items(), strict=True):
        known = truths[head] >= 0
        confidence, correct = each.max(1)[known], (each.argmax(1) == truths[head])[known]
        index = np.minimum((confidence * bins).astype(int), bins - 1)
        counts = np.bincount(index, minlength=bins)
        share = np.bincount(index, correct, minlength=bins) / np.maximum(counts, 1)
        shades = [(0.0, 0.45, 0.7, 0.25 + 0.75 * count / max(1, counts.max())) for count in counts]
        axis.bar((np.arange(bins) + 0.5) / bins, share, width=0.9 / bins, color=shades)
        axis.plot([0, 1], [0, 1], color="gray", linestyle=":")
        axis.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
        axis.set_title(f"{head} on its own labels")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_predictions(path: Path, images: np.ndarray, labels: np.ndarray, probs: np.ndarray) -> None:
    """Draw each face with its label, the prediction and bars of all seven probabilities; errors are orange."""
    import matplotlib.pyplot as plt

    columns = 6
    rows = max(1, -(-len(images) // columns))
    figure, axes = plt.subplots(2 * rows, columns, figsize=(2 * columns, 3.1 * rows), layout="constrained",
                                height_ratios=[3, 2] * rows, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for i, (image, label, prob) in enumerate(zip(images, labels, probs, strict=True)):
        top, bottom = axes[2 * (i // columns), i % columns], axes[2 * (i // columns) + 1, i % columns]
        right = prob.argmax() == label
        top.imshow(image, cmap="gray", vmin=0, vmax=255)
        top.set_title(f"{EMOTIONS[prob.argmax()]} {prob.max():.0%}\nlabel {EMOTIONS[label]}", fontsize=8,
                      color=RIGHT if right else WRONG)
        bottom.set_axis_on()
        bottom.bar(range(len(prob)), prob, color=RIGHT if right else WRONG)
        bottom.set_xticks(range(len(prob)), [name[:3] for name in EMOTIONS], fontsize=6)
        bottom.set_yticks([])
        bottom.set_ylim(0, 1)
    figure.savefig(path, dpi=110)
    plt.close(figure)
