"""Geometry of a report's charts; templates/drawings.html draws them.

x runs from 0 to 1000 over a chart's time span, y from 0 (top) to 100. Text positions are percentages of the width. Each label has
a color, and a pattern and a dash style for prints without color.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from fer_live.report.totals import Curve
from fer_live.screen.palette import COLORS, COLORS_ON_LIGHT, EMOTION_COLORS, SAME, as_hex

# Colors of labels that the palette lacks: contrast of at least 3:1 on light and on dark pages.
MORE = ("#1f8a80", "#b0529f", "#8a7d1f", "#7d6bc9", "#c95a6f", "#3f8f4a", "#a8643a", "#5f7f95", "#a45a80")
MARKS = (  # paths on a tile of 8 by 8
    "M-2 10 10 -2M-2 2 2 -2M6 10 10 6", "M2 2h.01M6 6h.01", "M0 0 8 8M0 8 8 0", "M4 2v4M2 4h4", "", "M0 2h8M0 6h8",
    "M2 0v8M6 0v8", "M-2 -2 10 10", "M1 1h4v4h-4z", "M0 4h8M4 0v8", "M0 6 4 2 8 6",
)
CELLS = 400  # a row with more than MOST parts is drawn in this many cells
MOST = 300
DRAWN = 0.2  # minimum peak probability of a class that gets a curve
BREAK_S = 1.0  # seconds; gaps longer than this break a curve
LETTER = 0.75  # width of a letter in a band, in percent of the chart's width on a typical screen
STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200)
Span = tuple[float, float]  # start_s, end_s
Run = tuple[float, float, int]  # start_s, end_s, label


class Tile(NamedTuple):
    """Style of a label.

    light, dark: its color for that color scheme, #rrggbb. mark: a path on 8 by 8, drawn in `ink`. dash: lengths of strokes and
    gaps in pixels.
    """

    light: str
    dark: str
    mark: str
    ink: str
    dash: str


class Band(NamedTuple):
    """A time span in a row. label: an index, or None."""

    x: float
    width: float
    begin_s: float
    end_s: float
    label: int | None = None
    word: str = ""  # text inside the band; empty if it does not fit
    at: float = 0.0  # left edge of the text in percent of the width


def clock(time_s: float) -> str:
    """Format seconds as 0.25 s, 4.2 s, 3:05 or 1:02:03."""
    if time_s < 59.95:
        return f"{time_s:.1f} s" if time_s >= 1 or not time_s else f"{time_s:.2f} s"
    whole = round(time_s)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def short(value: float) -> str:
    """Format a coordinate, with one decimal if needed."""
    return f"{value:.1f}".removesuffix(".0")


def _ink(fill: str) -> str:
    """Return the text color with enough contrast on a fill: black or white."""
    red, green, blue = (int(fill[i : i + 2], 16) for i in (1, 3, 5))
    return "#000" if 0.299 * red + 0.587 * green + 0.114 * blue > 120 else "#fff"


def tiles(labels: Sequence[str]) -> list[Tile]:
    """Return the style of each label."""
    made = []
    for number, name in enumerate(labels):
        other = MORE[number % len(MORE)]
        light, dark = (as_hex(colors[name]) if name in colors else other for colors in (COLORS_ON_LIGHT, COLORS))
        like = SAME.get(name, name)
        at = list(EMOTION_COLORS).index(like) if like in EMOTION_COLORS else (number * 3 + 8) % len(MARKS)
        dash = "" if not at else f"{2 + 3 * (at % 4)} {2 + 2 * (at // 4)}"
        made.append(Tile(light, dark, MARKS[at], _ink(light), dash))
    return made


def in_order(numbers: Iterable[int], labels: Sequence[str]) -> list[int]:
    """Sort labels in the palette's order, so that all reports use the same order; unknown labels come last."""
    ranks = {name: rank for rank, name in enumerate(COLORS)}
    return sorted(numbers, key=lambda number: (ranks.get(labels[number], len(ranks)), number))


def _scale(span: Span) -> float:
    return 1000 / max(span[1] - span[0], 1e-9)


def bands(runs: Sequence[Run], span: Span, labels: Sequence[str]) -> list[Band]:
    """Return a person's row: the labels over the time `span`, with text where it fits."""
    scale, made = _scale(span), []
    for begin_s, end_s, label in _thinned(runs, span):
        x, width = scale * (begin_s - span[0]), max(scale * (end_s - begin_s), 1.0)
        has_room = width / 10 > LETTER * (len(labels[label]) + 1)
        made.append(Band(x, width, begin_s, end_s, label, labels[label] if has_room else "", x / 10 + 0.4))
    return made


def _thinned(runs: Sequence[Run], span: Span) -> list[Run]:
    """Return the runs; if there are too many, equal cells with each cell's most frequent label, with equal neighbors merged."""
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
    thinned: list[Run] = []
    for cell, shares in sorted(cells.items()):
        number, begin, end = max(shares, key=shares.__getitem__), span[0] + cell * cell_s, span[0] + (cell + 1) * cell_s
        if thinned and thinned[-1][2] == number and begin - thinned[-1][1] < cell_s / 2:
            begin = thinned.pop()[0]
        thinned.append((begin, end, number))
    return thinned


