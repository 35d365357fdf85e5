"""What the keys of the window do."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from fer_live.app.outputs import Outputs
from fer_live.sinks.recorder import write_picture
from fer_live.types import OutputError, View

logger = logging.getLogger("fer_live")

Keys = dict[str, Callable[[], None]]  # key -> what it does
WRITING = "rs"


def make_keys(outputs: Outputs, quit: Callable[[], None], calibrate: Callable[[], None] | None, can_write: bool) -> Keys:
    """The keys that do something in this run. calibrate: asks the faces in view to look neutral; None for pictures.

    Only what is live is recorded on a key; files have --output.
    """
    view = outputs.view
    keys: Keys = {"q": quit, "esc": quit, "s": partial(snapshot, outputs), "b": partial(toggle, view, "bars"),
                  "m": partial(toggle, view, "mirror"), "h": partial(toggle, view, "help")}
    if calibrate:
        keys["n"] = calibrate
    if outputs.open_recorder:
        keys["r"] = partial(toggle_record, outputs)
    return {key: act for key, act in keys.items() if can_write or key not in WRITING}


def dead_keys(can_write: bool, is_still: bool = False) -> str:
    """The keys that do nothing in this run, though the help would name them."""
    return ("" if can_write else WRITING) + ("n" if is_still else "")


def toggle(view: View, name: str) -> None:
    """Switch one of the view's choices on or off."""
    setattr(view, name, not getattr(view, name))


def toggle_record(outputs: Outputs) -> None:
    """Begin a recording under a name of its own, or finish the one that runs."""
    if outputs.recorder is not None:
        outputs.stop_record()
        return
    try:
        outputs.record(Path(time.strftime("fer_live-%Y%m%d-%H%M%S.mp4")))
    except OutputError as error:  # nor must a folder that may no longer be entered
        outputs.tell("recording not started", str(error))


def snapshot(outputs: Outputs) -> None:
    """Save the picture as it is shown."""
    if outputs.last is None:
        return
    try:
        path = write_picture(Path(time.strftime("fer_live-%Y%m%d-%H%M%S.png")), outputs.last[0])
    except OutputError as error:  # a full disk must not end the show
        outputs.tell("picture not saved", str(error))
        return
    outputs.view.notice = ""
    logger.info(f"saved {path}")
