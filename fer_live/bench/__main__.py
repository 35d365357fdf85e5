"""python -m fer_live.bench: runs benchmarks, prints tables, and writes the results as JSON.

The JSON file has `machine`, `settings`, and for each benchmark a list of rows with medians over repeated runs, the runs
themselves if any, and `targets`: whether the row meets the targets set for it. Names end in their units: _s seconds, _ms
milliseconds, _mb 10^6 bytes, _per_s per second. Shares and ratios are plain numbers, with 1 for the whole.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import logging
import shutil
import signal
import sys
import time
from pathlib import Path

from fer_live.app.messages import shown
from fer_live.bench.settings import KINDS, QUICK, Settings
from fer_live.model.suggest import did_you_mean, suggest_names
from fer_live.redact import redact, redact_errors
from fer_live.types import OutputError, SourceError

logger = logging.getLogger("fer_live")

WITH_TORCH = ("classifier", "start")  # benchmarks that compare with PyTorch


@shown()
def main(arguments: list[str] | None = None) -> int:
    """Run the benchmarks. Returns the exit status; a missed target is not an error."""
    args = parse(arguments)
    from fer_live.model.device import DeviceError
    from fer_live.model.paths import one_line
    from fer_live.model.spec import CheckpointError

    try:
        check(args)
        run(args, QUICK if args.quick else Settings())
    except (SourceError, OutputError, CheckpointError, DeviceError, OSError) as error:
        logger.error(f"error: {redact(one_line(error))}")
        return 2
    except KeyboardInterrupt:
        logger.info("stopped" + (f"; what was measured before is in {args.json}" if args.json and args.json.is_file() else ""))
        return 130
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the options; an invalid one exits with status 2."""
    parser = argparse.ArgumentParser(
        prog="python -m fer_live.bench", description="Measures the program on this machine; without options, this takes "
        "about half an hour on two slow cores. Needs no camera, network or data.",
        epilog="Close other programs first: they affect all figures except the ratios.")
    from fer_live.model.paths import named_path

    parser.register("type", Path, named_path)
    add = parser.add_argument
    add("--only", type=_kinds, metavar="A,B", help=f"the benchmarks to run: {', '.join(KINDS)} (default: all)")
    add("--quick", action="store_true", help="a few seconds of each, to check that it works; the figures mean nothing")
    add("--json", type=Path, metavar="FILE", help="write the figures to FILE, which must not exist yet")
    add("--model", type=Path, metavar="FILE", help="a best_model.pt (default: the released model)")
    add("--onnx", type=Path, metavar="FILE", help="its export, for ONNX Runtime (default: the .onnx beside the model, if any)")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N, for all but the classifier's table (default: auto)")
    add("--peer-python", metavar="PATH", help="the python of an environment with the package fer 25.10.3 and setuptools below "
        "81, to compare with")
    add("--clip", type=Path, metavar="FILE", help="also measure this video, repeated, written only to a log, with each "
        "detector")
    args = redact_errors(suggest_names(parser)).parse_args(arguments)
    if args.only and "peer" in args.only and not args.peer_python:
        parser.error("--only peer needs --peer-python PATH")
    if args.only and "clip" in args.only and not args.clip:
        parser.error("--only clip needs --clip FILE")
    for kind, option, value in (("peer", "--peer-python", args.peer_python), ("clip", "--clip", args.clip)):
        if value and args.only and kind not in args.only:
            parser.error(f"--only {','.join(args.only)} does not include {kind}, which {option} needs; add {kind} to it")
    return args


