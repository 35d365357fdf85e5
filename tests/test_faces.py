"""Detector, tracker, smoother and overlay."""

import itertools

import cv2
import numpy as np
import pytest

from fer_live.analysis.label_sets import Reduction
from fer_live.analysis.patch import contrast, correlation, patch
from fer_live.analysis.smoothing import Smoother
from fer_live.analysis.tracker import FaceTracker
from fer_live.model.haar import HaarFaceDetector
from fer_live.model.spec import EMOTIONS
from fer_live.screen.overlay import Overlay
from fer_live.types import UNSURE, Analysis, Face, Frame, Rates, View

NOBODY = np.empty((0, 4), np.int32)


def box(x, y, side=60):
    return np.array([[x, y, x + side, y + side]], np.int32)


# ------------------------------------------------------------------------------------------------ detector


def overlap(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(0, width) * max(0, height)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.4])
def test_finds_the_face_at_any_image_size(portrait, scale):
    boxes = HaarFaceDetector().detect(cv2.resize(portrait, None, fx=scale, fy=scale))
    assert boxes.dtype == np.int32 and boxes.shape == (1, 4)
    assert overlap(boxes[0] / scale, (176, 70, 273, 167)) > 0.6


def test_no_faces_is_an_empty_array():
    detector = HaarFaceDetector()
    for image in (np.zeros((480, 640, 3), np.uint8), np.full((10, 10, 3), 90, np.uint8),
                  np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)):
        assert detector.detect(image).shape == (0, 4)


def test_min_face_in_pixels_and_as_a_fraction(portrait):
    assert len(HaarFaceDetector(min_face=60).detect(portrait)) == 1
    assert len(HaarFaceDetector(min_face=200).detect(portrait)) == 0
    assert len(HaarFaceDetector(min_face=0.4).detect(portrait)) == 0


# ------------------------------------------------------------------------------------------------ tracker


def test_face_is_shown_once_confirmed_and_keeps_its_id():
    tracker = FaceTracker(confirm_hits=3)
    shown = [[t.track_id for t in tracker.update(box(100 + 5 * i, 80), i / 30)] for i in range(10)]
    assert shown == [[], [], *[[1]] * 8]


