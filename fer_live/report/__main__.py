"""python -m fer_live.report LOG: what a log says of a session, as one HTML page that needs neither network nor scripts."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from fer_live.app.messages import shown
from fer_live.model.paths import is_file, is_folder, named_path, one_line
from fer_live.redact import redact_errors
from fer_live.report.session import summarize
from fer_live.report.write import write_report
from fer_live.sinks.log_reader import check_kind, read_log
from fer_live.types import OutputError, SourceError

logger = logging.getLogger("fer_live")


@shown()
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m fer_live.report", description="Makes one self-contained HTML page of a log.")
    parser.add_argument("log", type=Path, help="a .jsonl or .csv file written with --log")
    parser.add_argument("--video", type=Path, metavar="FILE", help="the video that was analyzed, or the recording made with the "
                        "log: the page then shows a picture of each person")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where to write (default: beside the log, as .html); a name "
                        "that exists gets a number")
    parser.register("type", Path, named_path)
    args = redact_errors(parser).parse_args(arguments)
    try:
        logger.info(f"wrote {make_report(args.log, args.video, args.output)}")
    except (SourceError, OutputError, OSError) as error:
        logger.error(f"error: {one_line(error)}")
        return 2
    return 0


def make_report(log: Path, video: Path | None = None, output: Path | None = None) -> Path:
    """Write the page and return its path. Raises SourceError for a log or video that cannot be read, OutputError."""
    check_kind(log)
    path = output or log.with_suffix(".html")
    if path.suffix.lower() not in (".html", ".htm"):
        raise OutputError(f"--output {path}: reports are .html files")
    if not is_folder(path.parent):
        raise OutputError(f"cannot write {path}: the folder {path.parent} does not exist")
    if video is not None and not is_file(video):
        raise SourceError(f"no video at {video}; give the file that the log was made from, or leave --video out")
    session = summarize(read_log(log))
    if not session.frames:
        raise SourceError(f"{log} holds no frame of a log ({session.skipped:,} lines left out); give a file written with --log")
    from fer_live.sinks.disk import unused

    path = unused(path)
    write_report(session, log, path, video)
    return path


if __name__ == "__main__":
    sys.exit(main())
