"""Puts a live run together: a camera, a stream or the demo, shown as it comes, with what is recorded and logged of it."""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from fer_live.analysis.baseline import DEFAULT_S
from fer_live.app.chain import Chain
from fer_live.app.controls import Controls
from fer_live.app.kiosk import set_up_kiosk
from fer_live.app.open_source import patience
from fer_live.app.options import check_outputs
from fer_live.app.outgoing_sink import add_outgoing_sink
from fer_live.app.parts import dead_keys, live_keys, load, make_view, screen_words, wants_window
from fer_live.kiosk.notify import Heartbeat
from fer_live.pipeline import RateMeter, mirrored, run_live
from fer_live.screen.overlay import Overlay
from fer_live.screen.window import StatusLines, Window
from fer_live.sinks.disk import unused
from fer_live.sinks.log import Log, entry
from fer_live.sinks.microphone import Microphone
from fer_live.sinks.recorder import VideoRecorder, write_picture
from fer_live.sinks.segments import OWN, Quota, SegmentedRecorder
from fer_live.sources.grid import Grid
from fer_live.types import OutputError, Sink, SourceError
from fer_live.web import Place, WebView, take_place

SEGMENT_MINUTES = 10.0  # where there is a quota and nothing else is said: a file that is written is never deleted


def run_camera(args: argparse.Namespace, source, is_demo: bool, model: Path, stop: threading.Event, stack: ExitStack) -> None:
    """A camera, a stream or the demo: the newest frame, shown as soon as it can be."""
    check_outputs(args, "live", [])
    microphone = stack.enter_context(Microphone(args.audio)) if args.audio is not None else None
    has_window = wants_window(args)
    place = open_port(args, stack)
    words = screen_words(args)
    view = make_view(args, args.mirror is not False, "DEMO" if is_demo else "")
    analyze = chain = Chain(args, load(args, model), view)
    controls = Controls(view, write_picture, lambda path: make_recorder(args, path, source.fps, microphone, controls.tell),
                        partial(analyze.analyzer.calibrate, args.calibrate or DEFAULT_S))
    stack.enter_context(controls)
    if microphone is not None:
        microphone.lost = lambda text: controls.tell("microphone lost", text)
    add_sinks(args, source, controls, analyze.labels, place, stack)
    if args.kiosk:
        analyze, draw, screen = set_up_kiosk(args, analyze, words, view, controls, stop, stack)
    else:
        draw = Overlay(analyze.labels, view, words, dead_keys(args)).draw
        keys = live_keys(args, controls.keys(stop.set))
        screen = stack.enter_context(Window(keys, stop.set) if has_window else StatusLines())
    each, started_s = partial(mirrored, view=view), time.monotonic()
    frames = source.frames(each) if isinstance(source, Grid) else each(source)
    presented = chain.governor.presented if chain.governor else None
    run_live(frames, analyze, draw, controls.sinks, screen, stop, args.max_seconds, controls.failed, presented)
    if args.kiosk and not stop.is_set() and time.monotonic() - started_s < (args.max_seconds or float("inf")):
        raise SourceError("the source has come to its end; a kiosk's should not: start it again")


def add_sinks(
    args: argparse.Namespace, source, controls: Controls, labels: tuple[str, ...], place: Place | None, stack: ExitStack
) -> None:
    """Where the results go besides the screen: recording, log, web view, and the sign of life for systemd."""
    if args.output and not args.record_on_consent:
        controls.record(args.output)
    if args.log:
        controls.add_log(Log(unused(args.log), labels, live=True))
    outgoing = add_outgoing_sink(args, source, controls.sinks, labels, lambda: controls.view.recording, stack)
    if place:
        view = WebView(place, partial(entry, labels=labels), RateMeter().tick, lambda: not getattr(source, "is_lost", False),
                       stale_s=patience(args).read_s, more_metrics=outgoing.metrics_text if outgoing else None)
        controls.sinks.append(stack.enter_context(view))
    controls.sinks.append(stack.enter_context(Heartbeat()))


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
