"""Writes report.html: a training run in one self-contained file."""

from __future__ import annotations

import base64
import platform
from pathlib import Path

import cv2
import numpy as np
import timm
import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from fer_live.model.spec import EMOTIONS

TEMPLATES = Environment(loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, undefined=StrictUndefined)
IMAGES = (
    ("curves.png", "Curves", "Training images are augmented, so training can look worse than validation."),
    ("confusion.png", "Confusion", "Rows are labels, columns are predictions, as shares of the row."),
    ("reliability.png", "Reliability", "With the temperature. Bars below the line are overconfident; pale bars hold few faces."),
    ("mistakes.png", "Worst mistakes", "The wrong predictions with the highest confidence; many have wrong labels."),
    ("predictions.png", "Predictions", "A random sample of the split that selected the epoch."),
)
TRUTHS = {"standard": "all images", "duplicate_free": "not also in training", "clear_votes": "over half of the votes",
          "most_votes": "most votes", "ferplus_official": "FER+ official, 8 classes"}
COLUMNS = ("accuracy", "mean_recall", "macro_f1", "ece", "nll")


def write_page(out: Path, command: str, plan: dict, metrics: dict[str, dict], audit: dict) -> None:
    """Write `out`/report.html. plan: the run's options; metrics: from measure_split; audit: from training.audit.audit."""
    facts = {name: str(value) for name, value in plan.items() if value != ""}
    versions = {"Python": platform.python_version()} | {m.__name__: m.__version__ for m in (torch, timm, cv2, np)}
    splits = [["split", "all", *EMOTIONS]]
    splits += [[split, *(f"{counts[name]:,}" for name in ("all", *EMOTIONS))] for split, counts in audit["splits"].items()]
    images = [{"title": title, "note": note, "content": base64.b64encode((out / name).read_bytes()).decode()}
                for name, title, note in IMAGES]
    text = TEMPLATES.get_template("run.html").render(
        recipe=plan["recipe"], command=command, facts=[["what", "value"], *(facts | versions).items()], metrics=metrics,
        figures=_figures, splits=splits, audit=audit, images=images)
    (out / "report.html").write_text(text, encoding="utf-8")


def _figures(result: dict) -> list[list[str]]:
    """Return one row for each set of labels that the answer was measured against."""
    rows = [[result["split"], "images", "accuracy", "mean recall", "macro-F1", "ECE", "NLL", *EMOTIONS]]
    for key, title in TRUTHS.items():
        if key in result:
            m = result[key]
            rows.append([title, f"{m['images']:,}", *(f"{m[k]:.4f}" for k in COLUMNS),
                         *(f"{m['recall'][name]:.3f}" for name in EMOTIONS)])
    return rows
