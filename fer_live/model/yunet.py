"""Finds faces with YuNet (Wu, Peng and Yu 2023), a small network that OpenCV runs: also turned, tilted and dim ones."""

from __future__ import annotations

import cv2
import numpy as np

from fer_live.model.detections import Detections, same_face
from fer_live.model.haar import MIN_FACE
from fer_live.model.preprocess import square_part
from fer_live.model.yunet_network import OVERLAP, YuNetNetwork

# Pixels of the smallest face in the picture that is searched. With fewer, scores fall: of 300 difficult faces 24 find 0.78 and
# 32 find 0.84; 24 are a third of the pixels of 40. They do where other faces are known: it is the routine.
BASE, ROUTINE_BASE = 40, 24
LARGEST = 320  # pixels; the network finds no larger face, so that a picture with more is searched in a quarter of the size too
MOST_PIXELS = 8_000_000  # that are searched at once: the network's memory grows with them

# A score falls with a tilt: upright faces have 0.9, at 45 degrees about 0.6. And the landmarks follow only a fifth of a tilt. So
# the tilt of a face is found by turning the picture: the score is highest where the face is upright.
SURE = 0.9  # of a known face that is upright: it is not turned to see
MIN_SCORE = 0.55  # of a face, as it is
STILL_MIN_SCORE = 0.7  # the same in a picture that stands alone: a false face there cannot be told by its not coming back
TURNED_SCORE = 0.7  # the same of one that is upright only in a turned picture: more looks see more that is not there
NEAR_SCORE = 0.55  # the same where a face is known to be
MOST_TURNED = 8  # that are, in one picture
TURN, FARTHEST = 30, 60  # degrees between two trials, and to either side
LEVEL = 12  # degrees up to which a face is level: the tilt found is off by 4 to 9, and the network does not mind as much
# A face seen turned is the one of the hit only if its box is like the hit's: hair, a shoulder and a face
# together, turned, look like another, larger face.
SAME_SIZE, SAME_PLACE = 1.4, 0.35
# Far from upright a dim face has no hit at all. So the whole picture is searched turned as well: in pictures that stand alone
# always, in live video in less detail, and only where nobody upright is found.
SEARCH_TURN = 40

LOOK, LOOK_SIDE = 1.6, 64  # a closer look takes a square of so many sides of the box, brought to so many pixels
# From a hit to the square that Haar's cascade, and so FER2013's crops, have around the same face: its side in roots of the area
# of YuNet's box, which are steadier than ways between landmarks, and how far, in sides, its middle is above the landmarks'.
SIDE, UP = 1.06, 0.08
NONE = np.empty((0, 4), np.int32)


