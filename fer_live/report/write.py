"""Writes a session's page to a file."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from urllib.parse import quote

from fer_live.model.checkpoint import write_atomically
from fer_live.report.page import session_page
from fer_live.report.totals import Session
from fer_live.types import OutputError

logger = logging.getLogger("fer_live")


def write_report(session: Session, log: Path, path: Path, video: Path | None = None) -> None:
    """Write a session's page to `path`; with its video, also an image of each person and a link to the video.

    log: names the session. Raises OutputError, and SourceError for an unreadable video.
    """
    images = _images(video, session) if video else {}
    write_page(session_page(session, log, images, link(video, path) if video else ""), path)


def write_page(text: str, path: Path) -> None:
    """Write a page to `path` atomically. Raises OutputError."""
    try:
        write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    except OSError as error:
        raise OutputError(f"cannot write {path} ({error.strerror}); choose another path") from None


def link(video: Path, page: Path) -> str:
    """Return the URL of a video relative to the page; an absolute one if it is on another drive."""
    target, folder = os.path.abspath(video), os.path.abspath(page.parent)
    try:
        return "./" + quote(os.fsencode(os.path.relpath(target, folder)).replace(os.fsencode(os.sep), b"/"))
    except ValueError:
        return Path(target).as_uri()


def _images(video: Path, session: Session) -> dict[str, bytes]:
    """Return a JPEG for each person with a box in the log and a position in the video, by the person's name."""
    from fer_live.report.thumbnails import thumbnails

    people = [person for person in session.people if person.best]
    found = thumbnails(video, [person.best[1:3] for person in people if person.best])
    images = {person.name: image for person, image in zip(people, found, strict=True) if image}
    if len(images) < len(people):
        logger.warning(f"{video} has no image for {len(people) - len(images)} of {len(people)} people; check that it is the "
                       "log's own video")
    return images
