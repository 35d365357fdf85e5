"""Smooths each face's probabilities over time and derives a label that does not flicker. Time is measured in seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fer_live.types import UNSURE


@dataclass
class TrackState:
    """State of one track. C classes; index C of the arrays stands for UNSURE."""

    probs: np.ndarray  # (C,) float32, smoothed
    time_s: float
    label: int  # index into the labels; C: UNSURE
    span_s: float  # seconds covered by the mean
    lead: np.ndarray  # (C + 1,) integral over time of each answer's lead over the label; at least 0
    led_s: np.ndarray  # (C + 1,) seconds for which the lead has lasted
    sums: np.ndarray  # (C + 1, C) integral of the probabilities over that time


class Smoother:
    """Smoothed probabilities per track, and a label that is always their strongest class, or UNSURE.

    The probabilities are the mean since the expression last changed, with time constant `time_constant_s`. A change is
    detected by Page's cumulative sum test (1954): the lead of another answer over the label, minus `margin`, is integrated
    over time. Once it has lasted `dwell_s` and the integral reaches `evidence_s`, the mean restarts from the moment the lead
    began, so the label never contradicts the probabilities. UNSURE takes part as a class with constant probability `sure`.
    Drifts too slow for the test change the label when the strongest class changes. With hysteresis, a label changes from UNSURE
    to a class at `sure + margin`, and back below `sure - margin`.

    time_constant_s = 0 turns smoothing off; with margin = 0 the label is then each frame's strongest class.
    """

    def __init__(self, labels: tuple[str, ...], time_constant_s: float = 1.0, margin: float = 0.05, sure: float = 0.40,
                 dwell_s: float = 0.35, evidence_s: float = 0.10, memory_s: float = 2.0):
        self.labels, self.time_constant_s, self.margin, self.sure = labels, time_constant_s, margin, sure
        self.dwell_s, self.evidence_s, self.memory_s = dwell_s, evidence_s, memory_s
        self.states: dict[int, TrackState] = {}

    def update(self, track_id: int, probs: np.ndarray | None, time_s: float) -> tuple[np.ndarray, str, float]:
        """Add the probabilities (C,) of a track at `time_s`, or None if it was not found in this frame.

        Return the smoothed probabilities (C,) float32, the label or UNSURE, and its probability (that of the strongest class if
        unsure). Raises KeyError for a new track without probabilities.
        """
        state = self.states.get(track_id)
        if state is None:
            if probs is None:
                raise KeyError(f"track {track_id} was never seen")
            state = self.states[track_id] = self._begin(probs, time_s)
        elif probs is not None:
            self._follow(state, np.asarray(probs, np.float32), max(time_s - state.time_s, 0.0))
            state.time_s = time_s
        label = UNSURE if state.label == len(self.labels) else self.labels[state.label]
        return state.probs, label, float(state.probs.max())

    def _begin(self, probs: np.ndarray, time_s: float) -> TrackState:
        count = len(self.labels)
        return TrackState(probs.astype(np.float32), time_s, self._strongest(probs, self.sure), self.dwell_s,
                    np.zeros(count + 1), np.zeros(count + 1), np.zeros((count + 1, count)))

    def _strongest(self, probs: np.ndarray, least: float) -> int:
        best = int(probs.argmax())
        return best if probs[best] >= least else len(self.labels)

    def _follow(self, state: TrackState, probs: np.ndarray, elapsed_s: float) -> None:
        """Add the probabilities (C,) of one more frame."""
        if self.time_constant_s:
            share = max(1 - math.exp(-elapsed_s / self.time_constant_s), elapsed_s / (state.span_s + elapsed_s or 1.0))
            self._gather(state, probs, min(elapsed_s, self.dwell_s))  # limits the weight of the first frame after a gap
        else:
            share = 1.0
        state.span_s += elapsed_s
        state.probs = (state.probs + share * (probs - state.probs)).astype(np.float32)
        unsure = len(self.labels)
        proven = np.where((state.lead > 0) & (state.led_s >= self.dwell_s - 1e-6), state.lead, -1.0)
        winner = int(proven.argmax())
        if proven[winner] >= self.evidence_s:
            self._restart(state, winner)
            label = self._strongest(state.probs, self.sure)
        else:
            least = self.sure + (self.margin if state.label == unsure else -self.margin)
            label = self._strongest(state.probs, least)
            if label != state.label and state.led_s[label] > 0 and self._strongest(_since(state, label), least) == label:
                self._restart(state, label)
        if label != state.label:
            state.label = label
            state.lead[:], state.led_s[:], state.sums[:] = 0.0, 0.0, 0.0

    def _gather(self, state: TrackState, probs: np.ndarray, elapsed_s: float) -> None:
        """Integrate each answer's lead over the label; a lead that falls to 0 is reset."""
        answers = np.append(probs, self.sure)
        if state.label < len(self.labels):
            rivals = answers[state.label] + self.margin
        else:  # a class replaces UNSURE only if it also leads the other classes
            order = np.argsort(probs)
            rivals = np.full(len(answers), max(self.sure, probs[order[-1]]))
            rivals[order[-1]] = max(self.sure, probs[order[-2]])
        state.lead = np.maximum(0.0, state.lead + (answers - rivals) * elapsed_s)
        state.lead[state.label] = 0.0
        leads = state.lead > 0
        state.led_s = np.where(leads, state.led_s + elapsed_s, 0.0)
        state.sums = np.where(leads[:, None], state.sums + probs * elapsed_s, 0.0)

    def _restart(self, state: TrackState, winner: int) -> None:
        """Restart the mean from the moment the winner began to lead."""
        state.probs, state.span_s = _since(state, winner), float(state.led_s[winner])

    def expire(self, time_s: float) -> None:
        """Drop tracks not seen for `memory_s`."""
        self.states = {key: state for key, state in self.states.items() if time_s - state.time_s <= self.memory_s}


def _since(state: TrackState, winner: int) -> np.ndarray:
    """Return the mean probabilities (C,) since the winner began to lead."""
    return (state.sums[winner] / state.led_s[winner]).astype(np.float32)
