"""Face detection with Haar's cascade and YuNet combined: the union of their results."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass

import numpy as np

from fer_live.model.detections import DETECTORS, Detections, touch
from fer_live.model.haar import MIN_FACE, STILL_MIN_FACE, HaarFaceDetector
from fer_live.model.yunet import SEARCH_TURN, STILL_MIN_SCORE, YuNetFaceDetector

ALIKE = 0.6  # minimum ratio of the sides of two boxes of one face; below it, the cascade found only a part of the face


@dataclass
class BothFaceDetector:
    """Combines both detectors. If both find a face, the box is Haar's and the landmarks are YuNet's. Stateless."""

    turns = 2  # see Searcher in analysis/detection.py
    haar: HaarFaceDetector
    yunet: YuNetFaceDetector

    def __copy__(self) -> BothFaceDetector:
        """Copy with independent settings; the cascades and the network are shared."""
        return BothFaceDetector(copy(self.haar), copy(self.yunet))

    @property
    def min_face(self) -> float:
        """Side of the smallest face: from 1 up in pixels of the full frame, below 1 as a fraction of its shorter side."""
        return self.haar.min_face

    @min_face.setter
    def min_face(self, value: float) -> None:
        self.haar.min_face = self.yunet.min_face = value

    def detect(self, image: np.ndarray, side: int | None = None) -> Detections:
        """(H, W, 3) uint8 BGR -> the faces in the whole image. side: as for `HaarFaceDetector`."""
        haar = self.haar.detect(image, side)
        return united(haar, self.yunet.detect(image, side, haar))

    def detect_in_turn(self, image: np.ndarray, turn: int, near: Detections, side: int | None = None, thorough: bool = False
                       ) -> Detections:
        """Search the whole image with one detector: in even turns Haar, in odd turns YuNet, which looks for tilted faces to one
        side in each of its turns, or to both if `thorough`. near: the known faces, if they are already found in this image, which
        YuNet does not examine again."""
        if turn % 2 == 0:
            return Detections.of(self.haar.detect(image, side))
        tilts = (-SEARCH_TURN, SEARCH_TURN)
        return self.yunet.detect(image, side, near.boxes, tilts if thorough else tilts[turn // 2 % 2 :][:1])

    def detect_near(self, image: np.ndarray, boxes: np.ndarray, side: int | None = None) -> list[np.ndarray | Detections | None]:
        """For each of the boxes (N, 4), return Haar's new box (4,), or YuNet's detection if Haar finds none, or None."""
        found: list[np.ndarray | Detections | None] = [*self.haar.detect_near(image, boxes, side)]
        missed = [i for i, box in enumerate(found) if box is None]
        for i, one in zip(missed, self.yunet.detect_near(image, boxes[missed], side), strict=True):
            found[i] = one
        return found


def merged(whole: Detections, near: Detections) -> Detections:
    """Merge the faces found in the whole image by one detector with known faces found nearby by either.

    Haar's boxes have no landmarks. Of two results of the same detector for one face, Haar's is that of the whole image, since a
    nearby search drifts, and YuNet's the nearby one, which sees more pixels."""
    haar, yunet = (Detections.joined(part[np.isnan(part.scores) == is_haar] for part in parts).singled()
                   for is_haar, parts in ((True, (whole, near)), (False, (near, whole))))
    return united(haar.boxes, yunet)


def is_same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two boxes (4,) show the same face, and neither only a part of it."""
    return bool(touch(a, b) and ALIKE < (a[2] - a[0]) / max(1, b[2] - b[0]) < 1 / ALIKE)


def united(haar: np.ndarray, yunet: Detections) -> Detections:
    """Merge the faces of both detectors without duplicates. haar: (N, 4) int32 xyxy."""
    boxes, is_left = yunet.boxes.copy(), np.ones(len(haar), bool)
    for i, box in enumerate(yunet.boxes):
        side = box[2] - box[0]
        same = [j for j in np.flatnonzero(is_left) if touch(haar[j], box)]
        alike = [j for j in same if is_same(haar[j], box)]
        if alike:
            boxes[i] = haar[min(alike, key=lambda j: np.abs(haar[j] - box).sum())]
        is_left[[j for j in same if j in alike or haar[j][2] - haar[j][0] < side]] = False
    return Detections.joined([Detections(boxes, yunet.landmarks, yunet.scores), haar[is_left]])


AnyDetector = HaarFaceDetector | YuNetFaceDetector | BothFaceDetector


def face_detectors(name: str, min_face: float | None = None) -> tuple[AnyDetector, AnyDetector]:
    """Return the detector `name` (one of DETECTORS) for video, and a more thorough one for single images.

    min_face: as for the detectors; None: MIN_FACE for video, STILL_MIN_FACE for single images.
    Raises ValueError for an unknown name, CheckpointError if YuNet's file is missing or damaged.
    """
    if name not in DETECTORS:
        raise ValueError(f"unknown detector {name!r}; choose from: {', '.join(DETECTORS)}")
    live_min_face, still_min_face = min_face or MIN_FACE, min_face or STILL_MIN_FACE
    haar: list[HaarFaceDetector] = []  # for video, for single images
    yunet: list[YuNetFaceDetector] = []
    if name != "yunet":  # smaller steps find each face more often
        haar = [HaarFaceDetector(live_min_face), HaarFaceDetector(still_min_face, step=1.05, neighbors=5)]
    if name != "haar":
        yunet = [YuNetFaceDetector(live_min_face), YuNetFaceDetector(still_min_face, STILL_MIN_SCORE, thorough=True)]
    if haar and yunet:
        return BothFaceDetector(haar[0], yunet[0]), BothFaceDetector(haar[1], yunet[1])
    return (haar[0], haar[1]) if haar else (yunet[0], yunet[1])
