"""Turns the analyses of a live run into the data for other programs: values per frame, and events between frames."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from fer_live.types import Analysis, Box, Face

LEAVE_S = 1.0  # seconds without a detection after which a face counts as gone; the tracker keeps its id for half of that
ENTER, LEAVE, LABEL, HOLD = "enter", "leave", "label", "hold"
CAMERA_LOST, CAMERA_FOUND = "camera lost", "camera found"
RECORDING_STARTED, RECORDING_STOPPED = "recording started", "recording stopped"
FACES = frozenset({ENTER, LEAVE, LABEL, HOLD})
RUN = frozenset({CAMERA_LOST, CAMERA_FOUND, RECORDING_STARTED, RECORDING_STOPPED})


@dataclass(frozen=True, slots=True)
class Event:
    """One event. The fields after `frame` describe a face and are empty for events without one."""

    kind: str  # one of FACES or RUN
    time_s: float  # time.monotonic() of the frame
    unix_s: float  # the same moment in seconds since 1970
    frame: int
    track_id: int = 0
    label: str = ""
    confidence: float = 0.0  # 0..1
    previous: str = ""  # LABEL: the label before this one
    seconds: float = 0.0  # LABEL: duration of the previous label; HOLD: required duration; LEAVE: time in view
    jpeg: bytes = field(default=b"", repr=False)  # the annotated image, if a receiver needs it

    def to_dict(self) -> dict[str, Any]:
        """Convert the event to JSON-compatible values; `time` is UTC in ISO 8601."""
        made: dict[str, Any] = {
            "event": self.kind, "time": datetime.fromtimestamp(self.unix_s, UTC).isoformat(timespec="milliseconds"),
            "frame": self.frame,
        }
        if self.kind in FACES:
            made |= {"track_id": self.track_id, "label": self.label, "confidence": round(float(self.confidence), 4)}
        if self.kind == LABEL:
            made["previous"] = self.previous
        if self.kind in (LABEL, HOLD, LEAVE):
            made["seconds"] = round(self.seconds, 3)
        return made


@dataclass(frozen=True, slots=True)
class Values:
    """The faces of one frame and its annotated image."""

    index: int
    time_s: float  # time.monotonic() of the capture
    size_wh: tuple[int, int]
    faces: tuple[Face, ...]
    is_slate: bool
    tiles: tuple[Box, ...]
    image: np.ndarray | None  # (H, W, 3) uint8 BGR, read-only; None for receivers that need no images

    @staticmethod
    def of(image: np.ndarray, analysis: Analysis) -> Values:
        """Build from an analysis and its annotated image (H, W, 3) uint8 BGR."""
        frame = analysis.frame
        return Values(frame.index, frame.time_s, (frame.image.shape[1], frame.image.shape[0]), analysis.faces, frame.is_slate,
                      frame.tiles, image)


@dataclass(slots=True)
class _Seen:
    first_s: float
    last_s: float
    label: str
    confidence: float
    since_s: float
    held: set[tuple[str, float]] = field(default_factory=set)


class EventDetector:
    """Derives events from the analyses of a live run, called once per frame in order.

    holds: (label, seconds) pairs; a face that keeps a label that long triggers one HOLD. is_recording: whether a recording
    is running now. A face that is still being calibrated has no label yet and triggers neither LABEL nor HOLD.
    """

    def __init__(self, holds: frozenset[tuple[str, float]] = frozenset(), is_recording: Callable[[], bool] = lambda: False,
                 clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time):
        self.holds, self.is_recording = holds, is_recording
        self.wall_offset_s = wall() - clock()
        self.clock, self.wall = clock, wall
        self.seen: dict[int, _Seen] = {}
        self.last_s, self.frame = 0.0, 0
        self.was_slate, self.was_recording = False, False

    def __call__(self, analysis: Analysis) -> list[Event]:
        """Return the events since the last call, oldest first."""
        now_s = self.last_s = analysis.frame.time_s
        self.frame = analysis.frame.index
        self.wall_offset_s = self.wall() - self.clock()  # the system clock can change during a run
        events = self._of_run(analysis.frame.is_slate)
        for track_id in [i for i, seen in self.seen.items() if now_s - seen.last_s > LEAVE_S]:
            events.append(self._leave(track_id))
        for face in analysis.faces:
            events += self._of_face(face, now_s)
        return events

    def end(self) -> list[Event]:
        """Return the final events: all faces leave, and a running recording stops."""
        events = [self._leave(track_id) for track_id in list(self.seen)]
        if self.was_recording:
            events.append(self._event(RECORDING_STOPPED, self.last_s))
        return events

    def _of_run(self, is_slate: bool) -> list[Event]:
        kinds, recording = [], self.is_recording()
        if is_slate != self.was_slate:
            kinds.append(CAMERA_LOST if is_slate else CAMERA_FOUND)
        if recording != self.was_recording:
            kinds.append(RECORDING_STARTED if recording else RECORDING_STOPPED)
        self.was_slate, self.was_recording = is_slate, recording
        return [self._event(kind, self.last_s) for kind in kinds]

    def _of_face(self, face: Face, now_s: float) -> list[Event]:
        events, seen = [], self.seen.get(face.track_id)
        if seen is None:
            seen = self.seen[face.track_id] = _Seen(now_s, now_s, face.label, face.confidence, now_s)
            events.append(self._event(ENTER, now_s, face))
        seen.last_s, seen.confidence = now_s, face.confidence
        if face.calibration_s:
            seen.label, seen.since_s = face.label, now_s
            seen.held.clear()
            return events
        if face.label != seen.label:
            events.append(self._event(LABEL, now_s, face, seen.label, now_s - seen.since_s))
            seen.label, seen.since_s = face.label, now_s
            seen.held.clear()
        for hold in sorted(self.holds - seen.held):
            if hold[0] == face.label and now_s - seen.since_s >= hold[1]:
                seen.held.add(hold)
                events.append(self._event(HOLD, now_s, face, seconds=hold[1]))
        return events

    def _leave(self, track_id: int) -> Event:
        seen = self.seen.pop(track_id)
        return Event(LEAVE, seen.last_s, seen.last_s + self.wall_offset_s, self.frame, track_id, seen.label, seen.confidence,
                     seconds=seen.last_s - seen.first_s)

    def _event(self, kind: str, time_s: float, face: Face | None = None, previous: str = "", seconds: float = 0.0) -> Event:
        about = (face.track_id, face.label, face.confidence) if face else (0, "", 0.0)
        return Event(kind, time_s, time_s + self.wall_offset_s, self.frame, *about, previous, seconds)
