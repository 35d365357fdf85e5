"""Inference on a CUDA GPU: 16 bits, pinned memory, and CUDA graphs captured for several batch sizes.

A graph replays upload, normalization, network and download as one launch. With individual kernel launches, the GPU would wait
for Python at a webcam's small batches (docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs).
Crops are made on the host: a 48x48 face is 2 kB, its frame 3 MB.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from fer_live.model.preprocess import normalize
from fer_live.model.spec import ModelSpec

logger = logging.getLogger("fer_live")

SIZES = (1, 2, 4, 8, 16, 64, 256)  # batch sizes of the captured graphs; other batches are padded to the next size


def in_sizes(crops: np.ndarray, run: Callable[[np.ndarray, int], np.ndarray], sizes: tuple[int, ...] = SIZES) -> np.ndarray:
    """Split crops (N, ...) into batches, call `run(part, size)` with at most `size` crops each, and concatenate the results."""
    answers = []
    for start in range(0, len(crops), sizes[-1]):
        part = crops[start : start + sizes[-1]]
        answers.append(run(part, next(size for size in sizes if size >= len(part))))
    return np.concatenate(answers) if len(answers) > 1 else answers[0]


class CudaNetwork:
    """model: on the device, in eval mode. `how` says whether graphs are used; it also works without them.

    Thread-safe; calls are serialized.
    """

    def __init__(self, model: nn.Module, spec: ModelSpec, device: torch.device):
        self.model, self.spec, self.device = model.half(), spec, device
        self.lock = threading.Lock()  # a graph has one input and one output buffer, and nothing else may run during a capture
        self.graphs: dict[int, tuple[torch.cuda.CUDAGraph, torch.Tensor, torch.Tensor]] = {}
        self.how = "CUDA graphs"
        try:
            for size in SIZES[:5]:  # sizes that a webcam needs; larger ones are captured on demand
                self._graph(size)
        except RuntimeError as error:
            logger.warning(f"CUDA graphs cannot be captured here ({str(error).splitlines()[0]}): going on without")
            self.how = "no graphs"

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """(N, S, S, C) uint8, N >= 1 -> logits (N, H, 7) float32 of the heads."""
        with self.lock:
            return in_sizes(crops, self._replay if self.how == "CUDA graphs" else self._launch)

    @torch.inference_mode()
    def _launch(self, crops: np.ndarray, size: int) -> np.ndarray:
        return self._forward(torch.from_numpy(crops).to(self.device)).cpu().numpy()

    def _forward(self, crops: torch.Tensor) -> torch.Tensor:
        return self.model(normalize(crops, self.spec).half()).float()

    def _replay(self, crops: np.ndarray, size: int) -> np.ndarray:
        graph, source, answer = self._graph(size)
        source.numpy()[: len(crops)] = crops  # results for the remaining rows are computed but not used
        graph.replay()
        torch.cuda.current_stream(self.device).synchronize()
        return answer.numpy()[: len(crops)].copy()

    @torch.inference_mode()
    def _graph(self, size: int) -> tuple[torch.cuda.CUDAGraph, torch.Tensor, torch.Tensor]:
        """Return the graph for this size with its pinned input (size, S, S, C) and pinned output (size, H, 7)."""
        if size not in self.graphs:
            side, channels = self.spec.input_size, self.spec.channels
            source = torch.zeros(size, side, side, channels, dtype=torch.uint8).pin_memory()
            answer = torch.zeros(size, len(self.spec.heads), len(self.spec.labels)).pin_memory()

            def work() -> None:
                answer.copy_(self._forward(source.to(self.device, non_blocking=True)), non_blocking=True)

            aside = torch.cuda.Stream(self.device)
            aside.wait_stream(torch.cuda.current_stream(self.device))
            with torch.cuda.stream(aside):  # warm-up: libraries choose kernels and allocate before the capture
                for _ in range(3):
                    work()
            torch.cuda.current_stream(self.device).wait_stream(aside)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.device(self.device), torch.cuda.graph(graph):
                work()
            self.graphs[size] = graph, source, answer
        return self.graphs[size]
