"""Puts a live run together: a camera, a stream or the demo, shown as it comes, with what is recorded and logged of it."""

from __future__ import annotations

import argparse
import sys
import threading
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from fer_live.controls import Controls
from fer_live.log import Log, entry
from fer_live.options import check_outputs
from fer_live.overlay import Overlay
from fer_live.parts import load, make_view, save_picture, wants_window
from fer_live.pipeline import RateMeter, mirrored, run_live
from fer_live.recorder import VideoRecorder, unused
from fer_live.sources import open_source
from fer_live.types import OutputError, SourceError
from fer_live.web import Place, WebView, take_place
from fer_live.window import StatusLines, Window


def run_camera(args: argparse.Namespace, source, is_demo: bool, model: Path, stop: threading.Event, stack: ExitStack) -> None:
    """A camera, a stream or the demo: the newest frame, shown as soon as it can be."""
    check_outputs(args, "live", [])
    has_window = wants_window(args)
    place = open_port(args, stack)
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
    if place:
        controls.sinks.append(stack.enter_context(WebView(place, partial(entry, labels=labels), RateMeter().tick)))
    screen = stack.enter_context(Window(controls.keys(stop.set), stop.set) if has_window else StatusLines())
    run_live(mirrored(source, view), analyzer, Overlay(labels, view).draw, controls.sinks, screen, stop, args.max_seconds)


def open_port(args: argparse.Namespace, stack: ExitStack) -> Place | None:
    """The port of --serve, taken before the model is loaded: one that is in use is said at once."""
    if args.serve is None:
        if args.token:
            raise OutputError("--token is for --serve [HOST:]PORT; give both")
        return None
    place = take_place(*args.serve, args.token)
    stack.callback(place.socket.close)
    return place


def enter_source(text: str | None, stack: ExitStack):
    """The opened source, and whether it is the demo. Without a choice it is camera 0, else the demo."""
    if text is not None:
        return stack.enter_context(open_source(text)), text == "demo"
    try:
        return stack.enter_context(open_source("0")), False
    except SourceError as error:
        print(f"{error}: showing the built-in demo", file=sys.stderr)
        return stack.enter_context(open_source("demo")), True
