"""The page of `fer_live.report`: a session as HTML, self-contained, readable without color, on a telephone and on paper."""

from __future__ import annotations

import base64
import statistics
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from fer_live.report.charts import axis, clock, marks, overview, patterns, place, strip
from fer_live.report.session import GAP_S, HOLE_S, KEPT
from fer_live.report.totals import Person, Session

WORDS = {"left": "left the picture", "lost": "was lost", "camera lost": "was lost with the camera"}  # why a track ended


def session_page(session: Session, log: Path, pictures: dict[str, bytes] | None = None) -> str:
    """The whole page. pictures: JPEGs by the names of people."""
    shown = {"log": log.name, "labels": session.labels, "tiles": patterns(session.labels), "stills": session.stills,
             "cards": _cards(session), "notes": _notes(session), "ticks": axis(session.span_s), **_expressions(session)}
    if session.stills:
        shown |= {"bars": [], "people": [], "events": []}
    else:
        bars, most = overview(session.bins, session.bin_s, session.span_s, session.labels) if session.bins else ([], 0.0)
        shown |= {"bars": bars, "most_faces": most, "bin_s": session.bin_s, **_people(session, pictures or {}),
                  "absences": _absences(session, log.suffix.lower() == ".csv"), **_events(session)}
    return _environment().get_template("session.html").render(shown)


def _environment() -> Environment:
    """Whatever a log holds is escaped, and what cannot be printed, such as controls, or letters that turn the direction, is
    replaced, wherever a template puts it."""
    made = Environment(loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, undefined=StrictUndefined,
                       trim_blocks=True, lstrip_blocks=True, finalize=_printable)
    made.filters.update(clock=clock, percent=lambda value: f"{value:.2f}%")
    return made


def _printable(value: object) -> object:
    if not isinstance(value, str) or isinstance(value, Markup):  # Markup: made by a macro, of what went through here
        return value
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in value)


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f}%" if whole else "-"


def _cards(session: Session) -> list[tuple[str, str]]:
    if session.stills:
        return [(f"{session.frames:,}", "pictures"), (f"{session.faces:,}", "faces"), (f"{session.most:,}", "most in one")]
    dwells = session.dwells_s
    return [
        (clock(session.span_s), f"{session.frames:,} frames"),
        (f"{len(dwells):,}", "people, by track"),
        (_percent(session.someone_s, session.logged_s), f"somebody in view ({clock(session.someone_s)})"),
        (clock(statistics.median(dwells)) if dwells else "-", f"median stay; longest {clock(max(dwells, default=0))}"),
        (f"{session.most:,}", "most faces at once"),
        (f"{60 * session.changes / session.face_s:.1f}" if session.face_s else "-", "label changes a face-minute"),
    ]


def _expressions(session: Session) -> dict:
    """Share of time, of faces where these are pictures, for each label: (label, share 0..1, further cells)."""
    amounts = session.counts if session.stills else session.seconds
    whole, rows = sum(amounts.values()), []
    for number, amount in amounts.most_common() if whole else []:
        cells = [f"{100 * amount / whole:.1f}%"]
        cells += [] if session.stills else [clock(amount), f"{session.runs[number]:,}", f"{session.shown_by[number]:,}"]
        rows.append((number, amount / whole, [*cells, f"{session.counts[number]:,}"]))
    columns = ["share", *(["faces"] if session.stills else ["time", "times begun", "people", "faces counted"])]
    return {"expressions": rows, "expression_columns": columns, **_unsure(session, whole)}


def _unsure(session: Session, whole: float) -> dict:
    """Why faces were unsure, where the log says so: (reason, further cells). whole: all faces, or the time they were in view."""
    amounts = session.reason_counts if session.stills else session.reasons
    rows = [(name, [_percent(amounts[name], whole), *([] if session.stills else [clock(amounts[name])]),
                    f"{session.reason_counts[name]:,}"]) for name, _ in session.reason_counts.most_common()]
    return {"reasons": rows, "reason_columns": ["share", *([] if session.stills else ["time"]), "faces counted"]}


