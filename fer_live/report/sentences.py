"""Texts of a report: the headline, the notes, and the times without faces."""

from __future__ import annotations

import statistics

from fer_live.report.charts import clock
from fer_live.report.session import GAP_S, HOLE_S
from fer_live.report.totals import Session
from fer_live.types import UNSURE

WORDS = {"left": "left the image", "lost": "was lost", "camera lost": "was lost with the camera"}  # reasons why a track ended
SMALL = 0.05  # minimum share that the headline mentions


def percent(part: float, whole: float) -> str:
    """Format a share as 45%, or - if the whole is 0."""
    return f"{100 * part / whole:.0f}%" if whole else "-"


def counted(count: int, name: str, plural: str = "") -> str:
    """Format a count with its noun: 1 face, 1,200 faces."""
    return f"{count:,} {name if count == 1 else plural or name + 's'}"


def spoken(time_s: float) -> str:
    """Format seconds in words: 7 seconds, 2 minutes 5 seconds, 1 hour 2 minutes."""
    whole = round(time_s)
    if whole < 60:
        return counted(whole, "second") if whole else f"{time_s:.1f} seconds"
    parts = (whole // 3600, "hour"), (whole // 60 % 60, "minute"), (whole % 60 if whole < 3600 else 0, "second")
    return " ".join(counted(count, name) for count, name in parts if count)


def shares(session: Session) -> list[tuple[str, float]]:
    """Return (label, share 0..1), largest first: of the time that faces were in view, or of the faces in images."""
    amounts = session.counts if session.stills else session.seconds
    whole = sum(amounts.values())
    return [(session.labels[number], amount / whole) for number, amount in amounts.most_common()] if whole else []


def headline(session: Session) -> tuple[str, str]:
    """Summarize the session in one sentence, with details in a few more."""
    where = f"In {counted(session.frames, 'image')}" if session.stills else f"In {spoken(session.span_s)}"
    lost = f" The camera was lost for {spoken(session.lost_s)}." if session.lost else ""
    if session.lost and not session.logged_s:
        return "The camera sent no images.", f"It was lost for all of {spoken(session.lost_s)}."
    found = shares(session)
    if not found:
        return "No face was seen.", f"{where}, nobody was in view.{lost}"
    unsure = dict(found).get(UNSURE, 0.0)
    where_unsure = f"For {unsure:.0%} of them" if session.stills else f"{unsure:.0%} of the time"
    unread = f" {where_unsure}, no expression was clear." if unsure >= SMALL else ""
    return _looks(found), f"{where}, {_seen(session)}.{unread}{lost}"


def _seen(session: Session) -> str:
    """Describe who was in view. Tracks are not people: someone who returns gets a new track, so people are not counted."""
    if session.stills:
        return f"{counted(session.faces, 'face')} {'was' if session.faces == 1 else 'were'} found"
    stays = len(session.dwells_s)
    if stays == 1:
        return "one person was in view"
    return f"people came into view {stays:,} times, " + (f"up to {session.most} at once" if session.most > 1 else "one at a time")


def _looks(found: list[tuple[str, float]]) -> str:
    """Describe the largest shares in a sentence, except unsure faces."""
    parts = [(name, share) for name, share in found if share >= SMALL and name != UNSURE][:3]
    if not parts:
        return "Faces were seen, but hardly any expression was clear."
    first, *others = (f"{name} ({share:.0%})" for name, share in parts)
    then = f", then {' and '.join(others)}" if others else ""
    return f"Faces looked {'mostly' if parts[0][1] >= 0.5 else 'most often'} {first}{then}."


def cards(session: Session) -> list[tuple[str, str]]:
    """Return (value, description) pairs for the whole session."""
    if session.stills:
        return [(f"{session.frames:,}", "images"), (f"{session.faces:,}", "faces"), (f"{session.most:,}", "most in one")]
    dwells = session.dwells_s
    made = [
        (clock(session.span_s), counted(session.frames, "frame")),
        (f"{len(dwells):,}", "people, by track"),
        (percent(session.someone_s, session.logged_s), f"somebody in view ({clock(session.someone_s)})"),
        (clock(statistics.median(dwells)) if dwells else "-", f"median stay; longest {clock(max(dwells, default=0))}"),
        (f"{session.most:,}", "most faces at once"),
        (f"{60 * session.changes / session.face_s:.1f}" if session.face_s else "-", "label changes per face-minute"),
    ]
    return [*made, (clock(session.lost_s), "camera lost")] if session.lost else made


def absences(session: Session, is_csv: bool) -> list[tuple[str, str, list[tuple[float, float]]]]:
    """Return (what, text, spans) for the times without faces, without log entries, and without a camera."""
    nothing = "no row was written (a CSV log has none while nobody is in view)" if is_csv else "nothing was logged"
    found, causes = [], dict(zip(session.gaps, session.gap_causes, strict=True))
    for spans, what, limit_s in ((session.gaps, "no face was seen", GAP_S), (session.holes, nothing, HOLE_S),
                                 (session.lost, "the camera was lost", 0.0)):
        if not spans:
            continue
        total_s, longest = sum(end - start for start, end in spans), sorted(spans, key=lambda s: s[0] - s[1])[:10]
        listed = ", ".join(f"{clock(start)} to {clock(end)}{_cause(causes.get((start, end)))}" for start, end in sorted(longest))
        times = "once" if len(spans) == 1 else f"{len(spans):,} times"
        text = (f"{f'for {limit_s:.0f} s or more, ' if limit_s else ''}{times}, {clock(total_s)} together, {what}"
                f"{'; the longest' if len(spans) > 10 else ''}: {listed}.")
        found.append((what, text[:1].upper() + text[1:], spans))
    return found


def _cause(because: str | None) -> str:
    return f" (the last face {WORDS.get(because, because)})" if because else ""


def notes(session: Session) -> list[str]:
    """Return notes on how the numbers were computed and what they omit."""
    made = [
        "Expressions are what a face looks like to the model in single views, not what a person feels.",
        f"A frame counts for the time until the next one. If that is more than {HOLE_S:.0f} s, the log has a gap, and the frame "
        "counts for as long as the one before it. A stay is the time from the first to the last frame with the face.",
        "A person is a face that was tracked without a break; someone who leaves and comes back is counted again.",
    ]
    if session.stills:
        made = [made[0], "The log is of images, without times: faces are counted, not seconds."]
    if session.endings:
        listed = ", ".join(f"{name} {count:,}" for name, count in session.endings.items())
        made.append(f"Why tracks ended: {listed}. Left: the face was last found at the edge of the image. "
                    "Lost: anywhere else, because it turned away or was covered, or the video was cut.")
    if session.lost:
        made.append("While the camera was lost, no faces could be detected: that time counts neither toward the shares nor as "
                    "time without a face.")
    if session.parts > 1:
        made.append(f"The times start over {session.parts - 1:,} times: the parts are shown one after another, and person 2.1 is "
                    "person 1 of the second part.")
    if session.skipped or session.skipped_faces:
        made.append(f"Skipped: {session.skipped:,} lines that are not frames, and {session.skipped_faces:,} faces without a "
                    "track, a label or a confidence from 0 to 1.")
    return made
