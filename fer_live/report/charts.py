"""Where things lie in the drawings of a report; templates/drawings.html draws them. Sizes are percent of the drawing's.

Every label has a color and a pattern, so that it is told apart without color too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fer_live.screen.palette import COLORS, EMOTION_COLORS, SAME, as_hex

# What labels of other names than the palette's get: from Paul Tol's muted scheme.
MORE = ("#44aa99", "#882255", "#ddcc77", "#332288", "#999933", "#aa4499", "#88ccee", "#117733", "#cc6677")
MARKS = (  # drawn on a tile of 8 by 8
    "M-2 10 10 -2M-2 2 2 -2M6 10 10 6", "M2 2h.01M6 6h.01", "M0 0 8 8M0 8 8 0", "M4 2v4M2 4h4", "", "M0 2h8M0 6h8",
    "M2 0v8M6 0v8", "M-2 -2 10 10", "M1 1h4v4h-4z", "M0 4h8M4 0v8", "M0 6 4 2 8 6",
)
CELLS = 800  # a row that has more parts than MOST is drawn in so many cells
MOST = 300
STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200)


def clock(time_s: float) -> str:
    """Seconds as 0.25 s, 4.2 s, 3:05 or 1:02:03."""
    if time_s < 59.95:
        return f"{time_s:.1f} s" if time_s >= 1 or not time_s else f"{time_s:.2f} s"
    whole = round(time_s)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def color(labels: Sequence[str], number: int) -> str:
    """The color of a label, as #rrggbb."""
    known = COLORS.get(labels[number])
    return as_hex(known) if known else MORE[number % len(MORE)]


def _ink(fill: str) -> str:
    """What can be read on a color: black or white."""
    red, green, blue = (int(fill[i : i + 2], 16) for i in (1, 3, 5))
    return "#000" if 0.299 * red + 0.587 * green + 0.114 * blue > 120 else "#fff"


class Tile(NamedTuple):
    """What a label's areas are filled with. fill, ink: colors as #rrggbb. mark: a path on 8 by 8."""

    fill: str
    mark: str
    ink: str


class Cell(NamedTuple):
    """A span of time in a row."""

    left: float
    width: float
    begin_s: float
    end_s: float
    label: int = 0
    name: str = ""
    word: str = ""  # what is written into it; empty where there is no room
    fill: str = ""  # #rrggbb
    ink: str = ""  # #rgb


class Bar(NamedTuple):
    """The part of a column of the overview that belongs to a label. faces: how many there were on average."""

    left: float
    top: float
    width: float
    height: float
    begin_s: float
    label: int
    name: str
    faces: float


def patterns(labels: Sequence[str]) -> list[Tile]:
    """A tile for each label."""
    tiles = []
    for number, name in enumerate(labels):
        fill = color(labels, number)
        known = SAME.get(name, name)
        at = list(EMOTION_COLORS).index(known) if known in EMOTION_COLORS else (number * 3 + 8) % len(MARKS)
        tiles.append(Tile(fill, MARKS[at], _ink(fill)))
    return tiles


def strip(runs: Sequence[tuple[float, float, int]], span: tuple[float, float], labels: Sequence[str]) -> list[Cell]:
    """A person's row: runs (start_s, end_s, label) in order, over the time `span` (start_s, end_s)."""
    start_s, length_s = span[0], max(span[1] - span[0], 1e-9)
    cells = []
    for begin, end, number in _thinned(runs, span):
        left, width = 100 * (begin - start_s) / length_s, max(100 * (end - begin) / length_s, 0.1)
        fill, name = color(labels, number), labels[number]
        cells.append(Cell(left, width, begin, end, number, name, name[:3] if width > 6 else "", fill, _ink(fill)))
    return cells


def _thinned(runs: Sequence[tuple[float, float, int]], span: tuple[float, float]) -> list[tuple[float, float, int]]:
    """The runs; where they are too many, cells of equal width with the label that has most of each, neighbors put together."""
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


def marks(spans: Sequence[tuple[float, float]], length_s: float) -> list[Cell]:
    """Spans (start_s, end_s) in order, or moments where these are the same. What nearly touches is joined."""
    joined: list[tuple[float, float]] = []
    for begin, end in spans:
        if joined and begin - joined[-1][1] < length_s / CELLS:
            begin, end = joined[-1][0], max(joined.pop()[1], end)
        joined.append((begin, end))
    return [Cell(100 * begin / length_s, max(100 * (end - begin) / length_s, 0.15), begin, end) for begin, end in joined]


def place(start_s: float, end_s: float, length_s: float) -> tuple[float, float]:
    """Where in the whole session a span lies: left and width of a mark."""
    return min(100 * start_s / length_s, 99.6), max(100 * (end_s - start_s) / length_s, 0.4)


def axis(length_s: float) -> list[tuple[float, float]]:
    """The ticks (left, time_s) below rows that span the whole session."""
    step_s = next((step for step in STEPS_S if length_s / step <= 6), max(length_s / 5, STEPS_S[-1]))
    ticks = [(100 * i * step_s / length_s, i * step_s) for i in range(int(length_s / step_s) + 1)] if length_s else []
    return [tick for tick in ticks if tick[0] <= 94]  # the last one would stand out of the page


def overview(bins: Sequence[dict[int, float]], bin_s: float, length_s: float, labels: Sequence[str]) -> tuple[list[Bar], float]:
    """The bars of columns over time, as high as there were faces on average, and how many faces the highest stands for.
    bins: label -> face-seconds."""
    top = max((sum(part.values()) for part in bins), default=0.0) / bin_s or 1.0
    width, bars = 100 * bin_s / length_s, []
    for i, part in enumerate(bins):
        below = 0.0
        for number, seconds in sorted(part.items()):
            high = 100 * seconds / bin_s / top
            below += high
            bars.append(Bar(i * width, 100 - below, width, high, i * bin_s, number, labels[number], seconds / bin_s))
    return bars, top
