"""YuNet and the combined detectors: boxes, upright crops, detections, thread safety."""

import hashlib
import inspect
import json
import math
from concurrent.futures import ThreadPoolExecutor
from copy import copy

import cv2  # before av; see fer_live/sources/__init__.py

# isort: split
import av
import numpy as np
import pytest

import fer_live
from fer_live.__main__ import main
from fer_live.analysis.analyzer import Analyzer
from fer_live.analysis.detection import ScheduledDetector
from fer_live.analysis.tracker import FaceTracker
from fer_live.app.config import AnalysisConfig
from fer_live.app.options import parse
from fer_live.model import yunet_network
from fer_live.model.both import BothFaceDetector, face_detectors, united
from fer_live.model.detections import DEFAULT_DETECTOR, DETECTORS, Detections, iou, same_face, touch
from fer_live.model.haar import HaarFaceDetector
from fer_live.model.preprocess import UPRIGHT, crop_faces
from fer_live.model.spec import CheckpointError, ModelSpec
from fer_live.model.yunet import YuNetFaceDetector
from fer_live.model.yunet_network import SHA256, WEIGHTS, YuNetNetwork
from fer_live.privacy.masks import Mask
from fer_live.types import Analysis, Frame

FACE = 176, 70, 273, 167  # of the portrait


def overlap(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(0, width) * max(0, height)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def tilted(portrait, degrees):
    """The portrait rotated clockwise about the center of the face."""
    matrix = cv2.getRotationMatrix2D((224.5, 118.5), -degrees, 1.0)
    matrix[:, 2] += 256 - 224.5, 256 - 118.5
    return cv2.warpAffine(portrait, matrix, (512, 512), borderMode=cv2.BORDER_REPLICATE)


MIDDLE = 256 - 48, 256 - 48, 256 + 49, 256 + 49  # its face there


# ------------------------------------------------------------------------------------------------ YuNet


def test_bundled_yunet_has_the_expected_hash():
    assert hashlib.sha256(WEIGHTS.read_bytes()).hexdigest() == SHA256
    text = WEIGHTS.with_suffix(".LICENSE.txt").read_text()
    assert "MIT License" in text and "Shiqi Yu" in text and SHA256 in text


@pytest.mark.parametrize("content", [None, b"", b"no network"])
def test_missing_or_damaged_network_is_a_clear_error(tmp_path, monkeypatch, content):
    path = tmp_path / "face.onnx"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setattr(yunet_network, "WEIGHTS", path)
    yunet_network._weights.cache_clear()
    with pytest.raises(CheckpointError, match=r"face\.onnx.* install the program again, or use --detector haar"):
        YuNetFaceDetector()
    yunet_network._weights.cache_clear()


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.4, 4.0])
def test_yunet_box_matches_haar(portrait, scale):
    image = cv2.resize(portrait, None, fx=scale, fy=scale)
    found, haar = YuNetFaceDetector().detect(image), HaarFaceDetector().detect(image)
    assert found.boxes.dtype == np.int32 and found.boxes.shape == (1, 4) == haar.shape
    assert overlap(found.boxes[0], haar[0]) > 0.7
    left, right, nose, *_ = found.landmarks[0] / scale
    assert 176 < left[0] < nose[0] < right[0] < 273 and abs(found.rolls[0]) < 12 and found.scores[0] > 0.8


@pytest.mark.parametrize("name", DETECTORS)
def test_images_without_a_face_have_no_detections(name):
    chance = np.random.default_rng(0)
    for detector in face_detectors(name):
        for image in (np.zeros((480, 640, 3), np.uint8), np.full((10, 10, 3), 90, np.uint8), np.full((1, 1, 3), 90, np.uint8),
                      np.full((4, 900, 3), 90, np.uint8), np.full((900, 4, 3), 90, np.uint8),
                      np.full((1, 60000, 3), 90, np.uint8), np.full((40000, 20, 3), 90, np.uint8),
                      chance.integers(0, 256, (240, 320, 3), np.uint8)):
            found = Detections.of(detector.detect(image))
            assert found.boxes.shape == (0, 4) and found.landmarks.shape == (0, 5, 2) and found.rolls.shape == (0,)
            assert detector.detect_near(image, np.array([[0, 0, 1, 1]])) == [None]
            assert detector.detect_near(image, np.empty((0, 4), np.int32)) == []


