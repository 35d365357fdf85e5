"""Opens what the options name as the source: a file, a supervised camera or stream, several of them, or the demo."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack

from fer_live.redact import redact_address
from fer_live.sources import open_source
from fer_live.sources.devices import stable_path
from fer_live.sources.grid import Grid
from fer_live.sources.hooks import Hooks
from fer_live.sources.slate import draw_slate
from fer_live.sources.supervisor import Patience, Supervised
from fer_live.types import SourceError


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
    name = f"camera {text}" if text.isdigit() else redact_address(text)
    known = text

    def connect():
        nonlocal known
        known = stable_path(known)  # plugged in again, a camera may get another number, but not another link
        return open_source(known)

    hooks = Hooks({"lost": args.on_camera_lost, "found": args.on_camera_found}, name)
    patience = Patience(frozen_s=args.frozen_seconds)
    return Supervised(name, connect, draw_slate, hooks, patience, args.wait_for_camera)
