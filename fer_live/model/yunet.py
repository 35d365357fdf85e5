"""Face detection with YuNet (Wu, Peng and Yu 2023), a small network run by OpenCV. Also finds turned, tilted and dim faces."""

from __future__ import annotations

import cv2
import numpy as np

from fer_live.model.detections import Detections, same_face
from fer_live.model.haar import MIN_FACE
from fer_live.model.preprocess import UPRIGHT
from fer_live.model.yunet_images import DARK, LOOK, LOOK_SIDE, Around, brightened, whole_turned
from fer_live.model.yunet_network import OVERLAP, YuNetNetwork

# pixels; side of the smallest face in the searched image. Smaller values lower the scores: on 300 difficult faces, the recall is
# 0.78 at 24 and 0.84 at 32. KNOWN_BASE: when other faces are already known; TILTED_BASE: in live video's rotated searches, which
# have twice the pixels.
BASE, KNOWN_BASE, TILTED_BASE = 40, 32, 24
# Factors on the scale at which a thorough search is repeated, since the score of a face varies with it: of 144 faces in 12 images
# of groups, one scale finds 132 and three find 139, with 9 instead of 8 false boxes in 100 images without faces.
SCALES = 0.7, 1.0, 1.4
LARGEST = 320  # pixels; largest face that the network finds, so larger images are also searched at a quarter of the size
MOST_SEARCH_PIXELS = 8_000_000  # limit for the image of one search, since the network's memory grows with it
LONGEST = 8192  # pixels; in images of 40,000, the network found faces at random, in about one of 40 runs

# Tilt lowers the score: 0.9 for upright faces, about 0.6 at 45 degrees. The landmarks follow only a fifth of a tilt. The tilt is
# therefore found by rotating the image: the score is highest where the face is upright.
SURE = 0.9  # score from which a known face with level landmarks counts as upright, without trying rotations
# Minimum score of a new face. In video, 0.75 instead of 0.6 loses 0.5% of true faces (7% at a tenth of the light), and shows 3
# instead of 5 false ones in 100 images without faces. Single images offer each face only once, so 0.7 is enough without rotation.
MIN_SCORE, STILL_MIN_SCORE = 0.75, 0.7
NEAR_SCORE = 0.55  # minimum score near a known face
MOST_TURNED = 8  # maximum number of faces per image to try rotations for
TURN, FARTHEST = 30, 60  # degrees; step between rotations, and maximum to either side
LEVEL = 12  # degrees; tilt up to which a face counts as level: the estimate is off by 4 to 9, and the network tolerates that
# A face found after rotation belongs to the hit only if their boxes are similar: rotated hair, shoulder and face together can
# look like another, larger face. It may be much smaller, since YuNet's box of a face tilted by 45 degrees is 1.45 times as large.
LEAST_SIZE, MOST_SIZE, SAME_PLACE = 0.55, 1.4, 0.35
# Dim faces far from upright give no hit at all, so the whole image is also searched rotated: always for single images; in live
# video at a lower resolution, and only if no upright face is found.
SEARCH_TURN = 40

# Converts a hit to the square that Haar's cascade, and so FER2013's crops, have for the same face. SIDE: in square roots of the
# area of YuNet's box, which is more stable than distances between landmarks. UP: offset of the center above the landmarks'
# center, in sides. Fitted to 204 PublicTest faces with 60 pixels in the square; with 40, YuNet's boxes are 4% larger.
SIDE, UP = 0.97, 0.087
SLACK = 0.9  # sides from which a face counts as large enough: the boxes of a face vary by 10%
NONE = np.empty((0, 4), np.int32)


