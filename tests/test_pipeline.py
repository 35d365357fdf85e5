"""The order of the stages, and the handoff between threads."""

import itertools
import os
import threading
import time
from functools import partial
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from fer_live import Analyzer, Frame
from fer_live.analysis.lookahead import CROPS_A_BATCH, batched
from fer_live.handoff import LatestItem, Prefetch, grouped
from fer_live.pipeline import RateMeter, run_file, run_live
from fer_live.types import Analysis


@pytest.fixture(scope="module")
def analyzer(untrained):
    return Analyzer.from_checkpoint(untrained, device="cpu")


def test_still_images_are_independent(analyzer, portrait):
    first, again = analyzer(portrait), analyzer(portrait)
    assert len(first.faces) == 1 and first.frame.image is portrait
    face = first.faces[0]
    assert 150 < face.box[0] < 200 and 50 < face.box[1] < 100 and all(isinstance(v, int) for v in face.box)
    assert face.probs.shape == (7,) and face.probs.sum() == pytest.approx(1, abs=1e-5) and face.track_id == 1
    assert np.array_equal(face.probs, again.faces[0].probs) and again.faces[0].track_id == 1


def test_faces_are_tracked_over_time(untrained, portrait):
    analyze = Analyzer.from_checkpoint(untrained, device="cpu")
    faces = [analyze(Frame(portrait, i, i / 30)).faces for i in range(6)]
    assert [len(f) for f in faces] == [0, 0, 1, 1, 1, 1] and {f[0].track_id for f in faces[2:]} == {1}
    lost = analyze(Frame(np.zeros_like(portrait), 6, 0.2))
    assert lost.faces == () and lost.frame.index == 6


def test_all_faces_of_a_frame_are_one_batch(analyzer, portrait, monkeypatch):
    sizes = []
    classify = analyzer.classifier
    monkeypatch.setattr(analyzer, "classifier", type("Spy", (), {
        "spec": classify.spec, "__call__": lambda self, crops: (sizes.append(len(crops)), classify(crops))[1]})())
    analysis = analyzer(np.concatenate([portrait, portrait], axis=1))
    assert sizes == [4] and len(analysis.faces) == 2, "single images use both views"


class Leaning:
    """A fake classifier: one class if the left half is brighter, another class otherwise."""

    def __init__(self, spec):
        self.spec, self.sides = spec, []

    def __call__(self, crops):
        is_left = crops[:, :, :24].mean((1, 2, 3)) > crops[:, :, 24:].mean((1, 2, 3))
        self.sides.append(is_left.tolist())
        return np.eye(7, dtype=np.float32)[np.where(is_left, 3, 5)]


def test_faces_are_classified_in_both_views(untrained, portrait):
    plain = Analyzer.from_checkpoint(untrained, device="cpu")
    analyze = Analyzer(Leaning(plain.classifier.spec), plain.detector, plain.still_detector)
    probs = analyze(portrait).faces[0].probs
    assert probs[3] == probs[5] == 0.5 and sorted(analyze.classifier.sides[0]) == [False, True]
    analyze.classifier.sides.clear()
    shown = [analyze(Frame(portrait, 2 * i, i / 30)) for i in range(120)][-30:]  # also where every other frame is dropped
    sides = [side for frame in analyze.classifier.sides for side in frame]
    assert 40 <= len(sides) < 118 and sides[:4] == [sides[0], not sides[0], sides[0], not sides[0]], "in turn"
    assert abs(np.mean([one.faces[0].probs[3] - one.faces[0].probs[5] for one in shown])) < 0.2, "equal weights over time"


class Told:
    """A fake classifier with scripted results."""

    def __init__(self, spec):
        self.spec, self.index = spec, 0

    def __call__(self, crops):
        return np.full((len(crops), 7), 0.01, np.float32) + 0.93 * np.eye(7, dtype=np.float32)[[self.index] * len(crops)]