def _people(session: Session, pictures: dict[str, bytes]) -> dict:
    """A row a person. Where a stay is a small part of the session, each row has its own scale."""
    if not session.people:
        return {"people": []}
    one_scale = statistics.median(p.last_s - p.first_s for p in session.people) > 0.08 * session.span_s
    note = "All rows have the same time scale."
    if not one_scale:
        note = "Each row has its own scale; the line below it shows where in the session it lies."
    others = len(session.dwells_s) - len(session.people)
    if others:
        note += f" Shown are the {KEPT} people seen longest; the other {others:,} are in the sums."
    people = [_person(session, person, pictures.get(person.name), one_scale) for person in session.people]
    return {"people": people, "people_note": note, "one_scale": one_scale}


def _person(session: Session, person: Person, picture: bytes | None, one_scale: bool) -> dict:
    runs = list(zip(person.starts, person.ends, person.labels, strict=True))
    span = (0.0, session.span_s) if one_scale else (person.first_s, person.last_s)
    main = max(person.seconds, key=person.seconds.__getitem__)
    return {
        "name": person.name, "picture": base64.b64encode(picture).decode() if picture else "",
        "stay_s": person.last_s - person.first_s, "seen_s": person.seen_s, "first_s": person.first_s, "last_s": person.last_s,
        "mainly": f"{session.labels[main]} {_percent(person.seconds[main], person.seen_s)}",
        "ended": f", then {person.ended}" if person.ended else "",
        "rate": f"{60 * person.changes / person.seen_s:.0f}" if person.seen_s else "-",
        "cells": strip(runs, span, session.labels),
        "place": None if one_scale else place(person.first_s, person.last_s, session.span_s),
    }


def _absences(session: Session, is_csv: bool) -> list[dict]:
    """When nobody was in view, when nothing was logged, and when there was no camera to see anybody."""
    nothing = "no row was written (a CSV log has none while nobody is seen)" if is_csv else "nothing was logged"
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
        found.append({"what": what, "text": text[:1].upper() + text[1:], "cells": marks(spans, session.span_s)})
    return found


def _cause(because: str | None) -> str:
    return f" (the last face {WORDS.get(because, because)})" if because else ""


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _events(session: Session) -> dict:
    """Each kind of event with its count and the time of the first, if that is known."""
    first_s: dict[str, float] = {}
    for time_s, name in session.events:
        first_s.setdefault(name, time_s)
    rows = [(name, count, first_s.get(name)) for name, count in session.event_counts.most_common()]
    return {"events": rows, "event_cells": marks(sorted((t, t) for t, _ in session.events), session.span_s or 1.0)}


def _notes(session: Session) -> list[str]:
    notes = [
        "Expressions are what a face looks like to the model in single views, not what a person feels.",
        f"A frame counts as long as the time to the next one; a hole of more than {HOLE_S:.0f} s counts as long as the frame "
        "before it. A stay is the time from first to last sight.",
        "A person is a face that was followed without a break: who leaves and comes back is counted again.",
    ]
    if session.stills:
        notes = [notes[0], "The log has no times, as of pictures: faces are counted, not seconds."]
    if session.endings:
        notes.append(f"Why faces were followed no longer: {_counted(session.endings)}. Left: a face was last found at the "
                     "edge of the picture. Lost: anywhere else, since it turned away, was covered, or the picture was cut.")
    if session.lost:
        notes.append("While the camera was lost nobody was looked for: that time is in no share, in no stretch without a face.")
    if session.parts > 1:
        notes.append(f"The times start again {session.parts - 1:,} times: the parts follow one another, and person 2.1 is "
                     "person 1 of the second part.")
    if session.skipped or session.skipped_faces:
        notes.append(f"Left out: {session.skipped:,} lines that are no frames, and {session.skipped_faces:,} faces without a "
                     "track, a label or a confidence of 0 to 1.")
    return notes
