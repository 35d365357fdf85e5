"""Puts a live run together: a camera, a stream or the demo, shown as it comes, with what is recorded and logged of it."""

from __future__ import annotations

import argparse
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

from fer_live.controls import Controls
from fer_live.devices import stable_path
from fer_live.hooks import Hooks
from fer_live.log import Log
from fer_live.options import check_outputs
from fer_live.overlay import Overlay
from fer_live.parts import load, make_view, save_picture, wants_window
from fer_live.pipeline import mirrored, run_live
from fer_live.recorder import VideoRecorder, unused
from fer_live.slate import draw_slate
from fer_live.sources import open_source
from fer_live.streams import without_password
from fer_live.supervisor import Patience, Supervised
from fer_live.types import SourceError
from fer_live.window import StatusLines, Window


def run_camera(args: argparse.Namespace, source, is_demo: bool, model: Path, stop: threading.Event, stack: ExitStack) -> None:
    """A camera, a stream or the demo: the newest frame, shown as soon as it can be."""
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


def enter_source(args: argparse.Namespace, stack: ExitStack):
    """The opened source, and whether it is the demo. Without a choice it is camera 0, else the demo."""
    if args.source is not None:
        return stack.enter_context(make_source(args.source, args)), args.source == "demo"
    try:
        return stack.enter_context(make_source("0", args)), False
    except SourceError as error:
        print(f"{error}: showing the built-in demo", file=sys.stderr)
        return stack.enter_context(open_source("demo")), True


def make_source(text: str, args: argparse.Namespace):
    """The source that `text` names; cameras and streams come supervised. Raises SourceError."""
    try:
        source = open_source(text)
    except SourceError:
        if not args.wait_for_camera:
            raise
    else:
        if not source.is_live or text == "demo":
            return source
    name = f"camera {text}" if text.isdigit() else without_password(text)
    known = text

    def connect():
        nonlocal known
        known = stable_path(known)  # plugged in again, a camera may get another number, but not another link
        return open_source(known)

    hooks = Hooks({"lost": args.on_camera_lost, "found": args.on_camera_found}, name)
    patience = Patience(frozen_s=args.frozen_seconds)
    return Supervised(name, connect, draw_slate, hooks, patience, args.wait_for_camera)
