"""The page of `fer_live.report`: a session as HTML, self-contained, readable without colour, on a telephone and on paper."""

from __future__ import annotations

import base64
import statistics
from collections.abc import Iterable
from pathlib import Path

from fer_live.report.charts import axis, clock, marks, overview, patterns, place, plain, share, strip, swatch
from fer_live.report.session import GAP_S, HOLE_S, KEPT
from fer_live.report.totals import Person, Session

STYLE = """
:root{color-scheme:light dark;--page:#fff;--text:#1c1c1c;--soft:#5a5a5a;--line:#ddd;--card:#f5f5f5;--edge:#0006}
@media(prefers-color-scheme:dark){:root{--page:#15171a;--text:#e9e9e9;--soft:#a9adb3;--line:#3a3e44;--card:#202327;--edge:#fff6}}
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:0 auto;padding:1rem;background:var(--page);color:var(--text)}
h1{margin:.5rem 0 0;font-size:1.8rem;line-height:1.2}h2{margin:2.2rem 0 .4rem;font-size:1.25rem}
p{max-width:60rem;margin:.4rem 0}.soft,.soft a{color:var(--soft)}.name{overflow-wrap:anywhere}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(9.5rem,1fr));gap:.6rem;margin:1.2rem 0}
.cards div{background:var(--card);border-radius:.5rem;padding:.6rem .8rem}.cards b{display:block;font-size:1.5rem;line-height:1.3}
.cards span{font-size:.85rem;color:var(--soft)}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}
th{font-weight:600;font-size:.85rem;color:var(--soft)}
td,th{padding:.3rem .6rem .3rem 0;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap;
font-variant-numeric:tabular-nums}
td:first-child,th:first-child{text-align:left;white-space:normal;overflow-wrap:anywhere;min-width:7rem}.grow{width:40%;min-width:5rem}
svg{display:block}svg svg{display:inline}.swatch{display:inline-block;width:1.6rem;height:1rem;border:1px solid var(--edge);
border-radius:2px;vertical-align:-.15rem;margin-right:.5rem}
.bar{width:100%;height:16px}.row{width:100%;height:24px}.axis{width:100%;height:22px}.place{width:100%;height:8px;color:var(--soft);
margin-top:3px}
.overview{width:100%;height:140px}.scale{font-size:.75rem;color:var(--soft);border-bottom:1px dashed var(--line)}
.overview rect{stroke:var(--edge);stroke-width:.5px}
.edge{stroke:var(--edge);stroke-width:1px}.base{stroke:var(--line)}.tick{stroke:var(--soft)}
.row text{font-size:12px;stroke-width:4px;paint-order:stroke}.axis text{font-size:11px;fill:var(--soft)}
.legend span{display:inline-block;margin:0 1.1rem .2rem 0;white-space:nowrap}
.line{display:grid;grid-template-columns:14rem 1fr;gap:0 .8rem;align-items:center;padding:.35rem 0;
border-top:1px solid var(--line)}
.who{display:flex;gap:.6rem;align-items:center;font-size:.85rem;line-height:1.3}.who b{font-size:.95rem;display:block}
.who img{width:3.2rem;height:3.2rem;object-fit:cover;border-radius:.3rem;flex:none}
@media(max-width:40rem){.line{grid-template-columns:1fr;gap:.2rem}.grow{display:none}th{white-space:normal}td,th{padding-right:.4rem}
.expressions :is(td,th):is(:nth-child(2),:nth-child(7)){display:none}}
@media print{*{print-color-adjust:exact}.line,tr{break-inside:avoid}}
"""
WORDS = {"left": "left the picture", "lost": "was lost", "camera lost": "was lost with the camera"}  # why a track ended
# Whatever the page holds, a browser then loads and runs nothing.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def session_page(session: Session, log: Path, pictures: dict[str, bytes] | None = None) -> str:
    """The whole page. pictures: JPEGs by the names of people."""
    title = f"Session report: {plain(log.name)}"
    parts = [f'<h1>Session report</h1><p class="soft name">{plain(log.name)}</p>', _cards(session), _expressions(session)]
    if not session.stills:
        parts += [_over_time(session), _people(session, pictures or {}), _nobody(session, log.suffix.lower() == ".csv"),
                  _events(session)]
    parts.append(_notes(session))
    return (f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" '
            f'content="{POLICY}"><meta name="viewport" content="width=device-width,initial-scale=1"><title>{title}</title>'
            f"<style>{STYLE}</style></head><body>{patterns(session.labels)}{''.join(parts)}</body></html>\n")


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f}%" if whole else "-"


