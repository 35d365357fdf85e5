"""Self-describing checkpoints: weights together with the spec needed to use them.

A checkpoint is a dictionary of plain types and tensors, so it loads with `weights_only=True`, which runs no code:
`{"format": "fer_live/1", "spec": {...}, "state_dict": {...}, "metrics": {...}}`.
"""

from __future__ import annotations

import dataclasses
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_live.model.paths import is_file, one_line, why
from fer_live.model.spec import FORMAT, CheckpointError, ModelSpec, parse_spec

if TYPE_CHECKING:
    import torch
    from torch import nn


def save_checkpoint(path: str | Path, model: nn.Module, spec: ModelSpec, metrics: dict[str, Any], half: bool = False) -> None:
    """Write weights, spec and metrics to `path` atomically.

    half: store floating-point weights in 16 bits, for half the size on disk; loading restores 32 bits.
    """
    import torch

    state = {name: t.detach().cpu() for name, t in model.state_dict().items()}
    if half:
        state = {name: t.half() if t.is_floating_point() else t for name, t in state.items()}
    content = {"format": FORMAT, "spec": dataclasses.asdict(spec), "state_dict": state, "metrics": metrics}
    write_atomically(path, lambda temporary: torch.save(content, temporary))


def write_atomically(path: str | Path, write: Callable[[Path], object]) -> None:
    """Call `write(temporary_path)`, sync the file to disk, then rename it to `path`."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    try:
        write(temporary)
        with open(temporary, "rb+") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def load_checkpoint(
    path: str | Path, device: str | torch.device = "cpu", head: str | None = None
) -> tuple[nn.Module, ModelSpec]:
    """Load a model in eval mode, with its spec.

    head: "fer2013" (dataset labels), "ferplus" (crowd votes), "shown" (both, adjusted), or None for the app's default.
    The model maps (N, C, S, S) float tensors from `preprocess.normalize` to the logits of each head, in the order of
    `spec.labels`; `decision.decide` converts them to probabilities.
    Raises CheckpointError if the file is missing, damaged, not a checkpoint, or would run code when loaded.
    """
    from fer_live.model.networks import build_model

    content = read_checkpoint(path)
    try:
        spec = parse_spec(content["spec"]).for_head(head)
        _check_shapes(spec, content["state_dict"])
        model = build_model(spec)
        model.load_state_dict(content["state_dict"], strict=True)  # copies 16-bit weights into 32-bit parameters
    except CheckpointError:
        raise
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: the weights do not match their spec ({reason}); train or download them again")
    return model.to(device).eval(), spec


def _check_shapes(spec: ModelSpec, state: dict[str, torch.Tensor]) -> None:
    """Raise ValueError for mismatched weights before allocating the network, since a small file can declare a huge one."""
    import torch

    from fer_live.model.networks import build_model

    with torch.device("meta"):  # shapes only
        wanted = build_model(spec).state_dict()
    for name in [*wanted, *state]:
        there = tuple(state[name].shape) if name in state else None
        here = tuple(wanted[name].shape) if name in wanted else None
        if there != here:
            raise ValueError(f"{name:.80} has shape {there}, but {spec.arch:.80} needs {here}")


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Load the dictionary of a checkpoint file on the CPU, without running any code from it."""
    import torch

    path = Path(path)
    check_model_file(path)
    try:
        _check_size(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{path} is not a fer_live checkpoint, or contains code, which never runs; use a best_model.pt from training"
        )
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"the model {path} cannot be read ({why(error)}); check its permissions") from None
    except Exception as error:  # torch raises RuntimeError, EOFError, zip and OS errors for truncated or foreign files
        raise CheckpointError(f"{path} is not a readable checkpoint ({type(error).__name__}); it may be truncated: copy it again")
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a fer_live checkpoint; use a best_model.pt written by python -m training")
    return content


def check_model_file(path: Path) -> None:
    """Raise CheckpointError unless the file exists. Its content is not checked."""
    try:
        if is_file(path):
            return
    except OSError as error:
        raise CheckpointError(f"the model {one_line(error)}") from None
    raise CheckpointError(f"no model file at {path}; give one with --model, or train one with python -m training")


def _check_size(path: Path) -> None:
    """Raise CheckpointError for a zip bomb: torch stores uncompressed, so a valid file never unpacks to more than its size."""
    import zipfile  # exports do not need it

    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(info.file_size for info in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError):  # torch reports the error
        return
    if unpacked > path.stat().st_size:
        raise CheckpointError(f"{path} unpacks to {unpacked:,} bytes, more than its size; use an unmodified best_model.pt")
