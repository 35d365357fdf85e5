"""The charts of a report, and their data as tables for tooltips and exports."""

from __future__ import annotations

import base64
import statistics
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fer_live.report.charts import Band, Span, areas, axis, bands, in_order, lines, marks, most_faces, place
from fer_live.report.charts import clock as clocked
from fer_live.report.sentences import absences, percent
from fer_live.report.session import KEPT
from fer_live.report.totals import Person, Session

POINTS, FEWEST = 1200, 60  # points of all people's curves together, and minimum for one person; limits the size of the page
FACES, PROBABILITY = "faces", "probability"  # units of the values in a table


@dataclass(frozen=True)
class Chart:
    """A chart. columns, rows: its table; in charts over time, rows begin with start_s and end_s."""

    key: str  # element id in the page
    title: str
    columns: list[str]
    rows: list[list]
    unit: str = ""
    span: Span | None = None  # time span of the x axis
    bands: list[Band] = field(default_factory=list)
    areas: list[tuple[int, str]] = field(default_factory=list)
    lines: list[tuple[int, str]] = field(default_factory=list)
    spans: list[Band] = field(default_factory=list)  # spans without faces, or events
    lost: list[Band] = field(default_factory=list)  # spans without a camera
    ticks: list[tuple[float, float]] = field(default_factory=list)

    def table(self) -> dict[str, Any]:
        """Return the data for the page's script."""
        return {"title": self.title, "columns": self.columns, "rows": self.rows, "unit": self.unit}


def expressions(session: Session, key: str = "expressions") -> tuple[Chart, list[tuple[int, float, list[str]]]]:
    """Return the chart of each label's share of time (of faces for images), and its rows as text: (label, share 0..1, cells)."""
    amounts = session.counts if session.stills else session.seconds
    whole, rows, texts = sum(amounts.values()), [], []
    for number, amount in amounts.most_common() if whole else []:
        timed = [] if session.stills else [clocked(amount), f"{session.runs[number]:,}", f"{session.shown_by[number]:,}"]
        texts.append((number, amount / whole, [f"{100 * amount / whole:.1f}%", *timed, f"{session.counts[number]:,}"]))
        exact = [] if session.stills else [round(amount, 3), session.runs[number], session.shown_by[number]]
        rows.append([session.labels[number], round(amount / whole, 4), *exact, session.counts[number]])
    timed_columns = [] if session.stills else ["seconds", "times_started", "people"]
    return Chart(key, "Expressions", ["expression", "share", *timed_columns, "faces"], rows), texts


def unsure(session: Session) -> dict[str, list]:
    """Return why faces were unsure, if the log says so: (reason, further cells), as shares of all faces or their time."""
    amounts = session.reason_counts if session.stills else session.reasons
    whole = sum((session.counts if session.stills else session.seconds).values())
    rows = [(name, [percent(amounts[name], whole), *([] if session.stills else [clocked(amounts[name])]),
                    f"{session.reason_counts[name]:,}"]) for name, _ in session.reason_counts.most_common()]
    return {"reasons": rows, "reason_columns": ["share", *([] if session.stills else ["time"]), "faces counted"]}


def overview(session: Session, labels: Sequence[str], key: str = "overview", title: str = "Faces over time",
             length_s: float = 0.0, top: float = 0.0) -> Chart:
    """Return the chart of the mean number of faces in view, by label. length_s, top: axis limits, if beyond the session's own."""
    bins, bin_s = session.bins, session.bin_s
    shown = in_order({label for part in bins for label in part}, labels)
    span = 0.0, max(length_s, session.span_s)
    rows = [[round(i * bin_s, 3), round((i + 1) * bin_s, 3), *(round(part.get(label, 0.0) / bin_s, 3) for label in shown)]
            for i, part in enumerate(bins) if part]
    return Chart(key, title, ["start_s", "end_s", *(labels[label] for label in shown)], rows, FACES, span,
                 areas=areas(bins, bin_s, span[1], top or most_faces(bins, bin_s), shown),
                 lost=marks(session.lost, span, "camera lost"), ticks=axis(span))