def marks(spans: Sequence[Span], span: Span, word: str = "") -> list[Band]:
    """Clip sorted spans to `span`, and merge those that almost touch. Spans of length 0 mark a moment.

    word: text inside the bands where it fits.
    """
    joined: list[Span] = []
    for begin, end in spans:
        begin, end = max(begin, span[0]), min(end, span[1])
        if begin > end:
            continue
        if joined and begin - joined[-1][1] < (span[1] - span[0]) / CELLS:
            begin, end = joined[-1][0], max(joined.pop()[1], end)
        joined.append((begin, end))
    scale, made = _scale(span), []
    for begin, end in joined:
        x, width = scale * (begin - span[0]), max(scale * (end - begin), 1.5)
        made.append(Band(x, width, begin, end, None, word if width / 10 > LETTER * (len(word) + 1) else "", x / 10 + 0.4))
    return made


def lines(curve: Curve, span: Span) -> list[tuple[int, str]]:
    """Return (class, path) for each class that reaches DRAWN: its mean probability over time, broken at gaps."""
    means, scale = list(curve.means()), _scale(span)
    most: dict[int, float] = {}
    for _, _, probs in means:
        for name, prob in probs.items():
            most[name] = max(prob, most.get(name, 0.0))
    return [(name, _line(name, means, span[0], scale)) for name in sorted(most, key=most.__getitem__) if most[name] >= DRAWN]


def _line(name: int, means: list[tuple[float, float, dict[int, float]]], start_s: float, scale: float) -> str:
    parts, last_s = [], float("-inf")
    for begin_s, end_s, probs in means:
        x, y = scale * ((begin_s + end_s) / 2 - start_s), 100 - 100 * probs.get(name, 0.0)
        if begin_s - last_s > BREAK_S:
            parts.append(f"M{short(max(x - scale * (end_s - begin_s) / 2, 0))} {short(y)}")  # a single point is drawn as a dash
        parts.append(f"L{short(min(x, 1000))} {short(y)}")
        last_s = end_s
    return "".join(parts)


def place(start_s: float, end_s: float, length_s: float) -> tuple[float, float]:
    """Return the position of a span in the whole session: x and width of a mark."""
    return min(1000 * start_s / length_s, 996), max(1000 * (end_s - start_s) / length_s, 4)


def axis(span: Span) -> list[tuple[float, float]]:
    """Return the ticks (percent, time_s) of the time axis for `span`."""
    length_s = span[1] - span[0]
    step_s = next((step for step in STEPS_S if length_s / step <= 6), max(length_s / 5, STEPS_S[-1]))
    first = -int(-span[0] / step_s - 1e-9) if span[0] else 0
    first += first * step_s < span[0] - 1e-9
    times = [number * step_s for number in range(first, int(span[1] / step_s + 1e-9) + 1)] if length_s else []
    ticks = [(100 * (time_s - span[0]) / length_s, time_s) for time_s in times]
    return [tick for tick in ticks if tick[0] <= 94]  # the last one would exceed the page


def areas(bins: Sequence[dict[int, float]], bin_s: float, length_s: float, top: float,
          order: Sequence[int]) -> list[tuple[int, str]]:
    """Return (label, path) of stacked areas over time.

    bins: label -> face-seconds. top: number of faces at the upper edge. order: labels from the bottom up.
    """
    below, made = [0.0] * len(bins), []
    width = 1000 * bin_s / length_s if length_s else 0.0
    for label in order:
        upper: list[float] = []
        lower: list[float] = []
        path, start = "", 0
        for i, part in enumerate([*bins, {}]):
            high = 100 * part.get(label, 0.0) / bin_s / top
            if high > 0:
                start = i if not upper else start
                lower.append(100 - below[i])
                below[i] += high
                upper.append(100 - below[i])
            elif upper:
                path += _area(start * width, width, upper, lower)
                upper, lower = [], []
        made.append((label, path))
    return made


def _area(x: float, width: float, upper: list[float], lower: list[float]) -> str:
    """Return the outline of adjacent columns, rightward along their tops and back along their bottoms."""
    there = "".join(f"V{short(y)}H{short(min(x + width * (i + 1), 1000))}" for i, y in enumerate(upper))
    back = "".join(f"V{short(y)}H{short(x + width * (len(lower) - 1 - i))}" for i, y in enumerate(reversed(lower)))
    return f"M{short(x)} {short(upper[0])}{there}{back}z"


def most_faces(bins: Sequence[dict[int, float]], bin_s: float) -> float:
    """Return the number of faces in the highest column; 1 if there are no columns."""
    return max((sum(part.values()) for part in bins), default=0.0) / bin_s or 1.0