class _Around:
    """A box and what is around it, reduced once: it is looked at several times."""

    def __init__(self, image: np.ndarray, box: np.ndarray):
        reach = 1.42  # so that a turned square is covered
        part = square_part(image, box, LOOK * reach - 1)
        self.shape, self.size = image.shape, round(LOOK_SIDE * reach)
        self.scale = part.shape[0] / self.size
        x1, y1, x2, y2 = (int(v) for v in box)
        self.corner = np.array([(x1 + x2 - part.shape[1]) // 2, (y1 + y2 - part.shape[0]) // 2])
        is_mean = 1 < self.scale < 3  # beyond, the mean over areas would take longer than the network
        self.part = cv2.resize(part, (self.size,) * 2, interpolation=cv2.INTER_AREA if is_mean else cv2.INTER_LINEAR)

    def turned(self, degrees: float) -> tuple[np.ndarray, np.ndarray]:
        """The square that is looked at, turned against the clock, and the matrix (2, 3) that leads from its pixels to those of
        the picture."""
        matrix = cv2.getRotationMatrix2D((self.size / 2, self.size / 2), degrees, 1.0)
        matrix[:, 2] += (LOOK_SIDE - self.size) / 2  # type: ignore[arg-type]  # the stubs say integers, it is float64
        back = np.asarray(cv2.invertAffineTransform(matrix) * self.scale, np.float64)
        back[:, 2] += self.corner
        return cv2.warpAffine(self.part, matrix, (LOOK_SIDE, LOOK_SIDE), borderMode=cv2.BORDER_REPLICATE), back


class YuNetFaceDetector:
    """Any number of threads may use one. The boxes are those that Haar would give the same faces, so that crops are alike.

    min_face: side of the smallest face: pixels of the full frame from 1 up, below 1 a share of its shorter side. In pictures
    of over 8 million pixels the smallest face that is found grows with the picture.
    min_score: 0 to 1, of a hit that counts. thorough: whether tilted faces are searched for beside others that were found.
    Raises CheckpointError if the network's file is missing or damaged.
    """

    def __init__(self, min_face: float = MIN_FACE, min_score: float = MIN_SCORE, thorough: bool = False):
        self.min_face, self.min_score, self.thorough = min_face, min_score, thorough
        self.network = YuNetNetwork((LOOK_SIDE, LOOK_SIDE))

    def detect(self, image: np.ndarray, side: int | None = None, upright: np.ndarray = NONE) -> Detections:
        """(H, W, 3) uint8 BGR -> the faces, their boxes inside the picture. side: as for `HaarFaceDetector`.

        upright: boxes (M, 4) of faces that are known to be there and upright, which need not be turned to see; with any, the
        others are searched for less thoroughly."""
        height, width = image.shape[:2]
        smallest = self.min_face if self.min_face >= 1 else max(1.0, self.min_face * (side or min(height, width)))
        most = (MOST_PIXELS / (width * height)) ** 0.5
        scale = min(1.0, (ROUTINE_BASE if len(upright) else BASE) / smallest, most)
        rows = [self._search(image, scale)]
        while scale * min(height, width) > LARGEST:
            scale /= 4
            rows.append(self._search(image, scale))
        faces = self._faces(image, np.concatenate(rows), smallest, self.min_score, upright)
        if self.thorough or not (len(upright) or (np.abs(faces.rolls) < LEVEL).any()):
            scale = min(1.0, (BASE if self.thorough else ROUTINE_BASE) / smallest, most / 2, LARGEST / min(height, width))
            rows = [self._search(image, scale, degrees) for degrees in (-SEARCH_TURN, SEARCH_TURN)]
            faces = Detections.joined([faces, self._faces(image, np.concatenate(rows), smallest, TURNED_SCORE)]).singled()
        return faces

    def _faces(
        self, image: np.ndarray, rows: np.ndarray, smallest: float, least: float, upright: np.ndarray = NONE
    ) -> Detections:
        """Those of the hits, rows (N, 15), that are faces of at least `smallest` pixels, each once. least: score of a hit that
        counts as it is. upright: see `detect`."""
        hits = _detections(_singled(rows), image.shape)
        hits = hits[hits.boxes[:, 2] - hits.boxes[:, 0] >= smallest]
        faces, turned = Detections.joined([]), 0
        for i in range(len(hits)):
            hit, is_sure = hits[[i]], hits.scores[i] >= max(least, self.min_score)
            if any(same_face(hit.boxes[0], box) for box in upright):
                is_sure = True
            elif turned < MOST_TURNED:
                hit, turned = self._upright(_Around(image, hit.boxes[0]), hit), turned + 1
                is_sure |= hit.scores[0] >= max(self.min_score, TURNED_SCORE)
            if is_sure and not any(same_face(hit.boxes[0], box) for box in faces.boxes):
                faces = Detections.joined([faces, hit])
        return faces

    def detect_near(self, image: np.ndarray, boxes: np.ndarray, side: int | None = None) -> list[Detections | None]:
        """Look for known faces again where they were: for each of the boxes (N, 4) the one face, or None."""
        return [self._again(image, box) for box in boxes]

    def _again(self, image: np.ndarray, box: np.ndarray) -> Detections | None:
        around = _Around(image, box)
        hit = self._look(around)
        if hit is None or hit.scores[0] >= SURE:
            return hit
        face = self._upright(around, hit)
        return face if hit.scores[0] >= NEAR_SCORE or face.scores[0] >= TURNED_SCORE else None

    def _upright(self, around: _Around, hit: Detections) -> Detections:
        """The face of one hit with the box, the landmarks and the score that it has when it is seen upright; the hit, if no turn
        shows it better."""

        def look(degrees: float) -> Detections | None:
            face = self._look(around, degrees)
            return face if face is not None and _alike(face.boxes[0], hit.boxes[0]) else None

        looks = {degrees: look(degrees) for degrees in (-TURN, 0, TURN)}

        def score(degrees: int) -> float:
            face = looks.get(degrees)
            return 0.0 if face is None else float(face.scores[0])

        best = max(looks, key=score)
        while 0 < abs(best) < FARTHEST:
            farther = best + TURN if best > 0 else best - TURN
            looks[farther] = look(farther)
            if score(farther) <= score(best):
                break
            best = farther
        below, above = score(best - TURN), score(best + TURN)
        roll = best + TURN / 2 * (above - below) / max(1e-3, 2 * score(best) - below - above)  # the top of a parabola
        face = look(roll) if abs(roll) > LEVEL else looks[0]
        if face is None:
            return hit
        return Detections(face.boxes, face.landmarks, np.maximum(hit.scores, face.scores))

    def _look(self, around: _Around, degrees: float = 0.0) -> Detections | None:
        """The face nearest to the middle of the square that is looked at, in the picture turned against the clock by `degrees`;
        None if none is near. Boxes and landmarks are those in the picture as it is."""
        part, back = around.turned(degrees)
        rows = self.network.run(part)
        side = LOOK_SIDE / LOOK  # of the box
        ways = np.abs(rows[:, :2] + rows[:, 2:4] / 2 - LOOK_SIDE / 2).max(1, initial=0) / side
        lengths = rows[:, 2:4].mean(1) / side
        rows = rows[(ways < 0.5) & (lengths > 0.5) & (lengths < 1.7)][:1]
        if not len(rows):
            return None
        rows[:, 2:4] *= around.scale
        rows[:, 4:14] = cv2.transform(rows[:, 4:14].reshape(1, 5, 2), back).reshape(1, 10)
        return _detections(rows, around.shape)

    def _search(self, image: np.ndarray, scale: float, degrees: float = 0.0) -> np.ndarray:
        """Rows (N, 15) of the hits in the picture reduced by `scale` and turned against the clock by `degrees`, in pixels of the
        full one as it is; of a box that was turned the sides are kept."""
        height, width = image.shape[:2]
        size_wh = max(1, round(width * scale)), max(1, round(height * scale))
        if scale < 1:
            image = cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA if scale >= 0.5 else cv2.INTER_LINEAR)
        if degrees:
            image, back = _turned(image, degrees)
        rows = self.network.run(image)
        if degrees:
            centers = rows[:, :2] + rows[:, 2:4] / 2
            points = np.concatenate([centers[:, None], rows[:, 4:14].reshape(-1, 5, 2)], axis=1)
            points = points @ back[:, :2].T + back[:, 2]
            rows[:, :2], rows[:, 4:14] = points[:, 0] - rows[:, 2:4] / 2, points[:, 1:].reshape(-1, 10)
            rows = rows[(rows[:, :2] >= 0).all(1) & (rows[:, :2] + rows[:, 2:4] <= size_wh).all(1)]  # others see the gray corners
        rows[:, :14:2] *= width / size_wh[0]
        rows[:, 1:14:2] *= height / size_wh[1]
        return rows

def _turned(image: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """All of a picture turned against the clock, gray around it, and the matrix (2, 3) that leads back to its pixels."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    size = np.ceil(np.abs(matrix[:, :2]) @ [width, height])
    matrix[:, 2] += (size - [width, height]) / 2
    turned = cv2.warpAffine(image, matrix, (int(size[0]), int(size[1])), borderValue=(128, 128, 128))
    return turned, np.asarray(cv2.invertAffineTransform(matrix), np.float64)


def _alike(box: np.ndarray, other: np.ndarray) -> bool:
    """Whether two boxes (4,) can be one face, seen level and turned."""
    side = float(other[2] - other[0])
    ratio = (box[2] - box[0]) / side
    way = np.abs(box[:2] + box[2:] - other[:2] - other[2:]).max() / 2
    return bool(1 / SAME_SIZE < ratio < SAME_SIZE and way < SAME_PLACE * side)


def _detections(rows: np.ndarray, shape: tuple[int, ...]) -> Detections:
    """Rows (N, 15) -> detections in a picture of `shape` (H, W, 3)."""
    points = rows[:, 4:14].reshape(-1, 5, 2)
    up = points[:, :2].mean(1) - points[:, 3:].mean(1)
    side = SIDE * np.sqrt(np.maximum(1, rows[:, 2] * rows[:, 3]))
    center = points.mean(1) + (UP * side / np.maximum(1e-3, np.hypot(up[:, 0], up[:, 1])))[:, None] * up
    return Detections(_inside(center, side, shape), points.copy(), rows[:, 14].copy())


def _inside(center: np.ndarray, side: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Squares (N, 4) int32 xyxy, moved into the picture as far as they fit: a cascade finds no face beyond it either."""
    size_wh = np.array(shape[1::-1])
    side = np.clip(np.rint(side), 1, size_wh.min())[:, None]
    corner = np.clip(np.rint(center - side / 2), 0, size_wh - side)
    return np.concatenate([corner, corner + side], axis=1).astype(np.int32)


def _singled(rows: np.ndarray) -> np.ndarray:
    """Rows (N, 15) of several searches without those that show a face again, the surest first."""
    rows = rows[np.argsort(-rows[:, 14], kind="stable")]
    kept = cv2.dnn.NMSBoxes(rows[:, :4].tolist(), rows[:, 14].tolist(), 0.0, OVERLAP) if len(rows) else []
    return np.asarray(rows[np.array(kept, int).ravel()])
