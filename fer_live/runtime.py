"""The network on another runtime than torch: a file of `training.export` on ONNX Runtime."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from models.checkpoint import CheckpointError, ModelSpec, parse_spec


class OnnxNetwork:
    """An exported network, answering with the head that it was exported with. threads: how many processors it may keep busy."""

    def __init__(self, path: Path, threads: int):
        try:
            import onnxruntime
        except ImportError:
            raise CheckpointError(f"{path} needs ONNX Runtime; pip install onnxruntime, or give a best_model.pt") from None
        self.spec = _read_spec(path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors only; it warns of shapes that are meant to vary
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime has a kind of its own for each fault, and no base class for them
            reason = str(error).splitlines()[0]
            raise CheckpointError(f"{path} cannot be run by ONNX Runtime ({reason}); export it again") from None
        self.version = onnxruntime.__version__

    def __call__(self, faces: np.ndarray) -> np.ndarray:
        """(N, P, S, S) float32 normalised -> logits (N, 7) float32."""
        return self.session.run(None, {"faces": faces})[0]


def _read_spec(path: Path) -> ModelSpec:
    beside = path.with_suffix(".json")
    if not path.is_file() or not beside.is_file():
        missing = beside if path.is_file() else path
        raise CheckpointError(f"no file at {missing}; an exported network is x.onnx with x.json beside it, by training.export")
    try:
        return parse_spec(json.loads(beside.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        raise CheckpointError(f"{beside} is no spec of an exported network; export it again") from None
