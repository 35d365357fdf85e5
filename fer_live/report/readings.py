"""Reads the faces in log entries: invalid ones are skipped and counted, and names become indices."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, NamedTuple

from fer_live.report.totals import Session

LABELS = 24  # maximum number of distinct labels; further ones become OTHER
OTHER = "(other)"
LONG = 40  # maximum characters of a label or an event; longer ones are cut
CLASSES = 64  # maximum number of probabilities per face; a log with more is not from this program


class Seen(NamedTuple):
    """A face in one frame. label, classes: indices of the session's labels."""

    track: int
    label: int
    score: float  # clarity, used to select a thumbnail
    box: tuple | None  # xyxy in pixels; None if the log has no usable one
    because: str  # reason for being unsure, or ""
    classes: tuple[int, ...]
    probs: tuple[float, ...]  # 0..1, one per class; both empty if the log has none


class Readings:
    """Extracts faces from log entries, and counts skipped ones in the session."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.numbers: dict[str, int] = {}  # label -> index
        self.known_classes: dict[tuple, tuple[int, ...]] = {}  # names of probabilities -> indices

    def faces(self, faces: list) -> list[Seen]:
        """Return the valid faces of a frame."""
        good = [face for face in map(self._face, faces) if face is not None]
        self.session.skipped_faces += len(faces) - len(good)
        return good

    def _face(self, face: object) -> Seen | None:
        if not isinstance(face, dict) or not isinstance(face.get("label"), str):
            return None
        track, confidence = face.get("track_id"), number(face.get("confidence"))
        if type(track) is not int or abs(track) > 1 << 53 or confidence is None or not 0 <= confidence <= 1:
            return None
        label, box, because = self._label(face["label"]), face.get("box"), face.get("unsure_because")
        because = known(because, self.session.reason_counts) if isinstance(because, str) else ""
        classes, probs = self._probs(face.get("probs"))
        box = [number(v) for v in box] if isinstance(box, list) and len(box) == 4 else []
        if not box or None in box or not (box[0] < box[2] and box[1] < box[3]):
            return Seen(track, label, 0.0, None, because, classes, probs)
        score = confidence * min(box[2] - box[0], box[3] - box[1])
        return Seen(track, label, score, tuple(box), because, classes, probs)

    def _probs(self, probs: object) -> tuple[tuple[int, ...], tuple[float, ...]]:
        """Return indices and values of a face's probabilities; empty if any value is invalid."""
        if not isinstance(probs, dict) or len(probs) > CLASSES:
            return (), ()
        names, values = tuple(probs), tuple(probs.values())
        if not all(type(value) in (int, float) and 0 <= value <= 1 for value in values):
            return (), ()
        if names not in self.known_classes:
            if len(self.known_classes) >= CLASSES:
                self.known_classes.clear()
            self.known_classes[names] = tuple(map(self._label, names))
        return self.known_classes[names], values

    def _label(self, name: str) -> int:
        name = name[:LONG]
        if name not in self.numbers:
            if len(self.numbers) >= LABELS and name != OTHER:
                return self._label(OTHER)
            self.numbers[name] = len(self.numbers)
            self.session.labels.append(name)
        return self.numbers[name]


def known(text: str, counts: Counter) -> str:
    """Return the text, or OTHER if there are too many distinct ones."""
    return text[:LONG] if text[:LONG] in counts or len(counts) < LABELS else OTHER


def number(value: Any) -> float | None:
    """Return a finite number of plausible size as float, else None."""
    if type(value) not in (int, float) or not -1e12 < value < 1e12:  # NaN compares false
        return None
    return float(value) if math.isfinite(value) else None
