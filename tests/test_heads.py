"""Rendered heads of known age, skin tone and yaw: YuNet finds them, with every skin tone."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from fer_live.model.both import face_detectors
from fer_live.model.detections import Detections, same_face
from fer_live.model.haar import HaarFaceDetector
from tests.heads import SKINS, TURNS, tiles

HEADS = tiles(cv2.imread(str(Path(__file__).with_name("heads.webp"))))
MIDDLE = np.array([250, 110, 390, 250])  # of the scene, where the face is


def scene(head):
    image = np.full((360, 640, 3), 128, np.uint8)
    image[68:292, 208:432] = cv2.resize(head, (224, 224), interpolation=cv2.INTER_CUBIC)
    noisy = image + np.random.default_rng(0).normal(0, 2, image.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def recall(detector, skin, turn):
    images = [scene(head) for (_, _, tone, degrees), head in HEADS.items() if (tone, degrees) == (skin, turn)]
    found = [any(same_face(box, MIDDLE) for box in Detections.of(detector.detect(image)).boxes) for image in images]
    assert len(found) == 12
    return np.mean(found)


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("skin", SKINS)
def test_yunet_finds_every_head(skin, turn):
    assert recall(face_detectors("yunet")[0], skin, turn) == 1.0


def test_both_finds_turned_dark_heads_that_haar_misses():
    assert recall(HaarFaceDetector(), "dark", 60) < 0.5
    assert recall(face_detectors("both")[0], "dark", 60) == 1.0


@pytest.mark.parametrize("skin", SKINS)
@pytest.mark.parametrize("name", ["yunet", "both"])
def test_heads_of_every_skin_tone_are_found_at_a_seventh_of_the_light(name, skin):
    detector, random, found = face_detectors(name)[0], np.random.default_rng(0), 0
    heads = [head for (_, _, tone, turn), head in HEADS.items() if (tone, turn) == (skin, 0)]
    for head in heads:
        dim = np.clip(np.rint(0.15 * scene(head) + random.normal(0, 2, (360, 640, 3))), 0, 255).astype(np.uint8)
        found += any(same_face(box, MIDDLE) for box in Detections.of(detector.detect(dim)).boxes)
    assert found == len(heads)


def test_photographs_of_groups_are_searched_at_several_scales():
    """4 images of 12 small, tilted heads each; at a single scale, 42 of the 48 are found."""
    found = 0
    for start in range(96, 144, 12):
        image = np.full((960, 1280, 3), 118, np.uint8)
        for i, head in enumerate([*HEADS.values()][start : start + 12]):
            matrix = cv2.getRotationMatrix2D((80, 80), 25 if i % 2 else -25, 1)
            small = cv2.resize(head, (160, 160), interpolation=cv2.INTER_AREA)
            small = cv2.warpAffine(small, matrix, (160, 160), borderValue=(128, 128, 128))
            y, x = 60 + 300 * (i // 4), 60 + 300 * (i % 4)
            image[y : y + 160, x : x + 160] = small
        noisy = image + np.random.default_rng(0).normal(0, 4, image.shape)
        found += len(face_detectors("yunet")[1].detect(np.clip(noisy, 0, 255).astype(np.uint8)))
    assert 45 <= found <= 48
