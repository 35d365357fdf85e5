"""The page of `fer_live.report --compare`: two sessions side by side."""

from __future__ import annotations

import statistics
from pathlib import Path

from fer_live.report.charts import clock, most_faces
from fer_live.report.figures import Chart, overview
from fer_live.report.page import render
from fer_live.report.sentences import percent, shares
from fer_live.report.totals import Session

NOTABLE = 0.05  # minimum difference of shares that the headline mentions
ROW = tuple[int, float | None, float | None]  # label, its share 0..1 in each session; None if no face was seen


def comparison_page(first: Session, second: Session, logs: tuple[Path, Path]) -> str:
    """Return the whole page. The second session's labels are renumbered, so that each label has one color on the page."""
    names = _names(logs)
    labels = [*first.labels, *(name for name in second.labels if name not in first.labels)]
    renumber(second, labels)
    rows = _rows(first, second, labels)
    share = Chart("expressions", f"Expressions: {names[0]} and {names[1]}", ["expression", *names, "difference"],
                  [[labels[label], _rounded(one), _rounded(two), _rounded(_difference(one, two))] for label, one, two in rows])
    length_s = max(first.span_s, second.span_s)
    timed = [] if first.stills or second.stills or not length_s else [first, second]
    top = max((most_faces(session.bins, session.bin_s) for session in timed), default=1.0)
    overviews = [overview(session, labels, f"overview-{number}", f"Faces over time: {name}", length_s, top)
                 for number, (session, name) in enumerate(zip(timed, names, strict=False))]
    shown = {"names": names, "headline": _headline(rows, labels, names), "measures": _measures(first, second), "rows": rows,
             "differences": [_points(one, two) for _, one, two in rows], "overviews": overviews, "most_faces": top,
             "expressions": share, "video": "", "notes": _notes(first, second)}
    return render("compare.html", labels, [share, *overviews], shown)


def _names(logs: tuple[Path, Path]) -> list[str]:
    """Return display names of the sessions: the file names, with the folder if those are equal."""
    if logs[0].name != logs[1].name:
        return [log.name for log in logs]
    folders = [log.absolute().parent.name for log in logs]
    return [f"{folder}/{log.name}" for folder, log in zip(folders, logs, strict=True)] if folders[0] != folders[1] else \
        [f"{log.name} ({number})" for number, log in enumerate(logs, 1)]


def renumber(session: Session, labels: list[str]) -> None:
    """Convert a session's labels to indices in `labels`, which must include all of them."""
    to = [labels.index(name) for name in session.labels]
    session.bins = [{to[label]: seconds for label, seconds in part.items()} for part in session.bins]
    for counts in (session.seconds, session.counts, session.runs, session.shown_by):
        moved = {to[label]: count for label, count in counts.items()}
        counts.clear()
        counts.update(moved)
    session.labels = labels


def _rows(first: Session, second: Session, labels: list[str]) -> list[ROW]:
    """Return a row for each label that was shown, sorted by the sum of both shares, largest first."""
    one, two = dict(shares(first)), dict(shares(second))
    shown = [(label, one.get(name, 0.0) if one else None, two.get(name, 0.0) if two else None)
             for label, name in enumerate(labels) if name in one or name in two]
    return sorted(shown, key=lambda row: -(row[1] or 0.0) - (row[2] or 0.0))


def _difference(one: float | None, two: float | None) -> float | None:
    return None if one is None or two is None else two - one


def _rounded(value: float | None) -> float | str:
    return "" if value is None else round(value, 4)


def _points(one: float | None, two: float | None) -> str:
    """Format the difference in percentage points."""
    difference = _difference(one, two)
    if difference is None:
        return "-"
    return "0.0" if abs(difference) < 0.0005 else f"{100 * difference:+.1f}".replace("-", "\N{MINUS SIGN}")


def _headline(rows: list[ROW], labels: list[str], names: list[str]) -> str:
    """Summarize the largest differences in a sentence."""
    without = [name for number, name in enumerate(names, 1) if not rows or rows[0][number] is None]
    if without:
        return f"No face was seen in {' and '.join(without)}."
    known = [(label, one, two) for label, one, two in rows if one is not None and two is not None]
    notable = sorted((row for row in known if abs(row[2] - row[1]) >= NOTABLE), key=lambda row: -abs(row[2] - row[1]))[:2]
    if not notable:
        return f"{names[0]} and {names[1]} show the same expressions, to within {100 * NOTABLE:.0f} percentage points."
    parts = [f"{'more' if two > one else 'less'} {labels[label]} ({two:.0%} against {one:.0%})" for label, one, two in notable]
    return f"{names[1]} shows {' and '.join(parts)} than {names[0]}."


def _measures(*sessions: Session) -> list[list[str]]:
    """Return rows of text: a name and its value in each session."""
    def row(what: str, value) -> list[str]:
        return [what, *(value(session) for session in sessions)]

    counts = [row("images" if all(s.stills for s in sessions) else "frames", lambda s: f"{s.frames:,}"),
              row("most faces at once", lambda s: f"{s.most:,}")]
    timed = [
        row("duration", lambda s: clock(s.span_s)),
        row("people, by track", lambda s: f"{len(s.dwells_s):,}"),
        row("somebody in view", lambda s: percent(s.someone_s, s.logged_s)),
        row("median stay", lambda s: clock(statistics.median(s.dwells_s)) if s.dwells_s else "-"),
        row("label changes per face-minute", lambda s: f"{60 * s.changes / s.face_s:.1f}" if s.face_s else "-"),
        row("camera lost", lambda s: clock(s.lost_s) if s.lost else "never"),
    ]
    return counts if any(s.stills for s in sessions) else [*timed, *counts]


def _notes(*sessions: Session) -> list[str]:
    """Return notes on how the numbers were computed."""
    notes = ["Expressions are what a face looks like to the model in single views, not what a person feels.",
             "Shares are of the time that faces were in view, or of the faces if a log is of images. A difference can be due to "
             "the light, the camera or the people.",
             "A person is a face that was tracked without a break; someone who leaves and comes back is counted again."]
    skipped = [(session.skipped, session.skipped_faces) for session in sessions]
    if any(map(any, skipped)):
        notes.append("Skipped: " + " and ".join(f"{lines:,} lines and {faces:,} faces" for lines, faces in skipped)
                     + " that could not be read.")
    return notes
