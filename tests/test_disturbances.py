"""Each disturbance of the robustness table, and each augmentation for webcams, measured on images with a known effect."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from fer_live.model.spec import ModelSpec
from training.augment import Augmentation, augment
from training.detected import detected
from training.robustness import TABLE, affine

STILL = Augmentation(0, 0, 0, 0, 0, 0, 0, 0, 0)
SIZE = 48


def disturbed(name, image, seed=0):
    result = TABLE[name](image, np.random.default_rng(seed))
    assert result.shape == image.shape and result.dtype == np.uint8
    return result


def dot(dx=0.0, dy=0.0):
    """A soft bright dot at (dx, dy) pixels from the center."""
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    return (250 * np.exp(-((x - dx) ** 2 + (y - dy) ** 2) / 8)).astype(np.uint8)


def centroid(image):
    """The dot's (x, y) in pixels from the center."""
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    weight = image.astype(float)
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()


def names(kind):
    return [name for name in TABLE if name.startswith(kind)]


def number(name):
    return float(name.split()[1].rstrip("%"))


def test_every_table_row_is_tested():
    tested = [name for kind in ("shift", "scale", "rotation", "blur", "noise", "light", "size", "JPEG") for name in names(kind)]
    assert ["none", *tested] == list(TABLE)
    assert np.array_equal(disturbed("none", dot()), dot())


@pytest.mark.parametrize("name", names("shift"))
def test_shift_moves_by_a_fraction_of_the_side_in_all_directions(name):
    moves = np.array([centroid(disturbed(name, dot(), seed)) for seed in range(40)])
    assert np.linalg.norm(moves, axis=1) == pytest.approx([number(name) / 100 * SIZE] * 40, abs=0.3)
    assert {(x > 0, y > 0) for x, y in moves} == {(a, b) for a in (True, False) for b in (True, False)}


@pytest.mark.parametrize("name", names("scale"))
def test_scale_enlarges_about_the_center(name):
    assert centroid(disturbed(name, dot(6, -4))) == pytest.approx(number(name) * np.array([6, -4]), abs=0.3)


@pytest.mark.parametrize("name", names("rotation"))
def test_rotation_goes_both_ways(name):
    angles = set()
    for seed in range(12):
        x, y = centroid(disturbed(name, dot(12, 0), seed))
        angles.add(round(np.degrees(np.arctan2(y, x))))
    assert sorted(angles) == pytest.approx([-number(name), number(name)], abs=1)


def test_shifted_image_has_mirrored_edges():
    assert affine(shift=0.2, scale=0.7, degrees=30)(np.full((SIZE, SIZE), 90, np.uint8), np.random.default_rng(0)).min() == 90


