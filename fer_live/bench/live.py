"""Live benchmark: a synthetic camera delivers frames in real time, and the real pipeline analyzes and draws as many as it can."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fer_live.analysis.analyzer import Analyzer
from fer_live.bench.measure import Stages, Watched, median_of, percentiles_ms, processor_s
from fer_live.bench.scenes import Loop, Scene, SyntheticCamera
from fer_live.bench.settings import Settings
from fer_live.model.detections import DEFAULT_DETECTOR, DETECTORS
from fer_live.pipeline import mirrored, run_live
from fer_live.screen.overlay import Overlay
from fer_live.types import Analysis, Rates, View

logger = logging.getLogger("fer_live")

FIGURES = ("analyzed_per_s", "dropped_share", "p50_ms", "p95_ms", "p99_ms", "cpu_ms", "cpu_share", "others_cpu_share",
           "faces_found")
PARTS = ("detect", "track", "classify", "smooth")  # stages of the analysis; the remainder is cropping and packing


@dataclass
class Screen:
    """A screen that displays nothing and records when each annotated image arrives.

    first, last: range of measured frame indices.
    """

    first: int
    last: int
    shown: list[tuple[int, float, int]] = field(default_factory=list)  # index, seconds since capture, number of faces
    started: tuple[float, ...] = ()  # time.monotonic(), CPU time of this process and of the machine
    ended: tuple[float, ...] = ()

    def show(self, image: np.ndarray, analysis: Analysis, rates: Rates) -> None:
        """Record the image's arrival time and number of faces."""
        now_s, index = time.monotonic(), analysis.frame.index
        if index >= self.first and not self.started:
            self.started = (now_s, *processor_s())
        if self.first <= index < self.last:
            self.shown.append((index, now_s - analysis.frame.time_s, len(analysis.faces)))
            self.ended = (now_s, *processor_s())

    def poll(self) -> None:
        """Do nothing: there are no keys."""


def measure(model: Path, device: str, settings: Settings) -> list[dict]:
    """Return a row for each case of `settings.live`, and for each case of `settings.compared` also with each other detector.

    The runs alternate, so that noise affects all of them equally.
    """
    cases = [(*case, DEFAULT_DETECTOR) for case in settings.live]
    cases += [(*case, name) for case in settings.compared for name in DETECTORS if name != DEFAULT_DETECTOR]
    runs: dict[tuple, list[dict]] = {case: [] for case in cases}
    for repeat in range(settings.repeats):
        for scene in dict.fromkeys(Scene(faces, size_wh) for faces, _, size_wh, _ in cases):
            loop = Loop(scene)
            for case in cases:
                if (case[0], case[2]) == (scene.faces, scene.size_wh):
                    logger.info(f"live {case[0]} faces at {case[1]} fps with {case[3]}, run {repeat + 1} of {settings.repeats}")
                    analyzer = Analyzer.from_checkpoint(model, device, detector=case[3])
                    runs[case].append(run_once(analyzer, loop, case[1], settings))
    return [_summed_up(case, done) for case, done in runs.items()]


def run_once(analyzer: Analyzer, loop: Loop, fps: int, settings: Settings) -> dict:
    """Run the live pipeline once with a fresh analyzer. Returns the results without the first `settings.warm_up_s` seconds."""
    first = round(settings.warm_up_s * fps)
    last = first + max(2, round(settings.live_s * fps))
    stages, screen, view = Stages(), Screen(first, last), View(mirror=True)  # cameras are mirrored
    stages.watch(analyzer)
    draw = stages.timed("draw", Overlay(analyzer.classifier.spec.labels, view).draw)
    analyze = Watched(analyzer, stages.timed("analyze", analyzer))
    with SyntheticCamera(loop, fps, last + fps // 10) as camera:
        run_live(mirrored(camera, view), analyze, draw, [], screen, threading.Event())
    if len(screen.shown) < 2:
        raise RuntimeError(f"only {len(screen.shown)} of {last - first} frames were analyzed: nothing to measure")
    return _figures(screen, stages, fps)


def _figures(screen: Screen, stages: Stages, fps: int) -> dict:
    delivered, shown = screen.last - screen.first, len(screen.shown)
    wall_s, own_s, all_s = (b - a for a, b in zip(screen.started, screen.ended, strict=True))
    totals_s = stages.totals_s(screen.started[0], screen.ended[0])
    analyzing_s = totals_s.pop("analyze", 0.0)
    totals_s["crop, pack"] = max(0.0, analyzing_s - sum(totals_s.get(name, 0.0) for name in PARTS))
    whole_s = sum(totals_s.values())
    return {
        "analyzed_per_s": shown / delivered * fps, "dropped_share": 1 - shown / delivered,
        **percentiles_ms(late_s for _, late_s, _ in screen.shown),
        "cpu_ms": 1000 * own_s / (shown - 1),  # per frame; least affected by other programs
        "cpu_share": own_s / wall_s, "others_cpu_share": max(0.0, all_s - own_s) / wall_s,
        "faces_found": sum(faces for _, _, faces in screen.shown) / shown,
        "stages_ms": {name: 1000 * s / shown for name, s in totals_s.items()},
        "stages_share": {name: s / whole_s for name, s in totals_s.items()},
    }


def _summed_up(case: tuple, runs: list[dict]) -> dict:
    faces, fps, size_wh, detector = case
    shares = {kind: {name: float(np.median([run[kind].get(name, 0.0) for run in runs])) for name in runs[0][kind]}
              for kind in ("stages_ms", "stages_share")}
    return {"size_wh": list(size_wh), "fps": fps, "faces": faces, "detector": detector, **median_of(runs, *FIGURES), **shares,
            "runs": runs}