@pytest.mark.slow
def test_very_long_images_are_searched_reduced(monkeypatch):
    """In images of 40,000 pixels in a row, OpenCV's network found faces at random."""
    sides, run = [], YuNetNetwork.run
    monkeypatch.setattr(YuNetNetwork, "run", lambda self, image: (sides.append(max(image.shape)), run(self, image))[1])
    for shape in ((20, 40000, 3), (40000, 20, 3), (300, 20000, 3)):
        for detector in face_detectors("both"):
            detector.detect(np.full(shape, 90, np.uint8))
    assert sides and max(sides) <= 8192


@pytest.mark.parametrize("name", DETECTORS)
def test_min_face_in_pixels_and_as_a_fraction(portrait, name):
    for size, count in ((60, 1), (200, 0), (0.4, 0)):
        assert len(face_detectors(name, size)[0].detect(portrait)) == count


def test_finds_large_and_small_faces_in_a_large_image(portrait):
    large = cv2.resize(portrait[20:220, 120:320], (1600, 1600), interpolation=cv2.INTER_CUBIC)
    large[:200, :200] = cv2.resize(portrait[20:220, 120:320], (200, 200), interpolation=cv2.INTER_AREA)
    sides = sorted(box[2] - box[0] for box in YuNetFaceDetector(0.05).detect(large).boxes)
    assert len(sides) == 2 and 80 < sides[0] < 120 and 650 < sides[1] < 950


def test_boxes_are_square_and_inside_the_image(portrait):
    for left, top in ((200, 0), (0, 90), (210, 100)):
        image = portrait[top : top + 300, left : left + 300]
        for x1, y1, x2, y2 in YuNetFaceDetector(min_score=0.4).detect(image).boxes.tolist():
            assert 0 <= x1 < x2 <= image.shape[1] and 0 <= y1 < y2 <= image.shape[0] and x2 - x1 == y2 - y1


# ------------------------------------------------------------------------------------------------ tilted faces


@pytest.mark.parametrize("degrees", [-45, -30, 30, 45])
def test_tilted_face_is_found_and_its_crop_is_upright(portrait, degrees):
    image, spec = tilted(portrait, degrees), ModelSpec("resnet9")
    assert len(HaarFaceDetector().detect(image)) == 0, "Haar misses it"
    for name in ("yunet", "both"):
        found = face_detectors(name)[0].detect(image)
        assert len(found) == 1 and overlap(found.boxes[0], MIDDLE) > 0.7
        upright = YuNetFaceDetector().detect(tilted(portrait, 0))
        assert math.isclose(found.rolls[0], degrees, abs_tol=15)
        crop = crop_faces(image, found.boxes, spec, found.rolls)[0].ravel()
        expected = crop_faces(tilted(portrait, 0), upright.boxes, spec, upright.rolls)[0].ravel()
        plain = crop_faces(image, found.boxes, spec)[0].ravel()
        assert np.corrcoef(crop, expected)[0, 1] > 0.7 > np.corrcoef(plain, expected)[0, 1] + 0.2


@pytest.mark.parametrize("degrees", [-60, -45, -30, 0, 30, 45, 60])
def test_tilted_face_has_the_box_of_the_upright_one(portrait, degrees):
    """Found in the whole image, near its box, and near the larger box that YuNet draws around tilted faces."""
    haar, detector, image = HaarFaceDetector().detect(tilted(portrait, 0))[0], YuNetFaceDetector(), tilted(portrait, degrees)
    boxes = np.array([MIDDLE, np.add(MIDDLE, (-22, -22, 22, 22))])
    for found in (detector.detect(image), *detector.detect_near(image, boxes)):
        assert found is not None and math.isclose(found.rolls[0], degrees, abs_tol=15)
        assert found.boxes[0, 2] - found.boxes[0, 0] == pytest.approx(haar[2] - haar[0], rel=0.05)


