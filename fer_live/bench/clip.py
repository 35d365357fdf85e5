"""Clip benchmark: frames per second and CPU time per frame of log-only runs over the user's video, with each detector."""

from __future__ import annotations

import io
import json
import logging
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from fer_live.app.files import run_files
from fer_live.app.loader import ClassifierLoader
from fer_live.app.options import parse
from fer_live.bench.measure import median_of
from fer_live.bench.settings import Settings
from fer_live.model.detections import DETECTORS
from fer_live.sources.video_file import VideoFile
from fer_live.types import Frame

logger = logging.getLogger("fer_live")


class Repeated:
    """The frames of a video file, repeated up to `frames` as one continuous video.

    Records the clocks at the first request, when the network has been loaded; loading is measured separately.
    """

    def __init__(self, source: VideoFile, frames: int):
        self._source, self.frames = source, frames
        self.started_s = self.started_cpu_s = 0.0
        self.size_wh = [0, 0]

    def __iter__(self) -> Iterator[Frame]:
        self.started_s, self.started_cpu_s = time.monotonic(), time.process_time()
        index, offset_s = 0, 0.0
        while index < self.frames:
            with VideoFile(self._source.path) as source:
                time_s = offset_s
                for frame in source:
                    time_s = offset_s + frame.time_s
                    yield replace(frame, index=index, time_s=time_s, segment=0)
                    self.size_wh, index = [frame.image.shape[1], frame.image.shape[0]], index + 1
                    if index == self.frames:
                        return
            offset_s = time_s + 1 / self._source.fps

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)


def measure(clip: Path, model: Path, device: str, settings: Settings) -> list[dict]:
    """Return a row for each detector; the runs alternate. Raises SourceError if the file is not a video."""
    runs: dict[str, list[dict]] = {name: [] for name in DETECTORS}
    for repeat in range(settings.repeats):
        for detector in DETECTORS:
            logger.info(f"clip {clip.name} with {detector}, run {repeat + 1} of {settings.repeats}")
            runs[detector].append(_run(clip, model, device, settings.clip_frames, detector))
    return [{"clip": clip.name, "detector": detector, "frames": settings.clip_frames, "size_wh": done[0]["size_wh"],
             **median_of(done, "log_only_per_s", "cpu_ms", "faces_found"), "runs": done} for detector, done in runs.items()]


def _run(clip: Path, model: Path, device: str, frames: int, detector: str) -> dict:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack, redirect_stderr(io.StringIO()):  # hide the progress bar
        log = Path(folder) / "log.jsonl"
        config = parse(["--source", str(clip), "--no-window", "--model", str(model), "--device", device, "--log", str(log),
                        "--detector", detector])
        source = Repeated(stack.enter_context(VideoFile(clip)), frames)
        run_files(config, cast(VideoFile, source), ClassifierLoader(config.analysis), threading.Event(), stack)
        took_s, cpu_s = time.monotonic() - source.started_s, time.process_time() - source.started_cpu_s
        faces = [len(json.loads(line)["faces"]) for line in log.read_text(encoding="utf-8").splitlines()]
    return {"log_only_per_s": frames / took_s, "cpu_ms": 1000 * cpu_s / frames, "faces_found": sum(faces) / len(faces),
            "size_wh": source.size_wh}
