"""Assigns persistent ids to faces. Time is measured in seconds, since live frames may be dropped."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from fer_live.analysis.patch import contrast, correlation, patch

ALIKE = 0.5  # correlation below which the place shows something else
FLAT, FLAT_ALIKE = 12.0, 0.7  # gray levels; contrast below which patches correlate by chance; the correlation they need
CONTRASTS = 1.6  # maximum ratio of two contrasts; a face's changes by 1.07 from frame to frame
FARTHEST = 0.7  # maximum distance of a track and its next box, as by `_distances`
CONFIRM_HITS = 3  # detections before a face is shown
USUAL = 3.0  # factor on the usual frame interval; longer intervals are pauses that end all tracks


@dataclass
class Track:
    """A face tracked over time. `fresh`: it was detected in the frame of the last update; otherwise it is coasting.

    roll: degrees clockwise at the last detection. row: index of its box in that update.
    before: times, boxes, rolls and rows of the detections before the track was confirmed; complete in the update that first
    shows it, empty afterwards.
    """

    track_id: int
    box: np.ndarray  # (4,) float xyxy, smoothed
    seen_s: float
    image: np.ndarray | None  # the image of the last detection, to compare with while the face is missed
    hits: int = 1
    fresh: bool = True
    roll: float = 0.0
    row: int = 0
    before: list[tuple[float, np.ndarray, float, int]] = field(default_factory=list)


class FaceTracker:
    """Boxes -> tracks, matched greedily by position and size, best pair first.

    A track is shown once it has `confirm_hits` hits, since Haar's false positives seldom repeat at the same place. A confirmed
    track survives misses of up to `memory_s`, a tentative one up to `patience_s`. A missed face is shown only while its place
    looks unchanged, so no box stays behind after a cut or when someone steps aside.
    Tracks expire before matching, so a face gets a new id after a pause. In videos of one frame a second or less, the usual
    frame interval does not count as a pause. If timestamps go back, tracking restarts.
    """

    def __init__(self, confirm_hits: int = CONFIRM_HITS, memory_s: float = 0.5, patience_s: float = 0.2, steady_s: float = 0.04):
        self.confirm_hits, self.memory_s, self.patience_s, self.steady_s = confirm_hits, memory_s, patience_s, steady_s
        self.tracks: list[Track] = []
        self.gone: list[Track] = []  # confirmed tracks that ended since the last `take_gone`
        self.next_id = 1
        self.last_s: float | None = None  # time of the last update
        self.segment = 0  # of the video; see Frame
        self.intervals: deque[float] = deque(maxlen=9)  # seconds between updates

    def restart(self) -> None:
        """Forget all tracks and the frame rate; ids are not reused."""
        self.tracks.clear()
        self.intervals.clear()
        self.last_s = None

    def restart_if_new(self, time_s: float, segment: int = 0) -> bool:
        """Forget all tracks if a frame with this time and segment starts a new video; return whether it does."""
        is_new = segment != self.segment or (self.last_s is not None and time_s < self.last_s)
        if is_new:
            self.drop_all()
            self.restart()
        self.segment = segment
        return is_new

    def update(
        self, boxes: np.ndarray, time_s: float, image: np.ndarray | None = None, rolls: np.ndarray | None = None
    ) -> list[Track]:
        """Match the boxes (N, 4) detected in `image` at `time_s`. Return the tracks to show, oldest first.

        image: (H, W, 3) uint8 BGR; without it, missed faces are shown by time alone. rolls: (N,) degrees clockwise; NaN if
        unknown, which counts as upright, since Haar's cascade finds only upright faces.
        """
        self._expire(time_s)
        turned = np.zeros(len(boxes)) if rolls is None else np.nan_to_num(rolls)
        unmatched = set(range(len(boxes)))
        for track in self.tracks:
            track.fresh = False
            if track.track_id:
                track.before.clear()
        for track, i in self._pairs(boxes):
            self._follow(track, boxes[i], time_s, image)
            track.roll, track.row = float(turned[i]), i
            unmatched.discard(i)
        for i in sorted(unmatched):
            self.tracks.append(Track(0, boxes[i].astype(float), time_s, image, roll=float(turned[i]),
                                     row=i))
        self._keep(lambda track: time_s - track.seen_s <= self._memory_s(track))
        shown = [track for track in self.tracks if track.hits >= self.confirm_hits
                 and (track.fresh or _is_unchanged(track, image))]
        for track in shown:
            if not track.track_id:  # confirmed tracks only, so that ids count people
                track.track_id, self.next_id = self.next_id, self.next_id + 1
        return sorted(shown, key=lambda track: track.track_id)

    def _expire(self, time_s: float) -> None:
        """Drop tracks that are too old to match at `time_s`."""
        self.restart_if_new(time_s, self.segment)
        # the first interval sets the rate; before that, no interval is too long
        usual_s = USUAL * median(self.intervals) if self.intervals else math.inf
        self._keep(lambda track: time_s - track.seen_s <= max(self._memory_s(track), usual_s))
        if self.last_s is not None:
            self.intervals.append(time_s - self.last_s)
        self.last_s = time_s

    def drop_all(self) -> None:
        """End all tracks, since the next faces may be other people."""
        self._keep(lambda track: False)

    def drop_in(self, areas: Sequence[tuple[int, int, int, int]]) -> None:
        """End the tracks whose center is in one of the areas xyxy."""
        if areas:
            self._keep(lambda track: area_of(track.box, areas) is None)

    def take_gone(self) -> list[Track]:
        """Return the confirmed tracks that ended since the last call."""
        gone, self.gone = self.gone, []
        return gone

    def _keep(self, is_kept: Callable[[Track], bool]) -> None:
        self.gone += [track for track in self.tracks if track.track_id and not is_kept(track)]
        self.tracks = [track for track in self.tracks if is_kept(track)]

    def _memory_s(self, track: Track) -> float:
        return self.memory_s if track.hits >= self.confirm_hits else self.patience_s

    def _follow(self, track: Track, box: np.ndarray, time_s: float, image: np.ndarray | None) -> None:
        """Move the track most of the way to the box, since Haar's boxes jitter by a few pixels between frames."""
        if not track.track_id:
            track.before.append((track.seen_s, track.box.copy(), track.roll, track.row))
        elapsed_s = max(time_s - track.seen_s, 1e-3)
        share = 1 - math.exp(-elapsed_s / self.steady_s) if self.steady_s else 1.0
        moved = np.abs(box - track.box).max() / max(1.0, track.box[2] - track.box[0])
        track.box += max(share, min(1.0, 3 * moved)) * (box - track.box)  # follow real motion at once
        track.seen_s, track.hits, track.fresh, track.image = time_s, track.hits + 1, True, image

    def _pairs(self, boxes: np.ndarray) -> list[tuple[Track, int]]:
        """Match tracks and boxes one to one, greedily by the smallest distance relative to size."""
        costs = _distances(np.array([track.box for track in self.tracks]).reshape(-1, 4), boxes.reshape(-1, 4))
        numbers, columns = np.nonzero(costs < FARTHEST)
        pairs: dict[int, int] = {}  # number of the track -> index of its box
        for at in np.argsort(costs[numbers, columns], kind="stable"):
            number, i = int(numbers[at]), int(columns[at])
            if number not in pairs and i not in pairs.values():
                pairs[number] = i
        return [(self.tracks[number], i) for number, i in pairs.items()]


