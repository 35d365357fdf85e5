"""Fuzzer: thousands of hostile inputs, each run in an isolated worker process.

    python -m tests.fuzz [--count 10000] [--seed 0] [--kind NAME] [--only N] [--json FILE]

A case is identified by seed, kind and number, and can be repeated with --only. The program must read the input or raise one of
its own exceptions. Everything else is a finding: another exception, a crash, more than 10 s, more than 2 GB, a file outside the
output folder, or code run from a file. The exit status is 1 if there are findings.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import zlib
from collections import Counter
from contextlib import suppress
from pathlib import Path

MOST_S = 10.0
MOST_BYTES = 2_000_000_000
ALLOWED = {"SourceError", "OutputError", "DataError", "CheckpointError", "DeviceError"}
SLOW_TO_START = {"checkpoint", "note", "clip", "image", "stream", "jsonl_log"}  # warmed up first, so that imports do not count
ROOT = Path(__file__).parent.parent


class Worker:
    """A process that runs cases in sequence, restarted after a crash. kind: the only kind to run, or None for all."""

    def __init__(self, seed: int, kind: str | None = None, most_s: float = MOST_S):
        self.seed, self.kind, self.most_s = seed, kind, most_s
        self.folder = Path(tempfile.mkdtemp(prefix="fer_live_fuzz_"))
        self.process: subprocess.Popen | None = None

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exception) -> None:
        self._end()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, kind: str, number: int) -> dict:
        """The outcome of one case: {"kind", "number", "outcome", "detail", "seconds", "peak"}."""
        if self.process is None:
            self._start()
        assert self.process is not None and self.process.stdin and self.process.stdout
        case, began_s, peak = {"kind": kind, "number": number}, time.monotonic(), 0
        self.process.stdin.write(json.dumps(case).encode() + b"\n")
        self.process.stdin.flush()
        while not select.select([self.process.stdout], [], [], 0.02)[0]:
            peak = max(peak, self._memory())
            seconds = time.monotonic() - began_s
            if seconds > self.most_s or peak > MOST_BYTES:
                self._end()
                outcome = "hang" if seconds > self.most_s else "memory"
                return case | {"outcome": outcome, "detail": "", "seconds": seconds, "peak": peak}
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        status = self.process.wait()
        self._end()
        return case | {"outcome": "crash", "detail": f"status {status}", "seconds": time.monotonic() - began_s, "peak": peak}

    def _memory(self) -> int:
        assert self.process is not None
        try:
            return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, IndexError):  # the process has just ended, or this is not Linux
            return 0

    def _start(self) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "FUZZ_SEEDS": str(self.folder), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "tests.fuzz", "--worker", "--seed", str(self.seed)]
        self.process = subprocess.Popen(command + (["--kind", self.kind] if self.kind else []), env=environment, cwd=self.folder,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self.process.stdout is not None
        self.process.stdout.readline()  # it is ready

    def _end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()
            self.process = None


def work(seed: int, only: str | None) -> None:
    """The worker process: reads cases as lines from stdin and writes outcomes as lines to the original stdout."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _limit()
    from tests.fuzz_kinds import KINDS, TRAPS

    kinds = KINDS | TRAPS
    for kind in SLOW_TO_START & ({only} if only else SLOW_TO_START):
        attempt(kind, kinds[kind], seed, 65_535)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        case = json.loads(line)
        result = attempt(case["kind"], kinds[case["kind"]], seed, case["number"])
        print(json.dumps(case | result), file=answers, flush=True)