def dim(image):
    noise = np.random.default_rng(0).normal(0, 4, image.shape)
    return np.clip(cv2.GaussianBlur(image, (0, 0), 2.0) * 0.1 + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("degrees", [-45, 45])
@pytest.mark.parametrize("name", ["yunet", "both"])
def test_tilted_face_in_dim_light_is_found(portrait, name, degrees):
    found = face_detectors(name)[0].detect(dim(tilted(portrait, degrees)))
    assert len(found) == 1 and overlap(found.boxes[0], MIDDLE) > 0.6 and math.isclose(found.rolls[0], degrees, abs_tol=15)


def test_rotated_search_ignores_other_faces(monkeypatch):
    """Hair, shoulder and face together look like a larger face that lies on its side."""
    detector, level = YuNetFaceDetector(), detections([100, 100, 200, 200])
    level.scores[:] = 0.6

    def look(around, degrees=0.0):
        return level if not degrees else Detections(np.array([[60, 80, 220, 240]], np.int32), level.landmarks, np.float32([0.9]))

    monkeypatch.setattr(detector, "_look", look)
    assert np.array_equal(detector._upright(None, level.boxes[0], level).boxes, level.boxes)


def test_rotated_search_finds_a_face_in_a_box_that_is_too_large(monkeypatch):
    """YuNet's box of a face tilted by 45 degrees is 1.45 times as large as upright."""
    detector, level, face = YuNetFaceDetector(), detections([100, 100, 200, 200]), detections([116, 116, 184, 184])
    level.scores[:] = 0.6
    monkeypatch.setattr(detector, "_look", lambda around, degrees=0.0: face if 30 <= degrees <= 60 else None)
    assert detector._upright(None, level.boxes[0], level).boxes.tolist() == face.boxes.tolist()


@pytest.mark.parametrize("side", [40, 60])
def test_faces_below_the_smallest_size_are_left_out_although_tilted_boxes_are_larger(monkeypatch, side):
    detector, upright = YuNetFaceDetector(50), detections([130 - side // 2, 130 - side // 2, 130 + side // 2, 130 + side // 2])
    eyes = [[115, 120], [145, 120], [130, 130], [118, 145], [142, 145]]
    hit = np.float32([[100, 95, 60, 70, *np.ravel(eyes), 0.9]])
    monkeypatch.setattr(detector, "_search", lambda image, scale, degrees=0.0: hit)
    monkeypatch.setattr(detector, "_look", lambda around, degrees=0.0: upright)
    assert len(detector.detect(np.zeros((300, 300, 3), np.uint8))) == (side > 50)


@pytest.mark.parametrize("degrees", [-45, 45])
@pytest.mark.parametrize("direction", [-1, 1])
def test_rotated_search_tries_both_directions(monkeypatch, degrees, direction):
    """A weak hit in the wrong direction, to which the landmarks may point, does not end the search."""
    detector, face = YuNetFaceDetector(), detections([100, 100, 200, 200])
    eyes = np.float32([[[130, 140], [170, 140 + 4 * direction], [150, 150], [135, 170], [165, 170]]])

    def look(around, rotation=0.0):
        score = 0.9 - abs(rotation - degrees) / 90 if rotation * degrees >= 0 else 0.5
        return Detections(face.boxes, eyes, np.float32([score]))

    monkeypatch.setattr(detector, "_look", look)
    assert detector._upright(None, face.boxes[0], look(None)).scores[0] > 0.7


@pytest.mark.parametrize("degrees", [-45, 45])
def test_known_tilted_face_in_dim_light_is_found_again(portrait, degrees):
    found = YuNetFaceDetector().detect_near(dim(tilted(portrait, degrees)), np.array([MIDDLE]))[0]
    assert found is not None and math.isclose(found.rolls[0], degrees, abs_tol=15)


@pytest.mark.parametrize("name", ["yunet", "both"])
def test_image_with_a_tilted_and_an_upright_face(portrait, name):
    image = np.hstack([portrait, dim(tilted(portrait, 45))])
    boxes = face_detectors(name, 0.1)[1].detect(image).boxes
    assert len(boxes) == 2 and max(overlap(box, np.add(MIDDLE, (512, 0, 512, 0))) for box in boxes) > 0.5


def test_crop_is_rotated_for_large_known_rolls_only(portrait):
    spec, box = ModelSpec("resnet9"), np.array([FACE])
    plain = crop_faces(portrait, box, spec)
    for roll in (0.0, UPRIGHT, -UPRIGHT, np.nan):
        assert np.array_equal(crop_faces(portrait, box, spec, np.array([roll])), plain)
    turned = crop_faces(portrait, box, spec, np.array([90.0]))[0, ..., 0]
    assert np.abs(turned.astype(int) - np.rot90(plain[0, ..., 0])).mean() < 3, "counterclockwise about the box center"
    over_the_border = crop_faces(portrait, np.array([[-30, -20, 60, 70]]), spec, np.array([40.0]))
    assert over_the_border.shape == (1, spec.input_size, spec.input_size, 1)


def test_tracks_keep_the_latest_roll():
    tracker, box = FaceTracker(confirm_hits=2), np.array([[100, 100, 160, 160]])
    for i, roll in enumerate((20.0, 31.0)):
        shown = tracker.update(box, i / 30, None, np.array([roll]))
    assert shown[0].roll == 31.0 and shown[0].before[0][2] == 20.0
    assert tracker.update(box, 2 / 30, None, np.array([np.nan]))[0].roll == 0.0, "Haar finds upright faces only"


# ------------------------------------------------------------------------------------------------ both


def detections(*boxes):
    count = len(boxes)
    return Detections(np.array(boxes, np.int32).reshape(-1, 4), np.zeros((count, 5, 2), np.float32), np.ones(count, np.float32))


@pytest.mark.parametrize("kind", [tuple, np.array])
def test_boxes_are_compared_by_their_centers_and_areas(kind):
    whole, inner, beside, empty = map(kind, ([0, 0, 20, 20], [0, 0, 8, 10], [20, 0, 40, 20], [5, 5, 5, 5]))
    assert same_face(inner, whole) and not same_face(whole, inner) and touch(inner, whole) and touch(whole, inner)
    assert not touch(whole, beside) and not touch(beside, whole)
    assert iou(whole, whole) == 1.0 and iou(whole, inner) == iou(inner, whole) == 0.2
    assert iou(whole, beside) == iou(whole, empty) == iou(empty, empty) == 0.0


def test_combined_detectors_return_each_face_once():
    face, near, other, part = [100, 100, 200, 200], [104, 98, 206, 200], [300, 100, 380, 180], [130, 150, 170, 190]
    assert united(np.array([near]), detections(face)).boxes.tolist() == [near], "Haar's box"
    assert np.isfinite(united(np.array([near]), detections(face)).rolls).all(), "and YuNet's landmarks"
    assert united(np.array([other]), detections(face)).boxes.tolist() == [face, other]
    assert united(np.array([part]), detections(face)).boxes.tolist() == [face], "a mouth is not a separate face"
    assert united(np.array([part, near]), detections(face)).boxes.tolist() == [near]
    assert united(np.empty((0, 4), np.int32), detections()).boxes.shape == (0, 4)
    beside = [170, 100, 270, 200]
    assert sorted(united(np.array([near, beside]), detections(beside, face)).boxes.tolist()) == sorted([near, beside])


def test_yunet_continues_a_face_that_haar_loses(portrait):
    detector = ScheduledDetector(BothFaceDetector(HaarFaceDetector(), YuNetFaceDetector()), every=1000)
    for degrees in range(0, 60, 4):  # the head tilts slowly
        found = detector.detect(tilted(portrait, degrees))
        assert len(found) == 1 and overlap(found.boxes[0], MIDDLE) > 0.5, degrees
    assert found.rolls[0] == pytest.approx(56, abs=10)


@pytest.mark.parametrize("name", DETECTORS)
def test_detector_copy_has_its_own_min_face(portrait, name):
    detector = face_detectors(name)[0]
    other = copy(detector)
    other.min_face = 0.5  # as the load governor does
    assert len(other.detect(portrait)) == 0 and len(detector.detect(portrait)) == 1 and detector.min_face == 0.14


@pytest.mark.parametrize("name", ["yunet"])
def test_detector_is_thread_safe(portrait, name):
    """Images of different sizes, full and near searches, concurrently: each thread gets its own results."""
    images = [cv2.resize(portrait, None, fx=scale, fy=scale) for scale in (0.5, 0.8, 1.0, 1.3)]
    detector = face_detectors(name)[0]

    def answer(image):
        found = Detections.of(detector.detect(image))
        return found.boxes.tolist(), [Detections.of(one).boxes.tolist() for one in detector.detect_near(image, found.boxes)]

    expected = [answer(image) for image in images]
    assert all(len(boxes) == 1 for boxes, _ in expected)
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(answer, images * 8)) == expected * 8


@pytest.mark.parametrize("degrees", [-45, 45])
def test_masks_cover_a_tilted_face_with_every_detector(portrait, degrees):
    image = tilted(portrait, degrees)

    def covered(mask, frames):
        for i in range(frames):
            masked = mask(Analysis(Frame(image, i, i / 30), ())).frame.image
            yield np.abs(masked.astype(int) - image)[208:305, 208:305].mean() > 8

    assert all(covered(Mask("pixelate", memory_s=0.0), 1)), "a single image"
    assert all(list(covered(Mask("pixelate"), 20))[4:]), "in every video frame after the first detection"


# ------------------------------------------------------------------------------------------------ the program


def tilted_clip(path, portrait, degrees, frames=16):
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 512, 512, "yuv420p"
        for i in range(frames):
            image = np.roll(tilted(portrait, degrees), i, axis=1)
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(video.encode(None))
    return path


@pytest.mark.parametrize(("name", "seen"), [("haar", 0), ("yunet", 16), ("both", 16)])
def test_program_processes_a_clip_of_a_tilted_face(tmp_path, portrait, name, seen):
    clip, log = tilted_clip(tmp_path / "clip.mp4", portrait, 40), tmp_path / "log.jsonl"
    assert main(["--source", str(clip), "--log", str(log), "--no-window", "--device", "cpu", "--detector", name]) == 0
    faces = [face for line in log.read_text().splitlines() for face in json.loads(line)["faces"]]
    assert len(faces) == seen and {face["label"] for face in faces} <= {"happy"}, "same result as upright"


@pytest.mark.parametrize("name", DETECTORS)
def test_library_processes_an_image(portrait, name):
    faces = Analyzer.from_checkpoint(device="cpu", detector=name)(portrait).faces
    assert [face.label for face in faces] == ["happy"] and overlap(faces[0].box, FACE) > 0.6


def test_program_and_library_have_the_same_default():
    defaults = [inspect.signature(one).parameters["detector"].default for one in (fer_live.load, Analyzer.from_checkpoint)]
    assert {*defaults, AnalysisConfig().detector, parse([]).analysis.detector} == {DEFAULT_DETECTOR}


def test_rejects_unknown_detectors(capsys):
    with pytest.raises(ValueError, match=r"unknown detector 'crystal'; choose from: haar, yunet, both"):
        Analyzer.from_checkpoint(device="cpu", detector="crystal")
    with pytest.raises(SystemExit, match="2"):
        main(["--source", "demo", "--detector", "crystal"])
    assert "haar" in capsys.readouterr().err
