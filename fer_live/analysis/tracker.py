"""Gives faces ids over time. Counts in seconds, since live frames are dropped."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

LOOK = 16  # side in pixels of the thumbnail by which a remembered face is compared
ALIKE = 0.5  # correlation below which its place is taken to show something else
FLAT, FLAT_ALIKE = 12.0, 0.7  # gray levels of contrast below which two patches correlate by chance, and what is asked of those
CONTRASTS = 1.6  # ratio of two contrasts above which they show different things: of a face's it is 1.07 from frame to frame
USUAL = 3.0  # times the usual interval between frames: longer ones are pauses, through which faces are not followed


@dataclass
class Track:
    """A face followed over time. `fresh`: it was found in the frame of the last update, and not only remembered.

    roll: degrees by which it was turned clockwise when it was last found. row: which of the boxes it was in that update.
    before: times, boxes, rolls and rows of the hits before it was shown; complete in the update that shows it first, empty after
    it.
    """

    track_id: int
    box: np.ndarray  # (4,) float xyxy, steadied
    seen_s: float
    image: np.ndarray | None  # the picture in which it was last found: only a face that is missed is compared with it
    hits: int = 1
    fresh: bool = True
    roll: float = 0.0
    row: int = 0
    before: list[tuple[float, np.ndarray, float, int]] = field(default_factory=list)


class FaceTracker:
    """Boxes -> tracks, matched by overlap and nearness, the best pair first.

    A track is shown once it has `confirm_hits` hits: Haar's false faces seldom come back at the same place. A shown track
    is remembered through misses of up to `memory_s`, an unconfirmed one through `patience_s`. It is shown through a miss
    only while its place still looks as it did, so that no box is left behind by a cut or a visitor who steps aside.
    Tracks expire before they are matched: a face that comes after a pause gets a new id. In films of one frame a second or
    less the usual interval between frames is no pause. Where time goes back, tracking restarts.
    """

    def __init__(self, confirm_hits: int = 3, memory_s: float = 0.5, patience_s: float = 0.2, steady_s: float = 0.04):
        self.confirm_hits, self.memory_s, self.patience_s, self.steady_s = confirm_hits, memory_s, patience_s, steady_s
        self.tracks: list[Track] = []
        self.gone: list[Track] = []  # shown once and given up since `take_gone`
        self.next_id = 1
        self.last_s: float | None = None  # time of the last update
        self.segment = 0  # of the film; see Frame
        self.intervals: deque[float] = deque(maxlen=9)  # from update to update

    def restart(self) -> None:
        """Forget all tracks, and at which rate frames come; ids are not given out again."""
        self.tracks.clear()
        self.intervals.clear()
        self.last_s = None

    def begins_anew(self, time_s: float, segment: int = 0) -> bool:
        """Whether a frame of this time and segment has nothing to do with those before; then all tracks are forgotten."""
        is_new = segment != self.segment or (self.last_s is not None and time_s < self.last_s)
        if is_new:
            self.drop_all()
            self.restart()
        self.segment = segment
        return is_new

    def update(
        self, boxes: np.ndarray, time_s: float, image: np.ndarray | None = None, rolls: np.ndarray | None = None
    ) -> list[Track]:
        """Take the boxes (N, 4) found in `image`, captured at `time_s`; returns the tracks to show, the oldest first.

        image: (H, W, 3) uint8 BGR; without it faces are remembered by time alone. rolls: (N,) degrees by which the
        faces are turned clockwise; NaN where that is not known, which means upright: Haar's cascade finds no others.
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
                 and (track.fresh or _alike(_look(track.image, track.box), _look(image, track.box)))]
        for track in shown:
            if not track.track_id:  # ids are given out only to faces that are shown, so that they count people
                track.track_id, self.next_id = self.next_id, self.next_id + 1
        return sorted(shown, key=lambda track: track.track_id)

    def _expire(self, time_s: float) -> None:
        """Drop the tracks that are too old to be matched at `time_s`."""
        self.begins_anew(time_s, self.segment)
        # the first interval tells the rate; before that none is too long
        usual_s = USUAL * float(np.median(self.intervals)) if self.intervals else math.inf
        self._keep(lambda track: time_s - track.seen_s <= max(self._memory_s(track), usual_s))
        if self.last_s is not None:
            self.intervals.append(time_s - self.last_s)
        self.last_s = time_s

    def drop_all(self) -> None:
        """Give up all tracks: who comes next need not be who was there before."""
        self._keep(lambda track: False)

    def drop_in(self, areas: Sequence[tuple[int, int, int, int]]) -> None:
        """Give up the tracks whose center lies in one of the areas xyxy."""
        if areas:
            self._keep(lambda track: area_of(track.box, areas) is None)

    def take_gone(self) -> list[Track]:
        """The tracks that were shown and have been given up since this was last called."""
        gone, self.gone = self.gone, []
        return gone

    def _keep(self, is_kept: Callable[[Track], bool]) -> None:
        self.gone += [track for track in self.tracks if track.track_id and not is_kept(track)]
        self.tracks = [track for track in self.tracks if is_kept(track)]

    def _memory_s(self, track: Track) -> float:
        return self.memory_s if track.hits >= self.confirm_hits else self.patience_s

    def _follow(self, track: Track, box: np.ndarray, time_s: float, image: np.ndarray | None) -> None:
        """Move the track to the box; Haar's box jumps by a few pixels between frames, so only most of the way."""
        if not track.track_id:
            track.before.append((track.seen_s, track.box.copy(), track.roll, track.row))
        elapsed_s = max(time_s - track.seen_s, 1e-3)
        share = 1 - math.exp(-elapsed_s / self.steady_s) if self.steady_s else 1.0
        moved = np.abs(box - track.box).max() / max(1.0, track.box[2] - track.box[0])
        track.box += max(share, min(1.0, 3 * moved)) * (box - track.box)  # true motion is followed at once
        track.seen_s, track.hits, track.fresh, track.image = time_s, track.hits + 1, True, image

    def _pairs(self, boxes: np.ndarray) -> list[tuple[Track, int]]:
        """Greedy one-to-one matches of tracks and boxes, the nearest relative to their size first."""
        costs: list[tuple[float, int, Track, int]] = []
        for track in self.tracks:
            for i, box in enumerate(boxes):
                cost = _distance(track.box, box)
                if cost < 0.7:
                    costs.append((cost, len(costs), track, i))
        pairs, used = [], set()
        for _, _, track, i in sorted(costs, key=lambda entry: entry[:2]):
            if id(track) not in used and i not in used:
                used |= {id(track), i}
                pairs.append((track, i))
        return pairs


