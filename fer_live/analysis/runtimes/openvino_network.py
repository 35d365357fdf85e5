"""A file of `python -m training.export` on OpenVINO, in 16 bits where the processor computes with them."""

from __future__ import annotations

import importlib
import queue
import sys
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import numpy as np

from fer_live.analysis.runtimes.onnx_network import read_spec
from fer_live.model.spec import CheckpointError

LEAST_A_PART = 8  # faces for which a further thread pays: with fewer, threads wait for each other and cost half as much again


class OpenVinoNetwork:
    """An exported network; threads may share it. threads: how many processors it may keep busy. Raises CheckpointError.

    Each thread computes by itself: small batches take one, large ones are shared out among those that are free.
    """

    def __init__(self, path: Path, head: str | None, threads: int):
        openvino = _openvino()
        self.spec = read_spec(path).for_head(head)
        core = openvino.Core()
        half = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        options = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": threads, "ENABLE_CPU_PINNING": False,
                   "INFERENCE_PRECISION_HINT": "bf16" if half else "f32"}
        self._idle: queue.SimpleQueue = queue.SimpleQueue()  # requests; each takes one batch at a time
        try:
            network = core.compile_model(core.read_model(str(path)), "CPU", options)
            for _ in range(threads):
                self._idle.put(network.create_infer_request())
            self(np.zeros((1, self.spec.input_size, self.spec.input_size, self.spec.channels), np.uint8))  # fits its spec?
        except (RuntimeError, KeyError, TypeError, ValueError) as error:
            reason = str(error).strip().splitlines()[-1]
            raise CheckpointError(f"{path} cannot be run by OpenVINO ({reason}); export it again") from None
        version = openvino.__version__.split("-")[0]
        self.describe = f"cpu (OpenVINO {version}, {threads} threads), {'16' if half else '32'} bits"

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """(N, S, S, C) uint8, N >= 1 -> logits (N, H, 7) float32 of the heads, in the order of `spec.heads`."""
        requests = [self._idle.get()]
        with suppress(queue.Empty):
            while len(requests) < len(crops) // LEAST_A_PART:
                requests.append(self._idle.get_nowait())
        try:
            for request, part in zip(requests, np.array_split(crops, len(requests)), strict=True):
                request.start_async({0: part})
            for request in requests:
                request.wait()
            # copied: the next batch overwrites them
            return np.concatenate([np.stack([request.get_tensor(head).data for head in self.spec.heads], axis=1)
                                   for request in requests])
        finally:
            for request in requests:
                self._idle.put(request)


def _openvino() -> ModuleType:
    """The package without its tool that converts models, which takes as long to import as all the rest."""
    converter = "openvino.tools.ovc"
    if "openvino" not in sys.modules and converter not in sys.modules:
        sys.modules[converter] = None  # type: ignore[assignment]  # as documented: the package does without what cannot be imported
        try:
            return importlib.import_module("openvino")
        finally:
            del sys.modules[converter]
    return importlib.import_module("openvino")
