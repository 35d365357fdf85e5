"""The benchmark: scenes, clocks, and detection of slow stages, lost frames and wrong results."""

import dataclasses
import importlib.util
import json
import statistics
import sys
import time

import numpy as np
import pytest

from fer_live.analysis.analyzer import Analyzer
from fer_live.bench import machine, report, targets
from fer_live.bench.__main__ import main
from fer_live.bench.classifier import time_calls
from fer_live.bench.measure import Stages, median_of, percentiles_ms, processor_s
from fer_live.bench.scenes import Loop, Scene, SyntheticCamera, count_true, write_clip
from fer_live.bench.settings import HD, KINDS, QUICK, SMALL, Settings
from fer_live.bench.start import first_line_s
from fer_live.model.detections import DEFAULT_DETECTOR
from fer_live.model.haar import HaarFaceDetector
from fer_live.sources.video_file import VideoFile


@pytest.fixture(scope="module")
def loop():
    return Loop(Scene(1, SMALL))


def refused(capsys, *arguments) -> str:
    """Run with invalid arguments; returns the error, after checking for status 2 before any measurement."""
    try:
        status = main([str(a) for a in arguments])
    except SystemExit as end:  # argparse
        status = end.code
    out, output = capsys.readouterr()
    assert status == 2 and not out and "Traceback" not in output
    return output.strip().splitlines()[-1]


# ------------------------------------------------------------------------------------------------ scenes


@pytest.mark.parametrize("size_wh", [HD, SMALL])
@pytest.mark.parametrize("faces", [0, 1, 4, 16])
def test_scene_faces_are_at_their_stated_boxes(faces, size_wh):
    scene, detector, hits, extra = Scene(faces, size_wh), HaarFaceDetector(), 0, 0
    times_s = np.linspace(0, 2, 5)
    for time_s in times_s:
        image, truth = scene.render(time_s), scene.boxes(time_s)
        assert image.shape == (size_wh[1], size_wh[0], 3) and truth.shape == (faces, 4)
        found = detector.detect(image)
        true = count_true(found, truth)
        hits, extra = hits + true, extra + len(found) - true
    assert hits >= 0.9 * faces * len(times_s) and extra <= 1
    if faces:
        moved = np.abs(scene.boxes(0) - scene.boxes(2)).max(axis=1)
        assert (moved > 0.1 * scene.poses(0)[:, 2]).all(), "every face moves"


def test_loop_has_no_jump(loop):
    images = [loop.image(i / 60) for i in range(600)]
    steps = [np.abs(a.astype(int) - b).mean() for a, b in zip(images[::20], images[1::20], strict=True)]
    edges = [np.abs(images[i].astype(int) - images[i + 1]).mean() for i in (119, 120, 239, 240)]
    assert max(edges) <= max(steps) and len({id(image) for image in images}) == 121
    assert np.array_equal(loop.image(0.5), loop.scene.render(0.5)) and np.array_equal(loop.image(3.5), loop.image(0.5))


def test_simulated_camera_is_paced_and_drops_unread_frames(loop):
    frames = []
    with SyntheticCamera(loop, 30.0, 20) as camera:
        started_s = time.monotonic()
        for frame in camera:
            if frame.index == 5:
                time.sleep(0.2)  # the reader is busy for six frames
            frames.append(frame)
            frame.image[:] = 0  # memory of its own: the loop stays as it is
    times_s = np.array([frame.time_s - frames[0].time_s for frame in frames])
    indices = [frame.index for frame in frames]
    assert times_s == pytest.approx([i / 30 for i in indices]) and time.monotonic() - started_s >= 0.6
    gaps = np.diff(indices)
    assert indices[-1] <= 19 and gaps[5] >= 5 and len(indices) <= 15
    assert loop.image(0.0).any()


def test_matches_each_true_face_once():
    truth = np.array([[0, 0, 100, 100], [200, 0, 300, 100.0]])
    assert count_true(np.empty((0, 4)), truth) == 0 and count_true(truth, np.empty((0, 4))) == 0
    assert count_true(np.array([[5, 5, 105, 105], [2, 2, 98, 98]]), truth) == 1
    assert count_true(np.array([[210, 10, 310, 110], [10, 0, 110, 100]]), truth) == 2
    assert count_true(np.array([[60, 0, 160, 100]]), truth) == 0


# ------------------------------------------------------------------------------------------------ clocks