@pytest.mark.parametrize("name", names("blur"))
def test_blur_spreads_an_edge_by_its_sigma(name):
    edge = np.zeros((SIZE, SIZE), np.uint8)
    edge[:, SIZE // 2:] = 255
    profile = np.diff(disturbed(name, edge)[SIZE // 2].astype(float))
    x = np.arange(len(profile)) - (profile * np.arange(len(profile))).sum() / profile.sum()
    assert np.sqrt((profile * x**2).sum() / profile.sum()) == pytest.approx(number(name), rel=0.1)


@pytest.mark.parametrize("name", names("noise"))
def test_noise_has_its_sigma_and_no_bias(name):
    noise = disturbed(name, np.full((SIZE, SIZE), 128, np.uint8)).astype(float) - 128
    assert noise.std() == pytest.approx(number(name), rel=0.05) and abs(noise.mean()) < 0.1 * number(name)


@pytest.mark.parametrize("name", names("light"))
def test_low_light_scales_the_brightness_and_adds_sensor_noise(name):
    dark = disturbed(name, np.full((SIZE, SIZE), 200, np.uint8)).astype(float)
    assert dark.mean() == pytest.approx(200 * number(name) / 100, abs=1) and dark.std() == pytest.approx(2, rel=0.1)


def test_size_removes_fine_detail():
    def contrast(name, period):
        stripes = np.tile((np.arange(SIZE) // (period // 2) % 2 * 200).astype(np.uint8), (SIZE, 1))
        return disturbed(name, stripes).std() / stripes.std()

    assert contrast("size 24 px", 2) < 0.01, "24 pixels cannot show 24 stripes"
    assert 0.1 < contrast("size 36 px", 2) < 0.7
    assert contrast("size 24 px", 16) > 0.85 and contrast("size 36 px", 16) > 0.9, "wide stripes stay"


def test_jpeg_uses_the_named_quality(portrait):
    face = cv2.cvtColor(cv2.resize(portrait[66:172, 171:277], (SIZE, SIZE), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
    loss = {quality: np.abs(cv2.imdecode(cv2.imencode(".jpg", face, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 0).astype(float)
                            - face).mean() for quality in (20, 30, 40)}
    ours = np.abs(disturbed("JPEG 30", face).astype(float) - face).mean()
    assert ours == pytest.approx(loss[30]) and loss[40] < ours < loss[20]


def test_low_light_augmentation_darkens_its_fraction_of_images():
    images = torch.full((400, SIZE, SIZE), 200, dtype=torch.uint8)
    result = augment(images, SIZE, replace(STILL, low_light=0.5), torch.Generator().manual_seed(0))[..., 0]
    light, noise = result.mean((1, 2)) / 200, result.std((1, 2))
    dark = light < 0.8
    assert 0.4 < dark.float().mean() < 0.6 and torch.allclose(result[~dark], torch.tensor(200.0), atol=0.01)
    assert 0.05 <= light[dark].min() < 0.07 and 0.5 < light[dark].max() < 0.61
    assert 0.14 < light[dark].median() < 0.21, "log-uniform: half of them below sqrt(0.05 * 0.6)"
    assert 2.8 < noise[dark].median() < 3.1, "sensor noise with a sigma of 3"


def test_erasing_draws_one_gray_rectangle_of_2_to_20_percent():
    images = torch.zeros(200, SIZE, SIZE, dtype=torch.uint8)
    result = augment(images, SIZE, replace(STILL, erase=0.4), torch.Generator().manual_seed(0))[..., 0]
    erased = result == 128
    assert bool(((result == 0) | erased).all())
    has = erased.flatten(1).any(1)
    assert 0.3 < has.float().mean() < 0.5
    rows, columns = erased[has].any(2), erased[has].any(1)
    assert torch.equal(erased[has], rows[:, :, None] & columns[:, None, :]), "rectangles"
    assert erased[has].float().mean((1, 2)).max() <= 0.22


def test_blur_removes_fine_stripes_and_keeps_coarse_ones():
    fine = torch.arange(SIZE).remainder(2).mul(200).to(torch.uint8).expand(64, SIZE, SIZE)
    coarse = (torch.arange(SIZE) // 12).remainder(2).mul(200).to(torch.uint8).expand(64, SIZE, SIZE)
    for stripes, low, high in ((fine, 0.0, 0.9), (coarse, 0.85, 1.01)):
        result = augment(stripes, SIZE, replace(STILL, blur=1.0, detail=0.5), torch.Generator().manual_seed(0))[..., 0]
        contrast = result.std((1, 2)) / stripes[0].float().std()
        assert low <= contrast.min() and contrast.max() < high


def test_rotated_faces_are_found_and_leveled_by_yunet_but_not_by_haar(portrait):
    """The network gets the upright face; missed faces count as wrong."""
    face = cv2.resize(cv2.cvtColor(portrait[70:167, 176:273], cv2.COLOR_BGR2GRAY), (48, 48), interpolation=cv2.INTER_AREA)
    spec, likeness = ModelSpec("resnet9"), []

    def predict(crops):
        likeness.append(np.corrcoef(crops[0].ravel(), face.ravel())[0, 1] if crops.any() else 0.0)
        return {"shown": np.eye(7)[[3] * len(crops)]}

    table = detected(face[None], spec, predict, {"shown": np.array([3])}, "both")
    assert list(table) == ["rotation 0", "rotation 10", "rotation 20", "rotation 30", "rotation 45"]
    assert all(row == {"found": 1.0, "shown": 1.0} for row in table.values())
    assert min(likeness[3:]) > 0.7 and min(likeness[:3]) > 0.4, "what Haar finds, up to 20 degrees, stays as it is"
    assert detected(face[None], spec, predict, {"shown": np.array([3])}, "haar")["rotation 45"] == {"found": 0.0, "shown": 0.0}
