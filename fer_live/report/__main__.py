"""python -m fer_live.report LOG: what a log says of a session, as one HTML page that needs neither network nor scripts."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from fer_live.app.messages import shown
from fer_live.model.checkpoint import write_atomically
from fer_live.model.paths import is_file, is_folder, named_path, one_line
from fer_live.redact import redact_errors
from fer_live.report.page import session_page
from fer_live.report.session import summarize
from fer_live.report.totals import Session
from fer_live.sinks.log_reader import check_kind, read_log
from fer_live.types import OutputError, SourceError

logger = logging.getLogger("fer_live")


@shown()
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m fer_live.report", description="Makes one self-contained HTML page of a log.")
    parser.add_argument("log", type=Path, help="a .jsonl or .csv file written with --log")
    parser.add_argument("--video", type=Path, metavar="FILE", help="the video that was analysed, or the recording made with the "
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
    pictures = _pictures(video, session) if video else {}
    from fer_live.sinks.disk import unused

    path = unused(path)
    try:
        text = session_page(session, log, pictures)
        write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    except OSError as error:
        raise OutputError(f"cannot write {path} ({error.strerror}); give another place with --output") from None
    return path


def _pictures(video: Path, session: Session) -> dict[str, bytes]:
    """A JPEG of each person whose face has a box in the log and a place in the video, by the person's name."""
    from fer_live.report.thumbnails import thumbnails

    people = [person for person in session.people if person.best]
    found = thumbnails(video, [person.best[1:3] for person in people if person.best])
    pictures = {person.name: picture for person, picture in zip(people, found, strict=True) if picture}
    if len(pictures) < len(people):
        logger.warning(f"{video} has no picture for {len(people) - len(pictures)} of {len(people)} people; is it the log's own "
                       "video?")
    return pictures


if __name__ == "__main__":
    sys.exit(main())
