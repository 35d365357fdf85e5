"""Reasons why a track ended, which separate people who left from faces that were lost."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fer_live.analysis.tracker import Track, area_of
from fer_live.types import Ended, Frame

LEFT, LOST, CAMERA_LOST, NEW_VIDEO = "left", "lost", "camera lost", "new video"
EDGE = 0.3  # fraction of the box's side; faces are found only while completely in the image, and move between frames


def endings(tracks: Iterable[Track], frame: Frame, is_new_video: bool = False) -> tuple[Ended, ...]:
    """Return why tracks ended with `frame`.

    camera lost: the frame, or the tile of the face, is a slate. new video: timestamps go back, or a new segment begins.
    left: the face was last found at the edge of its camera's image. lost: anywhere else, e.g. it turned away, was covered, or
    the video was cut.
    """
    because = CAMERA_LOST if frame.is_slate else NEW_VIDEO if is_new_video else ""
    return tuple(Ended(track.track_id, because or _because(track.box, frame), track.seen_s) for track in tracks)


def _because(box: np.ndarray, frame: Frame) -> str:
    if area_of(box, frame.lost_tiles):
        return CAMERA_LOST
    return LEFT if _at_edge(box, frame) else LOST


def _at_edge(box: np.ndarray, frame: Frame) -> bool:
    """Whether a box xyxy is less than EDGE of its side from the border of the image or of its tile."""
    x1, y1, x2, y2 = box
    whole = 0, 0, frame.image.shape[1], frame.image.shape[0]
    a, b, c, d = area_of(box, frame.tiles) or whole
    return min(x1 - a, y1 - b, c - x2, d - y2) < EDGE * (x2 - x1)
