"""Data passed from face detection to the classifier and the labeling stages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fer_live.model.detections import Detections
from fer_live.types import Box, Ended, Frame, Visibility

MOST_BUFFER_BYTES = 64 << 20  # bytes; limit for the images that a stage of a file's analysis keeps at once


@dataclass(frozen=True)
class Located:
    """The faces of a frame with their crops, before classification."""

    frame: Frame
    places: tuple[tuple[int, Box, bool], ...]  # (track id, box, whether it has a crop) of each face
    crops: np.ndarray  # (M, S, S, C) uint8; faces to classify
    found: Detections  # the frame's detections
    views: tuple[Visibility, ...] = ()  # visibility of each crop
    begun: tuple[tuple[int, float, Box, float, int], ...] = ()  # (track id, time, box, roll, row in `found`) of earlier frames
    seen: tuple[Box, ...] = ()  # candidate boxes: detections, tentative tracks and coasting tracks
    is_new_video: bool = False  # or a new segment; earlier state does not apply
    ended: tuple[Ended, ...] = ()  # tracks that ended
    fresh: frozenset[int] = frozenset()  # track ids of the faces detected in this frame; the others are coasting
