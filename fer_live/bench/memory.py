"""Memory benchmark: resident size of a live run that draws, records and logs, after given numbers of frames.

    python -m fer_live.bench.memory MODEL DEVICE FRAMES,FRAMES,...      one JSON line for each

Runs in its own process, so that nothing else is loaded.
"""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from fer_live.bench.scenes import PERIOD_S, Scene
from fer_live.bench.settings import Settings
from fer_live.types import Analysis, Frame, Rates, View

logger = logging.getLogger("fer_live")

ROOT = Path(__file__).parents[2]
SCENE_FPS = 15


def measure(model: Path, device: str, settings: Settings) -> dict:
    """Return megabytes (10^6 bytes) after each of `settings.memory_frames`, measured in a child process."""
    marks = ",".join(str(frames) for frames in settings.memory_frames)
    command = [sys.executable, "-m", "fer_live.bench.memory", str(model.resolve()), device, marks]
    sizes = []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            for line in process.stdout:
                sizes.append(json.loads(line))
                logger.info(f"memory, {sizes[-1]['frames']} of {settings.memory_frames[-1]} frames")
        finally:
            if process.poll() is None and len(sizes) < len(settings.memory_frames):
                process.terminate()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with status {process.returncode}")
    resident_mb = [size["resident_mb"] for size in sizes]
    return {"sizes": sizes, "growth": resident_mb[-1] / resident_mb[0] - 1, "largest_mb": max(resident_mb)}


class Steps:
    """A live source that is also the screen: it delivers the next frame when the last one has been shown, so none is dropped.

    The images are kept as JPEG, as webcams send them; as pixels they would be a large part of the measured size.
    """

    is_live, fps = True, 30.0

    def __init__(self, scene: Scene, marks: list[int]):
        forth = [cv2.imencode(".jpg", scene.render(i / SCENE_FPS))[1] for i in range(round(PERIOD_S / 2 * SCENE_FPS) + 1)]
        self.images = [*forth, *forth[-2:0:-1]]
        self.marks, self.shown = marks, 0
        self._asked = threading.Semaphore(1)
        self.started_s = time.monotonic()

    def __iter__(self) -> Iterator[Frame]:
        index = 0
        while self.shown < self.marks[-1]:
            self._asked.acquire(timeout=5.0)  # timeout in case the pipeline holds a frame back until it gets another
            encoded = self.images[round(index / self.fps * SCENE_FPS) % len(self.images)]
            image = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
            assert image is not None  # it was encoded above
            yield Frame(image, index, time.monotonic())
            index += 1

    def show(self, image: np.ndarray, analysis: Analysis, rates: Rates) -> None:
        """Count the image, print the size if it is due, and request the next one."""
        self.shown += 1
        if self.shown in self.marks:
            took_s = time.monotonic() - self.started_s
            print(json.dumps({"frames": self.shown, "resident_mb": resident_mb(), "seconds": took_s}), flush=True)
        self._asked.release()

    def poll(self) -> None:
        """Do nothing: there are no keys."""


def resident_mb() -> float:
    """Return the resident memory of this process in 10^6 bytes."""
    import psutil

    return psutil.Process().memory_info().rss / 1e6


def run(model: Path, device: str, marks: list[int]) -> None:
    """Run the measured pipeline: one face at 1280x720 with all outputs."""
    from fer_live.analysis.analyzer import Analyzer
    from fer_live.pipeline import mirrored, run_live
    from fer_live.screen.overlay import Overlay
    from fer_live.sinks.log import Log
    from fer_live.sinks.recorder import VideoRecorder

    analyzer, view = Analyzer.from_checkpoint(model, device), View(mirror=True, bars=True, recording=True)
    steps, labels = Steps(Scene(1), marks), analyzer.classifier.spec.labels
    with tempfile.TemporaryDirectory() as folder, VideoRecorder(Path(folder) / "a.mp4", steps.fps, live=True) as recorder, \
            Log(Path(folder) / "a.jsonl", labels, live=True) as log:
        run_live(mirrored(steps, view), analyzer, Overlay(labels, view).draw, [recorder, log], steps, threading.Event())


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # removes temporary files also on SIGTERM
    try:
        run(Path(sys.argv[1]), sys.argv[2], [int(text) for text in sys.argv[3].split(",")])
    except KeyboardInterrupt:
        sys.exit(130)
