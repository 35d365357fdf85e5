"""One analyzer in many threads: each gets its own results."""

import importlib.util
import json
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest

from fer_live import Analyzer, Frame
from fer_live.analysis.classifier import EmotionClassifier
from fer_live.analysis.runtimes.cuda_network import CudaNetwork
from fer_live.model import DEFAULT_WEIGHTS
from fer_live.model.haar import HaarFaceDetector
from fer_live.model.pool import Pool


def in_threads(count, work, seconds=1.5):
    """Call work(k) repeatedly in `count` threads, k = 0, 1, ...; raises their errors."""
    end_s = time.monotonic() + seconds

    def repeat(k):
        while time.monotonic() < end_s:
            work(k)

    with ThreadPoolExecutor(count) as pool:
        for future in [pool.submit(repeat, k) for k in range(count)]:
            future.result()


@pytest.fixture(scope="module")
def images(portrait):
    """Images with one face each, at different positions and sizes."""
    return [cv2.resize(portrait, None, fx=0.5, fy=0.5), cv2.copyMakeBorder(portrait, 60, 20, 200, 10, cv2.BORDER_REPLICATE),
            cv2.resize(portrait, None, fx=0.8, fy=0.8)]


def test_detector_threads_get_their_own_results(images):
    detector = HaarFaceDetector()
    alone = [detector.detect(image).tolist() for image in images]
    assert all(len(boxes) == 1 for boxes in alone)
    wrong = []

    def work(k):
        boxes = detector.detect(images[k])
        if boxes.tolist() != alone[k]:
            wrong.append((k, boxes.tolist()))
        near = detector.detect_near(images[k], boxes)
        if len(near) != 1 or near[0] is None:
            wrong.append((k, near))

    in_threads(len(images), work)
    assert wrong == []


@pytest.mark.parametrize("runtime", ["torch", "onnx", "openvino"])
def test_classifier_threads_get_their_own_results(runtime):
    if runtime != "torch" and importlib.util.find_spec({"onnx": "onnxruntime"}.get(runtime, runtime)) is None:
        pytest.skip(f"{runtime} is not installed")
    classify = EmotionClassifier(DEFAULT_WEIGHTS, "cpu", runtime=runtime)
    rng = np.random.default_rng(0)
    crops = [rng.integers(0, 256, (n, 48, 48, 1), np.uint8) for n in (1, 1, 3)]
    crops[1][:] = np.arange(0, 240, 5, np.uint8)[:, None]  # all noise looks much alike to a network; a gradient differs
    alone = [classify(part) for part in crops]
    assert not np.allclose(alone[0], alone[1], atol=0.05)
    wrong = []

    def work(k):
        answer = classify(crops[k])
        if answer.shape != alone[k].shape or not np.allclose(answer, alone[k], atol=1e-3):
            wrong.append(k)

    in_threads(3, work)
    assert wrong == []


def test_cuda_graphs_serve_one_thread_at_a_time():
    """Without a GPU: only the replay of the graph is faked."""
    network, inside, most = CudaNetwork.__new__(CudaNetwork), [], []

    def replay(crops, size):
        inside.append(size)
        most.append(len(inside))
        time.sleep(0.005)
        inside.pop()
        return crops

    network.how, network.lock, network._replay = "CUDA graphs", threading.Lock(), replay
    in_threads(3, lambda k: network(np.full((1, 1), k)), seconds=0.2)
    assert max(most) == 1 and len(most) > 3


@pytest.mark.cuda
def test_cuda_threads_get_their_own_results():
    classify = EmotionClassifier(DEFAULT_WEIGHTS, "cuda")
    rng = np.random.default_rng(0)
    crops = [rng.integers(0, 256, (n, 48, 48, 1), np.uint8) for n in (1, 1, 40)]  # the graph for 40 is captured meanwhile
    alone = [classify(part) for part in crops[:2]]

    def work(k):
        answer = classify(crops[k])
        assert k == 2 or np.allclose(answer, alone[k], atol=1e-3)

    in_threads(3, work)


def test_pool_lends_exclusively_and_is_bounded():
    made, lent, wrong = [], set(), []

    def make():
        made.append(object())
        return made[-1]

    pool = Pool(make, 2)

    def work(k):
        with pool.lent() as item:
            if item in lent:
                wrong.append(item)
            lent.add(item)
            time.sleep(0.001)
            lent.discard(item)

    in_threads(6, work, seconds=0.3)
    assert len(made) == 2 and wrong == []
    with pytest.raises(ValueError), pool.lent():
        raise ValueError("what fails gives it back")
    with pool.lent(), pool.lent():
        assert len(made) == 2


