"""Runs the doctor's checks in subprocesses, since a broken package can abort or hang them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from fer_live.doctor.machine import FAILURE, RAISED, ROOT, WARNING, Finding, with_pins

# If one of these dies, it is a warning: the program runs without it.
OPTIONAL = {"onnx", "torch", "torchvision", "timm", "window", "cameras", "display"}


def run_group(module: str, todos: dict[str, str], timeout_s: float) -> list[Finding]:
    """Run checks in one subprocess; if one dies or hangs, report it and run the remaining ones in a new subprocess.

    todos: check name -> fix to suggest if it dies.
    """
    findings: list[Finding] = []
    names = list(todos)
    while names:
        found, ended, death = _run(module, names, timeout_s)
        findings += found
        if death is not None:
            name, todo = names[ended], todos[names[ended]]
            if "cannot open shared object file" in death:
                todo = "install the system's package with that library; for OpenCV's libGL.so.1: apt install libgl1 libglib2.0-0"
            findings.append(Finding(name.replace("_", " "), WARNING if name in OPTIONAL else FAILURE, death, with_pins(todo)))
        names = names[ended + 1 :]
    return findings


def _run(module: str, names: list[str], timeout_s: float) -> tuple[list[Finding], int, str | None]:
    """Run checks in a subprocess. Returns the findings, the number of completed checks, and how the next one died, or None."""
    with tempfile.TemporaryDirectory(prefix="fer_live-doctor-") as folder:
        answers, said = Path(folder) / "answers", Path(folder) / "said"
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        with open(said, "wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", f"fer_live.doctor.{module}", str(answers), *names], stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, env={**os.environ, "PYTHONPATH": path})
            try:
                hung_s = _wait(process, answers, timeout_s)
            finally:
                status = process.poll()
                if status is None:
                    _kill(process)
        findings, ended = _answers(answers)
        if ended == len(names):
            return findings, ended, None
        text = _last_words(said)
        if status != RAISED:
            reason = f"hung for {hung_s:.0f} s" if status is None else _death(status)
            text = f"the check {reason}" + (f" ({text})" if text else "")
        return findings, ended, text


def _wait(process: subprocess.Popen, answers: Path, timeout_s: float) -> float:
    """Wait until the process ends or a check exceeds `timeout_s`. Returns the duration of the last check."""
    ended, started_s = 0, time.monotonic()
    while True:
        with suppress(subprocess.TimeoutExpired):
            process.wait(min(timeout_s, 0.2))
            return time.monotonic() - started_s
        now = _answers(answers)[1]
        if now > ended:
            ended, started_s = now, time.monotonic()
        if time.monotonic() - started_s >= timeout_s:
            return time.monotonic() - started_s


def _kill(process: subprocess.Popen) -> None:
    process.kill()
    with suppress(subprocess.TimeoutExpired):  # it can hang in a driver, where signals have no effect
        process.wait(2)


def _answers(path: Path) -> tuple[list[Finding], int]:
    """Return the findings that the checks wrote, and the number of completed checks."""
    findings: list[Finding] = []
    ended = 0
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    for line in lines:
        if line == "end":
            ended += 1
            continue
        try:
            findings.append(Finding(*json.loads(line)))
        except (ValueError, TypeError):  # truncated line
            break
    return findings, ended


def _death(status: int) -> str:
    if status < 0:
        try:
            return f"was ended by {signal.Signals(-status).name}"
        except ValueError:
            return f"was ended by signal {-status}"
    return f"exited with status {status}"


def _last_words(path: Path) -> str:
    """Return the last line of a check's output, which is usually the error."""
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - 4000))
        lines = file.read().decode("utf-8", "replace").split("\n")
    return next((" ".join(line.split())[:500] for line in reversed(lines) if line.strip()), "")
