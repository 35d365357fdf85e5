"""An image fitted into another one of any size."""

import cv2
import numpy as np
import pytest

from fer_live.letterbox import letterbox

SIZES_HW = [(720, 1280), (1080, 1920), (480, 640), (1280, 720), (33, 1000), (1, 5000), (241, 321), (1, 1)]


@pytest.mark.parametrize("into_hw", SIZES_HW)
@pytest.mark.parametrize("image_hw", SIZES_HW)
def test_image_fills_the_middle_and_the_margins_are_black(image_hw, into_hw):
    whole = np.full((into_hw[0] + 4, into_hw[1] + 6, 3), 99, np.uint8)
    into = whole[2:-2, 3:-3]
    (x1, y1, x2, y2), scale = letterbox(np.full((*image_hw, 3), 200, np.uint8), into)
    assert (into[y1:y2, x1:x2] == 200).all()
    into[y1:y2, x1:x2] = 0
    assert not into.any()
    into[:] = 99
    assert (whole == 99).all(), "nothing else is drawn on"
    assert scale == min(a / b for a, b in zip(into_hw, image_hw, strict=True))
    assert abs(x1 - (into_hw[1] - x2)) <= 1 and abs(y1 - (into_hw[0] - y2)) <= 1
    for drawn, side in ((y2 - y1, image_hw[0]), (x2 - x1, image_hw[1])):
        assert abs(drawn - max(1.0, scale * side)) <= 0.5


def test_same_size_is_copied_and_smaller_sizes_are_averaged():
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    same, half, fast = (np.zeros((h, w, 3), np.uint8) for h, w in ((48, 64), (36, 48), (36, 48)))
    assert letterbox(image, same) == ((0, 0, 64, 48), 1.0) and np.array_equal(same, image)
    letterbox(image, half)
    letterbox(image, fast, area_below=0.5)
    assert np.array_equal(half, cv2.resize(image, (48, 36), interpolation=cv2.INTER_AREA))
    assert np.array_equal(fast, cv2.resize(image, (48, 36), interpolation=cv2.INTER_LINEAR))
