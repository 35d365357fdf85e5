"""Keyboard actions of the window."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from fer_live.app.outputs import Outputs, timestamped
from fer_live.sinks.image_writer import write_image
from fer_live.types import OutputError, View

logger = logging.getLogger("fer_live")

Keys = dict[str, Callable[[], None]]  # key -> action
WRITING = "rs"


def make_keys(outputs: Outputs, quit: Callable[[], None], calibrate: Callable[[], None] | None, can_write: bool) -> Keys:
    """Return the keys that work in this run. calibrate: starts a calibration of the faces in view; None for images.

    The recording key exists only in live runs; files have --output.
    """
    view = outputs.view
    keys: Keys = {"q": quit, "esc": quit, "s": partial(save_image, outputs), "b": partial(toggle, view, "bars"),
                  "m": partial(toggle, view, "mirror"), "h": partial(toggle, view, "help")}
    if calibrate:
        keys["n"] = calibrate
    if outputs.open_recorder:
        keys["r"] = partial(toggle_record, outputs)
    return {key: act for key, act in keys.items() if can_write or key not in WRITING}


def toggle(view: View, name: str) -> None:
    """Switch an option of the view on or off."""
    setattr(view, name, not getattr(view, name))


def toggle_record(outputs: Outputs) -> None:
    """Start a recording, or finish the running one."""
    if outputs.recorder is not None:
        outputs.stop_record()
    else:
        with suppress(OutputError):  # already reported
            start_recording(outputs)


def start_recording(outputs: Outputs) -> Path:
    """Start a timestamped recording if none is running, and return its path. Raises OutputError after reporting it."""
    if outputs.recorder is None:
        try:
            outputs.record(timestamped(".mp4"))
        except OutputError as error:  # e.g. the folder is not writable; the run goes on
            outputs.tell("recording not started", str(error))
            raise
    if outputs.recorder is None:  # the first frame could not be written
        raise OutputError(outputs.view.notice)
    return outputs.recorder.path


def save_image(outputs: Outputs) -> None:
    """Save the displayed image, if there is one. Errors are reported, not raised."""
    with suppress(OutputError):  # already reported
        snapshot(outputs)


def snapshot(outputs: Outputs) -> Path | None:
    """Save the displayed image, annotated, at the frame's size. Return its path, or None if there is no image yet.

    Raises OutputError after reporting it.
    """
    image = outputs.displayed_image()
    if image is None:
        return None
    try:
        path = write_image(timestamped(".png"), image)
    except OutputError as error:  # e.g. the disk is full; the run goes on
        outputs.tell("image not saved", str(error))
        raise
    outputs.view.notice = ""
    outputs.say("photo_saved", path.name)
    logger.info(f"saved {path}")
    return path
