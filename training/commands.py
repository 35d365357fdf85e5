"""Shared by the training commands: messages, number options, loading weights, and checks that results can be written."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from fer_live.model.checkpoint import load_checkpoint, write_atomically
from fer_live.model.paths import one_line
from fer_live.model.spec import EMOTIONS, CheckpointError, ModelSpec

if TYPE_CHECKING:
    import torch

    from fer_live.model.networks import EmotionNet

logger = logging.getLogger("training")
RUN_FILES = ("last.pt", "best_model.pt", "soup.json")  # any of these marks a folder that contains a run or a soup


class ResultsError(Exception):
    """Results cannot be written. The message says where, why, and what to do next."""


class Stderr:
    """A stream that looks up sys.stderr at every write, since tests and notebooks replace it."""

    def write(self, text: str) -> None:
        """Write to the current sys.stderr."""
        sys.stderr.write(text)

    def flush(self) -> None:
        """Flush the current sys.stderr."""
        sys.stderr.flush()


def start_logging() -> None:
    """Print the messages of `training` to stderr as plain lines. Called by every command; further calls do nothing."""
    package = logging.getLogger("training")
    if not package.handlers:
        package.addHandler(logging.StreamHandler(Stderr()))
        package.setLevel(logging.INFO)


def failed(error: Exception) -> int:
    """Print an error as one line. Return the exit status 2."""
    logger.error("error: %s", one_line(error))
    return 2


def positive_int(text: str) -> int:
    """Parse an integer above 0, for argparse."""
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 10**9):
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer above 0")
    return int(text)


def seed_number(text: str) -> int:
    """Parse an integer from 0 to 2**31 - 1, for argparse."""
    if not (text.isascii() and text.isdigit() and len(text) < 11 and int(text) < 2**31):
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer from 0 to {2**31 - 1}")
    return int(text)


def load_network(path: Path, device: str | torch.device = "cpu", head: str | None = None) -> tuple[EmotionNet, ModelSpec]:
    """Like `load_checkpoint`, with the network's type."""
    model, spec = load_checkpoint(path, device, head)
    return cast("EmotionNet", model), spec


def load_trained(path: Path, device: str | torch.device = "cpu", head: str | None = None) -> tuple[EmotionNet, ModelSpec]:
    """Like `load_network`, for weights to evaluate: their classes must be EMOTIONS, in this order."""
    model, spec = load_network(path, device, head)
    check_labels(path, spec.labels)
    return model, spec


def check_labels(path: Path, labels: tuple[str, ...]) -> None:
    """Raise CheckpointError if the labels are not those of the data, in the same order."""
    if labels != EMOTIONS:
        raise CheckpointError(f"{path} has the classes {', '.join(labels)}; the data has {', '.join(EMOTIONS)}, in this order: "
                              "use weights with these classes")


@contextmanager
def writing_to(place: Path, advice: str) -> Iterator[None]:
    """Turn write errors inside the block into a ResultsError with the reason and `advice`."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "inline_container" not in str(error):
            raise  # a bug; only torch's file writer reports a full disk as a RuntimeError
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise ResultsError(f"cannot write to {place} ({reason}); {advice}") from None


def check_writable(folder: Path) -> None:
    """Create the folder if it is missing. Raises ResultsError if nothing can be written into it."""
    with writing_to(folder, "choose another path"):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass


def has_types(content: object, types: dict[str, type]) -> bool:
    """Whether `content` is a dictionary with values of these types under these keys; an int also counts as a float."""
    return isinstance(content, dict) and all(
        isinstance(content.get(name), (int, float) if kind is float else kind) for name, kind in types.items())


def check_unused(folder: Path) -> None:
    """Raise ResultsError if the folder contains a run or a soup, which would be overwritten."""
    if found := [name for name in RUN_FILES if (folder / name).exists()]:
        raise ResultsError(f"{folder} already contains {' and '.join(found)}, which are never overwritten; choose another --out, "
                           f"or continue a run with python -m training --resume {folder}")


def check_file(path: Path | None) -> None:
    """Like `check_writable`, for an optional file. Raises ResultsError."""
    if path is None:
        return
    check_writable(path.parent)
    if path.is_dir():
        raise ResultsError(f"cannot write to {path} (it is a folder); give a file in it")


def write_json(path: Path | None, content: dict | list) -> None:
    """Write plain Python types as indented JSON, if a file is given. Raises ResultsError."""
    if path is not None:
        with writing_to(path, "choose another path"):
            write_atomically(path, lambda temporary: temporary.write_text(json.dumps(content, indent=1) + "\n"))