@pytest.mark.parametrize("segments", [(0, 0), (0, 1)])
def test_second_clip_or_segment_resets_tracking(untrained, portrait, segments):
    plain = Analyzer.from_checkpoint(untrained, device="cpu")
    analyze = Analyzer(Told(plain.classifier.spec), plain.detector, plain.still_detector)
    ids, labels = {}, {}
    for index, segment in enumerate(segments):
        analyze.classifier.index = 3 - index
        start_s = 0.0 if segments[1] == 0 else index * 0.4  # times go back, or they go on in another segment
        faces = [face for i in range(10) for face in analyze(Frame(portrait, i, start_s + i / 25, segment=segment)).faces]
        ids[index], labels[index] = {face.track_id for face in faces}, {face.label for face in faces}
    labels_of = plain.classifier.spec.labels
    assert (ids, labels) == ({0: {1}, 1: {2}}, {0: {labels_of[3]}, 1: {labels_of[2]}})


def test_lookahead_does_not_cross_clips(untrained, portrait):
    """Frames held by the lookahead have the same times in both clips."""
    analyze = Analyzer.from_checkpoint(untrained, device="cpu")
    empty = np.zeros_like(portrait)
    frames = [Frame(empty, i, i / 25) for i in range(5)] + [Frame(portrait, i, i / 25) for i in range(5)]
    assert [len(a.faces) for a in analyze.analyze_all(frames)] == [0] * 5 + [1] * 5


# ------------------------------------------------------------------------------------------------ LatestItem


def test_latest_item_drops_and_counts_unread_items():
    gate = threading.Event()

    def stream():
        yield from range(10)
        gate.wait(5)
        yield 10

    with LatestItem(stream()) as newest:
        deadline = time.monotonic() + 5
        while newest.dropped < 9 and time.monotonic() < deadline:
            time.sleep(0.001)
        assert newest.get() == 9 and newest.dropped == 9
        assert newest.get(timeout_s=0.02) is None and not newest.ended
        gate.set()
        assert newest.get() == 10
        assert newest.get() is None and newest.ended


def test_stream_error_reaches_the_reader_with_its_traceback():
    def stream():
        yield 1
        raise ValueError("lens fell off")

    with pytest.raises(ValueError, match="lens") as caught, LatestItem(stream()) as newest:
        for _ in range(3):
            newest.get(timeout_s=5)
    assert any(entry.name == "stream" for entry in caught.traceback)


def test_latest_item_ends_its_thread():
    def endless():
        i = 0
        while True:
            time.sleep(0.002)
            yield (i := i + 1)

    before = threading.active_count()
    with LatestItem(endless()) as newest:
        assert next(iter(newest)) >= 1
    assert threading.active_count() == before


def test_latest_item_closes_its_stream_in_its_thread():
    """The stream owns devices and threads, which the reader must not close."""
    closed_in = []

    def stream():
        try:
            while True:
                yield 1
        finally:
            closed_in.append(threading.current_thread())

    with LatestItem(stream()) as latest:
        assert latest.get() == 1
    assert closed_in == [latest.thread]


def test_queued_items_can_be_merged():
    with LatestItem(range(1, 8), merge=lambda waiting, new: None if new == 1 else (waiting or 0) + new) as latest:
        latest.thread.join(5)
        assert latest.get() == sum(range(2, 8)) and latest.get() is None and latest.dropped == 0


def test_rate_meter_counts_intervals():
    meter = RateMeter()
    rates = [meter.tick(0.1 * i) for i in range(5)]
    assert rates[0] == 0 and rates[-1] == pytest.approx(10)


# ------------------------------------------------------------------------------------------------ runs


class Recorded:
    def __init__(self, fail_at=None):
        self.indices, self.fail_at = [], fail_at

    def write(self, image, analysis):
        if len(self.indices) == self.fail_at:
            raise OSError("disk full")
        self.indices.append(analysis.frame.index)


class Screen:
    def __init__(self):
        self.shown, self.polled = 0, 0

    def show(self, *_):
        self.shown += 1

    def poll(self):
        self.polled += 1


def paced(n, fps=100):
    for i in range(n):
        time.sleep(1 / fps)
        yield Frame(np.zeros((8, 8, 3), np.uint8), i, time.monotonic())


def plain(frame):
    return Analysis(frame, ())


def draw(analysis, *_):
    return analysis.frame.image


def test_file_run_processes_every_frame_in_order():
    sink = Recorded()
    slow = lambda frame: (time.sleep(0.002), plain(frame))[1]  # noqa: E731
    assert run_file(paced(20, 1000), partial(map, slow), draw, [sink], threading.Event()) == 20
    assert sink.indices == list(range(20))


