"""Assembles a live run: a camera, a stream or the demo, with its display, recordings and logs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from fer_live.analysis.analyzer import Analyzer
from fer_live.analysis.baseline import DEFAULT_S
from fer_live.analysis.detection import ScheduledDetector
from fer_live.analysis.load_governor import Governor
from fer_live.app.config import Config
from fer_live.app.keys import make_keys
from fer_live.app.loader import ClassifierLoader
from fer_live.app.open_analyzer import open_analyzer
from fer_live.app.output_checks import check_outputs
from fer_live.app.outputs import Outputs, add_sinks, make_recorder
from fer_live.app.screen import make_view, screen_words, wants_window
from fer_live.pipeline import mirrored, run_live
from fer_live.protocols import Draw, Screen, Source
from fer_live.screen.canvas import Canvas
from fer_live.screen.overlay import Overlay
from fer_live.screen.smoothing import DisplaySmoother
from fer_live.screen.window import StatusLines, Window
from fer_live.sinks.microphone import Microphone
from fer_live.sources.grid import Grid
from fer_live.types import Analysis, Frame, SourceError, View


def run_live_source(config: Config, source: Source, is_demo: bool, load: ClassifierLoader, stop: threading.Event,
                    stack: ExitStack) -> None:
    """Run over a live source: always analyze the newest frame and display it at once. Raises SourceError or OutputError."""
    check_outputs(config, "live", [])
    microphone = stack.enter_context(Microphone(config.output.audio)) if config.output.audio is not None else None
    has_window = wants_window(config)
    endpoint = None
    if config.web:  # imported only if needed, since it delays the first frame
        from fer_live.app.web_view import add_web_view, open_port

        endpoint = open_port(config.web, stack)
    words = screen_words(config.screen)
    view = make_view(config.screen, config.screen.mirror is not False, "DEMO" if is_demo else "", config.web is not None)
    analyzer = open_analyzer(config.analysis, "live", load)
    outputs = Outputs(view, lambda path: make_recorder(config.output, path, source.fps, microphone, outputs.tell), words)
    stack.enter_context(outputs)
    if microphone is not None:
        microphone.lost = lambda text: outputs.tell("microphone lost", text)
    outgoing = add_sinks(config, source, outputs, analyzer.labels, stack)
    smoother = DisplaySmoother(analyzer.labels, words)
    if endpoint:
        add_web_view(config, endpoint, source, outputs, smoother, outgoing, stack)
    analyze, presented = governed(analyzer, config.analysis.target_fps, view)
    draw: Draw
    screen: Screen
    if config.kiosk:
        from fer_live.app.kiosk import set_up_kiosk

        analyze, draw, screen = set_up_kiosk(config, config.kiosk, analyzer, analyze, words, outputs, stop, stack)
    else:
        draw = outputs.draw = Overlay(analyzer.labels, view, words, smoother).draw
        keys = make_keys(outputs, stop.set, partial(analyzer.calibrate, config.analysis.calibrate_s or DEFAULT_S),
                         config.output.can_write)
        canvas = Canvas(analyzer.labels, view, words, {*keys, "f"}, smoother)
        quiet = config.log_level > logging.INFO
        screen = stack.enter_context(Window(keys, stop.set, canvas)) if has_window else StatusLines(quiet)
    each, started_s, max_seconds = partial(mirrored, view=view), time.monotonic(), config.source.max_seconds
    frames = source.frames(each) if isinstance(source, Grid) else each(source)
    run_live(frames, analyze, draw, outputs.sinks, screen, stop, max_seconds, outputs.failed, presented)
    if config.kiosk and not stop.is_set() and time.monotonic() - started_s < (max_seconds or float("inf")):
        raise SourceError("the source ended, but a kiosk needs one that does not end; start it again")


def governed(
    analyzer: Analyzer, target_fps: float | None, view: View
) -> tuple[Callable[[Frame], Analysis], Callable[[float], None] | None]:
    """Return (analyze, presented): how to analyze a frame, and a callback for the time spent on display, or None.

    With a target rate, a governor provides both, and the view shows which quality settings were reduced.
    """
    if not target_fps:
        return analyzer, None
    assert isinstance(analyzer.detector, ScheduledDetector)
    governor = Governor(analyzer, analyzer.detector, target_fps)

    def analyze(frame: Frame) -> Analysis:
        analysis = governor(frame)
        view.quality = governor.note
        return analysis

    return analyze, governor.presented