def _cards(session: Session) -> str:
    if session.stills:
        cards = [(f"{session.frames:,}", "pictures"), (f"{session.faces:,}", "faces"), (f"{session.most:,}", "most in one")]
    else:
        dwells = session.dwells_s
        rate = f"{60 * session.changes / session.face_s:.1f}" if session.face_s else "-"
        cards = [
            (clock(session.span_s), f"{session.frames:,} frames"),
            (f"{len(dwells):,}", "people, by track"),
            (_percent(session.someone_s, session.logged_s), f"somebody in view ({clock(session.someone_s)})"),
            (clock(statistics.median(dwells)) if dwells else "-", f"median stay; longest {clock(max(dwells, default=0))}"),
            (f"{session.most:,}", "most faces at once"),
            (rate, "label changes a face-minute"),
        ]
    return '<div class="cards">' + "".join(f"<div><b>{value}</b><span>{what}</span></div>" for value, what in cards) + "</div>"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]], kind: str = "") -> str:
    columns = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    lines = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide {kind}"><table><thead><tr>{columns}</tr></thead><tbody>{lines}</tbody></table></div>'


def _expressions(session: Session) -> str:
    """Share of time, of faces where these are pictures, for each label."""
    amounts = session.counts if session.stills else session.seconds
    whole = sum(amounts.values())
    if not whole:
        return "<h2>Expressions</h2><p>No face was seen.</p>"
    rows = []
    for number, amount in amounts.most_common():
        row = [swatch(number) + plain(session.labels[number]), share(number, amount / whole), f"{100 * amount / whole:.1f}%"]
        row += [] if session.stills else [clock(amount), f"{session.runs[number]:,}", f"{session.shown_by[number]:,}"]
        rows.append([*row, f"{session.counts[number]:,}"])
    head = ["expression", '<div class="grow"></div>', "share"]
    head += ["faces"] if session.stills else ["time", "times begun", "people", "faces counted"]
    what = "of the faces" if session.stills else "of the time that faces were in view, summed over faces"
    return f"<h2>Expressions</h2><p class=soft>Share {what}.</p>" + _table(head, rows, "expressions") + _unsure(session, whole)


def _unsure(session: Session, whole: float) -> str:
    """Why faces were unsure, where the log says so. whole: all faces, or the time that they were in view."""
    amounts = session.reason_counts if session.stills else session.reasons
    if not session.reason_counts:
        return ""
    rows = [[plain(name), _percent(amounts[name], whole), *([] if session.stills else [clock(amounts[name])]),
             f"{session.reason_counts[name]:,}"] for name, _ in session.reason_counts.most_common()]
    head = ["unsure because", "share", *([] if session.stills else ["time"]), "faces counted"]
    return ("<p class=soft>Small, dark, blurred and turned faces were not seen well enough to be read; of unclear ones no class "
            "was strong enough.</p>" + _table(head, rows))


def _legend(session: Session) -> str:
    items = "".join(f"<span>{swatch(number)}{plain(name)}</span>" for number, name in enumerate(session.labels))
    return f'<p class="legend">{items}</p>' if items else ""


def _over_time(session: Session) -> str:
    if not session.bins:
        return ""
    drawing = overview(session.bins, session.bin_s, session.span_s, session.labels)
    return (f"<h2>Faces over time</h2><p class=soft>How many faces were in view on average in each {clock(session.bin_s)}, by "
            f"expression.</p>{_legend(session)}{drawing}{axis(session.span_s)}")


def _line(who: str, drawing: str) -> str:
    return f'<div class="line"><div class="who">{who}</div><div>{drawing}</div></div>'


def _people(session: Session, pictures: dict[str, bytes]) -> str:
    """A row a person. Where a stay is a small part of the session, each row has its own scale."""
    if not session.people:
        return ""
    whole = statistics.median(p.last_s - p.first_s for p in session.people) > 0.08 * session.span_s
    lines = [_line(_who(session, person, pictures), _drawn(session, person, whole)) for person in session.people]
    note = "All rows have the same time scale."
    if not whole:
        note = "Each row has its own scale; the line below it shows where in the session it lies."
    others = len(session.dwells_s) - len(session.people)
    if others:
        note += f" Shown are the {KEPT} people seen longest; the other {others:,} are in the sums."
    bottom = _line("", axis(session.span_s)) if whole else ""
    return f"<h2>People</h2><p class=soft>{note}</p>{_legend(session)}{''.join(lines)}{bottom}"