def people(session: Session, images: dict[str, bytes]) -> dict[str, Any]:
    """Return a chart per person. If stays are short relative to the session, each has its own time scale."""
    if not session.people:
        return {"people": [], "people_note": ""}
    one_scale = statistics.median(p.last_s - p.first_s for p in session.people) > 0.08 * session.span_s
    note = "All charts have the same time scale." if one_scale else \
        "Each chart has its own time scale; the line below it shows its place in the session."
    others = len(session.dwells_s) - len(session.people)
    if others:
        note += f" Only the {KEPT} people seen longest are shown; the totals include the other {others:,}."
    for person in session.people:
        person.curve.coarsen(max(FEWEST, POINTS // len(session.people)))
    made = [_person(session, person, number, images.get(person.name), one_scale)
            for number, person in enumerate(session.people)]
    used = {label for person in session.people for label in person.seconds}
    used |= {label for person in made for label, _ in person["chart"].lines}
    return {"people": made, "people_note": note, "people_labels": in_order(used, session.labels)}


def _person(session: Session, person: Person, number: int, image: bytes | None, one_scale: bool) -> dict[str, Any]:
    runs = list(zip(person.starts, person.ends, person.labels, strict=True))
    span = (0.0, session.span_s) if one_scale else (person.first_s, max(person.last_s, person.first_s + 1e-3))
    main, drawn = max(person.seconds, key=person.seconds.__getitem__), bands(runs, span, session.labels)
    classes = in_order(person.curve.sums, session.labels)
    rows = [[round(begin_s, 3), round(end_s, 3), session.labels[_label_at((begin_s + end_s) / 2, person)],
             *(round(probs.get(name, 0.0), 3) for name in classes)] for begin_s, end_s, probs in person.curve.means()]
    if not classes:  # a log without probabilities
        rows = [[round(band.begin_s, 3), round(band.end_s, 3), session.labels[band.label or 0]] for band in drawn]
    columns = ["start_s", "end_s", "shown", *(session.labels[name] for name in classes)]
    chart = Chart(f"person-{number}", f"Person {person.name}", columns, rows, PROBABILITY, span, bands=drawn,
                  lines=lines(person.curve, span),
                  lost=marks(session.lost, span, "camera lost"), ticks=axis(span))
    return {
        "chart": chart, "image": base64.b64encode(image).decode() if image else "",
        "stay_s": person.last_s - person.first_s, "seen_s": person.seen_s, "first_s": person.first_s, "last_s": person.last_s,
        "mainly": f"{session.labels[main]} {percent(person.seconds[main], person.seen_s)}",
        "ended": f", then {person.ended}" if person.ended else "",
        "rate": f"{60 * person.changes / person.seen_s:.0f}" if person.seen_s else "-",
        "place": None if one_scale else place(person.first_s, person.last_s, session.span_s),
    }


def _label_at(time_s: float, person: Person) -> int:
    """Return a person's label at a time, or the last one before it."""
    return person.labels[max(bisect_right(person.starts, time_s) - 1, 0)]


def without_faces(session: Session, is_csv: bool) -> list[tuple[str, Chart]]:
    """Return (text, chart) for the times when nobody was in view, nothing was logged, or the camera was lost."""
    span, made = (0.0, session.span_s), []
    for number, (what, text, spans) in enumerate(absences(session, is_csv)):
        drawn, is_lost = marks(spans, span), spans is session.lost
        rows = [[round(begin_s, 3), round(end_s, 3), what] for begin_s, end_s in spans]
        chart = Chart(f"absence-{number}", f"{what[:1].upper()}{what[1:]}", ["start_s", "end_s", "what"], rows, "", span,
                      spans=[] if is_lost else drawn, lost=drawn if is_lost else [], ticks=axis(span))
        made.append((text, chart))
    return made


def events(session: Session) -> dict[str, Any]:
    """Return each kind of event with its count and the time of the first, if known; and a chart of the events."""
    first_s: dict[str, float] = {}
    for time_s, name in session.events:
        first_s.setdefault(name, time_s)
    rows = [(name, count, first_s.get(name)) for name, count in session.event_counts.most_common()]
    listed = sorted(session.events)
    span = 0.0, session.span_s or 1.0
    chart = Chart("events", "Events", ["start_s", "end_s", "event"], [[round(t, 3), round(t, 3), name] for t, name in listed], "",
                  span, spans=marks([(t, t) for t, _ in listed], span), ticks=axis(span))
    return {"events": rows, "events_chart": chart}