def test_file_run_ends_on_sink_errors_and_stop():
    with pytest.raises(OSError, match="disk full"):
        run_file(paced(20, 1000), partial(map, plain), draw, [Recorded(fail_at=3)], threading.Event())
    stop = threading.Event()
    seen = []
    stop_at_4 = partial(map, lambda f: (seen.append(f), stop.set() if f.index == 4 else None, plain(f))[2])
    run_file(paced(50, 1000), stop_at_4, draw, [], stop)
    assert len(seen) == 5


def test_live_run_shows_polls_and_drops_frames():
    screen, sink = Screen(), Recorded()
    slow = lambda frame: (time.sleep(0.04), plain(frame))[1]  # noqa: E731
    shown = run_live(paced(60), slow, draw, [sink], screen, threading.Event())
    assert shown == screen.shown == len(sink.indices) and 5 < shown < 40
    assert sink.indices == sorted(sink.indices) and screen.polled >= shown


def test_live_run_stops_in_time_and_propagates_errors():
    started = time.monotonic()
    run_live(paced(10_000), plain, draw, [], Screen(), threading.Event(), max_seconds=0.3)
    assert time.monotonic() - started < 2

    def broken():
        yield from paced(3)
        raise ValueError("camera gone")

    with pytest.raises(ValueError, match="camera gone"):
        run_live(broken(), plain, draw, [], Screen(), threading.Event())
    with pytest.raises(ZeroDivisionError):
        run_live(paced(10), lambda frame: 1 / 0, draw, [], Screen(), threading.Event())


def test_image_run_ends_by_the_clock_after_the_first_image():
    """Images have time 0; videos use their own times."""
    sink = Recorded()

    def images():
        for i in range(1000):
            yield Frame(np.zeros((8, 8, 3), np.uint8), i, 0.0, f"{i}.png")

    slow = partial(map, lambda frame: (time.sleep(0.05), plain(frame))[1])
    assert 3 <= run_file(images(), slow, draw, [sink], threading.Event(), max_seconds=0.5, ahead=1) <= 11
    assert run_file(images(), slow, draw, [], threading.Event(), max_seconds=0.001, ahead=1) == 1
    video = [Frame(np.zeros((8, 8, 3), np.uint8), i, i / 10) for i in range(20)]
    assert run_file(iter(video), slow, draw, [], threading.Event(), max_seconds=1.0) == 10


# ------------------------------------------------------------------------------------------------ Prefetch


def test_prefetch_keeps_order_and_is_bounded():
    drawn = []

    def stream():
        for i in range(100):
            drawn.append(i)
            yield i

    with Prefetch(stream(), depth=3) as ahead:
        reader = iter(ahead)
        assert [next(reader) for _ in range(5)] == [0, 1, 2, 3, 4]
        time.sleep(0.1)
        assert len(drawn) <= 5 + 3 + 1
        assert list(reader) == list(range(5, 100))


def test_prefetch_hands_over_groups_but_lets_no_item_wait(monkeypatch):
    taken, take = [], Prefetch._take
    monkeypatch.setattr(Prefetch, "_take", lambda self: (taken.append(take(self)), taken[-1])[1])
    with Prefetch(range(160), depth=lambda first: 16 + first) as ahead:
        assert [(time.sleep(0.001), item)[1] for item in ahead] == list(range(160))
    assert len(taken) <= 160 // 8 + 3 and max(map(len, taken)) == 8
    room = threading.Semaphore(0)
    with Prefetch((room.acquire(timeout=5) and i for i in range(3)), depth=16) as ahead:
        room.release()
        assert next(iter(ahead)) == 0, "before there is a second item"
        room.release(2)


