"""Summarizes a log in one pass: how long each person was seen with which labels, and when nobody was in view.

Time is measured by the intervals between logged frames, since live frames are dropped: a frame's contents hold until the next
frame. Memory use is constant except for the label runs (17 bytes each) of the people kept.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterable

from fer_live.report.readings import LABELS, LONG, OTHER, Readings, Seen, known, number
from fer_live.report.totals import Curve, Person, Session

HOLE_S = 1.0  # seconds; a longer interval is a gap in the log and counts as long as the interval before it
SLATE_S = 5.0  # seconds; while the camera is lost, a frame is logged every second; a longer interval is a gap in the log
GAP_S = 1.0  # seconds; the shortest time without a face that is reported
FAR_S = 1e7  # seconds; a log's times begin at zero, so times beyond this (four months) are invalid
KEPT = 60  # maximum number of people listed, those seen longest; the sums include the others
OPEN = 4096  # maximum number of open tracks; beyond that, those not seen for longest are closed
BINS = 240  # the overview has up to this many bins, and at least half as many
LISTED = 1000  # maximum number of events and parts listed


def summarize(entries: Iterable[dict]) -> Session:
    """Summarize log entries as returned by `fer_live.sinks.log_reader.read_log`. Invalid ones are skipped and counted."""
    counter = _Counter()
    for entry in entries:
        counter.take(entry)
    return counter.finish()


class _Counter:
    """Holds one frame back, since its duration is known only when the next one arrives."""

    def __init__(self) -> None:
        self.session = Session()
        self.readings = Readings(self.session)
        self.open: dict[tuple[int, int], Person] = {}  # (run, track_id) -> person
        self.kept: list[tuple[float, int, Person]] = []  # a heap, shortest first
        self.closed = self.run = 0
        self.offset_s: float | None = None  # from the log's times to the session's
        # time_s, time_s in the log, faces; None: the camera is lost
        self.held: tuple[float, float, list[Seen] | None] | None = None
        self.usual_s = 0.0  # the last interval that was not a gap
        self.empty_s: float | None = None  # time since when nobody is seen
        self.ended: tuple[float, str] = (-math.inf, "")  # when and why the last track ended

    def take(self, entry: dict) -> None:
        log_s, faces = number(entry.get("time_s")), entry.get("faces")
        if isinstance(entry.get("event"), str):
            self._event(entry["event"][:LONG], log_s)
            return
        if log_s is None or abs(log_s) > FAR_S or not isinstance(faces, list):
            self.session.skipped += 1
            return
        if self.offset_s is None:
            self.offset_s = -log_s
            self.session.part_starts.append((0.0, log_s))
        if self.held is not None and log_s < self.held[1] - HOLE_S:  # concatenated logs: a new run with new people
            self.run, self.session.parts = self.run + 1, self.session.parts + 1
            self.offset_s = self.held[0] + self.usual_s - log_s
            if len(self.session.part_starts) < LISTED:
                self.session.part_starts.append((self.held[0] + self.usual_s, log_s))
        now_s = log_s + self.offset_s
        is_lost = entry.get("camera_lost") is True
        if self.held is not None:
            now_s = max(now_s, self.held[0])
            self._count(*self.held, now_s, is_lost)
        self.held = now_s, log_s, None if is_lost else self.readings.faces(faces)
        self._end(entry.get("ended"), now_s)

    def finish(self) -> Session:
        session = self.session
        if self.held is not None:
            end_s = self.held[0] + (self.usual_s or (HOLE_S if self.held[2] is None else 0.0))
            self._count(*self.held, end_s, False)
            session.span_s = end_s
            self._end_gap(session.span_s)
        for person in self.open.values():
            self._close(person)
        session.people = sorted((person for _, _, person in self.kept), key=lambda p: (p.first_s, p.last_s))
        session.stills = session.logged_s == 0 and not session.lost
        return session

    def _event(self, name: str, log_s: float | None) -> None:
        session = self.session
        session.event_counts[name if name in session.event_counts or len(session.event_counts) < LABELS else OTHER] += 1
        if len(session.events) < LISTED and log_s is not None and self.offset_s is not None:
            session.events.append((max(0.0, log_s + self.offset_s), name))

    def _end(self, ended: object, now_s: float) -> None:
        """Record which tracks ended with a frame, and why."""
        for one in ended if isinstance(ended, list) else ():
            if isinstance(one, dict) and isinstance(one.get("because"), str) and type(one.get("track_id")) is int:
                because = known(one["because"], self.session.endings)
                self.session.endings[because] += 1
                self.ended = now_s, because
                if (person := self.open.get((self.run, one["track_id"]))) is not None:
                    person.ended = because

    def _count(self, time_s: float, log_s: float, faces: list[Seen] | None, next_s: float, is_lost_next: bool) -> None:
        """Count a frame and its faces, which hold until `next_s`, or for the usual interval if that is a gap.

        is_lost_next: the camera is lost at `next_s`, so no frames came before it.
        """
        session, weight_s = self.session, next_s - time_s
        session.frames += 1
        if faces is None:
            self._count_lost(time_s, next_s)
            return
        if weight_s > HOLE_S:
            weight_s = self.usual_s or HOLE_S
            if is_lost_next:
                self._lose(time_s + weight_s, next_s)
            else:
                session.holes.append((time_s + weight_s, next_s))
        elif weight_s > 0:
            self.usual_s = weight_s
        session.faces += len(faces)
        session.most = max(session.most, len(faces))
        session.logged_s += weight_s
        if faces:
            session.someone_s += weight_s
            self._end_gap(time_s)
        elif self.empty_s is None:
            self.empty_s = time_s
        if is_lost_next:
            self._end_gap(time_s + weight_s)
        for face in faces:
            if face.because:
                session.reasons[face.because] += weight_s
                session.reason_counts[face.because] += 1
            self._see(self._person(face.track, time_s), face, time_s, log_s, weight_s)
        if faces:
            self._bin(time_s, weight_s, faces)

    def _count_lost(self, time_s: float, next_s: float) -> None:
        """Count a frame that was logged while the camera was lost."""
        self._end_gap(time_s)
        if next_s - time_s > SLATE_S:
            self.session.holes.append((time_s + HOLE_S, next_s))
            next_s = time_s + HOLE_S
        self._lose(time_s, next_s)

    def _lose(self, start_s: float, end_s: float) -> None:
        lost = self.session.lost
        self.session.lost_s += end_s - start_s
        if lost and start_s - lost[-1][1] <= 1e-6:
            start_s = lost.pop()[0]
        lost.append((start_s, end_s))

    def _person(self, track: int, time_s: float) -> Person:
        person = self.open.get((self.run, track))
        if person is None:
            if len(self.open) >= OPEN:
                for key in sorted(self.open, key=lambda k: self.open[k].last_s)[: OPEN // 2]:
                    self._close(self.open.pop(key))
            name = f"{track}" if not self.run else f"{self.run + 1}.{track}"
            person = self.open[self.run, track] = Person(name, time_s, time_s, Curve(time_s))
        return person

    def _see(self, person: Person, face: Seen, time_s: float, log_s: float, weight_s: float) -> None:
        session, label, end_s = self.session, face.label, time_s + weight_s
        follows = bool(person.labels) and time_s - person.ends[-1] <= HOLE_S
        if follows and person.labels[-1] == label:
            person.ends[-1] = end_s
        else:
            if follows:
                person.changes += 1
                session.changes += 1
            session.runs[label] += 1
            person.labels.append(label)
            person.starts.append(time_s)
            person.ends.append(end_s)
        person.last_s = end_s
        person.frames += 1
        person.seen_s += weight_s
        person.seconds[label] = person.seconds.get(label, 0.0) + weight_s
        session.face_s += weight_s
        session.seconds[label] += weight_s  # type: ignore[assignment]  # a Counter of seconds
        session.counts[label] += 1
        person.curve.add(time_s, weight_s, face.classes, face.probs)
        if face.box is not None and (person.best is None or face.score > person.best[0]):
            person.best = face.score, log_s, face.box, label

    def _close(self, person: Person) -> None:
        self.session.dwells_s.append(person.last_s - person.first_s)
        self.session.shown_by.update(person.seconds.keys())
        self.closed += 1
        heapq.heappush(self.kept, (person.seen_s, -self.closed, person))
        if len(self.kept) > KEPT:
            heapq.heappop(self.kept)

    def _end_gap(self, time_s: float) -> None:
        start_s, self.empty_s = self.empty_s, None
        if start_s is not None and time_s - start_s >= GAP_S:
            self.session.gaps.append((start_s, time_s))
            self.session.gap_causes.append(self.ended[1] if self.ended[0] >= start_s else "")

    def _bin(self, time_s: float, weight_s: float, faces: list[Seen]) -> None:
        session, end_s = self.session, time_s + weight_s
        while (last := int(end_s / session.bin_s)) >= BINS:
            session.bins = [_sum(session.bins[i : i + 2]) for i in range(0, len(session.bins), 2)]
            session.bin_s *= 2
        while len(session.bins) <= last:
            session.bins.append({})
        for place in range(int(time_s / session.bin_s), last + 1):  # a long frame spans several bins
            share_s = min(end_s, (place + 1) * session.bin_s) - max(time_s, place * session.bin_s)
            for face in faces:
                session.bins[place][face.label] = session.bins[place].get(face.label, 0.0) + share_s


def _sum(parts: list[dict[int, float]]) -> dict[int, float]:
    total: Counter = Counter()
    for part in parts:
        total.update(part)
    return dict(total)

