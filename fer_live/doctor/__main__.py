"""python -m fer_live.doctor: is everything there that the program needs, and if not, what to do.

Nothing but Python's own library is imported here. Each check runs in a process of its own with a time limit, so that a package
that is broken, hangs or ends its process spoils one line and not the others. What they check stands in `machine`, `cameras` and
`probes`.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from fer_live.app.messages import shown
from fer_live.doctor.machine import FAILURE, LEVELS, OK, RAISED, ROOT, WARNING, Finding, with_pins
from fer_live.redact import redact_errors

logger = logging.getLogger("fer_live")

# What is checked, in the order of the answers: the module that checks it, the check, what to do if it dies.
CHECKS = (
    ("machine", "python", "install Python 3.11 or newer"),
    ("machine", "packages", "pip install -r requirements.txt"),
    ("cameras", "cameras", "unplug the camera and plug it in again; the demo and files work without one"),
    ("machine", "display", "run it in a desktop session, or with --no-window"),
    ("machine", "disk", "choose another folder for recordings"),
    ("machine", "model_file", "install the program again"),
    ("probes", "opencv", "pip install --force-reinstall {opencv-contrib-python}"),
    ("probes", "detectors", "pip install --force-reinstall {opencv-contrib-python}"),
    ("probes", "video", "pip install --force-reinstall {av}"),
    ("probes", "openvino", "pip install --force-reinstall {openvino}"),
    ("probes", "torch", "pip install --force-reinstall {torch} {torchvision}"),
    ("probes", "torchvision", "pip install --force-reinstall {torch} {torchvision}"),
    ("probes", "timm", "pip install --force-reinstall {timm}"),
    ("probes", "onnx", "pip install --force-reinstall {onnxruntime}; only a CPU without OpenVINO needs it"),
    ("probes", "model", "see the lines on openvino, torch and opencv above; else install the program again"),
    ("probes", "program", "pip install -r requirements.txt"),
    ("probes", "window", "run it in a desktop session, or with --no-window"),
)
# Their death is a warning: the program runs without.
OPTIONAL = {"onnx", "torch", "torchvision", "timm", "window", "cameras", "display"}
TIMEOUT_S = 90.0
SIGNS = {OK: "ok", WARNING: "WARNING", FAILURE: "FAILURE"}


@shown()
def main(arguments: list[str] | None = None) -> int:
    """Print an answer a line; 0, or 1 if something failed, or 2 for wrong arguments."""
    args = _parse(arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a camera's name must not end the doctor on an old terminal
    findings: list[Finding] = []
    try:
        for some in run_checks(args.timeout):
            findings += some
            if args.json != "-":
                print("".join(_lines(finding) for finding in some), end="", flush=True)
    except OSError as error:  # no room or no right to make a temporary folder, or to start a process
        logger.error(f"error: the checks cannot go on ({error.strerror}: {error.filename or 'the system'}); make room, or set "
                     "TMPDIR to a folder of yours")
        return 2
    counts = {level: sum(finding.level == level for finding in findings) for level in LEVELS}
    text = json.dumps({"status": _worst(findings), "counts": counts, "root": str(ROOT),
                       "checks": [finding._asdict() for finding in findings]}, indent=1)
    if args.json != "-":
        plural = {1: ""}
        print(f"{counts[OK]} ok, {counts[WARNING]} warning{plural.get(counts[WARNING], 's')}, "
              f"{counts[FAILURE]} failure{plural.get(counts[FAILURE], 's')}")
    else:
        print(text)
    if args.json not in (None, "-"):
        try:
            Path(args.json).write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            logger.error(f"error: cannot write {args.json} ({error.strerror}); give another place")
            return 2
    return int(counts[FAILURE] > 0)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fer_live.doctor", description="Checks what the program needs, and says what "
                                     "to do. A small window appears for a moment where there is a display.")
    parser.add_argument("--json", nargs="?", const="-", type=_name, metavar="FILE", help="the answers as JSON: to FILE as "
                        "well, or on stdout instead of the lines")
    parser.add_argument("--timeout", type=_seconds, default=TIMEOUT_S, metavar="S", help="seconds that one check may take "
                        f"(default: {TIMEOUT_S:.0f})")
    return redact_errors(parser).parse_args(arguments)


def _name(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("the path is empty; give a name, or leave the option out")
    return text


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0 and up to 3600")
    return value


def run_checks(timeout_s: float) -> Iterator[list[Finding]]:
    """Yield the findings of each check, in order, as soon as they and those before them are there."""
    with ThreadPoolExecutor(max_workers=min(4, max(2, os.cpu_count() or 2))) as pool:
        waiting = [pool.submit(run_check, *check, timeout_s) for check in CHECKS]
        try:
            for each in waiting:
                yield each.result()
        except BaseException:  # Ctrl-C: the checks under way got it too
            for each in waiting:
                each.cancel()
            raise


def run_check(module: str, name: str, todo: str, timeout_s: float) -> list[Finding]:
    """Run one check in a process of its own; what it said, and if it did not come to its end, a finding of that."""
    with tempfile.TemporaryDirectory(prefix="fer_live-doctor-") as folder:
        answers, said = Path(folder) / "answers", Path(folder) / "said"
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        started_s = time.monotonic()
        with open(said, "wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", f"fer_live.doctor.{module}", name, str(answers)], stdin=subprocess.DEVNULL, stdout=output,
                stderr=output, env={**os.environ, "PYTHONPATH": path})
            try:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(timeout_s)
            finally:
                ended = process.poll()
                if ended is None:
                    _kill(process)
        findings, is_whole = _answers(answers)
        if is_whole:
            return findings
        text = _last_words(said)
        if ended != RAISED:
            reason = f"hung for {time.monotonic() - started_s:.0f} s" if ended is None else _death(ended)
            text = f"the check {reason}" + (f" ({text})" if text else "")
        if "cannot open shared object file" in text:
            todo = "install the system's package with that library; for OpenCV's libGL.so.1: apt install libgl1 libglib2.0-0"
        return [*findings, Finding(name.replace("_", " "), WARNING if name in OPTIONAL else FAILURE, text, with_pins(todo))]


def _kill(process: subprocess.Popen) -> None:
    process.kill()
    with suppress(subprocess.TimeoutExpired):  # it may hang inside a driver, where no signal reaches it
        process.wait(2)


def _answers(path: Path) -> tuple[list[Finding], bool]:
    """What a check wrote, and whether it came to its end."""
    findings: list[Finding] = []
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    for line in lines:
        if line == "end":
            return findings, True
        try:
            findings.append(Finding(*json.loads(line)))
        except (ValueError, TypeError):  # cut off while it was written
            break
    return findings, False


def _death(status: int) -> str:
    if status < 0:
        try:
            return f"was ended by {signal.Signals(-status).name}"
        except ValueError:
            return f"was ended by signal {-status}"
    return f"ended by itself with status {status}"


def _last_words(path: Path) -> str:
    """The last line that a check's process said, which most often names the fault."""
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - 4000))
        lines = file.read().decode("utf-8", "replace").split("\n")
    return next((" ".join(line.split())[:500] for line in reversed(lines) if line.strip()), "")


def _lines(finding: Finding) -> str:
    def one(text: str) -> str:  # no escape codes, and no line breaks, from a package or a camera's name
        return "".join(c if c.isprintable() else " " for c in text)

    todo = f"{'':18}-> {one(finding.todo)}\n" if finding.todo else ""
    return f"{SIGNS[finding.level]:8}{one(finding.name)}: {one(finding.text)}\n{todo}"


def _worst(findings: list[Finding]) -> str:
    return max((finding.level for finding in findings), key=LEVELS.index, default=OK)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