def test_opencv_leaves_each_stage_its_share_of_the_processor():
    before, seen = cv2.getNumThreads(), []
    looks = partial(map, lambda frame: (seen.append(cv2.getNumThreads()), plain(frame))[1])
    run_file(paced(2, 1000), looks, draw, [], threading.Event())
    assert seen == [max(1, min(before, os.cpu_count() // 3))] * 2 and cv2.getNumThreads() == before
    with pytest.raises(OSError, match="disk full"):
        run_file(paced(2, 1000), looks, draw, [Recorded(fail_at=0)], threading.Event())
    assert cv2.getNumThreads() == before


def test_prefetch_raises_errors_in_order_and_ends_its_thread():
    def stream():
        yield 1
        yield 2
        raise ValueError("damaged video")

    got = []
    with pytest.raises(ValueError, match="damaged video"), Prefetch(stream()) as ahead:
        for item in ahead:
            got.append(item)
    assert got == [1, 2]
    with Prefetch(iter(int, 1), depth=1) as endless:  # a reader that leaves early
        pass
    assert not endless._thread.is_alive()


def test_partial_group_precedes_an_error():
    assert list(grouped(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]] and list(grouped([], 3)) == []

    def torn():
        yield from range(4)
        raise ValueError("damaged video")

    got = []
    with pytest.raises(ValueError, match="damaged video"):
        for group in grouped(torn(), 3):
            got.append(group)
    assert got == [[0, 1, 2], [3]]


def test_batches_end_with_enough_crops_or_frames():
    def torn(counts):
        yield from (SimpleNamespace(crops=np.zeros((count, 4, 4, 1))) for count in counts)
        raise ValueError("damaged video")

    sizes = []
    with pytest.raises(ValueError, match="damaged video"):
        for batch in batched(torn([1] * 5 + [CROPS_A_BATCH, 0, 0, CROPS_A_BATCH // 2, CROPS_A_BATCH // 2, 3]), 4):
            sizes.append([len(one.crops) for one in batch])
    assert sizes == [[1] * 4, [1, CROPS_A_BATCH], [0, 0, CROPS_A_BATCH // 2, CROPS_A_BATCH // 2], [3]]


def test_batched_analysis_matches_single_frames(untrained, portrait):
    def frames():
        for i in range(21):
            scene = np.full((240, 320, 3), 90, np.uint8)
            if i % 7 != 5:
                scene[:180, 3 * i : 3 * i + 180] = cv2.resize(portrait, (180, 180))
            yield Frame(scene, i, i / 30)

    one, many = (Analyzer.from_checkpoint(untrained, device="cpu") for _ in range(2))
    singly, together = [one(frame) for frame in frames()], list(many.analyze_all(frames()))
    assert [analysis.frame.index for analysis in together] == list(range(21))
    begins = min(i for i, analysis in enumerate(singly) if analysis.faces)
    assert begins == 2 and all(len(analysis.faces) == 1 for analysis in together[:2]), "shown from its first frame on"
    both = [(a.faces[0], b.faces[0]) for a, b in zip(singly, together, strict=True) if a.faces and b.faces]
    assert len(both) >= 8 and sum(bool(one.faces) for one in together) >= sum(bool(one.faces) for one in singly)
    for f, g in both:  # every third frame is searched: boxes are a little smoother
        assert (f.track_id, f.label) == (g.track_id, g.label) and np.abs(np.subtract(f.box, g.box)).max() <= 6
        assert np.allclose(f.probs, g.probs, atol=0.05)
    assert not together[5].faces, "no face is added"


def test_held_frames_precede_an_error(untrained, portrait):
    def torn():
        for i in range(5):
            yield Frame(portrait, i, i / 30)
        raise ValueError("damaged video")

    got = []
    with pytest.raises(ValueError, match="damaged video"):
        for analysis in Analyzer.from_checkpoint(untrained, device="cpu").analyze_all(torn()):
            got.append(analysis.frame.index)
    assert got == [0, 1, 2, 3, 4]
    assert list(Analyzer.from_checkpoint(untrained, device="cpu").analyze_all([])) == []


def test_failed_file_run_leaves_no_thread(untrained, portrait):
    before = set(threading.enumerate())

    def endless():
        for i in itertools.count():
            yield Frame(portrait, i, i / 30)

    analyzer = Analyzer.from_checkpoint(untrained, device="cpu")
    with pytest.raises(OSError, match="full"):
        run_file(endless(), analyzer.analyze_all, draw, [Recorded(fail_at=3)], threading.Event())

    def left():
        return [thread for thread in threading.enumerate() if thread not in before and "tqdm" not in thread.name]

    deadline = time.monotonic() + 10
    while left() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left()
