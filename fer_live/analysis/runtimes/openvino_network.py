"""Runs a network exported by `python -m training.export` on OpenVINO, in 16 bits if the CPU supports it."""

from __future__ import annotations

import hashlib
import importlib
import io
import logging
import queue
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from fer_live.analysis.runtimes.compiled_cache import CompiledCache
from fer_live.analysis.runtimes.onnx_network import read_spec, sha256
from fer_live.model.spec import CheckpointError

logger = logging.getLogger("fer_live")

_importing = threading.Lock()  # the main thread imports OpenVINO for the thread that loads the network
LEAST_A_PART = 8  # faces per thread from which another thread pays off; with fewer, synchronization makes it 50% slower


class OpenVinoNetwork:
    """An exported network. Thread-safe. threads: maximum number of CPU threads. cache: compiled networks; None: the network is
    compiled. Raises CheckpointError.

    Each thread runs independently: small batches use one, large batches are split among the idle ones.
    """

    def __init__(self, path: Path, head: str | None, threads: int, cache: CompiledCache | None = None):
        openvino = import_openvino()
        self.spec, self._cache = read_spec(path).for_head(head), cache
        self._stored: np.ndarray | None = None  # the compiled network from the cache, whose weights may lie in this memory
        self._unstored: tuple[str, Any] | None = None  # its name in the cache, and the compiled network
        core = openvino.Core()
        half = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        options = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": threads, "ENABLE_CPU_PINNING": False,
                   "INFERENCE_PRECISION_HINT": "bf16" if half else "f32"}
        self._idle: queue.SimpleQueue = queue.SimpleQueue()  # infer requests; each runs one batch at a time
        try:
            network = self._compiled(core, path, options)
            for _ in range(threads):
                self._idle.put(network.create_infer_request())
            self(np.zeros((2, self.spec.input_size, self.spec.input_size, self.spec.channels), np.uint8))  # spec check
        except (RuntimeError, KeyError, TypeError, ValueError) as error:
            reason = str(error).strip().splitlines()[-1]
            raise CheckpointError(f"{path} cannot be run by OpenVINO ({reason}); export it again") from None
        version = openvino.__version__.split("-")[0]
        self.describe = f"cpu (OpenVINO {version}, {threads} threads), {'16' if half else '32'} bits"

    def _compiled(self, core: Any, path: Path, options: dict[str, Any]) -> Any:
        """Return the network, compiled now or earlier by this version of OpenVINO on this processor with these options."""
        if self._cache is None:
            return core.compile_model(core.read_model(str(path)), "CPU", options)
        openvino = import_openvino()
        processor = core.get_property("CPU", "FULL_DEVICE_NAME"), core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        key = openvino.__version__, processor, sorted(options.items()), sha256(path)
        name = hashlib.sha256(repr(key).encode()).hexdigest()[:24] + ".blob"
        self._stored = self._cache.read(name)
        if self._stored is not None:
            try:
                return core.import_model(openvino.Tensor(self._stored, shared_memory=True), "CPU", options)
            except (RuntimeError, TypeError) as error:  # TypeError: versions that import only from streams
                logger.debug(f"compiled network not used: {str(error).strip().splitlines()[-1]}")
        network = core.compile_model(core.read_model(str(path)), "CPU", options)
        self._unstored = name, network
        return network

    def store(self) -> None:
        """Store the compiled network in the cache, unless it comes from there."""
        if self._cache is not None and self._unstored is not None:
            (name, network), self._unstored = self._unstored, None
            exported = io.BytesIO()
            try:
                network.export_model(exported)
                self._cache.write(name, exported.getvalue())
            except RuntimeError as error:
                logger.debug(f"compiled network not stored: {str(error).strip().splitlines()[-1]}")

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
            # copied, since the next batch overwrites them
            return np.concatenate([np.stack([request.get_tensor(head).data for head in self.spec.heads], axis=1)
                                   for request in requests])
        finally:
            for request in requests:
                self._idle.put(request)


def import_openvino() -> ModuleType:
    """Import OpenVINO without its model converter, which takes as long to import as everything else."""
    converter = "openvino.tools.ovc"
    with _importing:
        if "openvino" not in sys.modules and converter not in sys.modules:
            sys.modules[converter] = None  # type: ignore[assignment]  # documented: openvino works without it
            try:
                return importlib.import_module("openvino")
            finally:
                del sys.modules[converter]
        return importlib.import_module("openvino")
