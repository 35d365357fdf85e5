"""The fast path: search schedule, unchanged quality, and the load governor."""

import itertools
import threading
import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from fer_live.__main__ import main
from fer_live.analysis import sampling
from fer_live.analysis.analyzer import Analyzer
from fer_live.analysis.detection import EVERY, EVERY_WAITING, MEMORY, MOST_EACH, ScheduledDetector
from fer_live.analysis.load_governor import LEVELS, PATIENCE, Governor
from fer_live.analysis.schedule import INTERVAL_S, ClassificationSchedule
from fer_live.analysis.smoothing import Smoother
from fer_live.bench.scenes import Scene
from fer_live.model import DEFAULT_WEIGHTS
from fer_live.model.haar import HaarFaceDetector
from fer_live.pipeline import run_file, run_live
from fer_live.screen.overlay import Overlay
from fer_live.sinks.recorder import VideoRecorder
from fer_live.types import Analysis, Frame


class Counted:
    """A fake detector with scripted faces that counts its searches."""

    turns = 1

    def __init__(self):
        self.there: list[list[int]] = []
        self.hidden_near = False
        self.whole = self.near = 0

    def detect(self, image, side=None):
        self.whole += 1
        return np.array(self.there, np.int32).reshape(-1, 4)

    def detect_in_turn(self, image, turn, near, side=None, thorough=False):
        return self.detect(image, side)

    def detect_near(self, image, boxes, side=None):
        self.near += 1
        middles = [((a[0] + a[2]) / 2, (a[1] + a[3]) / 2) for a in self.there]
        found = []
        for box in boxes:
            hits = [np.array(a) for a, (x, y) in zip(self.there, middles, strict=True)
                    if box[0] <= x < box[2] and box[1] <= y < box[3] and not self.hidden_near]
            found.append(hits[0] if hits else None)
        return found


IMAGE = np.zeros((100, 100, 3), np.uint8)
ONE, TWO = [10, 10, 30, 30], [60, 60, 90, 90]


def test_known_faces_use_near_search_between_full_searches():
    searcher = Counted()
    detector = ScheduledDetector(searcher, every=5)
    searcher.there = [ONE]
    for _ in range(20):
        assert detector.detect(IMAGE).boxes.tolist() == [ONE]
    assert (searcher.whole, searcher.near) == (4, 16)


def test_new_face_is_found_by_the_next_full_search():
    searcher = Counted()
    detector = ScheduledDetector(searcher)
    for _ in range(10):
        assert detector.detect(IMAGE).boxes.shape == (0, 4)
    assert searcher.whole == 10 // EVERY_WAITING
    searcher.there = [ONE]
    assert any(len(detector.detect(IMAGE)) for _ in range(EVERY_WAITING))
    searcher.there = [ONE, TWO]
    counts = [len(detector.detect(IMAGE)) for _ in range(EVERY)]
    assert counts[-1] == 2 and counts == sorted(counts)


def test_missed_face_triggers_a_full_search():
    searcher = Counted()
    searcher.there = [ONE]
    detector = ScheduledDetector(searcher, every=100)
    for _ in range(3):
        detector.detect(IMAGE)
    searcher.hidden_near = True
    before = searcher.whole
    assert detector.detect(IMAGE).boxes.tolist() == [ONE] and searcher.whole == before + 1
    searcher.there = []
    for _ in range(MEMORY):
        assert detector.detect(IMAGE).boxes.shape == (0, 4)
    searcher.there, searcher.hidden_near = [ONE], False
    detector.detect(IMAGE)
    assert detector.detect(IMAGE).boxes.tolist() == [ONE], "the place is still searched"


def test_duplicate_near_detections_are_merged():
    searcher = Counted()
    searcher.there = [ONE, TWO]
    detector = ScheduledDetector(searcher, every=100)
    assert detector.detect(IMAGE).boxes.tolist() == [ONE, TWO]
    searcher.detect_near = lambda image, boxes, side: [np.array(TWO) for _ in boxes]
    assert detector.detect(IMAGE).boxes.tolist() == [TWO] == detector.detect(IMAGE).boxes.tolist()


