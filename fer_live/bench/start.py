"""Startup benchmark: time from process start to the first annotated frame, compared with a process that only imports torch."""

from __future__ import annotations

import logging
import statistics
import subprocess
import sys
import time
from pathlib import Path

from fer_live.bench.settings import Settings

logger = logging.getLogger("fer_live")

ROOT = Path(__file__).parents[2]
IMPORT_TORCH = ["-c", "import torch; print(torch.__version__, flush=True)"]


def measure(model: Path, device: str, settings: Settings) -> dict:
    """Return the seconds of both, alternating; the first pair fills the disk cache and is omitted.

    Without a window, the program prints its first line when the first annotated image is ready.
    """
    program = ["-m", "fer_live", "--source", "demo", "--no-window", "--model", str(model.resolve()), "--device", device]
    pairs = []
    for turn in range(settings.starts + 1):
        logger.info(f"start, run {turn} of {settings.starts}" if turn else "start, warm-up")
        pairs.append((first_line_s(program), first_line_s(IMPORT_TORCH)))
    ours, torch = zip(*pairs[1:], strict=True)
    return {
        "first_frame_s": statistics.median(ours), "import_torch_s": statistics.median(torch),
        "ratio": statistics.median(a / b for a, b in pairs[1:]), "runs": {"first_frame_s": ours, "import_torch_s": torch},
    }


def first_line_s(arguments: list[str]) -> float:
    """Return the seconds from the start of `python ARGUMENTS` to its first line on stdout, then terminate the process."""
    started_s = time.monotonic()
    with subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
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
