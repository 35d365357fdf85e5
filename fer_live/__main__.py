"""python -m fer_live: parse the command line, run, and end with a status."""

from __future__ import annotations

import logging
import os
import platform
import signal
import sys
import threading
from contextlib import ExitStack

if "--no-store" in sys.argv:
    sys.dont_write_bytecode = True  # before anything is imported that Python would keep compiled

from fer_live.app import messages
from fer_live.app.config import Config
from fer_live.app.options import parse
from fer_live.redact import redact

logger = logging.getLogger("fer_live")


@messages.shown()
def main(arguments: list[str] | None = None) -> int:
    from fer_live.model.device import DeviceError
    from fer_live.model.paths import one_line
    from fer_live.model.spec import CheckpointError
    from fer_live.types import OutputError, SourceError

    try:
        return run(parse(arguments))
    except (SourceError, OutputError, CheckpointError, DeviceError) as error:
        logger.error(f"error: {redact(str(error))}")  # an address may stand where a file was asked for
    except OSError as error:  # what nobody closer to it has put in better words
        logger.error(f"error: {redact(one_line(error))}")
    return 2


def run(config: Config) -> int:
    """Open the source, load the model, and go. Returns the exit status."""
    messages.set_level(config.log_level)
    sys.dont_write_bytecode |= not config.output.can_write
    if config.list_cameras:
        from fer_live.sources.devices import describe_cameras

        print(describe_cameras())
        return 0
    import cv2

    from fer_live import __version__
    from fer_live.model.checkpoint import check_model_file

    check_model_file(config.analysis.model)
    from fer_live.app.files import run_files
    from fer_live.app.live import run_camera
    from fer_live.app.open_source import enter_source
    from fer_live.sources.images import ImageFiles
    from fer_live.sources.video_file import VideoFile
    from fer_live.types import SourceError

    logger.debug(f"fer_live {__version__}, Python {platform.python_version()} on {platform.platform()}, OpenCV {cv2.__version__}")
    stop = threading.Event()
    caught = catch_signals(stop)
    with ExitStack() as stack:
        source, is_demo = enter_source(config.source, stack)
        if not isinstance(source, VideoFile | ImageFiles):
            run_camera(config, source, is_demo, stop, stack)
            # a live run ends on a signal; whatever restarts a kiosk must see that no visitor ended it
            return 128 + caught[0] if caught and config.kiosk else 0
        if config.kiosk:
            raise SourceError("a kiosk shows a camera, a stream or the demo; leave out --kiosk to watch a file")
        run_files(config, source, stop, stack)
        return 128 + caught[0] if caught else 0


def catch_signals(stop: threading.Event) -> list[int]:
    """Let Ctrl-C and SIGTERM end the run cleanly; returns the list in which a caught signal is noted."""
    caught: list[int] = []

    def handler(number: int, _frame: object) -> None:
        caught.append(number)
        stop.set()
        signal.signal(number, signal.SIG_DFL)  # a second one ends the program at once

    signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGTERM, handler)
    return caught


def leave(status: int) -> None:
    """End the program. All is closed by now; a thread that hangs in a camera's driver, or is in the middle of OpenCV, is left
    behind: to unload the libraries under it would abort the program."""
    sys.stdout.flush()
    sys.stderr.flush()
    if threading.active_count() > 1:
        os._exit(status)
    sys.exit(status)


def console() -> None:
    """The command `fer-live`."""
    leave(main())


if __name__ == "__main__":
    console()
