"""The program end to end: files, images, the demo, bad input."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2  # before av; see fer_live/sources/video_file.py

# isort: split
import av
import numpy as np
import pytest

from fer_live.__main__ import main
from tests.conftest import ROOT


def run(*arguments) -> int:
    return main([str(a) for a in arguments])


def refused(capsys, *arguments) -> str:
    """Run with invalid arguments; returns the one-line error, after checking for status 2."""
    try:
        status = run(*arguments)
    except SystemExit as end:  # argparse
        status = end.code
    output = capsys.readouterr().err.strip().splitlines()
    assert status == 2, output
    assert "error: " in output[-1] and not any("Traceback" in line for line in output), output
    return output[-1]


def test_video_to_annotated_video(tmp_path, make_clip):
    """The released weights on a clip of a smiling face: every frame, timestamps, sound, log."""
    clip = make_clip(tmp_path / "clip.mp4", frames=30, skip=(11, 12))
    assert run("--source", clip, "--no-window", "--output", tmp_path / "o.mp4", "--log", tmp_path / "o.jsonl") == 0
    entries = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert [e["frame"] for e in entries] == list(range(28))
    with av.open(str(clip)) as a, av.open(str(tmp_path / "o.mp4")) as b:
        before, after = ([f.time for f in c.decode(video=0)] for c in (a, b))
        assert before == after == pytest.approx([e["time_s"] for e in entries], abs=1e-5)
        assert b.streams.video[0].codec_context.pix_fmt == "yuv420p" and b.streams.video[0].codec_context.name == "h264"
        assert (b.streams.video[0].width, b.streams.video[0].height) == (320, 240) and len(b.streams.audio) == 1
    faces = [e["faces"] for e in entries]
    assert sum(len(f) == 1 for f in faces) >= 25 and max(map(len, faces)) == 1
    seen = [f[0] for f in faces if f]
    assert {f["track_id"] for f in seen} == {1}
    assert all(f["label"] == "happy" for f in seen) and np.median([f["confidence"] for f in seen]) > 0.7
    assert list(seen[0]["probs"]) == ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
    x = [f["box"][0] for f in seen]
    assert x[-1] - x[0] > 25, "the box follows the face to the right"


def test_log_only_and_csv_runs_overwrite_nothing(tmp_path, make_clip, untrained):
    clip = make_clip(tmp_path / "clip.mp4", frames=6, sound=None)
    for _ in range(2):
        assert run("--source", clip, "--no-window", "--log", tmp_path / "o.csv", "--model", untrained) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clip.mp4", "o-2.csv", "o.csv"]
    rows = list(csv.DictReader((tmp_path / "o.csv").open()))
    assert [int(row["frame"]) for row in rows] in ([0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5]), "shown from its first frame on"


def test_single_image_folder_and_glob(tmp_path, portrait, untrained, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.jpg", "b.png"):
        cv2.imwrite(str(folder / name), portrait)
    (folder / "c.jpg").write_bytes(b"broken")
    assert run("--source", folder / "a.jpg", "--no-window", "--output", tmp_path / "annotated.png", "--model", untrained) == 0
    drawn = cv2.imread(str(tmp_path / "annotated.png"))
    assert drawn.shape == portrait.shape and (drawn[60:180, 160:290] != portrait[60:180, 160:290]).any()
    assert run("--source", folder, "--no-window", "--output", tmp_path / "out", "--log", tmp_path / "o.jsonl",
               "--model", untrained) == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.jpg", "b.png"]
    entries = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert [e["file"] for e in entries] == ["a.jpg", "b.png"] and all(len(e["faces"]) == 1 for e in entries)
    assert "c.jpg" in capsys.readouterr().err
    assert run("--source", folder / "*.png", "--no-window", "--output", tmp_path / "glob", "--model", untrained) == 0
    assert [p.name for p in (tmp_path / "glob").iterdir()] == ["b.png"]


def test_mirror_flips_image_and_boxes(tmp_path, portrait, untrained):
    cv2.imwrite(str(tmp_path / "a.png"), portrait)
    boxes = {}
    for flag in ("--mirror", "--no-mirror"):
        log = tmp_path / f"{flag}.jsonl"
        assert run("--source", tmp_path / "a.png", flag, "--no-window", "--log", log, "--model", untrained) == 0
        boxes[flag] = json.loads(log.read_text())["faces"][0]["box"]
    assert boxes["--mirror"][0] == pytest.approx(512 - boxes["--no-mirror"][2], abs=12)


def test_no_camera_falls_back_to_the_demo_without_a_window(tmp_path, monkeypatch, capsys, untrained):
    if list(Path("/dev").glob("video*")):
        pytest.skip("this machine has a camera")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.chdir(tmp_path)
    assert run("--max-seconds", 3, "--output", "o.mp4", "--log", "o.jsonl", "--model", untrained) == 0
    out = capsys.readouterr()
    assert "no camera 0" in out.err and "demo" in out.err and "without a window" in out.err
    assert 2 <= len(out.out.splitlines()) <= 4 and "fps" in out.out
    with av.open("o.mp4") as container:
        times = [f.time for f in container.decode(video=0)]
    assert times[0] == 0 and times[-1] == pytest.approx(3, abs=0.4)
    assert json.loads(Path("o.jsonl").read_text().splitlines()[0])["time_s"] == 0


def test_ctrl_c_leaves_a_playable_file(tmp_path, make_clip, untrained):
    clip = make_clip(tmp_path / "clip.mp4", frames=150, size_wh=(640, 480))
    process = subprocess.Popen(
        [sys.executable, "-m", "fer_live", "--source", clip, "--no-window", "--output", tmp_path / "o.mp4",
         "--log", tmp_path / "o.jsonl", "--model", untrained], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    log, deadline = tmp_path / "o.jsonl", time.monotonic() + 60
    while (not log.exists() or log.read_text().count("\n") < 10) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=30)[1]
    assert process.returncode == 130 and "Traceback" not in output
    logged = log.read_text().count("\n")
    with av.open(str(tmp_path / "o.mp4")) as container:
        assert 10 <= sum(1 for _ in container.decode(video=0)) == logged < 150


# ------------------------------------------------------------------------------------------------ bad input


def test_bad_sources_and_outputs(tmp_path, make_clip, portrait, capsys, untrained):
    clip = make_clip(tmp_path / "clip.mp4", frames=3, sound=None)
    image = tmp_path / "p.png"
    cv2.imwrite(str(image), portrait)
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    before = sorted(tmp_path.rglob("*"))
    out = tmp_path / "o.mp4"
    cases = [
        (["--source", tmp_path / "no.mp4", "--output", out], "no source"),
        (["--source", tmp_path / "text.mp4", "--output", out], "cannot be opened"),
        (["--source", tmp_path / "empty", "--output", tmp_path / "x"], "no images"),
        (["--source", "7", "--output", out], "camera 7"),
        (["--source", "/dev/video-none"], "does not exist"),
        (["--source", clip, "--output", clip], "overwrite the source"),
        (["--source", image, "--output", image], "overwrite the source"),
        (["--source", image, "--output", tmp_path], "overwrite the source"),
        (["--source", clip, "--output", tmp_path / "nowhere" / "o.mp4"], "does not exist"),
        (["--source", clip, "--output", tmp_path / "file" / "o.mp4"], "cannot write"),
        (["--source", clip, "--output", "/proc/o.mp4"], "cannot write"),
        (["--source", clip, "--output", tmp_path / "o.avi"], ".mp4"),
        (["--source", "demo", "--output", tmp_path / "o.png"], ".mp4"),
        (["--source", image, "--output", tmp_path / "o.xyz"], ".png"),
        (["--source", clip, "--log", tmp_path / "o.txt"], ".jsonl"),
        (["--source", clip], "--output"),
        (["--source", clip, "--output", out, "--device", "gpu"], "auto, cpu"),
        (["--source", clip, "--output", out, "--device", "cuda:77"], "auto, cpu"),
        (["--source", clip, "--output", out, "--model", tmp_path / "no.pt"], "no model file"),
        (["--source", clip, "--output", out, "--model", clip], "checkpoint"),
        (["--source", clip, "--output", out, "--show", "fps,smell"], "smell"),
        (["--source", clip, "--output", out, "--min-face", "-3"], "number"),
        (["--source", clip, "--output", out, "--max-seconds", "soon"], "number"),
        (["--source", clip, "--output", out, "--detector", "crystal"], "haar"),
    ]
    for arguments, words in cases:
        assert words in refused(capsys, *arguments, "--no-window", *([] if "--model" in arguments else ["--model", untrained]))
    assert sorted(tmp_path.rglob("*")) == before, "no files are left"


def test_truncated_video_keeps_the_readable_part(tmp_path, make_clip, capsys, untrained):
    from tests.test_sources import _move_index_first

    whole = _move_index_first(make_clip(tmp_path / "a.mp4", frames=110, sound=None), tmp_path / "b.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: int(len(whole) * 0.7)])
    error = refused(capsys, "--source", tmp_path / "cut.mp4", "--no-window", "--output", tmp_path / "o.mp4", "--model", untrained)
    assert "frames" in error
    with av.open(str(tmp_path / "o.mp4")) as container:
        assert 0 < sum(1 for _ in container.decode(video=0)) < 110


@pytest.mark.parametrize("arguments", [["--help"], ["--source", "no.mp4"], ["--device", "gpu"], ["--model", "no.pt"]])
def test_help_and_errors_respond_within_a_second(arguments):
    best = 9.0
    for _ in range(3):  # best of three, since other programs can use the CPU
        started = time.monotonic()
        subprocess.run([sys.executable, "-m", "fer_live", *arguments], cwd=ROOT, capture_output=True, check=False,
                       env={**os.environ, "DISPLAY": ""})
        best = min(best, time.monotonic() - started)
    assert best < 1.0
