"""Smooths what is shown of each face: box, label, percentage and bars.

Affects only the screen and images of it; logs and crops contain the measured values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from fer_live.screen.words import phrase
from fer_live.types import UNCLEAR, UNSURE, Analysis, Face

LOOK_NEUTRAL = "look neutral"  # prompt during calibration; key of the phrase in languages.json
FIGURE_S = 0.34  # seconds; minimum time between changes of the percentage
DOUBT_S = 1.0  # seconds; minimum time between changes of the two classes named for an unsure face
EASE_S = 0.12  # seconds; time constant of the bars
LEAD = 0.03  # minimum probability by which a class must exceed the one above it to swap places
TOP = 3  # number of bars
HESITATES = "", UNCLEAR  # values of unsure_because that are not caused by image quality
FORGET_S = 1.0
# One-Euro filter (Casiez, Roussel and Vogel 2012). Lengths are in box sides, so the result does not depend on resolution.
MIN_CUTOFF_HZ, SPEED_CUTOFF_HZ = 1.0, 1.0
BETA = np.array([6.0, 6.0, 1.5, 1.5])  # of center x, y, width, height; heads move faster than their size changes
SLACK = np.array([0.025, 0.025, 0.06, 0.06])  # dead zone: a box stays still until one of these has changed by more
JUMP = 0.5  # box sides between two frames; a larger step is a new position, not motion


@dataclass(frozen=True, slots=True)
class DisplayedFace:
    """One face as it is displayed."""

    track_id: int
    number: int  # from 1; the lowest number free when the face appeared
    box: tuple[float, float, float, float]  # xyxy, pixels of the frame
    label: str  # a class name or UNSURE; "" during calibration
    word: str  # display text in the screen's language
    short: str  # shorter text for narrow places
    figure: str  # the label's percentage, or ""
    bars: tuple[tuple[str, float, int], ...]  # the strongest classes: name, length 0..1, percentage; empty if unreadable


@dataclass(slots=True)
class SmoothedFace:
    """Smoothing state of one face."""

    number: int
    time_s: float
    filtered: np.ndarray  # (4,) center x, y, width, height in pixels
    speed: np.ndarray  # (4,) rate of change of `filtered`, box sides per second
    still: np.ndarray  # (4,) displayed version of `filtered`
    bars: np.ndarray  # (C,) lengths
    order: list[int]  # classes, longest bar first
    figures: np.ndarray  # (C,) displayed percentages
    figures_s: float
    label: str
    doubt: tuple[int, int] = (0, 0)
    doubt_s: float = field(default=-math.inf)


class DisplaySmoother:
    """Converts analyses to displayed faces. labels: class names in the order of the probabilities. words: texts of the screen."""

    def __init__(self, labels: tuple[str, ...], words: dict[str, str]):
        self.labels, self.words = labels, words
        self.faces: dict[int, SmoothedFace] = {}
        self.last: tuple[Analysis, list[DisplayedFace]] | None = None

    def __call__(self, analysis: Analysis) -> list[DisplayedFace]:
        """Return the faces of `analysis`. Frames must come in order; repeated calls with one analysis return the same result."""
        if self.last is None or self.last[0] is not analysis:
            time_s = analysis.frame.time_s
            if analysis.frame.name:  # an image file is unrelated to the previous ones
                self.faces.clear()
            gone = [key for key, state in self.faces.items() if not 0 <= time_s - state.time_s <= FORGET_S]
            for key in gone:
                del self.faces[key]
            self.last = analysis, [self._show(face, time_s) for face in analysis.faces]
        return self.last[1]

    def _show(self, face: Face, time_s: float) -> DisplayedFace:
        state = self.faces.get(face.track_id)
        if state is None:
            state = self.faces[face.track_id] = self._begin(face, time_s)
        else:
            self._follow(state, face, time_s)
        x, y, w, h = state.still.tolist()
        bars = tuple((self.labels[i], float(state.bars[i]), int(state.figures[i])) for i in state.order[:TOP])
        label = "" if face.calibration_s else face.label
        figure = f"{state.figures[self.labels.index(label)]}%" if label in self.labels else ""
        box, word = (x - w / 2, y - h / 2, x + w / 2, y + h / 2), self._word(face, state)
        hesitates = face.unsure_because in HESITATES
        short = self.words.get(UNSURE, UNSURE) if label == UNSURE and hesitates else word
        if label == UNSURE and not hesitates:  # an unreadable face has no bars, since they would suggest a reading
            bars = ()
        return DisplayedFace(face.track_id, state.number, box, label, word, short, figure, bars)

    def _word(self, face: Face, state: SmoothedFace) -> str:
        if face.calibration_s:
            return f"{phrase(self.words, LOOK_NEUTRAL)} {math.ceil(face.calibration_s)}"
        if face.label != UNSURE:
            return self.words.get(face.label, face.label)
        if face.unsure_because in HESITATES:
            first, second = (self.words.get(self.labels[i], self.labels[i]) for i in state.doubt)
            return phrase(self.words, "hard_to_say").replace("{first}", first).replace("{second}", second)
        return phrase(self.words, f"unsure_{face.unsure_because}")

    def _begin(self, face: Face, time_s: float) -> SmoothedFace:
        taken = {state.number for state in self.faces.values()}
        number = next(n for n in range(1, len(taken) + 2) if n not in taken)
        measured, order = _measured(face), np.argsort(-face.probs, kind="stable").tolist()
        return SmoothedFace(number, time_s, measured, np.zeros(4), measured.copy(), face.probs.astype(float), order,
                            _percent(face.probs), time_s, face.label, (order[0], order[1]), time_s)

    def _follow(self, state: SmoothedFace, face: Face, time_s: float) -> None:
        elapsed_s = time_s - state.time_s
        state.time_s = time_s
        _follow_box(state, _measured(face), elapsed_s)
        state.bars += (1 - math.exp(-elapsed_s / EASE_S)) * (face.probs - state.bars)
        if time_s - state.figures_s >= FIGURE_S or state.label != face.label:
            figures = _percent(face.probs)
            if (figures != state.figures).any():
                state.figures, state.figures_s = figures, time_s
        probs = face.probs.tolist()
        first, second = sorted(range(len(probs)), key=lambda i: -probs[i])[:2]
        if {first, second} != set(state.doubt) and (time_s - state.doubt_s >= DOUBT_S or state.label != face.label):
            state.doubt, state.doubt_s = (first, second), time_s
        state.label = face.label
        for a in range(len(state.order) - 1, 0, -1):  # one pass from below: the strongest rises at once, others one place a frame
            below, above = state.order[a], state.order[a - 1]
            if probs[below] > probs[above] + LEAD:
                state.order[a - 1 : a + 1] = below, above


def _measured(face: Face) -> np.ndarray:
    x1, y1, x2, y2 = face.box
    return np.array([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1])


def _percent(probs: np.ndarray) -> np.ndarray:
    return np.asarray(np.rint(100 * probs), int)


def _follow_box(state: SmoothedFace, measured: np.ndarray, elapsed_s: float) -> None:
    """Move the displayed box: filter it, and follow only where it leaves the dead zone."""
    side = max(1.0, (state.filtered[2] + state.filtered[3]) / 2)
    step = (measured - state.filtered) / side
    if elapsed_s <= 0 or max(abs(step[0]), abs(step[1])) > JUMP:
        state.filtered, state.still, state.speed = measured, measured.copy(), np.zeros(4)
        return
    state.speed += _share(SPEED_CUTOFF_HZ, elapsed_s) * (step / elapsed_s - state.speed)
    state.filtered = state.filtered + side * step * _share(MIN_CUTOFF_HZ + BETA * np.abs(state.speed), elapsed_s)
    off, slack = state.filtered - state.still, SLACK * side
    state.still = state.still + np.sign(off) * np.maximum(0.0, np.abs(off) - slack)


def _share(cutoff_hz, elapsed_s: float):
    """Return the smoothing factor of a first-order low-pass filter."""
    return 1 / (1 + 1 / (2 * math.pi * cutoff_hz * elapsed_s))
