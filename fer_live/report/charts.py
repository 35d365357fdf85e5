"""The drawings of a report: SVG as text, sizes in percent so that they fit a telephone and a screen, no scripts.

Every label has a colour and a pattern, so that it is told apart without colour too. Text that comes in is escaped here.
"""

from __future__ import annotations

import html
from collections.abc import Sequence

# As in the overlay: Okabe and Ito's palette; then what labels of other names get, from Paul Tol's muted scheme.
PALETTE = {
    "angry": "#d55e00", "disgust": "#009e73", "fear": "#cc79a7", "happy": "#f0e442", "neutral": "#ebebeb", "sad": "#0072b2",
    "surprise": "#56b4e9", "unsure": "#696969",
}
SAME = {"positive": "happy", "negative": "angry", "surprised": "surprise"}  # the smaller set of classes, never beside those
MORE = ("#44aa99", "#882255", "#ddcc77", "#332288", "#999933", "#aa4499", "#88ccee", "#117733", "#cc6677")
MARKS = (  # drawn on a tile of 8 by 8
    "M-2 10 10 -2M-2 2 2 -2M6 10 10 6", "M2 2h.01M6 6h.01", "M0 0 8 8M0 8 8 0", "M4 2v4M2 4h4", "", "M0 2h8M0 6h8",
    "M2 0v8M6 0v8", "M-2 -2 10 10", "M1 1h4v4h-4z", "M0 4h8M4 0v8", "M0 6 4 2 8 6",
)
ROW = 24  # pixels
CELLS = 800  # a row that has more parts than MOST is drawn in so many cells
MOST = 300
STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200)


