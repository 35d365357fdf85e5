"""report.html: a run in one self-contained file, made from what the run's folder holds."""

from __future__ import annotations

import base64
import html
import platform
from pathlib import Path

import cv2
import numpy as np
import timm
import torch

from fer_live.model.spec import EMOTIONS

STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#222}
img{max-width:100%}.wide{overflow-x:auto}table{border-collapse:collapse;margin:1rem 0}
td,th{padding:.2rem .7rem;border-bottom:1px solid #ddd;text-align:right}
td:first-child,th:first-child{text-align:left}code{background:#f3f3f3;padding:.1rem .3rem}"""
PICTURES = (
    ("curves.png", "Curves", "Training pictures are augmented, so training can look worse than validation."),
    ("confusion.png", "Confusion", "Rows are labels, columns predictions, in shares of the row."),
    ("reliability.png", "Reliability", "After the temperature. Bars below the line are overconfident; pale ones hold few."),
    ("mistakes.png", "Worst mistakes", "Wrong with the highest confidence; many of them are wrong labels."),
    ("predictions.png", "A random sheet", "Drawn by chance from the split that chose the epoch."),
)


def write_page(out: Path, command: str, plan: dict, metrics: dict[str, dict], audit: dict) -> None:
    """Write `out`/report.html. metrics: {head: result of measure_split}; audit: result of training.audit.audit."""
    parts = [f"<h1>Training run: {html.escape(plan['recipe'])}</h1>", f"<p><code>{html.escape(command)}</code></p>", _facts(plan)]
    parts += [_figures(head, result) for head, result in metrics.items()]
    parts.append("<h2>Data</h2>" + _audit(audit))
    for name, title, note in PICTURES:
        content = base64.b64encode((out / name).read_bytes()).decode()
        parts.append(f'<h2>{title}</h2><p>{note}</p><img alt="{title}" src="data:image/png;base64,{content}">')
    body = "\n".join(parts)
    head = f"<meta charset=utf-8><title>Training run</title><style>{STYLE}</style>"
    text = f"<!doctype html><html lang=en><head>{head}</head><body>{body}</body></html>"
    (out / "report.html").write_text(text, encoding="utf-8")


def _table(rows: list[list[str]]) -> str:
    head = "".join(f"<th>{cell}</th>" for cell in rows[0])
    lines = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows[1:])
    return f"<div class=wide><table><tr>{head}</tr>{lines}</table></div>"


def _facts(plan: dict) -> str:
    versions = {"Python": platform.python_version()} | {m.__name__: m.__version__ for m in (torch, timm, cv2, np)}
    shown = {name: str(value) for name, value in plan.items() if value != ""} | versions
    return _table([["what", "value"], *([html.escape(k), html.escape(v)] for k, v in shown.items())])


def _figures(head: str, result: dict) -> str:
    names = {"standard": "all pictures", "duplicate_free": "not also in training", "clear_votes": "over half of the votes",
             "most_votes": "most votes", "ferplus_official": "FER+ official, 8 classes"}
    columns = ("accuracy", "mean_recall", "macro_f1", "ece", "nll")
    rows = [[result["split"], "pictures", "accuracy", "mean recall", "macro-F1", "ECE", "NLL", *EMOTIONS]]
    for key, title in names.items():
        if key in result:
            m = result[key]
            rows.append([title, f"{m['pictures']:,}", *(f"{m[k]:.4f}" for k in columns),
                         *(f"{m['recall'][name]:.3f}" for name in EMOTIONS)])
    return f"<h2>Answer {head}</h2><p>Temperature {result['temperature']:.3f}; recall by class on the right.</p>" + _table(rows)


def _audit(audit: dict) -> str:
    rows = [["split", "all", *EMOTIONS]]
    rows += [[split, *(f"{counts[name]:,}" for name in ("all", *EMOTIONS))] for split, counts in audit["splits"].items()]
    across = "; ".join(f"{count} pictures of {pair}" for pair, count in audit["across"].items())
    conflicts = audit["groups_with_conflicting_labels"]
    return _table(rows) + (f"<p>{audit['groups']:,} groups of byte-identical pictures, {conflicts} with conflicting labels; "
                           f"{len(audit['blank'])} blank pictures. Copies across splits: {across}.</p>")