def test_percentiles_and_medians():
    assert percentiles_ms(i / 1000 for i in range(101)) == pytest.approx({"p50_ms": 50, "p95_ms": 95, "p99_ms": 99})
    assert median_of([{"a": 1, "b": 9}, {"a": 5, "b": 8}, {"a": 2, "b": 7}], "a") == {"a": 2}


def test_stage_times_cover_only_the_measured_interval():
    stages = Stages()
    sleep = stages.timed("sleep", time.sleep)
    sleep(0.05)
    start_s = time.monotonic()
    sleep(0.03)
    sleep(0.03)
    assert 0.06 <= stages.totals_s(start_s, time.monotonic())["sleep"] < 0.5
    assert stages.totals_s(start_s + 60, start_s + 70) == {}
    with pytest.raises(ValueError):
        sleep(-1)


def test_cpu_time_excludes_waiting():
    before = processor_s()
    time.sleep(0.2)
    waited = processor_s()
    while time.process_time() < waited[0] + 0.2:
        pass
    worked = processor_s()
    assert waited[0] - before[0] < 0.1 and worked[0] - waited[0] >= 0.2 and worked[1] - waited[1] >= 0.15


def test_warm_up_calls_are_not_counted():
    waits_s = iter([0.3, 0.3, *[0.001] * 50])
    took_s = time_calls(lambda crops: time.sleep(next(waits_s)), np.empty(0), 0.01)
    assert len(took_s) >= 5 and statistics.median(took_s) < 0.1


def test_start_time_ends_at_the_first_output_line():
    assert 0.4 <= first_line_s(["-c", "import time; time.sleep(.4); print(1, flush=True); time.sleep(60)"]) < 20
    with pytest.raises(RuntimeError, match="no such luck"):
        first_line_s(["-c", "raise SystemExit('no such luck')"])


@pytest.mark.slow
def test_program_prints_a_line_at_the_first_frame(untrained):
    program = ["-m", "fer_live", "--source", "demo", "--no-window", "--device", "cpu", "--model", str(untrained)]
    assert 0.3 < first_line_s(program) < 60


# ------------------------------------------------------------------------------------------------ slow stages


def test_slow_stage_shows_as_late_and_dropped_frames(untrained, loop):
    from fer_live.bench.live import run_once

    analyzer, settings = Analyzer.from_checkpoint(untrained, device="cpu"), dataclasses.replace(QUICK, live_s=1.5)
    quick = analyzer.detector.detect
    analyzer.detector.detect = lambda *arguments, **options: (time.sleep(0.1), quick(*arguments, **options))[1]
    run = run_once(analyzer, loop, 30, settings)
    assert 2 <= run["analyzed_per_s"] <= 10 and run["dropped_share"] >= 0.66
    assert run["dropped_share"] == pytest.approx(1 - run["analyzed_per_s"] / 30)
    assert 100 <= run["p50_ms"] <= run["p95_ms"] <= run["p99_ms"]
    assert run["stages_ms"]["detect"] >= 90 and max(run["stages_share"], key=run["stages_share"].get) == "detect"
    assert sum(run["stages_share"].values()) == pytest.approx(1) and run["cpu_share"] > 0
    assert set(run["stages_share"]) == {"detect", "track", "crop, pack", "classify", "smooth", "draw"}
    assert run["faces_found"] > 0.3


def test_log_is_scored_against_the_truth(tmp_path, loop):
    from fer_live.bench.file import floor_s, true_in_log

    write_clip(tmp_path / "clip.mp4", loop, 12)
    with VideoFile(tmp_path / "clip.mp4") as clip:
        frames = list(clip)
    assert [round(frame.time_s * 30) for frame in frames] == list(range(12)) and clip.fps == pytest.approx(30)
    assert np.abs(frames[7].image.astype(int) - loop.image(7 / 30)).mean() < 4
    assert 0 < floor_s(tmp_path / "clip.mp4", tmp_path / "floor.mp4") < 20
    with VideoFile(tmp_path / "floor.mp4") as floor:
        assert len(list(floor)) == 12
    entries = [{"frame": i, "faces": [{"box": loop.scene.boxes(i / 30)[0].tolist()}] if i < 9 else []} for i in range(12)]
    entries[0]["faces"][0]["box"] = [0, 0, 50, 50]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, entries)))
    assert true_in_log(tmp_path / "log.jsonl", loop.scene) == 8


