"""python -m fer_live.doctor: checks whether everything that the program needs is present, and suggests fixes.

This process imports only the standard library. The checks run in subprocesses with a time limit, so that a package that is
broken, hangs or aborts its process affects one line only. The checks are in `machine`, `cameras`, `probes` and `runtimes`.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fer_live.app.messages import shown
from fer_live.doctor.machine import FAILURE, LEVELS, OK, ROOT, WARNING, Finding
from fer_live.doctor.processes import run_group
from fer_live.model.suggest import suggest_names
from fer_live.redact import redact_errors

logger = logging.getLogger("fer_live")

# Modules and their checks, in the order of the output; each check has the fix to suggest if its process dies. Checks in one entry
# share a process and thus the time of their imports: separately, each of the three around torch would import it again.
CHECKS: tuple[tuple[str, dict[str, str]], ...] = (
    ("machine", {
        "python": "install Python 3.11 or newer",
        "packages": "pip install -r requirements.txt",
        "display": "run it in a desktop session, or with --no-window",
        "disk": "choose another folder for recordings",
        "model_file": "install the program again",
    }),
    ("cameras", {"cameras": "unplug the camera and plug it in again; the demo and files work without one"}),
    ("probes", {"opencv": "pip install --force-reinstall {opencv-contrib-python}"}),
    ("probes", {"detectors": "pip install --force-reinstall {opencv-contrib-python}"}),
    ("probes", {"video": "pip install --force-reinstall {av}"}),
    ("runtimes", {"openvino": "pip install --force-reinstall {openvino}"}),
    ("runtimes", {
        "torch": "pip install --force-reinstall {torch} {torchvision}",
        "torchvision": "pip install --force-reinstall {torch} {torchvision}",
        "timm": "pip install --force-reinstall {timm}",
    }),
    ("runtimes", {"onnx": "pip install --force-reinstall {onnxruntime}; only a CPU without OpenVINO needs it"}),
    ("probes", {"model": "see the lines on openvino, torch and opencv above; otherwise install the program again"}),
    ("probes", {"program": "pip install -r requirements.txt"}),
    ("probes", {"window": "run it in a desktop session, or with --no-window"}),
)
TIMEOUT_S = 90.0
NOTICE = "checking ..."
SIGNS = {OK: "ok", WARNING: "WARNING", FAILURE: "FAILURE"}


@shown()
def main(arguments: list[str] | None = None) -> int:
    """Print a verdict and its details. Returns 0; 1 if a check failed; 2 for invalid arguments."""
    args = _parse(arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a camera's name must not crash the doctor on an old terminal
    started_s = time.monotonic()
    try:
        findings = _run_with_notice(args.timeout)
    except OSError as error:  # no space or permission for a temporary folder or a process
        logger.error(f"error: the checks cannot continue ({error.strerror}: {error.filename or 'the system'}); free some space, "
                     "or set TMPDIR to a folder that you own")
        return 2
    verdict = _verdict(findings, time.monotonic() - started_s)
    counts = {level: sum(finding.level == level for finding in findings) for level in LEVELS}
    text = json.dumps({"verdict": verdict, "status": _worst(findings), "counts": counts, "root": str(ROOT),
                       "checks": [finding._asdict() for finding in findings]}, indent=1)
    print(text if args.json == "-" else verdict + "\n" + _details(findings, args.verbose))
    if args.json not in (None, "-"):
        try:
            Path(args.json).write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            logger.error(f"error: cannot write {args.json} ({error.strerror}); choose another path")
            return 2
    return int(counts[FAILURE] > 0)


def _run_with_notice(timeout_s: float) -> list[Finding]:
    """Run all checks; on a terminal, show a notice until they are finished."""
    is_shown = sys.stderr is not None and sys.stderr.isatty()
    if is_shown:
        print(NOTICE, end="\r", file=sys.stderr, flush=True)
    try:
        return run_checks(timeout_s)
    finally:
        if is_shown:
            print(" " * len(NOTICE), end="\r", file=sys.stderr, flush=True)


def _verdict(findings: list[Finding], seconds: float) -> str:
    """Return one line that says whether the program runs here, and what is wrong."""
    def named(level: str) -> str:
        names = [finding.name for finding in findings if finding.level == level]
        count = f"{len(names)} {level}{'s' * (len(names) != 1)}"
        return f"{count} ({', '.join(dict.fromkeys(names))})" if names else ""

    took = f"; checked in {seconds:.1f} s"
    if failures := named(FAILURE):
        return f"fer_live does not run here: {' and '.join(filter(None, (failures, named(WARNING))))}{took}"
    if warnings := named(WARNING):
        return f"fer_live runs here, with {warnings}{took}"
    return f"fer_live runs here: no problems found{took}"


def _details(findings: list[Finding], is_verbose: bool) -> str:
    """Return problems with their fixes, and the names of the other checks; everything if verbose."""
    if is_verbose:
        return "".join(_lines(finding, f" [{finding.seconds:.1f} s]") for finding in findings).rstrip("\n")
    wrong = [finding for finding in findings if finding.level != OK]
    not_fine = {finding.name for finding in wrong}
    fine = [name for name in dict.fromkeys(finding.name for finding in findings) if name not in not_fine]
    return "".join(map(_lines, wrong)) + f"{SIGNS[OK]:8}{', '.join(fine) or 'nothing'} (details with --verbose)"


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fer_live.doctor", description="Checks what the program needs, and suggests "
                                     "fixes. If there is a display, a small window appears for a moment.")
    parser.add_argument("--verbose", action="store_true", help="also list the checks that passed, with their times")
    parser.add_argument("--json", nargs="?", const="-", type=_name, metavar="FILE", help="results as JSON, in FILE in "
                        "addition to the lines, or on stdout instead of them")
    parser.add_argument("--timeout", type=_seconds, default=TIMEOUT_S, metavar="S", help="maximum seconds for one check "
                        f"(default: {TIMEOUT_S:.0f})")
    return redact_errors(suggest_names(parser)).parse_args(arguments)


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


def run_checks(timeout_s: float) -> list[Finding]:
    """Return all findings in the order of CHECKS. Groups around torch take longest and are started first."""
    with ThreadPoolExecutor(max_workers=min(4, max(2, os.cpu_count() or 2))) as pool:
        order = sorted(range(len(CHECKS)), key=lambda number: "torch" not in CHECKS[number][1])
        waiting = {number: pool.submit(run_group, *CHECKS[number], timeout_s) for number in order}
        try:
            return [finding for number in sorted(waiting) for finding in waiting[number].result()]
        except BaseException:  # Ctrl-C: the running checks received it too
            for each in waiting.values():
                each.cancel()
            raise


def _lines(finding: Finding, more: str = "") -> str:
    def one(text: str) -> str:  # strips escape codes and line breaks of a package or a camera's name
        return "".join(c if c.isprintable() else " " for c in text)

    todo = f"{'':18}-> {one(finding.todo)}\n" if finding.todo else ""
    return f"{SIGNS[finding.level]:8}{one(finding.name)}: {one(finding.text)}{more}\n{todo}"


def _worst(findings: list[Finding]) -> str:
    return max((finding.level for finding in findings), key=LEVELS.index, default=OK)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