def test_single_detection_is_never_shown():
    tracker = FaceTracker()
    rng = np.random.default_rng(0)
    for i in range(60):
        boxes = box(*rng.integers(0, 500, 2) // 100 * 100 + (i % 5) * 90) if i % 3 == 0 else NOBODY
        assert tracker.update(boxes, i / 30) == []


def test_short_gaps_are_bridged_and_long_ones_end_the_track():
    tracker = FaceTracker(memory_s=0.5)
    for i in range(5):
        tracker.update(box(100, 100), i / 30)
    bridged = tracker.update(NOBODY, 0.4)
    assert [(t.track_id, t.fresh) for t in bridged] == [(1, False)]
    assert [t.track_id for t in tracker.update(box(102, 100), 0.5)] == [1]
    assert tracker.update(NOBODY, 1.1) == []
    ids = [[t.track_id for t in tracker.update(box(100, 100), 2 + i / 30)] for i in range(4)]
    assert ids == [[], [], [2], [2]]


def test_tracks_expire_before_they_are_matched():
    tracker = FaceTracker()
    before = [[t.track_id for t in tracker.update(box(100, 100), i / 30)] for i in range(6)]
    after = [[t.track_id for t in tracker.update(box(100, 100), 3.5 + i / 30)] for i in range(4)]
    assert before[-1] == [1] and after == [[], [], [2], [2]]


@pytest.mark.parametrize("interval_s", [1.0, 2.0, 60.0, 3600.0])
def test_low_frame_rate_videos_keep_their_tracks(interval_s):
    tracker = FaceTracker()
    times = [i * interval_s + (0.3 * interval_s if i % 3 == 0 else 0) for i in range(12)]
    shown = [[t.track_id for t in tracker.update(box(100 + i, 100), t)] for i, t in enumerate(times)]
    assert shown == [[], [], *[[1]] * 10]


def test_slowing_camera_keeps_its_tracks():
    tracker = FaceTracker()
    for i in range(50):
        tracker.update(box(100, 100), i / 25)
    shown = [bool(tracker.update(box(100, 100), 2.0 + i)) for i in range(15)]
    assert all(shown[9:])


def test_time_going_back_resets_the_tracker():
    tracker = FaceTracker()
    first = [[t.track_id for t in tracker.update(box(100, 100), i / 25)] for i in range(8)]
    second = [[t.track_id for t in tracker.update(box(100, 100), i / 25)] for i in range(4)]
    assert first[-1] == [1] and second == [[], [], [2], [2]]


def test_patches_of_one_place_correlate_at_any_size_and_brightness(portrait):
    at = np.array([176.4, 70.0, 273.0, 166.6])
    a, large = patch(portrait, at), patch(cv2.resize(portrait, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC), 3 * at)
    dim, other = patch(cv2.convertScaleAbs(portrait, alpha=0.5), at), patch(portrait[::-1].copy(), at)
    flat = patch(np.full_like(portrait, 90), at)
    assert abs(a.mean()) < 1e-3 and correlation(a, a) == pytest.approx(1.0) and contrast(a) == pytest.approx(a.std(), rel=1e-4)
    assert correlation(a, large) > 0.97 and correlation(a, dim) > 0.99 and correlation(a, other) < 0.5
    assert contrast(dim) == pytest.approx(contrast(a) / 2, rel=0.02) and correlation(a, flat) == contrast(flat) == 0.0
    expected = np.corrcoef(a.ravel(), other.ravel())[0, 1]
    assert correlation(a, other) == pytest.approx(expected, abs=1e-4)
    assert patch(portrait, np.array([-90, 10, -20, 80])) is None, "outside the image"
    assert patch(portrait, np.array([500, 20, 600, 120])).shape == a.shape, "partly inside"


def test_coasting_track_is_hidden_after_a_scene_change(portrait):
    tracker = FaceTracker()
    at = np.array([[176, 70, 273, 167]])
    for i in range(4):
        tracker.update(at, i / 30, portrait)
    assert len(tracker.update(NOBODY, 0.15, portrait)) == 1
    assert tracker.update(NOBODY, 0.2, portrait[::-1].copy()) == []  # a cut
    assert [t.track_id for t in tracker.update(at, 0.25, portrait)] == [1]  # and back


@pytest.mark.parametrize("contrast", [0.06, 0.3])
def test_coasting_track_is_hidden_over_correlating_texture(portrait, contrast):
    """After a cut to a dark or flat scene whose shading resembles the face."""
    tracker, at = FaceTracker(), np.array([[176, 70, 273, 167]])
    for i in range(4):
        tracker.update(at, i / 30, portrait)
    curtain = (cv2.GaussianBlur(portrait, (0, 0), 12.0) * contrast).astype(np.uint8)
    a, b = (patch(image, at[0]).ravel() for image in (portrait, curtain))
    assert np.corrcoef(a, b)[0, 1] > 0.5, "by correlation alone it is the face"
    assert tracker.update(NOBODY, 0.15, curtain) == []


def test_dim_coasting_track_needs_the_same_appearance(portrait):
    chance, at = np.random.default_rng(0), np.array([[176, 70, 273, 167]])

    def dim(image):
        return np.clip(image * 0.1 + chance.normal(0, 1.5, image.shape), 0, 255).astype(np.uint8)

    tracker = FaceTracker()
    for i in range(4):
        tracker.update(at, i / 30, dim(portrait))
    assert len(tracker.update(NOBODY, 0.15, dim(portrait))) == 1
    other = dim(0.6 * cv2.GaussianBlur(portrait, (0, 0), 12.0) + 0.4 * portrait[:, ::-1][:, 125:].repeat(2, 1)[:, :512])
    a, b = (patch(image, at[0]).ravel() for image in (dim(portrait), other))
    assert 0.5 < np.corrcoef(a, b)[0, 1] < 0.7
    assert tracker.update(NOBODY, 0.2, other) == []


def test_crossing_faces_keep_their_track_ids():
    tracker = FaceTracker(confirm_hits=1)
    for i in range(30):
        left, right = box(50 + 8 * i, 100), box(400 - 8 * i, 190)
        tracks = tracker.update(np.concatenate([left, right] if i % 2 else [right, left]), i / 30)
        by_id = {t.track_id: t.box for t in tracks}
        assert len(by_id) == 2
        assert (by_id[1][1], by_id[2][1]) == (190, 100), "each stays in its row despite alternating detections"


def test_smoothing_depends_on_time_not_on_frames():
    """With every other frame dropped, the face is confirmed and smoothed almost identically."""
    probs = {}
    for step in (1, 2):
        smoother = Smoother(EMOTIONS)
        for i in range(0, 31, step):
            target = np.eye(7, dtype=np.float32)[3 if i else 4]
            result = smoother.update(1, target, i / 30)
        probs[step] = result[0]
    assert np.allclose(probs[1], probs[2], atol=0.02)


# ------------------------------------------------------------------------------------------------ smoother


def flickering(rng, n=300):
    """Per-frame probabilities of a face between two expressions."""
    base = np.array([0.05, 0.02, 0.03, 0.4, 0.4, 0.05, 0.05])
    noisy = np.clip(base + rng.normal(0, 0.12, (n, 7)), 0.001, None)
    return (noisy / noisy.sum(1, keepdims=True)).astype(np.float32)


def changes(smoother, series):
    labels = [smoother.update(1, p, i / 30)[1] for i, p in enumerate(series)]
    return sum(a != b for a, b in itertools.pairwise(labels))


def test_labels_are_stable_but_follow_changes():
    series = flickering(np.random.default_rng(0))
    plain = changes(Smoother(EMOTIONS, time_constant_s=0, margin=0, sure=0, dwell_s=0), series)
    assert plain > 50 and changes(Smoother(EMOTIONS), series) <= plain // 10
    smoother = Smoother(EMOTIONS)
    clear = [np.eye(7, dtype=np.float32)[4]] * 30 + [np.eye(7, dtype=np.float32)[3]] * 30
    labels = [smoother.update(1, p, i / 30)[1] for i, p in enumerate(clear)]
    assert labels[29] == "neutral" and "happy" in labels[30:45], "a clear change shows within half a second"


def test_weak_face_is_unsure_with_its_confidence():
    smoother = Smoother(EMOTIONS)
    probs, label, confidence = smoother.update(1, np.full(7, 1 / 7, np.float32), 0.0)
    assert label == UNSURE and confidence == pytest.approx(1 / 7) and probs.sum() == pytest.approx(1)


def test_smoothing_is_per_track_and_ends_with_it():
    smoother = Smoother(EMOTIONS)
    happy, sad = np.eye(7, dtype=np.float32)[3], np.eye(7, dtype=np.float32)[5]
    for i in range(10):
        first, second = smoother.update(1, happy, i / 30), smoother.update(2, sad, i / 30)
    assert first[1] == "happy" and second[1] == "sad" and np.array_equal(first[0], happy)
    smoother.expire(10.0)
    assert smoother.states == {}


def contradicts(labels, results):
    """Whether any of (probabilities, label, confidence) shows a class that is not the strongest."""
    return any(label not in (UNSURE, labels[int(p.argmax())]) or confidence != p.max() for p, label, confidence in results)


def lively(rng, fps, seconds_each=1.5, turns=12):
    """A talking face: noisy probabilities that alternate between classes, with a narrow lead at times."""
    mean = np.full(7, 0.1)
    for turn in range(turns):
        target = np.full(7, 0.04)
        target[[3, 4, 5, 0][turn % 4]] = 0.45 + 0.3 * (turn % 2)
        for _ in range(round(fps * seconds_each)):
            mean += min(1.0, 12 / fps) * (np.log(target) + rng.normal(0, 0.7, 7) - mean)
            powers = np.exp(mean)
            yield (powers / powers.sum()).astype(np.float32)


@pytest.mark.parametrize("fps", [8, 15, 30, 60])
def test_label_is_the_strongest_class_or_unsure(fps):
    for seed in range(3):
        smoother, results = Smoother(EMOTIONS), []
        for i, probs in enumerate(lively(np.random.default_rng(seed), fps)):
            results.append(smoother.update(1, probs, i / fps))
            assert results[-1][0].sum() == pytest.approx(1, abs=1e-4)
        assert not contradicts(EMOTIONS, results)
        assert len({label for _, label, _ in results}) >= 4, "and it does change"


@pytest.mark.parametrize("fps", [8, 15, 30, 60])
def test_label_set_label_is_the_strongest_class_or_unsure(fps):
    smoother, reduce = Smoother(EMOTIONS), Reduction("basic", EMOTIONS)
    results = []
    for i, probs in enumerate(lively(np.random.default_rng(0), fps)):
        one = Face((0, 0, 9, 9), 1, *smoother.update(1, probs, i / fps))
        out = reduce(Analysis(Frame(np.zeros((9, 9, 3), np.uint8), i, i / fps), (one,))).faces[0]
        results.append((out.probs, out.label, out.confidence))
    assert not contradicts(reduce.labels, results) and len({label for _, label, _ in results}) >= 3


@pytest.mark.parametrize("fps", [8, 15, 30, 60])
@pytest.mark.parametrize(("before", "after"), [(0.9, 0.9), (0.95, 0.6), (0.6, 0.6)])
def test_real_change_shows_within_half_a_second(fps, before, after):
    def answer(strong, weak, share):
        probs = np.full(7, 0.3 * (1 - share) / 5, np.float32)
        probs[[strong, weak]] = share, 0.7 * (1 - share)
        return probs

    for strong in (0, 3, 5):  # from neutral
        smoother = Smoother(EMOTIONS)
        labels = [smoother.update(1, answer(4, strong, before), i / fps)[1] for i in range(3 * fps)]
        assert set(labels) == {"neutral"}
        labels = [smoother.update(1, answer(strong, 4, after), 3 + i / fps)[1] for i in range(3 * fps)]
        assert EMOTIONS[strong] in labels[: fps // 2 + 1] and sum(a != b for a, b in itertools.pairwise(labels)) == 1


def test_blink_and_jitter_do_not_change_the_label():
    smoother = Smoother(EMOTIONS)
    happy, sad = np.eye(7, dtype=np.float32)[3], np.eye(7, dtype=np.float32)[5]
    assert {smoother.update(1, sad if i % 60 in range(40, 44) else happy, i / 30)[1] for i in range(300)} == {"happy"}
    rates = [changes(Smoother(EMOTIONS), flickering(np.random.default_rng(seed))) for seed in range(6)]
    assert sum(rates) <= 30, "between two expressions: at most 30 changes per minute"


# ------------------------------------------------------------------------------------------------ overlay


def shown(size_hw, faces, background=128, **view):
    image = np.full((*size_hw, 3), background, np.uint8)
    frame = Frame(image, 0, 0.0)
    drawn = Overlay(EMOTIONS, View(**view)).draw(Analysis(frame, faces), Rates(29.6, 3))
    assert np.array_equal(image, np.full((*size_hw, 3), background, np.uint8)), "the frame itself is unchanged"
    return drawn


def face(x1, y1, x2, y2, label="happy"):
    return Face((x1, y1, x2, y2), 1, np.full(7, 1 / 7, np.float32), label, 0.9)


@pytest.mark.parametrize("size_hw", [(48, 48), (120, 160), (480, 640), (1080, 1920), (1280, 720)])
def test_draws_at_any_size_and_clips_at_the_edges(size_hw):
    h, w = size_hw
    faces = (face(-20, -20, w // 2, h // 2), face(w // 2, h // 2, w + 30, h + 30), face(0, 0, w, h), face(w - 2, 0, w, 2))
    drawn = shown(size_hw, faces, bars=True, help=True, badge="DEMO", recording=True)
    assert drawn.shape == (h, w, 3) and (drawn != 128).any()


@pytest.mark.parametrize("background", [0, 128, 255])
def test_text_is_legible_on_any_background(background):
    drawn = shown((480, 640, 3)[:2], (face(200, 150, 400, 350),), background, fps=False)
    plate = drawn[118:142, 260:340].reshape(-1, 3).astype(int).max(1)  # the chip above the box
    assert (plate < 60).mean() > 0.4 and (plate > 200).mean() > 0.05, "white letters on a dark plate"


def test_view_settings_control_the_overlay():
    one = (face(200, 150, 400, 350),)
    plain = shown((480, 640), one)
    for extra in ({"bars": True}, {"badge": "DEMO"}, {"recording": True}, {"fps": True}, {"notice": "log stopped"}):
        assert (shown((480, 640), one, **extra) != plain).any(), extra
    for window_only in ({"help": True}, {"toast": "saved", "toast_until_s": float("inf")}):
        assert (shown((480, 640), one, **window_only) == plain).all(), "what is for the window is not recorded"
