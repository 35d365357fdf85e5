"""A file of `python -m training.export` on OpenVINO, in 16 bits where the processor computes with them."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np

from fer_live.analysis.runtimes.onnx_network import read_spec
from fer_live.model.spec import CheckpointError


class OpenVinoNetwork:
    """An exported network; threads may share it. threads: how many processors it may keep busy. Raises CheckpointError."""

    def __init__(self, path: Path, head: str | None, threads: int):
        import openvino

        self.lock = threading.Lock()

        self.spec = read_spec(path).for_head(head)
        core = openvino.Core()
        half = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        options = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY",
                   "INFERENCE_PRECISION_HINT": "bf16" if half else "f32"}
        try:
            self.network = core.compile_model(core.read_model(str(path)), "CPU", options)
            self(np.zeros((1, self.spec.input_size, self.spec.input_size, self.spec.channels), np.uint8))  # fits its spec?
        except (RuntimeError, KeyError, TypeError, ValueError) as error:
            reason = str(error).strip().splitlines()[-1]
            raise CheckpointError(f"{path} cannot be run by OpenVINO ({reason}); export it again") from None
        version = openvino.__version__.split("-")[0]
        self.describe = f"cpu (OpenVINO {version}, {threads} threads), {'16' if half else '32'} bits"

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """(N, S, S, C) uint8, N >= 1 -> logits (N, H, 7) float32 of the heads, in the order of `spec.heads`."""
        # Its one request takes one call at a time, and the next call overwrites the answers, which np.stack copies. More requests
        # would gain nothing: for the least delay all processors work on one of them.
        with self.lock:
            answers = self.network(crops)
            return np.stack([answers[head] for head in self.spec.heads], axis=1)