def test_server_clients_get_their_own_results(portrait):
    """As in Flask: one thread per request, one analyzer for all."""
    analyze = Analyzer.from_checkpoint(device="cpu")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            content = self.rfile.read(int(self.headers["Content-Length"]))
            image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
            body = json.dumps([[face.box, face.label] for face in analyze(image).faces]).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    small = cv2.resize(portrait, None, fx=0.5, fy=0.5)
    images = [small, np.full((256, 256, 3), 128, np.uint8), cv2.copyMakeBorder(small, 40, 0, 90, 0, cv2.BORDER_REPLICATE)]
    bodies = [cv2.imencode(".png", image)[1].tobytes() for image in images]
    alone = [json.loads(json.dumps([[face.box, face.label] for face in analyze(image).faces])) for image in images]
    assert [len(faces) for faces in alone] == [1, 0, 1]
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def ask(turn):
            with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/", bodies[turn % 3], timeout=30) as answer:
                return json.load(answer) == alone[turn % 3]

        with ThreadPoolExecutor(4) as clients:
            right = list(clients.map(ask, range(45)))
        server.shutdown()
    assert all(right), f"{right.count(False)} of {len(right)} answers were wrong"


# ------------------------------------------------------------------------------------------------ streams


def video(portrait, left, frames=12):
    """The portrait before gray, moving down."""
    for i in range(frames):
        scene = np.full((300, 480, 3), 90, np.uint8)
        scene[2 * i : 2 * i + 270, left : left + 270] = cv2.resize(portrait, (270, 270))
        yield Frame(scene, i, i / 30)


def told(analysis):
    return [(face.track_id, face.box, face.label) for face in analysis.faces]


def test_streams_track_their_own_faces(untrained, portrait):
    first = Analyzer.from_checkpoint(untrained, device="cpu")
    places = (0, 100, 200)
    alone = [[told(analysis) for analysis in map(first.new_stream(), video(portrait, left))] for left in places]
    assert [len(faces) for faces in alone[0]] == [0, 0, *[1] * 10] and len({str(faces) for faces in alone}) == 3
    streams = [first, first.new_stream(), first.new_stream()]
    start = threading.Barrier(3)

    def follow(k):
        start.wait(10)
        return [told(streams[k](frame)) for frame in video(portrait, places[k])]

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(follow, range(3))) == alone
    assert streams[1].classifier is first.classifier and streams[1].still_detector is first.still_detector


def test_videos_are_analyzed_concurrently_in_separate_streams(untrained, portrait):
    first = Analyzer.from_checkpoint(untrained, device="cpu")
    alone = [[told(analysis) for analysis in first.new_stream().analyze_all(video(portrait, left))] for left in (0, 200)]
    pairs = zip(first.analyze_all(video(portrait, 0)), first.new_stream().analyze_all(video(portrait, 200)), strict=True)
    both = [(told(a), told(b)) for a, b in pairs]
    assert [list(side) for side in zip(*both, strict=True)] == alone


def test_load_governor_affects_only_its_stream(untrained, portrait):
    analyzer = Analyzer.from_checkpoint(untrained, device="cpu", search_every=5, min_face=40)
    older = analyzer.new_stream()
    analyzer.detector.every, analyzer.detector.searcher.min_face = 18, 300
    for stream in (older, analyzer.new_stream(), older.new_stream()):
        assert (stream.detector.every, stream.detector.searcher.min_face) == (5, 40)
        assert len([stream(frame) for frame in video(portrait, 60, 4)][-1].faces) == 1
    assert [analyzer(frame) for frame in video(portrait, 60, 4)][-1].faces == ()


def test_rejects_two_threads_in_one_stream(untrained, portrait):
    plain = Analyzer.from_checkpoint(untrained, device="cpu")
    inside, go_on = threading.Event(), threading.Event()

    class Waiting:
        spec = plain.classifier.spec

        def __call__(self, crops):
            inside.set()
            assert go_on.wait(10)
            return plain.classifier(crops)

    stream = Analyzer(Waiting(), plain.detector, plain.still_detector)
    frame = Frame(portrait, 0, 0.0)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(stream, frame)
        try:
            assert inside.wait(10)
            for use in (lambda: stream(frame), stream.forget, lambda: list(stream.analyze_all([frame] * 4))):
                with pytest.raises(RuntimeError, match=r"make an analyzer for each with new_stream\(\)") as caught:
                    use()
                assert "\n" not in str(caught.value)
        finally:
            go_on.set()
        assert first.result().frame is frame
    assert len(stream(portrait).faces) == 1 and stream(Frame(portrait, 1, 0.1)).frame.index == 1, "sequential use is fine"


def test_video_in_progress_is_not_mixed_with_other_frames(untrained, portrait):
    analyzer = Analyzer.from_checkpoint(untrained, device="cpu")
    analyses = analyzer.analyze_all(video(portrait, 60))
    assert next(analyses).frame.index == 0
    with pytest.raises(RuntimeError, match="new_stream"):
        analyzer(Frame(portrait, 0, 0.0))
    assert len(analyzer(portrait).faces) == 1, "a single image can come in between"
    analyses.close()
    assert [len(analyzer(frame).faces) for frame in video(portrait, 60, 4)] == [0, 0, 1, 1]
    with pytest.raises(ZeroDivisionError):
        for _ in analyzer.analyze_all(video(portrait, 60)):
            1 / 0  # noqa: B018
    assert len(list(analyzer.analyze_all(video(portrait, 60)))) == 12, "a failed or abandoned run is closed"
