"""Entry point of `python -m fer_live` and `fer-live`."""

from __future__ import annotations

import logging
import os
import platform
import signal
import sys
import threading
from contextlib import ExitStack

if "--no-store" in sys.argv:
    sys.dont_write_bytecode = True  # before imports that would write .pyc files

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
        logger.error(f"error: {redact(str(error))}")  # the message can contain a URL with a password
    except OSError as error:  # errors without a more specific message
        logger.error(f"error: {redact(one_line(error))}")
    return 2


def run(config: Config) -> int:
    """Open the source, load the model and run. Returns the exit status."""
    messages.set_level(config.log_level)
    sys.dont_write_bytecode |= not config.output.can_write
    if config.list_cameras:
        from fer_live.sources.devices import describe_cameras

        print(describe_cameras())
        return 0
    from fer_live.analysis.runtimes.compiled_cache import user_cache
    from fer_live.app.loader import ClassifierLoader
    from fer_live.model.checkpoint import check_model_file

    check_model_file(config.analysis.model)
    load = ClassifierLoader(config.analysis, user_cache() if config.output.can_write else None)
    import cv2

    from fer_live import __version__
    from fer_live.app.files import run_files
    from fer_live.app.live import run_live_source
    from fer_live.app.open_source import enter_source
    from fer_live.sources.images import ImageFiles
    from fer_live.sources.video_file import VideoFile
    from fer_live.types import SourceError

    if logger.isEnabledFor(logging.DEBUG):  # naming the platform starts a process
        logger.debug(f"fer_live {__version__}, Python {platform.python_version()} on {platform.platform()}, "
                     f"OpenCV {cv2.__version__}")
    stop = threading.Event()
    caught = catch_signals(stop)
    with ExitStack() as stack:
        stack.callback(load.close)
        source, is_demo = enter_source(config.source, stack)
        if not isinstance(source, VideoFile | ImageFiles):
            run_live_source(config, source, is_demo, load, stop, stack)
            # a live run ends on a signal; a kiosk's supervisor must see that no visitor ended it
            return 128 + caught[0] if caught and config.kiosk else 0
        if config.kiosk:
            raise SourceError("--kiosk needs a camera, a stream or the demo; leave it out for files")
        run_files(config, source, load, stop, stack)
        return 128 + caught[0] if caught else 0


def catch_signals(stop: threading.Event) -> list[int]:
    """Make Ctrl-C and SIGTERM end the run cleanly; returns a list that receives the signal's number."""
    caught: list[int] = []

    def handler(number: int, _frame: object) -> None:
        caught.append(number)
        stop.set()
        signal.signal(number, signal.SIG_DFL)  # a second signal ends the program at once

    signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGTERM, handler)
    return caught


def leave(status: int) -> None:
    """Exit. If threads still run, for example hung in a camera driver, skip the interpreter's cleanup, which would crash."""
    sys.stdout.flush()
    sys.stderr.flush()
    if threading.active_count() > 1:
        os._exit(status)
    sys.exit(status)


def console() -> None:
    """Run the command `fer-live`."""
    leave(main())


if __name__ == "__main__":
    console()
