"""Why a face is followed no longer: "nobody is there" differs from "could not be found"."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fer_live.analysis.tracker import Track, area_of
from fer_live.types import Ended, Frame

LEFT, LOST, CAMERA_LOST, NEW_VIDEO = "left", "lost", "camera lost", "new video"
EDGE = 0.3  # of the box's side: a face is found only while all of it is in the picture, and moves on from frame to frame


def endings(tracks: Iterable[Track], frame: Frame, is_anew: bool = False) -> tuple[Ended, ...]:
    """What became of the tracks that are given up with `frame`.

    camera lost: the frame, or the tile where the face was, is a slate. new video: times go back in it, or a new segment begins.
    left: the face was last found at the edge of its camera's picture. lost: anywhere else; it turned away, was covered, or the
    picture was cut.
    """
    because = CAMERA_LOST if frame.is_slate else NEW_VIDEO if is_anew else ""
    return tuple(Ended(track.track_id, because or _because(track.box, frame), track.seen_s) for track in tracks)


def _because(box: np.ndarray, frame: Frame) -> str:
    if area_of(box, frame.lost_tiles):
        return CAMERA_LOST
    return LEFT if _at_edge(box, frame) else LOST


def _at_edge(box: np.ndarray, frame: Frame) -> bool:
    """Whether a box xyxy is less than EDGE of its side from the border of the picture, or of the tile that it is in."""
    x1, y1, x2, y2 = box
    whole = 0, 0, frame.image.shape[1], frame.image.shape[0]
    a, b, c, d = area_of(box, frame.tiles) or whole
    return min(x1 - a, y1 - b, c - x2, d - y2) < EDGE * (x2 - x1)
