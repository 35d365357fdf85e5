"""Classifier benchmark: faces per second by batch size on each available device and runtime, compared with eager torch."""

from __future__ import annotations

import importlib.util
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from fer_live.analysis.classifier import PACKAGES, EmotionClassifier
from fer_live.bench.measure import percentiles_ms
from fer_live.bench.settings import Settings
from fer_live.model.checkpoint import load_checkpoint
from fer_live.model.preprocess import normalize

logger = logging.getLogger("fer_live")

Classify = Callable[[np.ndarray], np.ndarray]  # crops (N, S, S, C) uint8 -> probabilities (N, 7)


@dataclass
class Candidate:
    """A way to classify. threads: torch's number of threads during the measurement; the setting is global in torch."""

    name: str
    device: str
    classify: Any  # an EmotionClassifier, or the result of `plain`
    threads: int
    is_plain: bool = False
    call_s: dict[int, list[float]] = field(default_factory=dict)  # by batch size


def measure(model: Path, onnx: Path | None, settings: Settings) -> tuple[list[dict], list[str]]:
    """Return a row for each candidate and batch size, and notes on what could not be measured. The candidates alternate."""
    candidates, notes = present(model, onnx)
    spec, random = next(ours.classify.spec for ours in candidates if not ours.is_plain), np.random.default_rng(0)
    for repeat in range(settings.repeats):
        logger.info(f"classifier, run {repeat + 1} of {settings.repeats}")
        for candidate in candidates:
            torch.set_num_threads(candidate.threads)
            for batch in settings.batches + ((256,) if candidate.device != "cpu" else ()):
                crops = random.integers(0, 256, (batch, spec.input_size, spec.input_size, spec.channels), np.uint8)
                candidate.call_s.setdefault(batch, []).extend(time_calls(candidate.classify, crops, settings.classify_s))
    return _rows(candidates), notes


def time_calls(classify: Classify, crops: np.ndarray, lasting_s: float) -> list[float]:
    """Return the seconds of each call, for `lasting_s` in total and at least five calls, after two warm-up calls."""
    for _ in range(2):
        classify(crops)
    took_s: list[float] = []
    while len(took_s) < 5 or sum(took_s) < lasting_s:
        started_s = time.perf_counter()
        classify(crops)
        took_s.append(time.perf_counter() - started_s)
    return took_s


def present(model: Path, onnx: Path | None) -> tuple[list[Candidate], list[str]]:
    """Return the candidates available here, and notes. onnx: an exported network; None looks for one beside the model."""
    cores, candidates, notes = psutil.cpu_count(logical=False) or 1, [], []
    devices = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    for device in devices:
        network = plain(model, device)
        # with one thread, and with one per core as is torch's default: ours is compared with the faster one
        for threads in sorted({1, cores} if device == "cpu" else {1}):
            name = f"plain eager fp32 torch on {device}" + f", {threads} thread{'s' * (threads > 1)}" * (device == "cpu")
            candidates.append(Candidate(name, device, network, threads, is_plain=True))
        candidates.append(_ours(model, device, "torch"))
    if devices == ["cpu"]:
        notes.append("no CUDA GPU was found: not measured there")
    onnx = onnx or (beside if (beside := model.with_suffix(".onnx")).is_file() else None)
    for runtime, package in PACKAGES.items():
        if importlib.util.find_spec(package) is None:
            notes.append(f"{package} is not installed: not measured; pip install {package}")
        elif onnx is None:
            notes.append(f"{package} not measured, for want of a file: python -m training.export --format onnx, then --onnx FILE")
        else:
            candidates.append(_ours(onnx, "cpu", runtime))
    return candidates, notes


def _ours(model: Path, device: str, runtime: str) -> Candidate:
    classifier = EmotionClassifier(model, device, runtime=runtime)
    return Candidate(f"fer_live: {classifier.describe.rsplit(': ', 1)[0]}", device, classifier, torch.get_num_threads())


def plain(model: Path, device: str) -> Classify:
    """Return the reference implementation: the network as trained, in 32 bits, on the same normalized crops."""
    network, spec = load_checkpoint(model, device)

    @torch.inference_mode()
    def classify(crops: np.ndarray) -> np.ndarray:
        faces = normalize(torch.from_numpy(crops).to(device), spec).contiguous()
        return torch.softmax(network(faces)[:, -1] / spec.heads[list(spec.heads)[-1]], dim=1).cpu().numpy()

    return classify


def _rows(candidates: list[Candidate]) -> list[dict]:
    fastest: dict[tuple[str, int], float] = {}  # plain candidates by device and batch size; milliseconds per batch
    rows = []
    for candidate in sorted(candidates, key=lambda candidate: not candidate.is_plain):
        for batch, call_s in candidate.call_s.items():
            times, key = percentiles_ms(call_s), (candidate.device, batch)
            if candidate.is_plain:
                fastest[key] = min(times["p50_ms"], fastest.get(key, float("inf")))
            rows.append({"runtime": candidate.name, "device": candidate.device, "is_plain": candidate.is_plain, "batch": batch,
                         "faces_per_s": 1000 * batch / times["p50_ms"], **times, "calls": len(call_s),
                         "times_plain": fastest[key] / times["p50_ms"]})
    return rows
