"""What the commands of this subpackage share: numbers, weights of our classes, results whose place is asked before the work."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fer_live.model.checkpoint import load_checkpoint, write_atomically
from fer_live.model.spec import EMOTIONS, CheckpointError, ModelSpec

if TYPE_CHECKING:
    import torch
    from torch import nn

RUN_FILES = ("last.pt", "best_model.pt", "soup.json")  # any of these makes a folder one that holds a run or a soup


class ResultsError(Exception):
    """Results cannot be written. The text says where, why, and what to do next."""


def whole_number(text: str) -> int:
    """A whole number above 0, for argparse."""
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 10**9):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def seed_number(text: str) -> int:
    """A whole number from 0 to 2**31 - 1, for argparse."""
    if not (text.isascii() and text.isdigit() and len(text) < 11 and int(text) < 2**31):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 to {2**31 - 1}")
    return int(text)


def load_trained(path: Path, device: str | torch.device = "cpu", head: str | None = None) -> tuple[nn.Module, ModelSpec]:
    """As `load_checkpoint`, of weights that are measured on data: their classes must be EMOTIONS in this order."""
    model, spec = load_checkpoint(path, device, head)
    check_labels(path, spec.labels)
    return model, spec


def check_labels(path: Path, labels: tuple[str, ...]) -> None:
    """Raises CheckpointError where the labels are not those of the data, in its order."""
    if labels != EMOTIONS:
        raise CheckpointError(f"{path} has the classes {', '.join(labels)}; the data has {', '.join(EMOTIONS)}, in this order: "
                              "give weights of these")


@contextmanager
def writing_to(place: Path, advice: str) -> Iterator[None]:
    """Inside, what cannot be written becomes a ResultsError with the reason and this advice."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "inline_container" not in str(error):
            raise  # a fault of ours; only torch's writer of files reports a full disk as a RuntimeError
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise ResultsError(f"cannot write to {place} ({reason}); {advice}") from None


def check_writable(folder: Path) -> None:
    """Make the folder where it is missing. Raises ResultsError if nothing can be written into it."""
    with writing_to(folder, "choose another place"):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass


def holds(content: object, kinds: dict[str, type]) -> bool:
    """Whether this is a dictionary with values of these kinds, as files should hold; whole numbers serve as numbers."""
    return isinstance(content, dict) and all(
        isinstance(content.get(name), (int, float) if kind is float else kind) for name, kind in kinds.items())


def check_unused(folder: Path) -> None:
    """Raises ResultsError if the folder holds a run or a soup, which would be overwritten."""
    if there := [name for name in RUN_FILES if (folder / name).exists()]:
        raise ResultsError(f"{folder} already holds {' and '.join(there)}, which are never overwritten; choose another --out, or "
                           f"continue a run with python -m training --resume {folder}")


def check_file(path: Path | None) -> None:
    """As `check_writable`, for a file that may be asked for. Raises ResultsError."""
    if path is None:
        return
    check_writable(path.parent)
    if path.is_dir():
        raise ResultsError(f"cannot write to {path} (it is a folder); give a file in it")


def write_json(path: Path | None, content: dict | list) -> None:
    """Write plain Python types as indented JSON where a file is asked for. Raises ResultsError."""
    if path is not None:
        with writing_to(path, "choose another place"):
            write_atomically(path, lambda temporary: temporary.write_text(json.dumps(content, indent=1) + "\n"))
