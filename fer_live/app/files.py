"""Assembles a run over a file: a video or images, every frame in order, written, logged or displayed."""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from fer_live.analysis.baseline import DEFAULT_S
from fer_live.app.config import Config, Kind
from fer_live.app.keys import make_keys
from fer_live.app.loader import ClassifierLoader
from fer_live.app.open_analyzer import open_analyzer
from fer_live.app.output_checks import check_outputs
from fer_live.app.outputs import Outputs, file_sinks
from fer_live.app.screen import make_view, screen_words, wants_window
from fer_live.model.suffixes import IMAGES_WRITTEN
from fer_live.pipeline import mirrored, run_file
from fer_live.screen.canvas import Canvas
from fer_live.screen.overlay import Overlay
from fer_live.screen.smoothing import DisplaySmoother
from fer_live.screen.window import Window
from fer_live.sources.images import ImageFiles
from fer_live.sources.video_file import VideoFile
from fer_live.types import OutputError

logger = logging.getLogger("fer_live")


def run_files(config: Config, source: VideoFile | ImageFiles, load: ClassifierLoader, stop: threading.Event, stack: ExitStack
              ) -> None:
    """Run over a video or images: every frame, in order. Raises OutputError for options that do not apply to files."""
    stills = isinstance(source, ImageFiles) or is_still(source, config.output.path)
    kind: Kind = "images" if stills else "video"
    check_outputs(config, kind, source.paths if isinstance(source, ImageFiles) else [source.path])
    has_window = wants_window(config)
    if not (config.output.path or config.output.log or has_window):
        raise OutputError("there is no window and nothing to write; give --output, --log or both")
    words = screen_words(config.screen)
    analyzer = open_analyzer(config.analysis, kind, load)
    view = make_view(config.screen, config.screen.mirror is True, "")
    outputs = stack.enter_context(Outputs(view, words=words))
    calibrate = None if stills else partial(analyzer.calibrate, config.analysis.calibrate_s or DEFAULT_S)
    keys = make_keys(outputs, stop.set, calibrate, config.output.can_write)
    smoother = DisplaySmoother(analyzer.labels, words)
    overlay = Overlay(analyzer.labels, view, words, smoother)
    drawn_on = None if analyzer.steps else overlay.drawn_on  # steps change the image itself
    sinks = file_sinks(config.output, source, analyzer.labels, stills, drawn_on)
    named = {*keys, "f", *(["space"] if stills and source.frames > 1 else [])}
    canvas = Canvas(analyzer.labels, view, words, named, smoother, view.mirror if stills else None)
    outputs.draw = lambda analysis: overlay.draw(canvas.seen(analysis))
    analyze_all = partial(map, analyzer.analyze_still) if stills else analyzer.analyze_all
    with ExitStack() as opened:
        outputs.sinks += [opened.enter_context(sink) for sink in sinks]
        screen = opened.enter_context(Window(keys, stop.set, canvas)) if has_window else None
        pace = 0.0 if sinks else float("inf") if stills else 1.0
        frames = mirrored(source, replace(view) if stills else view)  # images are read ahead: the key mirrors only the display
        run_file(frames, analyze_all, overlay.draw, outputs.sinks, stop, source.frames, config.source.max_seconds, screen, pace,
                 1 if stills else None, progress=config.log_level <= logging.INFO)
    if config.analysis.calibrate_s and not analyzer.state.baseline.learned:
        logger.warning(f"no face was calibrated: none was seen long enough in the first {config.analysis.calibrate_s:g} s")
    written = [summary for sink in sinks if (summary := sink.summary)]
    if written:
        logger.info("wrote " + " and ".join(written))


def is_still(source: VideoFile, output: Path | None) -> bool:
    """Whether `source` has a single frame and the output is an image file."""
    return source.declared == 1 and output is not None and output.suffix.lower() in IMAGES_WRITTEN
