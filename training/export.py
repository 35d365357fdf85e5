"""Exports a checkpoint to ONNX, checks the file against PyTorch and writes the spec beside it.

    python -m training.export [--format onnx] [--model FILE] [--head NAME] [--half] [--out FILE]

The exported network maps uint8 crops (N, S, S, C) from `fer_live.model.preprocess.crop_faces` to logits (N, 7) of each head,
for any N; normalization is included. `python -m fer_live --model FILE.onnx` runs it on onnxruntime or openvino, and
--model FILE.pt uses the FILE.onnx beside it if it was exported from these weights.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from fer_live.model import DEFAULT_WEIGHTS
from fer_live.model.checkpoint import read_checkpoint, write_atomically
from fer_live.model.networks import EmotionNet
from fer_live.model.paths import named_path
from fer_live.model.preprocess import normalize
from fer_live.model.spec import ANSWERS, CheckpointError, ModelSpec
from fer_live.model.suggest import suggest_names
from training.commands import ResultsError, failed, load_network, start_logging

SUFFIX = ".onnx"
TOLERANCE = 1e-4  # maximum difference of a logit from PyTorch's, in 32 bits
HALF_TOLERANCE = 0.02  # the same for 16-bit weights; changes a probability by at most 0.005
LEAST_HALVED = 1024  # elements; smaller tensors stay in 32 bits, since they take little space


class ExportError(Exception):
    """The network cannot be exported. The message says what is missing or wrong."""


class Exported(nn.Module):
    """Crops (N, S, S, C) uint8 from `crop_faces` -> logits (N, 7) of each head, in the order of `spec.heads`."""

    def __init__(self, model: EmotionNet, spec: ModelSpec):
        super().__init__()
        self.model, self.spec = model, spec

    def forward(self, crops: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """See the class."""
        logits = self.model.forward_heads(normalize(crops, self.spec))
        return tuple(logits[head][:, :7] for head in self.spec.heads)


def export(model_path: Path, head: str | None, out: Path, half: bool = False) -> float:
    """Write `out` and its spec, `out`.json. Return the maximum difference of a logit from PyTorch's.

    half: store the weights in 16 bits, which halves the file; the arithmetic stays in 32. Raises CheckpointError, ExportError.
    """
    model, spec = load_network(model_path, "cpu", head)
    network = Exported(model, spec).eval()
    write_atomically(out, lambda temporary: _write_onnx(network, _crops(spec, 3), temporary))
    worst = _checked(network, out, spec, TOLERANCE)
    if half:
        write_atomically(out, lambda temporary: _halve(out, temporary))
        worst = _checked(network, out, spec, HALF_TOLERANCE)
    source = read_checkpoint(model_path)["spec"]
    note = {"spec": dataclasses.asdict(spec), "source_sha256": hashlib.sha256(model_path.read_bytes()).hexdigest(),
            "source_head": source.get("head", ModelSpec.head), "export_sha256": hashlib.sha256(out.read_bytes()).hexdigest()}
    write_atomically(note_of(out), lambda temporary: temporary.write_text(json.dumps(note, indent=1) + "\n"))
    return worst


def _checked(network: Exported, out: Path, spec: ModelSpec, tolerance: float) -> float:
    """Return the maximum difference of a logit from PyTorch's. Above `tolerance`, delete the file and raise ExportError."""
    worst = max(_difference(network, out, _crops(spec, n)) for n in (1, 3, 16))
    if worst > tolerance:
        out.unlink()
        raise ExportError(f"the exported network differs from PyTorch by {worst:.2g}, more than {tolerance:g}; it was deleted")
    return worst


def note_of(out: Path) -> Path:
    """Return the path of an exported network's spec."""
    return out.with_name(out.name + ".json")


def _crops(spec: ModelSpec, n: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(n)
    return torch.randint(256, (n, spec.input_size, spec.input_size, spec.channels), generator=generator).to(torch.uint8)


def _write_onnx(network: Exported, example: torch.Tensor, path: Path) -> None:
    try:
        import onnx
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ExportError(f"{error.name} is not installed; pip install onnx onnxscript onnxruntime") from None
    torch.onnx.export(network, (example,), str(path), dynamic_shapes=({0: torch.export.Dim("n", min=1, max=4096)},),
                      dynamo=True, external_data=False, verbose=False, input_names=["crops"],
                      output_names=list(network.spec.heads))
    exported = onnx.load(path)
    graph = exported.graph
    for part in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]  # the exporter stores local paths there
        part.doc_string = ""
    onnx.save(exported, path)


def _halve(source: Path, path: Path) -> None:
    """Store the network's large weights in 16 bits, each followed by a cast to 32, which runtimes perform once when loading."""
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(source)
    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.size >= LEAST_HALVED:
            name, stored = tensor.name, f"{tensor.name}_half"
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), stored))
            casts.append(helper.make_node("Cast", [stored], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, path)


def _difference(network: Exported, path: Path, crops: torch.Tensor) -> float:
    try:
        import onnxruntime
    except ImportError:
        raise ExportError("onnxruntime is not installed, so the file cannot be checked; pip install onnxruntime") from None
    with torch.inference_mode():
        ours = network(crops)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    theirs = session.run(list(network.spec.heads), {"crops": crops.numpy()})
    return max(float(np.abs(mine.numpy() - other).max()) for mine, other in zip(ours, theirs, strict=True))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.export", description=__doc__.splitlines()[0])
    parser.register("type", Path, named_path)
    parser.add_argument("--format", choices=("onnx",), default="onnx", help="file format (default: onnx)")
    parser.add_argument("--model", type=Path, default=DEFAULT_WEIGHTS, help="a best_model.pt (default: the released one)")
    parser.add_argument("--head", choices=ANSWERS, help="the answer that the app shows with it (default: the checkpoint's)")
    parser.add_argument("--half", action="store_true", help="store the weights in 16 bits: half the size")
    parser.add_argument("--out", type=Path, help="output file (default: the model's name with .onnx, in the working folder)")
    args = suggest_names(parser).parse_args(arguments)
    start_logging()
    out = args.out or Path(args.model.stem + SUFFIX)
    if out.suffix != SUFFIX:
        return failed(ResultsError(f"--out {out}: ONNX files end in {SUFFIX}"))
    try:
        worst = export(args.model, args.head, out, args.half)
    except (CheckpointError, ExportError) as error:
        return failed(error)
    except OSError as error:
        return failed(ResultsError(f"cannot write {out} ({error.strerror}); choose another --out"))
    print(f"wrote {out} and {note_of(out)}; largest difference from PyTorch {worst:.1e}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
