"""Opens the configured source: a file, a supervised camera or stream, a grid of several, or the demo."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import cast

from fer_live.app.config import SourceConfig
from fer_live.protocols import LiveSource, Source
from fer_live.redact import redact, redact_address
from fer_live.sources.devices import camera_number, stable_path
from fer_live.sources.grid import Grid
from fer_live.sources.hooks import Hooks
from fer_live.sources.open import open_source
from fer_live.sources.slate import draw_slate
from fer_live.sources.supervisor import Supervised, Timeouts
from fer_live.types import SourceError

logger = logging.getLogger("fer_live")

# Options that apply only to cameras and streams; the demo and files are not supervised.
WATCHING = {"--wait-for-camera": "wait_for_camera", "--silent-seconds": "silent_s", "--frozen-seconds": "frozen_s",
            "--on-camera-lost": "on_camera_lost", "--on-camera-found": "on_camera_found"}


def enter_source(config: SourceConfig, stack: ExitStack) -> tuple[Source, bool]:
    """Open the source. Return (source, is_demo). Without a configured source: camera 0, or the demo if it cannot be opened.

    Raises SourceError.
    """
    if config.names:
        source = make_grid(config) if len(config.names) > 1 else make_source(config.names[0], config)
        _check_watching(config, source)
        stack.enter_context(source)
        logger.debug(f"{redact(', '.join(config.names))}: {source.fps:g} frames a second")
        return source, "demo" in config.names
    try:
        return stack.enter_context(make_source("0", config)), False
    except SourceError as error:
        logger.warning(f"{error}: showing the built-in demo")
        return stack.enter_context(open_source("demo")), True


def _check_watching(config: SourceConfig, source: Source) -> None:
    """Raise SourceError for supervision options if no source is supervised."""
    given = [option for option, name in WATCHING.items() if not (getattr(config, name) is None
             or getattr(config, name) is False)]  # 0 seconds counts as given
    if given and not any(isinstance(one, Supervised) for one in (source.sources if isinstance(source, Grid) else [source])):
        raise SourceError(f"{given[0]} is for cameras and streams; leave it out for files and the demo")


def timeouts(config: SourceConfig) -> Timeouts:
    """Return the timeouts for detecting a lost camera."""
    given = {"silent_s": config.silent_s, "frozen_s": config.frozen_s}
    return Timeouts.of(**{name: value for name, value in given.items() if value is not None})


def make_grid(config: SourceConfig) -> Grid:
    """Return several live sources as one grid. Raises SourceError if one is a file."""
    sources = [make_source(name, config) for name in config.names]
    for name, source in zip(config.names, sources, strict=True):
        if not source.is_live:
            raise SourceError(f"{name} is a file; several sources are for cameras, streams and the demo: run files one by one")
    return Grid(sources)


def make_source(name: str, config: SourceConfig) -> Source:
    """Return the source with this name; cameras and streams are supervised. Raises SourceError."""
    try:
        source = open_source(name, timeouts(config))
    except SourceError:
        if not config.wait_for_camera:
            raise
    else:
        if not source.is_live or name == "demo":
            return source
    shown = f"camera {name}" if camera_number(name) is not None else redact_address(name)
    known = name

    def connect() -> LiveSource:
        nonlocal known
        known = stable_path(known)  # after replugging, the camera's number may differ but its /dev link stays
        return cast(LiveSource, open_source(known, timeouts(config)))

    hooks = Hooks({"lost": config.on_camera_lost, "found": config.on_camera_found}, shown)
    return Supervised(shown, connect, draw_slate, hooks, timeouts(config), config.wait_for_camera)
