"""Renders a session as one HTML file that is readable without scripts or color, on phones and on paper."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from fer_live.report import figures
from fer_live.report.charts import clock, most_faces, short, tiles
from fer_live.report.figures import Chart
from fer_live.report.sentences import cards, headline, notes
from fer_live.report.totals import Session

TEMPLATES = Path(__file__).parent / "templates"


def session_page(session: Session, log: Path, images: dict[str, bytes] | None = None, video: str = "") -> str:
    """Return the whole page. images: JPEGs by person name. video: its URL relative to the page; "" for none."""
    share, rows = figures.expressions(session)
    title, lead = headline(session)
    shown: dict[str, Any] = {"log": log.name, "headline": title, "lead": lead, "stills": session.stills, "cards": cards(session),
             "notes": notes(session), "expressions": share, "expression_rows": rows, "video": video, "overview": None,
             "people": [], "absences": [], "events": [], **figures.unsure(session)}
    charts = [share]
    if not session.stills:
        absent = figures.without_faces(session, log.suffix.lower() == ".csv")
        shown |= {"absences": absent, "bin_s": session.bin_s, "most_faces": most_faces(session.bins, session.bin_s),
                  **figures.people(session, images or {}), **figures.events(session)}
        charts += [*(person["chart"] for person in shown["people"]), *(chart for _, chart in absent), shown["events_chart"]]
        if session.bins:
            shown["overview"] = figures.overview(session, session.labels)
            charts.append(shown["overview"])
    return render("session.html", session.labels, charts, shown, session.part_starts)


def render(template: str, labels: Sequence[str], charts: Sequence[Chart], shown: dict,
           parts: Sequence[tuple[float, float]] = ()) -> str:
    """Render a page with its style, its script and the tables of its charts.

    parts: (time in the session, time in the video) of points from which both advance together.
    """
    made, drawn = _environment(), tiles(labels)
    style = made.get_template("style.css").render(tiles=drawn)
    script = (TEMPLATES / "script.js").read_text(encoding="utf-8")
    data = {"charts": {chart.key: chart.table() for chart in charts}, "parts": [[round(t, 3) for t in part] for part in parts]}
    return made.get_template(template).render(
        shown, labels=labels, tiles=drawn, style=Markup(style), script=Markup(script), style_hash=_hash(style),
        script_hash=_hash(script), data=Markup(_json(data)))


def _environment() -> Environment:
    """Return an environment that escapes log data and replaces unprintable characters, such as control or text direction ones."""
    made = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined,
                       trim_blocks=True, lstrip_blocks=True, finalize=_printable)
    made.filters.update(clock=clock, short=short, percent=lambda value: f"{value:.2f}%")
    return made


def _printable(value: object) -> object:
    if not isinstance(value, str) or isinstance(value, Markup):  # Markup: made by a macro from processed values
        return value
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in value)


def _json(data: object) -> str:
    """Encode as JSON that cannot end the enclosing element, with unprintable characters replaced."""
    def plain(value: object) -> object:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        return [plain(item) for item in value] if isinstance(value, list) else _printable(value)

    text = json.dumps(plain(data), separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _hash(text: str) -> str:
    """Return the hash of an inline style or script for the page's content security policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
