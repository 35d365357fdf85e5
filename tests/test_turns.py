"""`both` in video: Haar and YuNet search the whole image in turn, and no known face is lost in the other detector's turn."""

import cv2
import numpy as np
import pytest

from fer_live.analysis import sampling
from fer_live.analysis.detection import EVERY, EVERY_WAITING, IN_TURN, ScheduledDetector
from fer_live.model.both import BothFaceDetector, face_detectors, is_same, merged
from fer_live.model.detections import Detections
from fer_live.model.haar import HaarFaceDetector
from fer_live.model.yunet import SEARCH_TURN
from fer_live.types import Frame

IMAGE = np.zeros((200, 400, 3), np.uint8)
ONE, TWO, THREE = [10, 10, 60, 60], [100, 10, 150, 60], [200, 10, 250, 60]
ROUND = 2 * round(IN_TURN * EVERY)  # frames in which each detector searches the whole image once


class Fake:
    """A detector that finds the boxes in `there`, and notes its searches of the whole image."""

    min_face, turns = 0.14, 1

    def __init__(self, is_yunet: bool, there=()):
        self.is_yunet, self.there, self.blind_near, self.searches, self.tilts = is_yunet, list(there), False, 0, []

    def found(self, boxes):
        boxes = np.array(boxes, np.int32).reshape(-1, 4)
        if not self.is_yunet:
            return boxes
        return Detections(boxes, np.zeros((len(boxes), 5, 2), np.float32), np.ones(len(boxes), np.float32))

    def detect(self, image, side=None, known=(), tilts=(-SEARCH_TURN, SEARCH_TURN)):
        self.searches += 1
        self.tilts.append(tilts)
        return self.found(self.there)

    def detect_in_turn(self, image, turn, near, side=None, thorough=False):
        return self.detect(image, side)

    def detect_near(self, image, boxes, side=None):
        seen = [[box for box in self.there if is_same(np.array(box), near) and not self.blind_near] for near in boxes]
        return [None if not one else self.found(one[:1]) if self.is_yunet else np.array(one[0]) for one in seen]


def fakes(haar=(), yunet=()):
    both = BothFaceDetector(Fake(False, haar), Fake(True, yunet))
    return ScheduledDetector(both), both.haar, both.yunet


def test_no_frame_is_searched_by_both_detectors():
    detector, haar, yunet = fakes()
    for i in range(90):  # nobody; somebody; lost at once; a face for each
        haar.there = [] if i < 20 else [ONE] if i < 50 or i > 70 else []
        yunet.there = [] if i < 20 else [ONE] if i < 50 else [TWO] if i > 60 else []
        before = haar.searches + yunet.searches
        detector.detect(IMAGE)
        assert haar.searches + yunet.searches <= before + 1, i
    assert haar.searches > 8 and yunet.searches > 8


def test_known_faces_are_not_lost_in_the_turn_of_the_other_detector():
    detector, _, _ = fakes([ONE, THREE], [TWO, THREE])
    counts = [len(detector.detect(IMAGE)) for _ in range(6 * ROUND)]
    assert counts[0] >= 1 and counts == sorted(counts) and counts[ROUND:] == [3] * (5 * ROUND)


@pytest.mark.parametrize("is_yunet", [False, True])
def test_face_that_one_detector_finds_appears_soon(is_yunet):
    for known in ([], [THREE]):
        for wait in range(ROUND):
            detector, haar, yunet = fakes(known, known)
            for _ in range(ROUND + wait):
                detector.detect(IMAGE)
            (yunet if is_yunet else haar).there.append(ONE)
            frames = 1
            while not any(box == ONE for box in detector.detect(IMAGE).boxes.tolist()):
                frames += 1
            assert frames <= (ROUND if known else 2 * EVERY_WAITING)