def plain(text: object) -> str:
    """Text as HTML: escaped, and without what cannot be printed, such as controls, or letters that turn the direction."""
    return html.escape("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text)))


def clock(time_s: float) -> str:
    """Seconds as 0.25 s, 4.2 s, 3:05 or 1:02:03."""
    if time_s < 59.95:
        return f"{time_s:.1f} s" if time_s >= 1 or not time_s else f"{time_s:.2f} s"
    whole = round(time_s)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def colour(labels: Sequence[str], number: int) -> str:
    """The colour of a label, as #rrggbb."""
    name = SAME.get(labels[number], labels[number])
    return PALETTE.get(name) or MORE[number % len(MORE)]


def _ink(fill: str) -> str:
    """What can be read on a colour: black or white."""
    red, green, blue = (int(fill[i : i + 2], 16) for i in (1, 3, 5))
    return "#000" if 0.299 * red + 0.587 * green + 0.114 * blue > 120 else "#fff"


def patterns(labels: Sequence[str]) -> str:
    """What the other drawings fill their areas with, once a page: url(#p0) is the label 0."""
    tiles = []
    for number, name in enumerate(labels):
        fill = colour(labels, number)
        known = SAME.get(name, name)
        mark = MARKS[list(PALETTE).index(known) if known in PALETTE else (number * 3 + 8) % len(MARKS)]
        tiles.append(f'<pattern id="p{number}" width="8" height="8" patternUnits="userSpaceOnUse">'
                     f'<rect width="8" height="8" fill="{fill}"/><path d="{mark}" fill="none" stroke="{_ink(fill)}" '
                     f'stroke-opacity=".55" stroke-width="1.4" stroke-linecap="round"/></pattern>')
    tiles.append('<pattern id="nobody" width="6" height="6" patternUnits="userSpaceOnUse"><path d="M-1 7 7 -1" '
                 'stroke="currentColor" stroke-opacity=".45"/></pattern>')
    return f'<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs>{"".join(tiles)}</defs></svg>'


def swatch(number: int) -> str:
    """A label's colour and pattern, as large as a word."""
    return f'<svg class="swatch" aria-hidden="true"><rect width="100%" height="100%" fill="url(#p{number})"/></svg>'


def share(number: int, part: float) -> str:
    """A bar of `part` (0..1) of the width."""
    return (f'<svg class="bar" aria-hidden="true"><rect width="{100 * part:.2f}%" height="100%" fill="url(#p{number})" '
            'class="edge"/></svg>')


def strip(runs: Sequence[tuple[float, float, int]], span: tuple[float, float], labels: Sequence[str], about: str) -> str:
    """A person's row: runs (start_s, end_s, label) in order, over the time `span` (start_s, end_s). about: what it shows."""
    start_s, length_s = span[0], max(span[1] - span[0], 1e-9)
    cells = []
    for begin, end, number in _thinned(runs, span):
        left, width = 100 * (begin - start_s) / length_s, max(100 * (end - begin) / length_s, 0.1)
        fill, name = colour(labels, number), plain(labels[number])
        word = plain(labels[number][:3])
        inside = f'<text x="4" y="16" fill="{_ink(fill)}" stroke="{fill}">{word}</text>' if width > 6 else ""
        cells.append(f'<svg x="{left:.2f}%" width="{width:.2f}%" height="{ROW}"><title>{name}, {clock(begin)} to {clock(end)}'
                     f'</title><rect width="100%" height="100%" fill="url(#p{number})" class="edge"/>{inside}</svg>')
    return _row(cells, about)


def _thinned(runs: Sequence[tuple[float, float, int]], span: tuple[float, float]) -> list[tuple[float, float, int]]:
    """The runs; where they are too many, cells of equal width with the label that has most of each, neighbours put together."""
    if len(runs) <= MOST:
        return list(runs)
    cell_s = max((span[1] - span[0]) / CELLS, 1e-9)
    cells: dict[int, dict[int, float]] = {}
    for begin, end, number in runs:
        first, last = int((begin - span[0]) / cell_s), int((end - span[0]) / cell_s)
        for cell in range(first, min(last, CELLS - 1) + 1):
            inside_s = min(end, span[0] + (cell + 1) * cell_s) - max(begin, span[0] + cell * cell_s)
            shares = cells.setdefault(cell, {})
            shares[number] = shares.get(number, 0.0) + inside_s
    thinned: list[tuple[float, float, int]] = []
    for cell, shares in sorted(cells.items()):
        number, begin, end = max(shares, key=shares.__getitem__), span[0] + cell * cell_s, span[0] + (cell + 1) * cell_s
        if thinned and thinned[-1][2] == number and begin - thinned[-1][1] < cell_s / 2:
            begin = thinned.pop()[0]
        thinned.append((begin, end, number))
    return thinned


def marks(spans: Sequence[tuple[float, float]], length_s: float, about: str) -> str:
    """A row with hatched spans (start_s, end_s) in order, or lines where these are the same. What nearly touches is joined."""
    cells: list[str] = []
    joined: list[tuple[float, float]] = []
    for begin, end in spans:
        if joined and begin - joined[-1][1] < length_s / CELLS:
            begin, end = joined[-1][0], max(joined.pop()[1], end)
        joined.append((begin, end))
    for begin, end in joined:
        left, width = 100 * begin / length_s, 100 * (end - begin) / length_s
        fill = "url(#nobody)" if end > begin else "currentColor"
        cells.append(f'<rect x="{left:.2f}%" width="{max(width, 0.15):.2f}%" height="{ROW}" fill="{fill}" class="edge">'
                     f"<title>{clock(begin)} to {clock(end)}</title></rect>")
    return _row(cells, about)


def place(start_s: float, end_s: float, length_s: float) -> str:
    """Where in the whole session a span lies: a thin line with a mark on it."""
    left, width = 100 * start_s / length_s, max(100 * (end_s - start_s) / length_s, 0.4)
    return (f'<svg class="place" aria-hidden="true"><line x1="0" x2="100%" y1="4" y2="4" class="base"/>'
            f'<rect x="{min(left, 99.6):.2f}%" width="{width:.2f}%" height="8" fill="currentColor"/></svg>')


def _row(cells: list[str], about: str) -> str:
    line = f'<line x1="0" x2="100%" y1="{ROW / 2}" y2="{ROW / 2}" class="base"/>'
    return f'<svg class="row" role="img" aria-label="{plain(about)}">{line}{"".join(cells)}</svg>'


def axis(length_s: float) -> str:
    """The time below rows that span the whole session."""
    step_s = next((step for step in STEPS_S if length_s / step <= 6), max(length_s / 5, STEPS_S[-1]))
    ticks = []
    for i in range(int(length_s / step_s) + 1):
        at = 100 * i * step_s / length_s
        if at <= 94:  # the last one would stand out of the page
            ticks.append(f'<line x1="{at:.2f}%" x2="{at:.2f}%" y2="5" class="tick"/><text x="{at:.2f}%" y="17">'
                         f"{clock(i * step_s)}</text>")
    return f'<svg class="axis" aria-hidden="true">{"".join(ticks)}</svg>'


def overview(bins: Sequence[dict[int, float]], bin_s: float, length_s: float, labels: Sequence[str]) -> str:
    """Columns over time: as high as there were faces, on average, divided by label. bins: label -> face-seconds."""
    top = max((sum(part.values()) for part in bins), default=0.0) / bin_s or 1.0
    width, cells = 100 * bin_s / length_s, []
    for i, part in enumerate(bins):
        below = 0.0
        for number, seconds in sorted(part.items()):
            high = 100 * seconds / bin_s / top
            below += high
            cells.append(f'<rect x="{i * width:.2f}%" y="{100 - below:.1f}%" width="{width:.2f}%" height="{high:.1f}%" '
                         f'fill="url(#p{number})"><title>{clock(i * bin_s)}: {plain(labels[number])}, {seconds / bin_s:.2f} faces'
                         "</title></rect>")
    return (f'<div class="scale">{top:.1f} faces</div><svg class="overview" role="img" aria-label="Faces in view over time, by '
            f'expression">{"".join(cells)}<line x1="0" x2="100%" y1="100%" y2="100%" class="tick"/></svg>')