def area_of(box: Iterable[float], areas: Iterable[tuple[int, int, int, int]]) -> tuple[int, int, int, int] | None:
    """The first of `areas` xyxy in which the center of a box xyxy lies; None if it lies in none."""
    x1, y1, x2, y2 = box
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    return next((area for area in areas if area[0] <= x < area[2] and area[1] <= y < area[3]), None)


def _look(image: np.ndarray | None, box: np.ndarray) -> np.ndarray | None:
    """The part of `image` in the box as (LOOK, LOOK) float32 gray of mean 0; None without a picture there."""
    if image is None:
        return None
    x1, y1, x2, y2 = np.clip(np.rint(box), 0, [*image.shape[1::-1]] * 2).astype(int)
    if x2 - x1 < 2 or y2 - y1 < 2:
        return None
    # every few pixels are enough for a thumbnail, and cheaper than an average over a large face
    part = image[y1 : y2 : max(1, (y2 - y1) // (2 * LOOK)), x1 : x2 : max(1, (x2 - x1) // (2 * LOOK))]
    small = cv2.cvtColor(cv2.resize(part, (LOOK, LOOK), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY).astype(np.float32)
    return small - small.mean()


def _alike(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    """Whether two looks correlate and have like contrasts; True where there are none to compare."""
    if a is None or b is None:
        return True
    low, high = sorted((max(1e-3, float(a.std())), max(1e-3, float(b.std()))))
    return high / low < CONTRASTS and float((a * b).mean()) / (low * high) >= (FLAT_ALIKE if low < FLAT else ALIKE)


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    """How unlike two boxes are: the way between their centers in mean sides, plus the logarithm of the ratio of sizes."""
    side_a, side_b = max(1.0, a[2] - a[0]), max(1.0, b[2] - b[0])
    way = math.hypot(a[0] + a[2] - b[0] - b[2], a[1] + a[3] - b[1] - b[3]) / 2
    return way / (0.5 * (side_a + side_b)) + abs(math.log(side_a / side_b))
