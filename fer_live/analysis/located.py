"""What is handed from the search for faces to the classifier and on to the naming of expressions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fer_live.model.detections import Detections
from fer_live.types import Ended, Frame, Visibility

Box = tuple[int, int, int, int]  # xyxy, pixels of the frame


@dataclass(frozen=True)
class Located:
    """The faces of a frame, with their crops, before it is known what they express."""

    frame: Frame
    places: tuple[tuple[int, Box, bool], ...]  # (track id, box, whether it has a crop) of each face
    crops: np.ndarray  # (M, S, S, C) uint8, of the faces to be read now, some mirrored
    found: Detections  # what the detector says of the frame
    views: tuple[Visibility, ...] = ()  # of each crop: how well the face was seen
    begun: tuple[tuple[int, float, Box, float, int], ...] = ()  # (track id, time, box, roll, row in `found`) of earlier frames
    seen: tuple[Box, ...] = ()  # all that may be a face: found, not yet believed, or remembered
    is_anew: bool = False  # a clip or segment begins: what was known before is of other people
    ended: tuple[Ended, ...] = ()  # faces that are followed no longer
    fresh: frozenset[int] = frozenset()  # track ids of the faces found in this very frame; others are only remembered