def test_targets_report_met_or_missed():
    row = {"size_wh": [1280, 720], "fps": 30, "faces": 1, "detector": DEFAULT_DETECTOR, "dropped_share": 0.0, "p95_ms": 33.1,
           "cpu_ms": 6.0}
    slow = {**row, "size_wh": [640, 360]}
    targets.judge("live", [row, slow])
    assert [t["met"] for t in row["targets"]] == [True, False, True] and slow["targets"] == []
    assert targets.words(row) == "no frame dropped: met, p95 33 ms: MISSED, 6 ms of CPU: met"
    files = [{"size_wh": size, "detector": DEFAULT_DETECTOR, "ratio_to_floor": 0.7} for size in ([640, 360], [1280, 720])]
    clips = [{"detector": name, "cpu_ms": 3.6} for name in (DEFAULT_DETECTOR, "yunet")]
    targets.judge("file", files)
    targets.judge("clip", clips)
    assert [[t["met"] for t in one["targets"]] for one in (*files, *clips)] == [[True], [False], [False], []]
    memory = {"growth": 0.031, "largest_mb": 899.0}
    targets.judge("memory", [memory])
    assert [t["met"] for t in memory["targets"]] == [False, True]
    peer = {"ratio": 8.0, "ours_true": 448, "peer_true": 450}
    targets.judge("peer", [peer])
    assert [t["met"] for t in peer["targets"]] == [True, False]
    network = {"is_plain": False, "device": "cuda:0", "batch": 256, "faces_per_s": 19_999, "times_plain": 1, "p95_ms": 1}
    targets.judge("classifier", [network])
    assert [t["met"] for t in network["targets"]] == [False]


def test_full_settings_include_every_target():
    cases = {(faces, fps, size_wh) for faces, fps, size_wh in Settings().live}
    assert {(n, fps, HD) for n in (0, 1, 4, 16) for fps in (30, 60)} <= cases
    assert set(Settings().file_sizes) == {HD, SMALL} and {1, 4, 16, 64} <= set(Settings().batches)
    assert {1_000, 20_000} <= set(Settings().memory_frames) and set(targets.FOR) == {*report_kinds()}


def report_kinds():
    return [kind for kind in KINDS if callable(getattr(report, kind))]


# ------------------------------------------------------------------------------------------------ the command


@pytest.mark.slow
def test_command_prints_tables_and_writes_json(tmp_path, untrained, capsys, make_clip):
    result = tmp_path / "bench.json"
    only = "live,file,clip,classifier,memory"
    assert main(["--quick", "--only", only, "--json", str(result), "--model", str(untrained), "--device", "cpu",
                 "--clip", str(make_clip(tmp_path / "mine.mp4", 15))]) == 0
    out = capsys.readouterr().out
    found = json.loads(result.read_text())
    assert found["format"] == "fer_live.bench/1" and found["quick"] and found["settings"]["repeats"] == 1
    assert found["machine"]["versions"]["torch"] in out and found["machine"]["processor"] in out and "OpenCV" in out
    live, file = found["live"][0], found["file"][0]
    assert (live["faces"], live["fps"], live["size_wh"]) == (1, 30, [640, 360]) and 0 < live["p50_ms"] <= live["p95_ms"]
    assert 0 < live["analyzed_per_s"] <= 30 and len(live["runs"]) == 1
    assert [row["detector"] for row in found["live"]] == ["both", "haar", "yunet"], "one case with each detector"
    assert all(row["faces_found"] == pytest.approx(1.0) for row in found["live"])
    assert file["ratio_to_floor"] == pytest.approx(file["annotated_per_s"] / file["floor_per_s"]) and file["ratio_to_floor"] < 1.3
    assert file["times_real_time"] == pytest.approx(file["annotated_per_s"] / 30) and 15 <= file["true_faces"] <= 20
    assert [row["detector"] for row in found["file"]] == ["both", "haar", "yunet"] and file["transcode_per_s"] > 0
    clip = found["clip"][0]
    assert (clip["clip"], clip["frames"], clip["size_wh"]) == ("mine.mp4", 40, [320, 240]) and 0 < clip["cpu_ms"] < 5000
    assert 0.5 <= clip["faces_found"] <= 1 and [row["detector"] for row in found["clip"]] == ["haar", "yunet", "both"]
    rows = found["classifier"]
    assert {row["batch"] for row in rows} == {1, 4} and {row["is_plain"] for row in rows} == {True, False}
    assert all(row["faces_per_s"] == pytest.approx(1000 * row["batch"] / row["p50_ms"]) for row in rows)
    assert max(row["times_plain"] for row in rows if row["is_plain"] and row["batch"] == 4) == pytest.approx(1)
    sizes = found["memory"][0]["sizes"]
    assert [size["frames"] for size in sizes] == [20, 60] and all(50 < size["resident_mb"] < 5000 for size in sizes)
    for words in ("live: size", "file: size", "faces per s", "memory: resident after", "0.65 of the floor:", "flat:"):
        assert words in out
    assert "already exists" in refused(capsys, "--quick", "--json", result)


