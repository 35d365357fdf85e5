"""Puts a live run together: a camera, a stream or the demo, shown as it comes, with what is recorded and logged of it."""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from fer_live.controls import Controls
from fer_live.options import check_outputs
from fer_live.overlay import Overlay
from fer_live.parts import load, make_view, save_picture, wants_window
from fer_live.pipeline import Analyzer, RateMeter, mirrored, run_live
from fer_live.quality import Governor
from fer_live.sinks.log import Log, entry
from fer_live.sinks.microphone import Microphone
from fer_live.sinks.recorder import VideoRecorder, unused
from fer_live.sinks.segments import OWN, Quota, SegmentedRecorder
from fer_live.sources import open_source
from fer_live.sources.devices import stable_path
from fer_live.sources.grid import Grid
from fer_live.sources.hooks import Hooks
from fer_live.sources.slate import draw_slate
from fer_live.sources.stream import without_password
from fer_live.sources.supervisor import Patience, Supervised
from fer_live.types import Analysis, Frame, OutputError, Sink, SourceError, View
from fer_live.web import Place, WebView, take_place
from fer_live.window import StatusLines, Window

SEGMENT_MINUTES = 10.0  # where there is a quota and nothing else is said: a file that is written is never deleted


def run_camera(args: argparse.Namespace, source, is_demo: bool, model: Path, stop: threading.Event, stack: ExitStack) -> None:
    """A camera, a stream or the demo: the newest frame, shown as soon as it can be."""
    check_outputs(args, "live", [])
    microphone = stack.enter_context(Microphone(args.audio)) if args.audio is not None else None
    has_window = wants_window(args)
    place = open_port(args, stack)
    analyzer = load(args, model, source.rows if isinstance(source, Grid) else 1)
    labels = analyzer.classifier.spec.labels
    view = make_view(args, args.mirror is not False, "DEMO" if is_demo else "")
    controls = Controls(view, save_picture, lambda path: make_recorder(args, path, source.fps, microphone, controls.tell))
    stack.enter_context(controls)
    if microphone is not None:
        microphone.lost = lambda text: controls.tell("microphone lost", text)
    if args.output:
        controls.record(args.output)
    if args.log:
        controls.add_log(Log(unused(args.log), labels, live=True))
    if place:
        is_up = lambda: not getattr(source, "is_lost", False)  # noqa: E731
        controls.sinks.append(stack.enter_context(WebView(place, partial(entry, labels=labels), RateMeter().tick, is_up)))
    screen = stack.enter_context(Window(controls.keys(stop.set), stop.set) if has_window else StatusLines())
    analyze = governed(analyzer, args.target_fps, view)
    each = partial(mirrored, view=view)
    frames = source.frames(each) if isinstance(source, Grid) else each(source)
    run_live(frames, analyze, Overlay(labels, view).draw, controls.sinks, screen, stop, args.max_seconds,
             controls.failed)


def governed(analyzer: Analyzer, target_fps: float | None, view: View) -> Callable[[Frame], Analysis]:
    """The analyzer; where a rate is asked for, one that holds it and says in the view what it gives up."""
    if target_fps is None:
        return analyzer
    governor = Governor(analyzer, analyzer.detector, target_fps)

    def analyze(frame: Frame) -> Analysis:
        analysis = governor(frame)
        view.quality = governor.note
        return analysis

    return analyze


def make_recorder(
    args: argparse.Namespace, path: Path, fps: float, microphone: Microphone | None, tell: Callable[[str, str], None]
) -> Sink:
    """A recorder for `path`, in one file or, if the options say so, in many."""
    is_limited = args.keep_gb is not None or args.keep_days is not None
    segment_minutes = args.segment_minutes or (SEGMENT_MINUTES if is_limited else None)

    def open_file(path: Path) -> VideoRecorder:
        recorder = VideoRecorder(unused(path), fps, live=True, microphone=microphone, comment=OWN if segment_minutes else "")
        print(f"recording to {recorder.path}", file=sys.stderr)
        return recorder

    if segment_minutes is None:
        return open_file(path)
    keep_bytes, keep_s = (args.keep_gb or float("inf")) * 1e9, (args.keep_days or float("inf")) * 86_400
    quota = Quota(path, keep_bytes, keep_s, lambda text: tell("old recordings", text))
    return SegmentedRecorder(path, open_file, segment_minutes * 60, quota.clear_soon if is_limited else None)


def open_port(args: argparse.Namespace, stack: ExitStack) -> Place | None:
    """The port of --serve, taken before the model is loaded: one that is in use is said at once."""
    if args.serve is None:
        if args.token:
            raise OutputError("--token is for --serve [HOST:]PORT; give both")
        return None
    place = take_place(*args.serve, args.token)
    stack.callback(place.socket.close)
    return place


def enter_source(args: argparse.Namespace, stack: ExitStack):
    """The opened source, and whether it is the demo. Without a choice it is camera 0, else the demo."""
    if args.source and len(args.source) > 1:
        return stack.enter_context(make_grid(args.source, args)), "demo" in args.source
    if args.source:
        return stack.enter_context(make_source(args.source[0], args)), args.source == ["demo"]
    try:
        return stack.enter_context(make_source("0", args)), False
    except SourceError as error:
        print(f"{error}: showing the built-in demo", file=sys.stderr)
        return stack.enter_context(open_source("demo")), True


def make_grid(texts: list[str], args: argparse.Namespace) -> Grid:
    """Several live sources side by side. Raises SourceError."""
    sources = [make_source(text, args) for text in texts]
    for text, source in zip(texts, sources, strict=True):
        if not source.is_live:
            raise SourceError(f"{text} is a file; several sources are for cameras, streams and the demo: run files one by one")
    return Grid(sources)


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
