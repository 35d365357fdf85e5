"""The rotations of the robustness table as in the app: a detector finds the face, and its crop is rotated upright."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from fer_live.model.both import face_detectors
from fer_live.model.detections import Detections, same_face
from fer_live.model.preprocess import crop_faces
from fer_live.model.spec import ModelSpec

SIDE, CANVAS = 144, 432  # pixels; side of a face, and of the gray image around it
DEGREES = (0, 10, 20, 30, 45)


def scene(image: np.ndarray, degrees: float) -> np.ndarray:
    """Return a face (S, S) uint8 centered in a gray image (CANVAS, CANVAS, 3) and rotated counterclockwise.

    The face is padded by reflection, since a detector finds no face that is cut off at the forehead.
    """
    face = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    around = cv2.copyMakeBorder(face, *(SIDE // 2,) * 4, cv2.BORDER_REFLECT_101)
    canvas = cv2.copyMakeBorder(around, *((CANVAS - 2 * SIDE) // 2,) * 4, cv2.BORDER_CONSTANT, value=(128,))
    matrix = cv2.getRotationMatrix2D(((CANVAS - 1) / 2,) * 2, degrees, 1.0)
    return cv2.cvtColor(cv2.warpAffine(canvas, matrix, (CANVAS, CANVAS), borderValue=(128,)), cv2.COLOR_GRAY2BGR)


def detected(
    images: np.ndarray, spec: ModelSpec, predict: Callable[[np.ndarray], dict[str, np.ndarray]], truths: dict[str, np.ndarray],
    detector: str,
) -> dict[str, dict[str, float]]:
    """Return {rotation: {"found": share of the faces, answer: accuracy}} on images (N, S, S) uint8; missed faces count as wrong.

    predict: crops (N, S, S) uint8 -> {answer: probabilities (N, 7)}. truths: {answer: classes (N,)}, -1 if unknown.
    detector: one of DETECTORS, with its settings for video.
    """
    searcher, _ = face_detectors(detector)
    table: dict[str, dict[str, float]] = {}
    for degrees in DEGREES:
        rng = np.random.default_rng(0)  # the same directions for every detector
        found, crops = np.zeros(len(images), bool), np.zeros_like(images)
        for i, image in enumerate(images):
            rotated = scene(image, degrees * rng.choice([-1, 1]))
            faces = Detections.of(searcher.detect(rotated))
            middle = np.array([CANVAS, CANVAS, CANVAS, CANVAS]) // 2
            here = [j for j in range(len(faces)) if same_face(middle, faces.boxes[j])]
            if here:
                found[i] = True
                crops[i] = crop_faces(rotated, faces.boxes[here[:1]], spec, faces.rolls[here[:1]])[0, ..., 0]
        probs = predict(crops)
        row = {"found": float(found.mean())}
        for answer, truth in truths.items():
            known = truth >= 0
            row[answer] = float((found & (probs[answer].argmax(1) == truth))[known].mean())
        table[f"rotation {degrees}"] = row
    return table