@pytest.mark.cuda
def test_measures_a_gpu(untrained):
    from fer_live.bench.classifier import measure

    rows, notes = measure(untrained, None, QUICK)
    on_gpu = [row for row in rows if row["device"] == "cuda:0"]
    assert {row["batch"] for row in on_gpu} == {1, 4, 256} and {row["is_plain"] for row in on_gpu} == {True, False}
    assert not any("CUDA" in note for note in notes)


def test_table_is_aligned():
    assert report.table("a|long head", [["1.5", "x"], ["22.5", "y"]]).splitlines() == ["a     long head", "1.5   x", "22.5  y"]


def test_errors_are_one_line(tmp_path, capsys):
    assert "smell" in refused(capsys, "--only", "live,smell")
    assert "--peer-python" in refused(capsys, "--only", "peer")
    assert "--clip FILE" in refused(capsys, "--only", "clip")
    assert "add clip to it" in refused(capsys, "--only", "live,start", "--clip", tmp_path / "a.mp4")
    assert "a.mp4" in refused(capsys, "--clip", tmp_path / "a.mp4")
    assert "is not a program" in refused(capsys, "--peer-python", tmp_path / "python")
    assert "no model file" in refused(capsys, "--model", tmp_path / "no.pt")
    assert "no model file" in refused(capsys, "--onnx", tmp_path / "no.onnx")
    assert "auto, cpu" in refused(capsys, "--device", "gpu")
    assert "does not exist" in refused(capsys, "--json", tmp_path / "nowhere" / "b.json")


# ------------------------------------------------------------------------------------------------ the peer


def test_missing_peer_is_a_one_line_error(untrained, capsys, tmp_path):
    arguments = ["--quick", "--only", "peer", "--peer-python", sys.executable, "--model", str(untrained)]
    assert main([*arguments, "--json", str(tmp_path / "b.json")]) == 0
    output = [line for line in capsys.readouterr().out.splitlines() if "fer does not run" in line]
    assert len(output) == 1 and "No module named 'fer'" in output[0] and "pip install fer==25.10.3 'setuptools<81'" in output[0]
    assert json.loads((tmp_path / "b.json").read_text())["peer"][0]["targets"] == []


PEER = """
import cv2
class FER:
    def __init__(self):
        self.cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")
    def detect_emotions(self, image):
        return [{"box": box, "emotions": {}} for box in self.cascade.detectMultiScale(image, 1.1, 5, minSize=(50, 50))]
"""


def test_peer_runs_on_the_same_frames(tmp_path, untrained, monkeypatch):
    """A stub package with the peer's name and interface that finds faces with OpenCV."""
    from fer_live.bench import peer

    (tmp_path / "fer").mkdir()
    (tmp_path / "fer" / "__init__.py").write_text("")
    (tmp_path / "fer" / "fer.py").write_text(PEER)
    (tmp_path / "fer-0.1.dist-info").mkdir()
    (tmp_path / "fer-0.1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: fer\nVersion: 0.1\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    row = peer.measure(sys.executable, untrained, "cpu", QUICK)
    assert row["peer"] == "fer 0.1" and row["frames"] == 20 and 15 <= row["peer_true"] <= 20 and 15 <= row["ours_true"] <= 20
    assert row["ratio"] == pytest.approx(row["ours_per_s"] / row["peer_per_s"])


@pytest.mark.parametrize("missing, only, message", [
    ("psutil", "file", "error: psutil, which measures memory and processor, is not installed; pip install psutil"),
    ("torch", "file,start", "error: start: compared with PyTorch, which is not installed; pip install torch torchvision timm, "
                            "or choose other benchmarks with --only"),
])
def test_missing_packages_are_one_line_with_a_command_that_installs_them(monkeypatch, capsys, missing, only, message):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == missing else find(name, *rest))
    assert main(["--only", only]) == 2
    assert capsys.readouterr().err.strip() == message


def test_machine_is_described_without_torch(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "torch" else find(name, *rest))
    found = machine.describe()
    assert found["gpus"] == [] and found["torch_threads"] is None
    assert "torch with" not in report.machine(found) and "OpenCV with" in report.machine(found)