def test_face_that_both_detectors_find_appears_within_one_turn():
    for wait in range(ROUND):
        detector, haar, yunet = fakes([THREE], [THREE])
        for _ in range(ROUND + wait):
            detector.detect(IMAGE)
        haar.there.append(ONE)
        yunet.there.append(ONE)
        counts = [len(detector.detect(IMAGE)) for _ in range(ROUND // 2)]
        assert counts[-1] == 2


def test_box_is_that_of_haar_and_landmarks_come_with_the_turns_of_yunet():
    near = [12, 8, 64, 60]
    detector, _, yunet = fakes([ONE], [near])
    for _ in range(3 * ROUND):
        before = yunet.searches
        found = detector.detect(IMAGE)
        assert found.boxes.tolist() == [ONE] and np.isfinite(found.scores[0]) == (yunet.searches > before)
    assert yunet.searches == 3


def test_lost_face_is_searched_for_by_yunet_to_both_sides_or_in_the_next_frame():
    in_this_frame = 0
    for frames in range(3, 3 + ROUND):  # whoever's turn it is
        detector, haar, yunet = fakes([ONE])
        for _ in range(frames):
            detector.detect(IMAGE)
        before, haar.there, yunet.there = haar.searches, [], [THREE]  # moved far and turned
        found = detector.detect(IMAGE)
        if haar.searches == before:
            assert found.boxes.tolist() == [THREE]
            in_this_frame += yunet.tilts[-1] == (-SEARCH_TURN, SEARCH_TURN)
        assert detector.detect(IMAGE).boxes.tolist() == [THREE]
    assert in_this_frame >= ROUND - 2


def test_tilted_faces_are_searched_for_to_one_side_in_each_turn():
    detector, _, yunet = fakes()
    for _ in range(8 * EVERY_WAITING):
        detector.detect(IMAGE)
    assert yunet.tilts == [(-SEARCH_TURN,), (SEARCH_TURN,)] * 2


class Three:
    """A searcher of its own kind: a complete search takes three turns."""

    min_face, turns = 0.14, 3

    def __init__(self, *there):
        self.there, self.parts = there, []

    def detect(self, image, side=None):
        self.parts.append("all")
        return np.array(self.there, np.int32).reshape(-1, 4)

    def detect_in_turn(self, image, turn, near, side=None, thorough=False):
        self.parts.append(turn % 3)
        return np.array(self.there, np.int32).reshape(-1, 4)

    def detect_near(self, image, boxes, side=None):
        return [np.array(box) if box.tolist() in [*map(list, self.there)] else None for box in boxes]


def test_any_searcher_can_take_turns():
    searcher = Three(ONE)
    detector = ScheduledDetector(searcher)
    for _ in range(3 * ROUND):
        assert detector.detect(IMAGE).boxes.tolist() == [ONE]
    assert searcher.parts == [0, 1, 2, 0, 1, 2]
    detector.forget()
    searcher.there, searcher.parts = [ONE], []
    detector.detect(IMAGE)
    detector.detect(IMAGE)
    searcher.there = []
    detector.detect(IMAGE)
    assert searcher.parts == [0, 2], "a face that is lost between two searches is looked for by the last one"
    searcher, stream = Three(ONE), (Frame(IMAGE, i, i / 30) for i in range(60))
    assert [faces.boxes.tolist() for _, faces in sampling.detect_all(stream, ScheduledDetector(searcher))] == [[ONE]] * 60
    assert searcher.parts == ["all", 2, 2, "all", 2]


def test_search_of_every_frame_is_that_of_both_detectors():
    detector, haar, yunet = fakes([ONE], [TWO])
    detector.every = 1
    assert [len(detector.detect(IMAGE)) for _ in range(5)] == [2] * 5
    assert haar.searches == yunet.searches == 5


def test_part_of_a_known_face_does_not_replace_it():
    part = [20, 30, 40, 50]  # such as a mouth
    detector, _, _ = fakes([part], [ONE])
    counts = [detector.detect(IMAGE).boxes.tolist() for _ in range(2 * ROUND)]
    assert counts[0] == [part] and counts[ROUND:] == [[ONE]] * ROUND


def test_merged_faces_are_each_there_once():
    def yunet(*boxes):
        return Fake(True).found(boxes)

    moved = [15, 10, 65, 60]
    assert merged(Detections.of(np.array([ONE])), Detections.of(np.array([moved]))).boxes.tolist() == [ONE], "whole before near"
    assert merged(yunet(ONE), yunet(moved)).boxes.tolist() == [moved], "near before whole"
    assert merged(yunet(moved, TWO), Detections.of(np.array([ONE, THREE]))).boxes.tolist() == [ONE, TWO, THREE]
    assert len(merged(Detections.joined([]), Detections.joined([]))) == 0


def test_known_face_that_one_search_misses_is_looked_for_nearby():
    haar = Fake(False, [ONE])
    detector, whole = ScheduledDetector(haar, every=4), haar.detect
    detector.detect(IMAGE)
    haar.detect = lambda image, *more: whole(image)[:0]
    assert [len(detector.detect(IMAGE)) for _ in range(12)] == [1] * 12 and haar.searches == 4


def test_upright_and_tilted_person_are_both_tracked(portrait):
    """With the real detectors: Haar does not find the tilted face."""
    turn = cv2.getRotationMatrix2D((224.5, 118.5), 40, 1.0)
    image = np.hstack([portrait, cv2.warpAffine(portrait, turn, (512, 512), borderMode=cv2.BORDER_REPLICATE)])
    assert len(HaarFaceDetector().detect(image)) == 1
    detector = ScheduledDetector(face_detectors("both", 0.1)[0])
    counts = [len(detector.detect(np.roll(image, i, axis=1))) for i in range(ROUND + 8)]
    assert counts[ROUND // 2 + 1 :] == [2] * (ROUND // 2 + 7)


# ------------------------------------------------------------------------------------------------ files


def in_file(haar, yunet, frames=60):
    """The faces that a SampledDetector finds in each frame; haar, yunet: functions from frame index to what is there."""
    both = BothFaceDetector(Fake(False), Fake(True))

    def watched(fake, there):
        whole, near = fake.detect, fake.detect_near
        fake.detect = lambda image, *more, **named: (at(fake, there, image), whole(image, *more, **named))[1]
        fake.detect_near = lambda image, *more: (at(fake, there, image), near(image, *more))[1]

    def at(fake, there, image):
        fake.there = there(int(image[0, 0, 0]))

    watched(both.haar, haar)
    watched(both.yunet, yunet)
    stream = (Frame(np.full((200, 400, 3), i, np.uint8), i, i / 30) for i in range(frames))
    found = [faces.boxes.tolist() for _, faces in sampling.detect_all(stream, ScheduledDetector(both))]
    return found, both


def test_in_files_haar_joins_every_third_search_and_its_boxes_stay():
    found, both = in_file(lambda i: [ONE], lambda i: [[12, 8, 64, 60], TWO])
    assert [sorted(boxes) for boxes in found] == [[ONE, TWO]] * 60
    assert both.yunet.searches == 5 and both.haar.searches == 2


def test_in_files_lost_and_waiting_faces_are_searched_for_by_both():
    found, both = in_file(lambda i: [ONE] if i < 20 else [], lambda i: [])
    assert both.haar.searches >= both.yunet.searches - 1
    found, both = in_file(lambda i: [ONE, THREE] if i > 20 else [ONE], lambda i: [TWO] if i > 35 else [])
    assert [len(boxes) for boxes in found][30:] == [2] * 6 + [3] * 24
