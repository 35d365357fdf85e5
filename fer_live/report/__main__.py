"""python -m fer_live.report LOG: summarizes a log as one self-contained HTML page."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from fer_live.app.messages import shown
from fer_live.model.paths import is_file, is_folder, named_path, one_line
from fer_live.model.suggest import suggest_names
from fer_live.redact import redact_errors
from fer_live.report.compare import comparison_page
from fer_live.report.session import summarize
from fer_live.report.totals import Session
from fer_live.report.write import write_page, write_report
from fer_live.sinks.disk import unused
from fer_live.sinks.log_reader import check_kind, read_log
from fer_live.types import OutputError, SourceError

logger = logging.getLogger("fer_live")


@shown()
def main(arguments: list[str] | None = None) -> int:
    args = _parse(arguments)
    try:
        if args.compare:
            path = make_comparison(args.compare[0], args.compare[1], args.output)
        else:
            path = make_report(args.log, args.video, args.output)
    except (SourceError, OutputError, OSError) as error:
        logger.error(f"error: {one_line(error)}")
        return 2
    logger.info(f"wrote {path}")
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fer_live.report", description="Summarizes a log, or compares two, on "
                                     "one self-contained HTML page.")
    parser.add_argument("log", type=Path, nargs="?", help="a .jsonl or .csv file written with --log")
    parser.add_argument("--compare", type=Path, nargs=2, metavar=("A", "B"), help="compare two logs instead")
    parser.add_argument("--video", type=Path, metavar="FILE", help="the analyzed video, or the recording made with the log: "
                        "adds an image of each person, and links the video, so that a click on a chart seeks to that moment")
    parser.add_argument("--output", type=Path, metavar="FILE", help="the page (default: beside the log, as .html). Existing "
                        "files are never overwritten; the name gets a numeric suffix")
    parser.register("type", Path, named_path)
    args = redact_errors(suggest_names(parser)).parse_args(arguments)
    if (args.log is None) == (args.compare is None):
        parser.error("give a log, or two with --compare A B")
    if args.compare and args.video:
        parser.error("--video is for the report of one log; leave it out with --compare")
    return args


def make_report(log: Path, video: Path | None = None, output: Path | None = None) -> Path:
    """Write the report and return its path. Raises SourceError for an unreadable log or video, and OutputError."""
    check_kind(log)
    path = _checked(output or log.with_suffix(".html"))
    if video is not None and not is_file(video):
        raise SourceError(f"no video at {video}; give the video that the log was made from, or leave --video out")
    session = _session(log)
    path = unused(path)
    write_report(session, log, path, video)
    return path


def make_comparison(first: Path, second: Path, output: Path | None = None) -> Path:
    """Compare two logs and return the page's path, by default beside the first log. Raises SourceError, OutputError."""
    for log in (first, second):
        check_kind(log)
    path = _checked(output or first.with_name(f"{first.stem}-vs-{second.stem}.html"))
    text = comparison_page(_session(first), _session(second), (first, second))
    path = unused(path)
    write_page(text, path)
    return path


def _checked(path: Path) -> Path:
    """Return the path if a page can be written there. Raises OutputError."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise OutputError(f"--output {path}: reports are .html files")
    if not is_folder(path.parent):
        raise OutputError(f"cannot write {path}: the folder {path.parent} does not exist")
    return path


def _session(log: Path) -> Session:
    session = summarize(read_log(log))
    if not session.frames:
        raise SourceError(f"{log} contains no frame of a log ({session.skipped:,} lines skipped); give a file written with --log")
    return session


if __name__ == "__main__":
    sys.exit(main())