def _drawn(session: Session, person: Person, whole: bool) -> str:
    runs = list(zip(person.starts, person.ends, person.labels, strict=True))
    span = (0.0, session.span_s) if whole else (person.first_s, person.last_s)
    row = strip(runs, span, session.labels, f"Expressions of person {person.name} over time")
    return row if whole else row + place(person.first_s, person.last_s, session.span_s)


def _who(session: Session, person: Person, pictures: dict[str, bytes]) -> str:
    picture = ""
    if person.name in pictures:
        content = base64.b64encode(pictures[person.name]).decode()
        picture = f'<img alt="Person {plain(person.name)}" src="data:image/jpeg;base64,{content}">'
    main = max(person.seconds, key=person.seconds.__getitem__)
    rate = f"{60 * person.changes / person.seen_s:.0f}" if person.seen_s else "-"
    then = f", then {plain(person.ended)}" if person.ended else ""
    return (f"{picture}<div><b>Person {plain(person.name)}</b>stay {clock(person.last_s - person.first_s)}, seen "
            f"{clock(person.seen_s)}<br>from {clock(person.first_s)} to {clock(person.last_s)}{then}<br>mainly "
            f"{plain(session.labels[main])} {_percent(person.seconds[main], person.seen_s)}<br>{rate} changes a minute</div>")


def _nobody(session: Session, is_csv: bool) -> str:
    """When nobody was in view, when nothing was logged, and when there was no camera to see anybody."""
    nothing = "no row was written (a CSV log has none while nobody is seen)" if is_csv else "nothing was logged"
    parts = []
    causes = dict(zip(session.gaps, session.gap_causes, strict=True))
    for spans, what, limit_s in ((session.gaps, "no face was seen", GAP_S), (session.holes, nothing, HOLE_S),
                                 (session.lost, "the camera was lost", 0.0)):
        if not spans:
            continue
        total_s, longest = sum(end - start for start, end in spans), sorted(spans, key=lambda s: s[0] - s[1])[:10]
        listed = ", ".join(f"{clock(start)} to {clock(end)}{_cause(causes.get((start, end)))}" for start, end in sorted(longest))
        times = "once" if len(spans) == 1 else f"{len(spans):,} times"
        text = f"{f'for {limit_s:.0f} s or more, ' if limit_s else ''}{times}, {clock(total_s)} together, {what}"
        parts.append(f"<p>{text[:1].upper()}{text[1:]}{'; the longest' if len(spans) > 10 else ''}: {listed}.</p>"
                     + marks(spans, session.span_s, f"When {what}"))
    return "<h2>Nobody in view</h2>" + ("".join(parts) + axis(session.span_s) if parts else "<p>There was always somebody.</p>")


def _cause(because: str | None) -> str:
    return f" (the last face {WORDS.get(because, plain(because))})" if because else ""


def _events(session: Session) -> str:
    if not session.event_counts:
        return ""
    rows = [[plain(name), f"{count:,}", clock(times[0]) if (times := _times(session, name)) else "-"]
            for name, count in session.event_counts.most_common()]
    drawing = marks(sorted((t, t) for t, _ in session.events), session.span_s or 1.0, "When events happened")
    return "<h2>Events</h2>" + drawing + axis(session.span_s) + _table(["event", "times", "first"], rows)


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{plain(name)} {count:,}" for name, count in counts.items())


def _times(session: Session, name: str) -> list[float]:
    return [time_s for time_s, other in session.events if other == name]


def _notes(session: Session) -> str:
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
        notes.append(f"The times begin anew {session.parts - 1:,} times: the parts were put one after another, and person 2.1 is "
                     "person 1 of the second part.")
    if session.skipped or session.skipped_faces:
        notes.append(f"Left out: {session.skipped:,} lines that are no frames, and {session.skipped_faces:,} faces without a "
                     "track, a label or a confidence of 0 to 1.")
    return "<h2>How this was counted</h2>" + "".join(f'<p class="soft">{note}</p>' for note in notes)
