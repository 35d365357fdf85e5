"""Puts a run over a file together: a video or pictures, every frame in order, written, logged or shown."""

from __future__ import annotations

import argparse
import sys
import threading
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from fer_live.analysis.baseline import DEFAULT_S
from fer_live.app.chain import Chain
from fer_live.app.controls import Controls
from fer_live.app.options import check_outputs, output_is_folder
from fer_live.app.parts import dead_keys, live_keys, load, make_view, screen_words, wants_window
from fer_live.model.suffixes import PICTURES_WRITTEN
from fer_live.pipeline import mirrored, run_file
from fer_live.screen.overlay import Overlay
from fer_live.screen.window import Window
from fer_live.sinks.disk import unused
from fer_live.sinks.log import Log
from fer_live.sinks.recorder import PictureWriter, VideoRecorder, write_picture
from fer_live.sources.images import ImageFiles
from fer_live.types import OutputError


def run_files(args: argparse.Namespace, source, model: Path, stop: threading.Event, stack: ExitStack) -> None:
    """A video or pictures: every frame, in order."""
    stills = isinstance(source, ImageFiles) or is_still(source, args.output)
    check_outputs(args, "pictures" if stills else "video", source.paths if isinstance(source, ImageFiles) else [source.path])
    if args.serve or args.token:
        raise OutputError("--serve shows live sources: a camera, a stream or the demo; leave it out for files")
    has_window = wants_window(args)
    if not (args.output or args.log or has_window):
        raise OutputError("there is no window and nothing to write; give --output, --log or both")
    words = screen_words(args)
    analyze = Chain(args, load(args, model, is_live=False), stills=stills)
    labels = analyze.labels
    view = make_view(args, args.mirror is True, "")
    calibrate = None if stills else partial(analyze.analyzer.calibrate, args.calibrate or DEFAULT_S)
    controls = stack.enter_context(Controls(view, write_picture, calibrate=calibrate))
    sinks = file_sinks(args, source, stills, labels)
    with ExitStack() as opened:
        controls.sinks += [opened.enter_context(sink) for sink in sinks]
        screen = opened.enter_context(Window(live_keys(args, controls.keys(stop.set)), stop.set)) if has_window else None
        pace = 0.0 if sinks else float("inf") if stills else 1.0
        run_file(mirrored(source, view), analyze.all, Overlay(labels, view, words, dead_keys(args, stills)).draw, controls.sinks,
                 stop, source.frames, args.max_seconds, screen, pace, 1 if stills else 4)
    if args.calibrate and not analyze.analyzer.baseline.learned:
        print(f"no face was calibrated: none was seen long enough in the first {args.calibrate:g} s", file=sys.stderr)
    written = [told for sink in sinks if (told := sink.told)]
    if written:
        print("wrote " + " and ".join(written), file=sys.stderr)


def is_still(source, output: Path | None) -> bool:
    """Whether a video is to be written as a picture: it has only one."""
    return source.declared == 1 and output is not None and output.suffix.lower() in PICTURES_WRITTEN


def file_sinks(args: argparse.Namespace, source, stills: bool, labels: tuple[str, ...]) -> list:
    """What a file's results are written to."""
    sinks: list = []
    if args.output and stills:
        sinks.append(PictureWriter(args.output, output_is_folder(args, source.frames)))
    elif args.output:
        sound = source.path if source.has_audio else None
        sinks.append(VideoRecorder(unused(args.output), source.fps, source.time_base, sound_from=sound,
                                   segments=source.timeline.segments, shown=source.track.index))
    if args.log:
        sinks.append(Log(unused(args.log), labels))
    return sinks