def test_many_faces_are_searched_in_alternate_frames():
    searcher, looked = Counted(), []
    searcher.there = [[60 * i, 10, 60 * i + 30, 40] for i in range(MOST_EACH + 4)]
    near = searcher.detect_near

    def watched(image, boxes, side):
        looked.append({box[0] // 60 for box in boxes.tolist()})
        return near(image, boxes)

    searcher.detect_near = watched
    detector, wide = ScheduledDetector(searcher, every=100), np.zeros((100, 60 * (MOST_EACH + 5), 3), np.uint8)
    for _ in range(9):
        searcher.there = [[x1 + 1, y1, x2 + 1, y2] for x1, y1, x2, y2 in searcher.there]
        found = np.array(sorted(detector.detect(wide).boxes.tolist()))
        assert np.abs(found - searcher.there).max() <= 1, "no box is older than one frame"
    assert len(looked) == 8 and all(len(one) == MOST_EACH // 2 + 2 for one in looked)
    assert all(one | other == set(range(MOST_EACH + 4)) for one, other in itertools.pairwise(looked))
    searcher.there = searcher.there[1:]
    counts = [len(detector.detect(wide)) for _ in range(3)]
    assert counts[-1] == MOST_EACH + 3, "a face that leaves is missed at most one frame later"


def test_a_still_face_is_searched_in_alternate_frames_and_a_moving_one_in_each():
    noise, size = np.random.default_rng(0).integers(0, 256, (120, 400, 3), np.uint8), 60

    def searches(step: int) -> list[int]:  # the image and the face move by `step` pixels a frame
        searcher, counts = Counted(), []
        detector = ScheduledDetector(searcher, every=100)
        for i in range(12):
            searcher.there = [[100 - step * i, 20, 100 - step * i + size, 20 + size]]
            assert detector.detect(noise[:, step * i : 320 + step * i]).boxes.tolist() == searcher.there
            counts.append(searcher.near)
        return np.diff(counts).tolist()

    assert searches(4) == [1] * 11
    still = searches(0)
    assert still[:3] == [1, 1, 1] and sorted(still[3:]) == [0] * 4 + [1] * 4 and still[3:] in ([0, 1] * 4, [1, 0] * 4)


def test_boxes_are_not_carried_across_a_cut():
    searcher, noise = Counted(), np.random.default_rng(0)
    before, after = (noise.integers(0, 256, (100, 60 * (MOST_EACH + 4), 3), np.uint8) for _ in range(2))
    searcher.there = [[60 * i, 10, 60 * i + 30, 40] for i in range(MOST_EACH + 4)]
    detector = ScheduledDetector(searcher, every=100)
    for _ in range(4):
        assert len(detector.detect(before)) == MOST_EACH + 4
    searcher.there = []
    assert len(detector.detect(after)) == 0


def test_full_search_every_frame_is_the_plain_path():
    searcher = Counted()
    searcher.there = [ONE]
    detector = ScheduledDetector(searcher, every=1)
    for _ in range(7):
        detector.detect(IMAGE)
    assert (searcher.whole, searcher.near) == (7, 0)


def test_near_search_finds_a_moved_face_and_no_false_one(portrait):
    detector = HaarFaceDetector()
    box = detector.detect(portrait)[0]
    moved = np.roll(portrait, 12, axis=1)
    near = detector.detect_near(moved, np.array([box, [10, 300, 110, 400]]))
    assert near[1] is None
    assert overlap(near[0], box + np.array([12, 0, 12, 0])) > 0.75
    assert detector.detect_near(cv2.resize(portrait, (16, 16)), np.array([[2, 2, 9, 9]])) == [None]
    assert detector.detect_near(portrait, np.empty((0, 4))) == []


# ------------------------------------------------------------------------------------------------ quality


def overlap(a, b):
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(0, w) * max(0, h)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def visitors(portrait, n=150, size_wh=(640, 360)):
    """A swaying face, and a second, smaller one that comes and goes."""
    scene, small = Scene(1, size_wh), cv2.resize(portrait[40:220, 130:320], (114, 108), interpolation=cv2.INTER_AREA)
    for i in range(n):
        image = scene.render(i / 30)
        if 40 <= i < 110:
            x = 2 * (i - 40)
            image[10:118, x : x + 114] = small
        yield Frame(image, i, i / 30)


@pytest.mark.parametrize("runtime", ["onnx", pytest.param("torch", marks=pytest.mark.slow)])
def test_fast_path_matches_the_plain_path(runtime, portrait):
    if runtime == "onnx":
        pytest.importorskip("onnxruntime")
    plain = Analyzer.from_checkpoint(device="cpu", runtime="torch", search_every=1)
    fast = Analyzer.from_checkpoint(device="cpu", runtime=runtime)
    overlaps, same, lost = [], [], 0
    for frame in visitors(portrait):
        expected, found = plain(frame).faces, fast(frame).faces
        for face in expected:
            best = max(found, key=lambda other, face=face: overlap(face.box, other.box), default=None)
            if best is None or overlap(face.box, best.box) < 0.3:
                lost += 1
                continue
            overlaps.append(overlap(face.box, best.box))
            same.append(face.label == best.label)
    assert len(same) > 180, "both visitors are seen"
    assert np.mean(overlaps) >= 0.8 and np.mean(same) >= 0.98
    assert lost <= 2 * EVERY, "a new visitor is found a few frames later and stays tracked"
    assert {t.track_id for t in plain.state.tracker.tracks} <= {t.track_id for t in fast.state.tracker.tracks}


def test_load_governor_reduces_and_restores_quality():
    now, cost_s = [0.0], [0.05]

    def analyze(frame):
        now[0] += cost_s[0]
        return frame

    detector = SimpleNamespace(every=0, searcher=SimpleNamespace(min_face=0.1))
    governor = Governor(analyze, detector, target_fps=30, clock=lambda: now[0])

    def run(seconds):
        end = now[0] + seconds
        while now[0] < end:
            governor(None)
            now[0] += 0.001

    start = detector.every
    run(10)
    assert detector.every == LEVELS[-1][0] > start and detector.searcher.min_face == pytest.approx(0.1 * LEVELS[-1][1])
    assert "1 frame in 18" in governor.note and "2 times larger" in governor.note
    cost_s[0] = 0.022  # two thirds of the available time: neither overloaded nor idle
    run(10)
    assert detector.every == LEVELS[-1][0]
    cost_s[0] = 0.004
    run(PATIENCE + 1.5)
    assert detector.every == LEVELS[-2][0], "one level at a time"
    run(30)
    assert detector.every == LEVELS[0][0] and detector.searcher.min_face == pytest.approx(0.1)


def test_rate_includes_work_after_analysis():
    """Analysis is fast, but drawing and encoding take 50 ms per frame, too slow for 30 fps."""
    now = [0.0]

    def analyze(frame):
        now[0] += 0.005

    detector = SimpleNamespace(every=0, searcher=SimpleNamespace(min_face=0.14))
    governor = Governor(analyze, detector, target_fps=30, clock=lambda: now[0])
    for _ in range(1000):
        governor(None)
        governor.presented(0.05)
    assert governor.level == len(LEVELS) - 1
    for _ in range(10_000):
        governor(None)
        governor.presented(0.001)
    assert governor.level == 0, "and nothing of the earlier state remains"


def test_live_run_reports_display_time():
    told = []

    class Slow:
        def show(self, *_):
            time.sleep(0.03)

        def poll(self):
            time.sleep(0.01)

    def frames():
        for i in range(5):
            time.sleep(0.06)
            yield Frame(np.zeros((8, 8, 3), np.uint8), i, time.monotonic())

    shown = run_live(frames(), lambda frame: Analysis(frame, ()), lambda analysis, rates: analysis.frame.image, [], Slow(),
                     threading.Event(), presented=told.append)
    assert len(told) == shown == 5 and min(told) >= 0.04


def test_target_rate_accounts_for_a_slow_recorder(monkeypatch, untrained, tmp_path):
    """The whole program, with a recorder that takes 120 ms per frame."""
    write, presented, told = VideoRecorder.write, Governor.presented, []
    monkeypatch.setattr(VideoRecorder, "write", lambda self, *what: (time.sleep(0.12), write(self, *what)))
    monkeypatch.setattr(Governor, "presented", lambda self, seconds: (told.append(seconds), presented(self, seconds)))
    assert main(["--source", "demo", "--no-window", "--target-fps", "12", "--output", str(tmp_path / "o.mp4"),
                 "--max-seconds", "3", "--model", str(untrained)]) == 0
    assert told and min(told) > 0.12


# ------------------------------------------------------------------------------------------------ unneeded drawing


@pytest.mark.parametrize("source", ["file", "demo"])
def test_unneeded_images_are_not_drawn(monkeypatch, untrained, tmp_path, make_clip, source):
    drawn, log, draw = [], tmp_path / "o.jsonl", Overlay.draw
    monkeypatch.setattr(Overlay, "draw", lambda self, *what: (drawn.append(what), draw(self, *what))[1])
    name = str(make_clip(tmp_path / "a.mp4", 6)) if source == "file" else "demo"
    options = ["--source", name, "--no-window", "--model", str(untrained), "--max-seconds", "1"]
    assert main([*options, "--log", str(log)]) == 0
    assert not drawn and len(log.read_text().splitlines()) >= 2
    assert main([*options, "--log", str(tmp_path / "p.jsonl"), "--output", str(tmp_path / "o.mp4")]) == 0
    assert len(drawn) == len((tmp_path / "p.jsonl").read_text().splitlines())


def test_image_is_drawn_if_one_sink_needs_it():
    class Watched:
        needs_image = False

        def __init__(self):
            self.sizes = []

        def write(self, image, analysis):
            self.sizes.append(image.size)
            self.needs_image = analysis.frame.index >= 2  # like a web view that gets a viewer

    sink = Watched()
    frames = [Frame(np.zeros((8, 8, 3), np.uint8), i, i / 30) for i in range(5)]
    run_file(frames, lambda frames: (Analysis(frame, ()) for frame in frames), lambda analysis: analysis.frame.image, [sink],
             threading.Event(), progress=False)
    assert sink.sizes == [0, 0, 0, 192, 192]


def test_large_batches_are_split_and_returned_in_order():
    pytest.importorskip("openvino")
    from fer_live.analysis.runtimes.openvino_network import LEAST_A_PART, OpenVinoNetwork

    network = OpenVinoNetwork(DEFAULT_WEIGHTS.with_suffix(".onnx"), None, 3)
    crops = np.random.default_rng(0).integers(0, 256, (3 * LEAST_A_PART + 5, 48, 48, 1), np.uint8)
    alone = np.concatenate([network(crop[None]) for crop in crops])
    for count in (1, LEAST_A_PART, 2 * LEAST_A_PART, len(crops)):
        assert np.abs(network(crops[:count]) - alone[:count]).max() < 0.05
    assert network._idle.qsize() == 3


# ------------------------------------------------------------------------------------------------ files: sampled detection


def seen_in(searcher, there, every=EVERY):
    """The boxes that a SampledDetector finds if frame i contains the faces `there(i)`."""
    def frame(i):
        return Frame(np.full((100, 100, 3), i, np.uint8), i, i / 30)

    def at(image):
        searcher.there = there(int(image[0, 0, 0]))

    whole, near = searcher.detect, searcher.detect_near
    searcher.detect = lambda image, side: (at(image), whole(image))[1]
    searcher.detect_near = lambda image, boxes, side: (at(image), near(image, boxes))[1]
    found = sampling.detect_all(map(frame, range(60)), ScheduledDetector(searcher, every))
    frames, boxes = zip(*((one.index, faces.boxes.tolist()) for one, faces in found), strict=True)
    assert frames == tuple(range(60))
    return boxes


def test_files_are_searched_every_third_frame_with_interpolated_boxes():
    searcher = Counted()
    boxes = seen_in(searcher, lambda i: [[10 + i // 3, 10, 40 + i // 3, 40]])
    assert searcher.near + searcher.whole <= 60 // sampling.STEP + 8 and searcher.whole <= 6
    assert all(abs(box[0] - 10 - i / 3) <= 1.01 for i, (box,) in enumerate(boxes))


def test_frames_between_disagreeing_searches_are_searched():
    searcher = Counted()
    boxes = seen_in(searcher, lambda i: [[5 * (i % 12), 10, 5 * (i % 12) + 30, 40]])  # jumps back every twelve frames
    exact = [boxes[i] == [[5 * (i % 12), 10, 5 * (i % 12) + 30, 40]] for i in range(60)]
    assert sum(exact) >= 55 and searcher.near > 40


def test_file_tracks_extend_backward_and_forward():
    boxes = seen_in(Counted(), lambda i: [ONE, TWO] if 14 <= i < 32 else [ONE])
    assert [i for i, one in enumerate(boxes) if TWO in one] == list(range(14, 32)) and all(ONE in one for one in boxes)


def test_unconfirmed_face_is_not_extended_backward():
    class Once(Counted):
        """A false face at TWO: the near search finds it up to frame 24, the full search only in that frame."""

        def detect(self, image, side=None):
            return np.array([box for box in super().detect(image).tolist() if box != TWO or image[0, 0, 0] == 24], np.int32)

    boxes = seen_in(Once(), lambda i: [ONE, TWO] if i <= 24 else [ONE])
    assert [i for i, one in enumerate(boxes) if TWO in one] == [24]


def test_new_segment_resets_faces_and_errors_come_last():
    def frames():
        for i in range(10):
            yield Frame(IMAGE, i, i / 30, segment=i // 5)
        raise ValueError("breaks off")

    searcher, given = Counted(), []
    searcher.there = [ONE]
    with pytest.raises(ValueError, match="breaks off"):
        for frame, faces in sampling.detect_all(frames(), ScheduledDetector(searcher)):
            given.append((frame.index, faces.boxes.tolist()))
    assert given == [(i, [ONE]) for i in range(10)] and searcher.whole == 2


def test_sampled_detection_matches_a_search_of_every_frame(portrait):
    plain, fast = (list(Analyzer.from_checkpoint(device="cpu", search_every=n).analyze_all(visitors(portrait)))
                   for n in (1, EVERY))
    overlaps, same, lost = [], [], 0
    for expected, found in zip(plain, fast, strict=True):
        for face in expected.faces:
            best = max(found.faces, key=lambda other, face=face: overlap(face.box, other.box), default=None)
            if best is None or overlap(face.box, best.box) < 0.3:
                lost += 1
                continue
            overlaps.append(overlap(face.box, best.box))
            same.append(face.label == best.label)
    assert len(same) > 180 and np.mean(overlaps) >= 0.8 and np.mean(same) >= 0.98 and lost <= 4
    tracks = [{face.track_id for one in analyses for face in one.faces} for analyses in (plain, fast)]
    assert len(tracks[0]) == len(tracks[1])


# ------------------------------------------------------------------------------------------------ classification in turn


def times_classified(fps, faces=1, seconds=4):
    """How many faces of each frame, and which, are chosen at a frame rate."""
    schedule = ClassificationSchedule()
    return [list(schedule.choose(range(1, faces + 1), 1000.3 + i / fps)) for i in range(seconds * fps)]


@pytest.mark.parametrize("fps", [24, 25, 30, 50, 60, 120])
def test_face_is_classified_7_5_times_a_second_at_any_frame_rate(fps):
    chosen = times_classified(fps)
    at = np.flatnonzero([bool(one) for one in chosen]) / fps
    assert at[0] == 0, "at once"
    assert sum(map(len, chosen)) == pytest.approx(4 / INTERVAL_S, abs=1)
    assert np.diff(at)[1:].max() <= INTERVAL_S + 1 / fps + 1e-6


def test_faces_of_a_frame_take_turns():
    chosen = times_classified(60, faces=16)
    assert len(chosen[0]) == 16
    assert max(map(len, chosen[1:])) <= 3 and np.mean([*map(len, chosen[1:])]) == pytest.approx(2, abs=0.1)
    assert {face for one in chosen[5:14] for face in one} == set(range(16))


def test_every_face_is_classified_on_the_plain_path():
    every = ClassificationSchedule(0.0)
    assert [every.choose([7, 9], i / 30) for i in range(4)] == [[0, 1]] * 4


def test_both_views_of_a_face_are_classified_together(untrained, portrait):
    analyze, given = Analyzer.from_checkpoint(untrained, device="cpu"), []
    classify = analyze.classifier

    def watched(crops):
        given.append(crops)
        return classify(crops)

    watched.spec = classify.spec
    analyze.classifier = watched
    faces = [analyze(Frame(portrait, i, i / 30)).faces for i in range(34)]
    batches = [crops for crops in given if len(crops)]
    assert 8 <= len(batches) <= 9 and all(np.array_equal(plain, mirrored[:, ::-1]) for plain, mirrored in batches)
    assert np.allclose(next(one[0] for one in faces if one).probs, classify(batches[0]).mean(0), atol=1e-6)


@pytest.mark.parametrize("fps", [15, 30, 60])
def test_change_of_expression_is_shown_within_half_a_second(fps):
    labels = ("angry", "happy", "neutral")
    one, other = np.array([0.05, 0.8, 0.15], np.float32), np.array([0.1, 0.15, 0.75], np.float32)
    schedule, smoother, changed_s, shown_s = ClassificationSchedule(), Smoother(labels), 3.0, []
    for i in range(5 * fps):
        chosen = schedule.choose([3], i / fps)
        _, label, _ = smoother.update(3, (other if i / fps >= changed_s else one) if chosen else None, i / fps)
        if label == "neutral":
            shown_s.append(i / fps)
    assert changed_s < shown_s[0] <= changed_s + 0.5 and len(shown_s) == round((5 - shown_s[0]) * fps)


def test_skipped_classification_keeps_the_face(untrained, portrait):
    analyze = Analyzer.from_checkpoint(untrained, device="cpu")
    faces = [analyze(Frame(portrait, i, i / 30)).faces for i in range(12)]
    assert all(face.visibility is not None and face.visibility.size == max(face.box[2] - face.box[0], face.box[3] - face.box[1])
               for one in faces for face in one)
    assert sum(map(len, faces)) == 10