def _kinds(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names or set(names) - set(KINDS):
        hints = "".join(did_you_mean(name, KINDS) for name in names if name not in KINDS)
        raise argparse.ArgumentTypeError(f"{text!r}{hints}; choose from: {', '.join(KINDS)}")
    return [kind for kind in KINDS if kind in names]


def check(args: argparse.Namespace) -> None:
    """Check in advance for errors that would otherwise appear after half an hour."""
    from fer_live.analysis.classifier import INSTALL_TORCH
    from fer_live.model import DEFAULT_WEIGHTS
    from fer_live.model.checkpoint import check_model_file
    from fer_live.model.device import check_device_name
    from fer_live.model.paths import exists, is_folder

    check_device_name(args.device)
    args.model = args.model or DEFAULT_WEIGHTS
    for path in filter(None, (args.model, args.onnx)):
        check_model_file(path)
    if args.json and exists(args.json):
        raise OutputError(f"--json {args.json} already exists; choose another name: earlier figures are not overwritten")
    if args.json and not is_folder(args.json.resolve().parent):
        raise OutputError(f"cannot write {args.json}: its folder does not exist")
    if args.clip:
        from fer_live.sources.video_file import VideoFile

        with VideoFile(args.clip):  # fail early if it is not a video
            pass
    if args.peer_python and not (found := shutil.which(args.peer_python)):
        raise SourceError(f"--peer-python {args.peer_python} is not a program; give the python of an environment with fer")
    if args.peer_python:
        args.peer_python = Path(found).absolute()  # not resolved: a virtual environment's python must remain a symlink
    if importlib.util.find_spec("psutil") is None:
        raise SourceError("psutil, which measures memory and processor, is not installed; pip install psutil")
    compared = [kind for kind in args.only or KINDS if kind in WITH_TORCH]
    if compared and importlib.util.find_spec("torch") is None:
        raise SourceError(f"{' and '.join(compared)}: compared with PyTorch, which is not installed; {INSTALL_TORCH}, "
                          "or choose other benchmarks with --only")


def run(args: argparse.Namespace, settings: Settings) -> None:
    """Run the selected benchmarks. Prints each table and updates the JSON file as soon as its results are available."""
    from fer_live.bench import machine, report, targets
    from fer_live.model.checkpoint import write_atomically

    result = {"format": "fer_live.bench/1", "date": time.strftime("%Y-%m-%d"), "quick": args.quick,
              "model": args.model.name, "machine": machine.describe(), "settings": dataclasses.asdict(settings)}
    print(report.machine(result["machine"]), flush=True)
    print("targets are set for two processor cores without a GPU" + (", and --quick is too short to judge them" * args.quick))
    for kind in args.only or KINDS:
        if (kind == "peer" and not args.peer_python) or (kind == "clip" and not args.clip):
            continue
        rows, notes = measure(kind, args, settings)
        targets.judge(kind, rows)
        result[kind] = rows
        if notes:
            result[f"{kind}_notes"] = notes
        print("\n" + "\n".join([getattr(report, kind)(rows), *notes]), flush=True)
        if args.json:
            write_atomically(args.json, lambda temporary: temporary.write_text(json.dumps(result, indent=1) + "\n"))
    if args.json:
        logger.info(f"wrote {args.json}")


def measure(kind: str, args: argparse.Namespace, settings: Settings) -> tuple[list[dict], list[str]]:
    """Return the rows of one benchmark, and notes on what could not be measured."""
    if kind == "live":
        from fer_live.bench import live

        return live.measure(args.model, args.device, settings), []
    if kind == "file":
        from fer_live.bench import file

        return file.measure(args.model, args.device, settings), []
    if kind == "clip":
        from fer_live.bench import clip

        return clip.measure(args.clip, args.model, args.device, settings), []
    if kind == "classifier":
        from fer_live.bench import classifier

        return classifier.measure(args.model, args.onnx, settings)
    if kind == "peer":
        from fer_live.bench import peer

        return [peer.measure(args.peer_python, args.model, args.device, settings)], []
    from fer_live.bench import memory, start

    return [{"start": start, "memory": memory}[kind].measure(args.model, args.device, settings)], []


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C, so that no child process or temporary file remains
    sys.exit(main())