def _limit() -> None:
    """Limit memory to twelve gigabytes, to protect the machine."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def attempt(kind: str, function, seed: int, number: int, is_reported: bool = False) -> dict:
    """Run one case in a fresh folder under the working directory."""
    import numpy as np

    box = Path(tempfile.mkdtemp(dir=os.environ["FUZZ_SEEDS"]))
    for name in ("in", "out", "here"):
        (box / name).mkdir()
    os.chdir(box / "here")
    began_s, detail = time.monotonic(), ""
    _reset_peak()
    try:
        outcome = function(box, np.random.default_rng([seed, zlib.crc32(kind.encode()), number]))
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        outcome = "refused" if type(error).__name__ in ALLOWED else type(error).__name__
        detail = f"{error}"[:300].replace(str(box), "") + f" [{Path(where.filename).name}:{where.lineno}]"
        if is_reported:
            traceback.print_exc()
    seconds, peak = time.monotonic() - began_s, _peak()
    strange = [p for p in box.iterdir() if p.name not in ("in", "out", "here")] + list((box / "here").iterdir())
    strange += [p for p in Path(os.environ["FUZZ_SEEDS"]).iterdir() if p != box and p.name != "seed.pt"]
    if strange:
        outcome, detail = "outside", f"{[p.name for p in strange]}"
    os.chdir("/")
    shutil.rmtree(box, ignore_errors=True)
    for path in strange:
        path.unlink(missing_ok=True) if not path.is_dir() else shutil.rmtree(path, ignore_errors=True)
    if peak > MOST_BYTES:
        outcome = "memory"
    if seconds > MOST_S:
        outcome = "hang"
    return {"outcome": outcome, "detail": detail, "seconds": seconds, "peak": peak}


def _reset_peak() -> None:
    with suppress(OSError):  # not Linux, or not permitted: the peak covers all cases so far
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    try:
        return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024
    except (OSError, IndexError):
        return 0


FINE = {"read", "refused", "held", "ended"}


def run(count: int, seed: int = 0, kind: str | None = None, report=None) -> list[dict]:
    """Run `count` cases, of one kind or of all kinds by their shares; returns the outcomes."""
    from tests.fuzz_kinds import counts

    results, wanted = [], {kind: count} if kind else counts(count)
    with Worker(seed, kind) as worker:
        for name, cases in wanted.items():
            began_s = time.monotonic()
            for number in range(cases):
                results.append(worker.run(name, number))
                if report and results[-1]["outcome"] not in FINE:
                    report("finding: " + json.dumps(results[-1]))
            if report:
                report(f"{name}: {cases} cases in {time.monotonic() - began_s:.0f} s")
    return results


def table(results: list[dict]) -> str:
    """Summarize counts by kind and outcome, with the longest time and peak memory of each kind."""
    lines = [f"{'kind':12}{'cases':>7}{'longest':>9}{'memory':>9}  outcomes"]
    for kind in dict.fromkeys(result["kind"] for result in results):
        own = [result for result in results if result["kind"] == kind]
        outcomes = ", ".join(f"{name} {n:,}" for name, n in Counter(r["outcome"] for r in own).most_common())
        longest, peak = max(r["seconds"] for r in own), max(r["peak"] for r in own)
        lines.append(f"{kind:12}{len(own):7,}{longest:7.2f} s{peak / 1e6:6.0f} MB  {outcomes}")
    findings = sum(result["outcome"] not in FINE for result in results)
    return "\n".join([*lines, f"{len(results):,} cases, {findings:,} findings"])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Feeds hostile input to the program.")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", help="run only this kind")
    parser.add_argument("--only", type=int, metavar="N", help="repeat the case N of --kind here, with its traceback")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all outcomes to this file")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.worker:
        work(args.seed, args.kind)
        return 0
    if args.only is not None:
        from tests.fuzz_kinds import KINDS

        with tempfile.TemporaryDirectory(prefix="fer_live_fuzz_") as seeds:
            os.environ["FUZZ_SEEDS"] = seeds
            print(attempt(args.kind, KINDS[args.kind], args.seed, args.only, is_reported=True))
        return 0
    results = run(args.count, args.seed, args.kind, lambda text: print(text, file=sys.stderr, flush=True))
    print(table(results))
    if args.json:
        args.json.write_text(json.dumps(results, indent=0) + "\n")
    return 1 if any(result["outcome"] not in FINE for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
