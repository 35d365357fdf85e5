"""Writes a checkpoint as ONNX or TorchScript, checked against torch, its spec beside it.

    python -m training.export --format onnx|torchscript [--model FILE] [--head NAME] [--out FILE]

The exported network maps normalised float32 (N, P, S, S), made by `models.preprocess.normalize`, to logits (N, 7), for any N.
`python -m fer_live --model FILE.onnx` runs the ONNX one where onnxruntime is installed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from models.checkpoint import DEFAULT_WEIGHTS, CheckpointError, load_checkpoint, write_atomically

ENDINGS = {"onnx": ".onnx", "torchscript": ".ts"}
TOLERANCE = 1e-4  # largest difference of a logit from torch's own, in 32 bits


class ExportError(Exception):
    """The network cannot be exported here. The text says what is missing."""


def export(model_path: Path, kind: str, head: str | None, out: Path) -> float:
    """Write `out` and `out` with the ending .json; returns the largest difference from torch. Raises ExportError."""
    model, spec = load_checkpoint(model_path, "cpu", head)
    planes, size = len(spec.mean), spec.input_size
    example = torch.randn(3, planes, size, size, generator=torch.Generator().manual_seed(0))
    writer = {"onnx": _write_onnx, "torchscript": _write_torchscript}[kind]
    write_atomically(out, lambda temporary: writer(model, example, temporary))
    worst = max(_difference(model, kind, out, torch.randn(n, planes, size, size)) for n in (1, 3, 16))
    if worst > TOLERANCE:
        out.unlink()
        raise ExportError(f"the exported network differs from torch by {worst:.2g}, more than {TOLERANCE:g}; it was deleted")
    text = json.dumps(dataclasses.asdict(spec), indent=1) + "\n"
    write_atomically(out.with_suffix(".json"), lambda temporary: temporary.write_text(text))
    return worst


def _write_onnx(model: nn.Module, example: torch.Tensor, path: Path) -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ExportError(f"{error.name} is not installed; pip install onnx onnxscript onnxruntime") from None
    names = {"input_names": ["faces"], "output_names": ["logits"]}
    torch.onnx.export(model, (example,), str(path), dynamic_shapes=({0: torch.export.Dim("n", min=1, max=4096)},),
                      dynamo=True, external_data=False, verbose=False, **names)


def _write_torchscript(model: nn.Module, example: torch.Tensor, path: Path) -> None:
    with torch.inference_mode():
        torch.jit.save(torch.jit.freeze(torch.jit.trace(model, example)), str(path))


def _difference(model: nn.Module, kind: str, path: Path, faces: torch.Tensor) -> float:
    with torch.inference_mode():
        ours = model(faces).numpy()
    if kind == "onnx":
        try:
            import onnxruntime
        except ImportError:
            raise ExportError("onnxruntime is not installed, so the file cannot be checked; pip install onnxruntime") from None
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        theirs = session.run(None, {"faces": faces.numpy()})[0]
    else:
        theirs = torch.jit.load(str(path))(faces).detach().numpy()
    return float(np.abs(ours - theirs).max())


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.export", description=__doc__.splitlines()[0])
    parser.add_argument("--format", choices=tuple(ENDINGS), required=True)
    parser.add_argument("--model", type=Path, default=DEFAULT_WEIGHTS, help="a best_model.pt (default: the shipped one)")
    parser.add_argument("--head", choices=("fer2013", "ferplus"), help="which head answers (default: the checkpoint's)")
    parser.add_argument("--out", type=Path, help="the file to write (default: the model's name here, with the format's ending)")
    args = parser.parse_args(arguments)
    out = args.out or Path(args.model.stem + ENDINGS[args.format])
    if out.suffix != ENDINGS[args.format]:
        print(f"error: --out {out}: {args.format} files end in {ENDINGS[args.format]}", file=sys.stderr)
        return 2
    try:
        worst = export(args.model, args.format, args.head, out)
    except (CheckpointError, ExportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: cannot write {out} ({error.strerror}); choose another --out", file=sys.stderr)
        return 2
    print(f"wrote {out} and {out.with_suffix('.json')}; largest difference from torch {worst:.1e}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
