"""python -m fer_live: parse, build the parts, run."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

from fer_live.options import check_outputs, output_is_folder, parse


def main(arguments: list[str] | None = None) -> int:
    args = parse(arguments)
    from fer_live.types import OutputError, SourceError
    from models.checkpoint import CheckpointError
    from models.device import DeviceError

    try:
        return run(args)
    except (SourceError, OutputError, CheckpointError, DeviceError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def run(args: argparse.Namespace) -> int:
    """Open the source, check what can be checked cheaply, load the model, and go. Returns the exit status."""
    from models.checkpoint import DEFAULT_WEIGHTS, CheckpointError
    from models.device import check_device_name

    check_device_name(args.device)
    model = args.model or DEFAULT_WEIGHTS
    if not model.is_file():
        raise CheckpointError(f"no model file at {model}; give one with --model, or train one with python -m training")
    stop = threading.Event()
    caught = catch_signals(stop)
    with ExitStack() as stack:
        source, is_demo = enter_source(args.source, stack)
        if source.is_live:
            live(args, source, is_demo, model, stop, stack)
            return 0  # a live run ends when it is told to
        file(args, source, model, stop, stack)
        return 128 + caught[0] if caught else 0


def enter_source(text: str | None, stack: ExitStack):
    """The opened source, and whether it is the demo. Without a choice it is camera 0, else the demo."""
    from fer_live.sources import open_source
    from fer_live.types import SourceError

    if text is not None:
        return stack.enter_context(open_source(text)), text == "demo"
    try:
        return stack.enter_context(open_source("0")), False
    except SourceError as error:
        print(f"{error}: showing the built-in demo", file=sys.stderr)
        return stack.enter_context(open_source("demo")), True


def load(args: argparse.Namespace, model: Path):
    """The analyzer; says once where it computes."""
    from fer_live.pipeline import Analyzer

    analyzer = Analyzer.from_checkpoint(model, args.device, args.head, args.min_face)
    print(analyzer.classifier.describe, file=sys.stderr)
    return analyzer


def catch_signals(stop: threading.Event) -> list[int]:
    """Let Ctrl-C and SIGTERM end the run cleanly; returns the list in which a caught signal is noted."""
    caught: list[int] = []

    def handler(number: int, _frame) -> None:
        caught.append(number)
        stop.set()
        signal.signal(number, signal.SIG_DFL)  # a second one ends the program at once

    signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGTERM, handler)
    return caught


def live(args: argparse.Namespace, source, is_demo: bool, model: Path, stop: threading.Event, stack: ExitStack) -> None:
    """A camera, a stream or the demo: the newest frame, shown as soon as it can be."""
    from fer_live.controls import Controls
    from fer_live.log import Log
    from fer_live.overlay import Overlay
    from fer_live.pipeline import mirrored, run_live
    from fer_live.recorder import VideoRecorder, unused
    from fer_live.window import StatusLines, Window

    check_outputs(args, "live", [])
    has_window = wants_window(args)
    analyzer = load(args, model)
    labels = analyzer.classifier.spec.labels
    view = make_view(args, args.mirror is not False, "DEMO" if is_demo else "")

    def open_recorder(path: Path) -> VideoRecorder:
        recorder = VideoRecorder(unused(path), source.fps, live=True)
        print(f"recording to {recorder.path}", file=sys.stderr)
        return recorder

    controls = stack.enter_context(Controls(view, save_picture, open_recorder))
    if args.output:
        controls.record(args.output)
    if args.log:
        controls.sinks.append(stack.enter_context(Log(unused(args.log), labels, live=True)))
    screen = stack.enter_context(Window(controls.keys(stop.set), stop.set) if has_window else StatusLines())
    run_live(mirrored(source, view), analyzer, Overlay(labels, view).draw, controls.sinks, screen, stop, args.max_seconds)


def file(args: argparse.Namespace, source, model: Path, stop: threading.Event, stack: ExitStack) -> None:
    """A video or pictures: every frame, in order."""
    from fer_live.controls import Controls
    from fer_live.overlay import Overlay
    from fer_live.pipeline import mirrored, run_file
    from fer_live.sources import ImageFiles
    from fer_live.types import OutputError
    from fer_live.window import Window

    stills = isinstance(source, ImageFiles)
    check_outputs(args, "pictures" if stills else "video", source.paths if stills else [source.path])
    has_window = wants_window(args)
    if not (args.output or args.log or has_window):
        raise OutputError("there is no window and nothing to write; give --output, --log or both")
    analyzer = load(args, model)
    labels = analyzer.classifier.spec.labels
    view = make_view(args, args.mirror is True, "")
    controls = stack.enter_context(Controls(view, save_picture))
    sinks = file_sinks(args, source, stills, labels)
    with ExitStack() as opened:
        controls.sinks += [opened.enter_context(sink) for sink in sinks]
        screen = opened.enter_context(Window(controls.keys(stop.set), stop.set)) if has_window else None
        pace = 0.0 if sinks else float("inf") if stills else 1.0
        run_file(mirrored(source, view), analyzer.analyze_still if stills else analyzer, Overlay(labels, view).draw,
                 controls.sinks, stop, source.frames, args.max_seconds, screen, pace)
    written = [str(sink.path) for sink in sinks if sink.path.exists()]
    if written:
        print("wrote " + " and ".join(written), file=sys.stderr)


def file_sinks(args: argparse.Namespace, source, stills: bool, labels: tuple[str, ...]) -> list:
    """What a file's results are written to."""
    from fer_live.log import Log
    from fer_live.recorder import PictureWriter, VideoRecorder, unused

    sinks: list = []
    if args.output and stills:
        sinks.append(PictureWriter(args.output, output_is_folder(args.output, len(source.paths))))
    elif args.output:
        sound = source.path if source.has_audio else None
        sinks.append(VideoRecorder(unused(args.output), source.fps, source.time_base, sound_from=sound))
    if args.log:
        sinks.append(Log(unused(args.log), labels))
    return sinks


def wants_window(args: argparse.Namespace) -> bool:
    """Whether to open a window; says so in a line where there should be one and cannot."""
    from fer_live.window import missing_display

    missing = None if args.no_window else missing_display()
    if missing:
        print(f"{missing}: running without a window", file=sys.stderr)
    return not (args.no_window or missing)


def save_picture(path: Path, image) -> Path:
    """Write a picture under a name that is free; returns it."""
    from fer_live.recorder import unused, write_picture

    path = unused(path)
    write_picture(path, image)
    return path


def make_view(args: argparse.Namespace, mirror: bool, badge: str):
    """The view that the options ask for."""
    from fer_live.types import View

    return View(mirror=mirror, badge=badge, **{name: name in args.show for name in ("fps", "bars", "help")})


if __name__ == "__main__":
    sys.exit(main())