class YuNetFaceDetector:
    """YuNet face detector. Thread-safe. Its boxes are like Haar's for the same faces, so that the crops match.

    min_face: side of the smallest face: from 1 up in pixels of the full frame, below 1 as a fraction of its shorter side. In
    images of over 8 million pixels or 8192 in a row, the smallest detectable face grows with the image.
    min_score: 0 to 1; minimum score of a hit. thorough: search at several scales, and for tilted faces even if upright ones were
    found. Raises CheckpointError if the network's file is missing or damaged.
    """

    turns = 1  # see Searcher in analysis/detection.py

    def __init__(self, min_face: float = MIN_FACE, min_score: float = MIN_SCORE, thorough: bool = False):
        self.min_face, self.min_score, self.thorough = min_face, min_score, thorough
        self.network = YuNetNetwork((LOOK_SIDE, LOOK_SIDE))

    def detect(self, image: np.ndarray, side: int | None = None, known: np.ndarray = NONE,
               tilts: tuple[float, ...] = (-SEARCH_TURN, SEARCH_TURN)) -> Detections:
        """(H, W, 3) uint8 BGR -> the faces, with boxes inside the image. side: as for `HaarFaceDetector`.

        known: boxes (M, 4) of known faces, which are not rotated. If there are any, other faces are searched for less thoroughly.
        tilts: degrees by which the whole image is rotated to search it for tilted faces."""
        height, width = image.shape[:2]
        smallest = self.min_face if self.min_face >= 1 else max(1.0, self.min_face * (side or min(height, width)))
        most = min((MOST_SEARCH_PIXELS / (width * height)) ** 0.5, LONGEST / max(width, height))
        scale = min(1.0, (KNOWN_BASE if len(known) else BASE) / smallest, most)
        scales = {min(1.0, most, scale * factor) for factor in (SCALES if self.thorough else (1.0,))}
        rows = [self._search(image, one) for one in sorted(scales)]
        while scale * min(height, width) > LARGEST:
            scale /= 4
            rows.append(self._search(image, scale))
        faces = self._faces(image, np.concatenate(rows), smallest, self.min_score, known)
        if self.thorough or not (len(known) or (np.abs(faces.rolls) < LEVEL).any()):
            most = MOST_SEARCH_PIXELS**0.5 / (width + height)  # rotated, a long narrow image needs a square
            scale = min(1.0, (BASE if self.thorough else TILTED_BASE) / smallest, most, LARGEST / min(height, width))
            rows = [self._search(image, scale, degrees) for degrees in tilts]
            turned = self._faces(image, np.concatenate(rows), smallest, max(self.min_score, MIN_SCORE))
            faces = Detections.joined([faces, turned]).singled()
        return faces

    def _faces(
        self, image: np.ndarray, rows: np.ndarray, smallest: float, least: float, known: np.ndarray = NONE
    ) -> Detections:
        """Return the hits, rows (N, 15), that are faces of at least `smallest` pixels, without duplicates. least: minimum score
        of a hit without rotation. known: see `detect`."""
        hits = _detections(_singled(rows), image.shape)
        hits = hits[hits.boxes[:, 2] - hits.boxes[:, 0] >= SLACK * smallest]
        faces, turned = Detections.joined([]), 0
        for i in range(len(hits)):
            hit, is_sure = hits[[i]], hits.scores[i] >= least
            if any(same_face(hit.boxes[0], box) for box in known):
                is_sure = True
            elif turned < MOST_TURNED:
                around, turned = Around(image, hit.boxes[0]), turned + 1
                face = self._upright(around, hit.boxes[0], self._look(around))
                if face is not None:
                    hit = Detections(face.boxes, face.landmarks, np.maximum(hit.scores, face.scores))
                is_sure |= hit.scores[0] >= max(self.min_score, MIN_SCORE)
            is_large = hit.boxes[0, 2] - hit.boxes[0, 0] >= SLACK * smallest  # upright, a tilted face's box is smaller
            if is_sure and is_large and not any(same_face(hit.boxes[0], box) for box in faces.boxes):
                faces = Detections.joined([faces, hit])
        return faces

    def detect_in_turn(self, image: np.ndarray, turn: int, near: Detections, side: int | None = None, thorough: bool = False
                       ) -> Detections:
        """The same as `detect`, which is a single search."""
        return self.detect(image, side)

    def detect_near(self, image: np.ndarray, boxes: np.ndarray, side: int | None = None) -> list[Detections | None]:
        """Search for known faces near their boxes. For each of the boxes (N, 4), return the face, or None."""
        return [self._again(image, box) for box in boxes]

    def _again(self, image: np.ndarray, box: np.ndarray) -> Detections | None:
        around = Around(image, box)
        level = self._look(around)
        if level is not None and level.scores[0] >= SURE and abs(level.rolls[0]) <= UPRIGHT:
            return level
        face = self._upright(around, box if level is None else level.boxes[0], level)
        least = NEAR_SCORE if level is not None and level.scores[0] >= NEAR_SCORE else MIN_SCORE
        return face if face is not None and face.scores[0] >= least else None

    def _upright(self, around: Around, box: np.ndarray, level: Detections | None) -> Detections | None:
        """Return the face in `box` (4,), as found after the rotation that makes it upright, or None if none is found.

        level: what `_look` finds without rotation."""
        looks = {0.0: level if level is not None and _alike(level.boxes[0], box) else None}

        def score(degrees: float) -> float:
            if degrees not in looks:
                face = self._look(around, degrees)
                looks[degrees] = face if face is not None and _alike(face.boxes[0], box) else None
            face = looks[degrees]
            return 0.0 if face is None else float(face.scores[0])

        best: float = max((0.0, TURN, -TURN), key=score)  # both directions: the landmarks often tell the wrong one
        while 0 < abs(best) < FARTHEST and score(best + np.sign(best) * TURN) > score(best):
            best += np.sign(best) * TURN
        below, above = (score(best + turn) if abs(best + turn) <= FARTHEST else 0.0 for turn in (-TURN, TURN))
        roll = best + TURN / 2 * (above - below) / max(1e-3, 2 * score(best) - below - above)  # vertex of a parabola
        roll = roll if abs(roll) > LEVEL else 0.0
        face = looks[roll] if score(roll) else looks[best]
        if face is None:
            return None
        return Detections(face.boxes, face.landmarks, np.array([max(score(best), score(roll))], np.float32))

    def _look(self, around: Around, degrees: float = 0.0) -> Detections | None:
        """Return the face nearest to the center of the square, after rotating the image counterclockwise by `degrees`, or None.
        Box and landmarks are in pixels of the unrotated image."""
        part, back = around.turned(degrees)
        rows = self.network.run(part)
        side = LOOK_SIDE / LOOK  # side of the box in pixels of the square
        ways = np.abs(rows[:, :2] + rows[:, 2:4] / 2 - LOOK_SIDE / 2).max(1, initial=0) / side
        lengths = rows[:, 2:4].mean(1) / side
        rows = rows[(ways < 0.5) & (lengths > 0.5) & (lengths < 1.7)][:1]
        if not len(rows):
            return None
        rows[:, 2:4] *= around.scale
        rows[:, 4:14] = cv2.transform(rows[:, 4:14].reshape(1, 5, 2), back).reshape(1, 10)
        return _detections(rows, around.shape)

    def _search(self, image: np.ndarray, scale: float, degrees: float = 0.0) -> np.ndarray:
        """Return rows (N, 15) of the hits in the image scaled by `scale` and rotated counterclockwise by `degrees`, in pixels of
        the full, unrotated image. Boxes from a rotated image keep their sides."""
        height, width = image.shape[:2]
        size_wh = max(1, round(width * scale)), max(1, round(height * scale))
        if scale < 1:
            image = cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA if scale >= 0.5 else cv2.INTER_LINEAR)
        image = brightened(image, DARK)
        if degrees:
            image, back = whole_turned(image, degrees)
        rows = self.network.run(image)
        if degrees:
            centers = rows[:, :2] + rows[:, 2:4] / 2
            points = np.concatenate([centers[:, None], rows[:, 4:14].reshape(-1, 5, 2)], axis=1)
            points = points @ back[:, :2].T + back[:, 2]
            rows[:, :2], rows[:, 4:14] = points[:, 0] - rows[:, 2:4] / 2, points[:, 1:].reshape(-1, 10)
            rows = rows[(rows[:, :2] >= 0).all(1) & (rows[:, :2] + rows[:, 2:4] <= size_wh).all(1)]  # drop the gray corners
        rows[:, :14:2] *= width / size_wh[0]
        rows[:, 1:14:2] *= height / size_wh[1]
        return rows


