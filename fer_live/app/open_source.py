"""Opens what the options name as the source: a file, a supervised camera or stream, several of them, or the demo."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack

from fer_live.redact import redact_address
from fer_live.sources.devices import camera_number, stable_path
from fer_live.sources.grid import Grid
from fer_live.sources.hooks import Hooks
from fer_live.sources.open import open_source
from fer_live.sources.slate import draw_slate
from fer_live.sources.supervisor import Patience, Supervised
from fer_live.types import SourceError

# They mean something to cameras and streams only: the demo and files are not watched.
WATCHING = ("wait_for_camera", "silent_seconds", "frozen_seconds", "on_camera_lost", "on_camera_found")


def enter_source(args: argparse.Namespace, stack: ExitStack):
    """The opened source, and whether it is the demo. Without a choice it is camera 0, else the demo."""
    if args.source:
        source = make_grid(args.source, args) if len(args.source) > 1 else make_source(args.source[0], args)
        _check_watching(args, source)
        return stack.enter_context(source), "demo" in args.source
    try:
        return stack.enter_context(make_source("0", args)), False
    except SourceError as error:
        print(f"{error}: showing the built-in demo", file=sys.stderr)
        return stack.enter_context(open_source("demo")), True


def _check_watching(args: argparse.Namespace, source) -> None:
    """Raises SourceError where an option could not take effect."""
    given = [name for name in WATCHING if not (getattr(args, name) is None or getattr(args, name) is False)]
    if given and not any(isinstance(one, Supervised) for one in (source.sources if isinstance(source, Grid) else [source])):
        raise SourceError(f"--{given[0].replace('_', '-')} is for cameras and streams; leave it out for files and the demo")


def patience(args: argparse.Namespace) -> Patience:
    """How long to wait for a camera, as the options say."""
    given = {"silent_s": args.silent_seconds, "frozen_s": args.frozen_seconds}
    return Patience.of(**{name: value for name, value in given.items() if value is not None})


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
        source = open_source(text, patience(args))
    except SourceError:
        if not args.wait_for_camera:
            raise
    else:
        if not source.is_live or text == "demo":
            return source
    name = f"camera {text}" if camera_number(text) is not None else redact_address(text)
    known = text

    def connect():
        nonlocal known
        known = stable_path(known)  # plugged in again, a camera may get another number, but not another link
        return open_source(known, patience(args))

    hooks = Hooks({"lost": args.on_camera_lost, "found": args.on_camera_found}, name)
    return Supervised(name, connect, draw_slate, hooks, patience(args), args.wait_for_camera)
