"""Startup benchmark: time from process start to the first annotated frame, compared with a process that only imports torch."""

from __future__ import annotations

import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fer_live.bench.settings import Settings

logger = logging.getLogger("fer_live")

ROOT = Path(__file__).parents[2]
IMPORT_TORCH = ["-c", "import torch; print(torch.__version__, flush=True)"]


def measure(model: Path, device: str, settings: Settings) -> dict:
    """Return the seconds of both, alternating; the first turn fills the disk cache and is omitted.

    In each turn, the program first starts with an empty folder for compiled networks, and then with what that start stored.
    Without a window, it prints its first line when the first annotated image is ready.
    """
    program = ["-m", "fer_live", "--source", "demo", "--no-window", "--model", str(model.resolve()), "--device", device]
    turns = []
    for turn in range(settings.starts + 1):
        logger.info(f"start, run {turn} of {settings.starts}" if turn else "start, warm-up")
        with tempfile.TemporaryDirectory() as cache:
            turns.append((first_line_s(program, cache), first_line_s(program, cache), first_line_s(IMPORT_TORCH)))
    first, later, torch = zip(*turns[1:], strict=True)
    runs = {"first_start_s": first, "first_frame_s": later, "import_torch_s": torch}
    return {**{name: statistics.median(taken) for name, taken in runs.items()},
            "ratio": statistics.median(a / b for a, b in zip(later, torch, strict=True)), "runs": runs}


def first_line_s(arguments: list[str], cache: str | None = None) -> float:
    """Return the seconds from the start of `python ARGUMENTS` to its first line on stdout, then terminate the process.

    cache: the process's cache folder; None: the user's. On macOS it cannot be chosen."""
    env = dict(os.environ) if cache is None else {**os.environ, "XDG_CACHE_HOME": cache, "LOCALAPPDATA": cache}
    started_s = time.monotonic()
    with subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True) as process:
        assert process.stdout and process.stderr
        try:
            line = process.stdout.readline()
            took_s = time.monotonic() - started_s
            if not line:
                raise RuntimeError(f"python {' '.join(arguments)} ended without a line: {process.stderr.read()[-500:]}")
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
    return took_s