def _alike(box: np.ndarray, other: np.ndarray) -> bool:
    """Whether two boxes (4,) can belong to one face, before and after rotation."""
    side = float(other[2] - other[0])
    ratio = (box[2] - box[0]) / side
    way = np.abs(box[:2] + box[2:] - other[:2] - other[2:]).max() / 2
    return bool(LEAST_SIZE < ratio < MOST_SIZE and way < SAME_PLACE * side)


def _detections(rows: np.ndarray, shape: tuple[int, ...]) -> Detections:
    """Convert rows (N, 15) to detections in an image of `shape` (H, W, 3)."""
    points = rows[:, 4:14].reshape(-1, 5, 2)
    up = points[:, :2].mean(1) - points[:, 3:].mean(1)
    side = SIDE * np.sqrt(np.maximum(1, rows[:, 2] * rows[:, 3]))
    center = points.mean(1) + (UP * side / np.maximum(1e-3, np.hypot(up[:, 0], up[:, 1])))[:, None] * up
    return Detections(_inside(center, side, shape), points.copy(), rows[:, 14].copy())


def _inside(center: np.ndarray, side: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return squares (N, 4) int32 xyxy, shifted into the image, since the cascade finds no faces across its border either."""
    size_wh = np.array(shape[1::-1])
    side = np.clip(np.rint(side), 1, size_wh.min())[:, None]
    corner = np.clip(np.rint(center - side / 2), 0, size_wh - side)
    return np.concatenate([corner, corner + side], axis=1).astype(np.int32)


def _singled(rows: np.ndarray) -> np.ndarray:
    """Remove duplicates from rows (N, 15) of several searches; highest score first."""
    rows = rows[np.argsort(-rows[:, 14], kind="stable")]
    kept = cv2.dnn.NMSBoxes(rows[:, :4].tolist(), rows[:, 14].tolist(), 0.0, OVERLAP) if len(rows) else []
    return np.asarray(rows[np.array(kept, int).ravel()])
