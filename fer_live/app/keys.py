"""What the keys of the window do."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
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
    keys: Keys = {"q": quit, "esc": quit, "s": partial(save_picture, outputs), "b": partial(toggle, view, "bars"),
                  "m": partial(toggle, view, "mirror"), "h": partial(toggle, view, "help")}
    if calibrate:
        keys["n"] = calibrate
    if outputs.open_recorder:
        keys["r"] = partial(toggle_record, outputs)
    return {key: act for key, act in keys.items() if can_write or key not in WRITING}


def toggle(view: View, name: str) -> None:
    """Switch one of the view's choices on or off."""
    setattr(view, name, not getattr(view, name))


def toggle_record(outputs: Outputs) -> None:
    """Begin a recording, or finish the one that runs."""
    if outputs.recorder is not None:
        outputs.stop_record()
    else:
        with suppress(OutputError):  # it has been told
            start_recording(outputs)


def start_recording(outputs: Outputs) -> Path:
    """Begin a recording under a name of its own, if none runs; returns where it is. Raises OutputError, after telling it."""
    if outputs.recorder is None:
        try:
            outputs.record(Path(time.strftime("fer_live-%Y%m%d-%H%M%S.mp4")))
        except OutputError as error:  # nor must a folder that may no longer be entered end the show
            outputs.tell("recording not started", str(error))
            raise
    if outputs.recorder is None:  # its first picture could not be written
        raise OutputError(outputs.view.notice)
    return outputs.recorder.path


def save_picture(outputs: Outputs) -> None:
    """What the key does: save the picture as it is shown, if there is one."""
    with suppress(OutputError):  # it has been told
        snapshot(outputs)


def snapshot(outputs: Outputs) -> Path | None:
    """Save the picture that is shown, annotated, in the size of the frames; returns where it is, None without one. Raises
    OutputError, after telling it."""
    image = outputs.picture()
    if image is None:
        return None
    try:
        path = write_picture(Path(time.strftime("fer_live-%Y%m%d-%H%M%S.png")), image)
    except OutputError as error:  # a full disk must not end the show
        outputs.tell("picture not saved", str(error))
        raise
    outputs.view.notice = ""
    outputs.say("photo_saved", path.name)
    logger.info(f"saved {path}")
    return path