def area_of(box: Iterable[float], areas: Iterable[tuple[int, int, int, int]]) -> tuple[int, int, int, int] | None:
    """Return the first of `areas` xyxy that contains the center of a box xyxy, or None."""
    x1, y1, x2, y2 = box
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    return next((area for area in areas if area[0] <= x < area[2] and area[1] <= y < area[3]), None)


def _is_unchanged(track: Track, image: np.ndarray | None) -> bool:
    """Whether the track's place in `image` looks as at its last detection: the patches correlate and have similar contrast.
    Also True without an image to compare."""
    a, b = (None if one is None else patch(one, track.box) for one in (track.image, image))
    if a is None or b is None:
        return True
    low, high = sorted((max(1e-3, contrast(a)), max(1e-3, contrast(b))))
    return high / low < CONTRASTS and correlation(a, b) >= (FLAT_ALIKE if low < FLAT else ALIKE)


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the distance (N, M) between the centers of boxes a (N, 4) and b (M, 4) in mean sides, plus the logarithm of their
    size ratio."""
    a, b = a[:, None].astype(float), b[None].astype(float)
    side_a, side_b = (np.maximum(1.0, box[..., 2] - box[..., 0]) for box in (a, b))
    x, y = np.moveaxis(a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:], -1, 0)
    distances: np.ndarray = np.hypot(x, y) / (side_a + side_b) + np.abs(np.log(side_a / side_b))
    return distances
