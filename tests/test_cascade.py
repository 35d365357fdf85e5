"""Cascades stay usable for any image sizes: two unusual images must not break a server for everybody."""

import numpy as np
import pytest

from fer_live.model.cascade import Cascade
from fer_live.model.detections import Detections
from fer_live.model.haar import CASCADE, HaarFaceDetector
from fer_live.privacy.masks import SecondLook

TALL, WIDE = np.full((40000, 200, 3), 90, np.uint8), np.full((200, 63000, 3), 90, np.uint8)


def test_detection_survives_a_tall_and_a_wide_image(portrait):
    detector = HaarFaceDetector(0.06)
    for image in (TALL, WIDE):
        assert len(detector.detect(image)) == 0
    assert len(detector.detect(portrait)) == 1


def test_masking_survives_a_tall_and_a_wide_image(portrait):
    find = SecondLook(thorough=True)
    find.yunet.detect = lambda image: Detections.of(np.empty((0, 4)))  # it has no cascade
    for image in (TALL, WIDE):
        find(image, 200)
    assert find(portrait, 512)


def test_cascade_reloads_only_if_its_buffer_is_oversized():
    one = Cascade(CASCADE)
    first = one.ready_for(np.zeros((1080, 1920), np.uint8))
    for shape in ((1080, 1920), (300, 400), (1920, 1080), (60, 60)):
        assert one.ready_for(np.zeros(shape, np.uint8)) is first
    one.ready_for(np.zeros((200, 20000), np.uint8))
    assert one.ready_for(np.zeros((20000, 200), np.uint8)) is not first


def test_missing_cascade_file_says_what_to_install():
    with pytest.raises(RuntimeError, match=r"has no nothing\.xml; install opencv-contrib-python"):
        Cascade("nothing.xml")
