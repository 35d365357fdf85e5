"""Puts a live run together: a camera, a stream or the demo, shown as it comes, with what is recorded and logged of it."""

from __future__ import annotations

import argparse
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from fer_live.booth import set_up_kiosk
from fer_live.controls import Controls
from fer_live.log import Log
from fer_live.notify import Heartbeat
from fer_live.options import check_outputs
from fer_live.overlay import Overlay
from fer_live.parts import Chain, dead_keys, live_keys, load, make_view, save_picture, screen_words, wants_window
from fer_live.pipeline import mirrored, run_live
from fer_live.recorder import VideoRecorder, unused
from fer_live.sources import open_source
from fer_live.types import SourceError
from fer_live.window import StatusLines, Window


def run_camera(args: argparse.Namespace, source, is_demo: bool, model: Path, stop: threading.Event, stack: ExitStack) -> None:
    """A camera, a stream or the demo: the newest frame, shown as soon as it can be."""
    check_outputs(args, "live", [])
    has_window = wants_window(args)
    words = screen_words(args)
    analyze = Chain(args, load(args, model))
    view = make_view(args, args.mirror is not False, "DEMO" if is_demo else "")

    def open_recorder(path: Path) -> VideoRecorder:
        recorder = VideoRecorder(unused(path), source.fps, live=True)
        print(f"recording to {recorder.path}", file=sys.stderr)
        return recorder

    controls = stack.enter_context(Controls(view, save_picture, open_recorder))
    if args.output and not args.record_on_consent:
        controls.record(args.output)
    if args.log:
        controls.sinks.append(stack.enter_context(Log(unused(args.log), analyze.labels, live=True)))
    controls.sinks.append(stack.enter_context(Heartbeat()))
    if args.kiosk:
        analyze, draw, screen = set_up_kiosk(args, analyze, words, view, controls, stop, stack)
    else:
        draw = Overlay(analyze.labels, view, words, dead_keys(args)).draw
        keys = live_keys(args, controls.keys(stop.set))
        screen = stack.enter_context(Window(keys, stop.set) if has_window else StatusLines())
    started_s = time.monotonic()
    run_live(mirrored(source, view), analyze, draw, controls.sinks, screen, stop, args.max_seconds)
    if args.kiosk and not stop.is_set() and time.monotonic() - started_s < (args.max_seconds or float("inf")):
        raise SourceError("the source has come to its end; a kiosk's should not: start it again")


def enter_source(text: str | None, stack: ExitStack):
    """The opened source, and whether it is the demo. Without a choice it is camera 0, else the demo."""
    if text is not None:
        return stack.enter_context(open_source(text)), text == "demo"
    try:
        return stack.enter_context(open_source("0")), False
    except SourceError as error:
        print(f"{error}: showing the built-in demo", file=sys.stderr)
        return stack.enter_context(open_source("demo")), True
