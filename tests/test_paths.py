"""User-supplied paths and URLs: inaccessible folders, unusual names, existing names."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2  # before av; see fer_live/sources/__init__.py

# isort: split
import av
import numpy as np
import pytest

from fer_live.app.keys import toggle_record
from fer_live.app.outputs import Outputs
from fer_live.sinks.disk import make_new, unused
from fer_live.sinks.image_writer import ImageWriter
from fer_live.sinks.log_reader import read_log
from fer_live.sources.camera import Camera
from fer_live.sources.devices import camera_number, stable_path
from fer_live.sources.images import ImageFiles
from fer_live.sources.open import open_source
from fer_live.sources.stream import Stream
from fer_live.sources.video_file import VideoFile
from fer_live.types import Analysis, Frame, OutputError, SourceError, View
from tests.conftest import ROOT
from tests.test_app import refused, run

LONG = "a" * 300  # letters; file systems take 255


@pytest.fixture
def guarded(tmp_path, monkeypatch):
    """An inaccessible folder `locked` and an unreadable file `sealed.*`, by patched system calls that also affect root."""
    (tmp_path / "locked").mkdir()
    real = {name: getattr(os, name) for name in ("stat", "lstat", "scandir", "listdir", "open")}

    def refuse(path) -> None:
        text = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else ""
        if "locked" in Path(text).parts:
            raise PermissionError(13, "Permission denied", text)

    def guard(name):
        def call(path=".", *args, **kwargs):
            if not (name in ("stat", "lstat") and Path(os.fsdecode(path) if not isinstance(path, int) else "").name == "locked"):
                refuse(path)
            return real[name](path, *args, **kwargs)
        return call

    for name in real:
        monkeypatch.setattr(os, name, guard(name))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("arguments", [
    ["--source", "locked", "--output", "x/"], ["--source", "locked/a.mp4", "--log", "x.jsonl"],
    ["--source", "locked/*.jpg", "--log", "x.jsonl"], ["--source", "p.jpg", "--log", "locked/x.jsonl"],
    ["--source", "p.jpg", "--output", "locked/x.png"], ["--source", "p.jpg", "--output", "locked/x/"],
    ["--source", "demo", "--output", "locked/x.mp4"], ["--source", "demo", "--log", "locked/x.csv"],
    ["--source", "p.jpg", "--model", "locked/m.pt", "--log", "y.jsonl"],
])
def test_inaccessible_folder_is_a_one_line_error(guarded, portrait, capsys, untrained, arguments):
    cv2.imwrite("p.jpg", portrait)
    output = refused(capsys, *arguments, "--no-window", *([] if "--model" in arguments else ["--model", untrained]))
    assert "locked" in output and "permission denied" in output


@pytest.mark.parametrize("name", ["source", "output", "log", "model"])
def test_overlong_name_is_a_one_line_error(tmp_path, portrait, capsys, untrained, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("p.jpg", portrait)
    ending = {"output": ".png", "log": ".jsonl"}.get(name, "")
    given = {"source": "p.jpg", "log": "o.jsonl", "model": str(untrained)} | {name: LONG + ending}
    output = refused(capsys, *[part for key, value in given.items() for part in (f"--{key}", value)], "--no-window")
    assert "too long" in output and len(output) < 250


@pytest.mark.parametrize("name", ["source", "output", "log", "model", "labels"])
def test_rejects_empty_paths(tmp_path, portrait, capsys, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("p.jpg", portrait)
    given = {"source": "p.jpg", "log": "o.jsonl"} | {name: ""}
    assert "empty" in refused(capsys, *[part for key, value in given.items() for part in (f"--{key}", value)], "--no-window")
    with pytest.raises(SourceError, match="empty"):
        open_source("")


@pytest.mark.parametrize("module", ["fer_live.report", "fer_live.bench", "fer_live.kiosk", "fer_live.doctor", "training.data",
                                    "training.evaluate"])
def test_every_command_reports_overlong_names_in_one_line(module, tmp_path):
    """Status 2 and one line, regardless of which part of the program uses the name first."""
    arguments = {"fer_live.report": [LONG + ".jsonl", "--output", LONG + "/x.html"], "fer_live.bench": ["--json", LONG],
                 "fer_live.kiosk": ["install"], "fer_live.doctor": ["--json", LONG, "--timeout", "0.01"],
                 "training.data": [LONG], "training.evaluate": ["--model", LONG, "--data", "x", "--split", "PublicTest"]}[module]
    ended = subprocess.run([sys.executable, "-m", module, *arguments], cwd=ROOT, capture_output=True, text=True, check=False,
                           env={**os.environ, "XDG_CONFIG_HOME": str(tmp_path / LONG)})
    assert ended.returncode == 2 and "Traceback" not in ended.stderr
    assert "too long" in ended.stderr.splitlines()[-1].lower()


def test_only_ascii_digits_are_a_camera_number(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert camera_number("12") == 12 and isinstance(open_source("0"), Camera)
    for text in ("²", "٣", "-1", "9" * 5000, ""):
        assert camera_number(text) is None
    for text in ("²", "٣", "9" * 5000):
        with pytest.raises(SourceError):
            open_source(text)
        assert stable_path(text) == text


def test_uppercase_url_schemes(tmp_path, make_clip):
    for text in ("RTSP://camera/1", "Http://camera/now.jpg", "HTTPS://camera/now.jpg"):
        source = open_source(text)
        assert isinstance(source, Stream) and source.address == text.split(":")[0].lower() + text[text.index(":") :]


def test_regular_file_below_dev_is_a_file(make_clip, portrait):
    folder = Path("/dev/shm")
    if not os.access(folder, os.W_OK):
        pytest.skip("no /dev/shm here")
    here = folder / f"fer_live-test-{os.getpid()}"
    here.mkdir()
    try:
        make_clip(here / "clip.mp4", frames=3, sound=None)
        cv2.imwrite(str(here / "a.png"), portrait)
        assert isinstance(open_source(str(here / "clip.mp4")), VideoFile)
        assert isinstance(open_source(str(here / "a.png")), ImageFiles)
        assert [path.name for path in open_source(str(here)).paths] == ["a.png"]
    finally:
        for path in here.iterdir():
            path.unlink()
        here.rmdir()
    assert isinstance(open_source("/dev/null"), Camera), "a device is a camera"


def test_sound_of_a_file_named_like_a_protocol_is_kept(tmp_path, make_clip, monkeypatch, untrained):
    monkeypatch.chdir(tmp_path)
    make_clip(tmp_path / "clip.mp4", frames=12).rename("concat:a.mp4")
    assert run("--source", "concat:a.mp4", "--no-window", "--output", "o.mp4", "--model", untrained) == 0
    with av.open("o.mp4") as container:
        assert len(container.streams.audio) == 1


# ------------------------------------------------------------------------------------------------ images


@pytest.fixture
def albums(tmp_path, portrait, monkeypatch):
    """Two folders, one with brackets in its name, each with an a.png; the second also has a b.png."""
    for name in ("x/one[1]/a.png", "x/two/a.png", "x/two/b.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / name), portrait)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_folder_name_with_brackets(albums):
    assert [str(path) for path in open_source("x/one[1]/*.png").paths] == ["x/one[1]/a.png"]
    assert [str(path) for path in open_source(str(albums / "x" / "one[1]" / "*.png")).paths] == [str(albums / "x/one[1]/a.png")]
    assert [str(path) for path in open_source("x/[ot]*/[b-z].png").paths] == ["x/two/b.png"]
    assert len(open_source("**/a.png").paths) == 2


def test_unreadable_folders_in_a_glob_are_reported(albums, monkeypatch, capsys):
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: "two" not in Path(path).parts and real(path, mode))
    open_source("x/*/a.png")
    assert capsys.readouterr().err == "skipped 1 folder without read permission: x/two\n"
    open_source("**/a.png")
    assert "x/two" in capsys.readouterr().err
    open_source("x/one[1]/*.png")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", [".", "/"])
def test_name_with_null_character_is_a_one_line_error(name, capsys):
    from fer_live import Analyzer
    from fer_live.model.spec import CheckpointError
    from fer_live.report.__main__ import main as report

    assert report([name]) == 2
    assert "is not a log" in capsys.readouterr().err
    with pytest.raises(CheckpointError, match="names no file"):
        Analyzer.from_checkpoint(name, "cpu")


def test_predict_reports_why_an_image_is_unreadable(tmp_path, capsys):
    from training.predict import main as predict

    assert predict([str(tmp_path / "no.jpg"), "--out", str(tmp_path / "o.png")]) == 2
    assert "no such file" in capsys.readouterr().err
    assert predict([str(tmp_path / "no.jpg"), "--out", str(tmp_path / "chart")]) == 2
    assert "charts are .png" in capsys.readouterr().err


def test_same_names_in_two_folders_are_distinguished(albums, untrained, capsys):
    for log in ("o.jsonl", "o.csv"):
        assert run("--source", "x/*/a.png", "--no-window", "--output", "out", "--log", log, "--model", untrained) == 0
    names = ["one[1]/a.png", "two/a.png"]
    assert [json.loads(line)["file"] for line in Path("o.jsonl").read_text().splitlines()] == names
    with open("o.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == names and list(rows[0]).index("file") == 16
    assert sorted(str(path) for path in Path("out").rglob("*.png")) == sorted(
        f"out/{name}" for name in [*names, "one[1]/a-2.png", "two/a-2.png"])
    output = capsys.readouterr().err
    assert "wrote 2 images to out/ and o.jsonl" in output
    assert "wrote 2 images to out/, 2 with a numeric suffix; the last is out/two/a-2.png" in output
    output = refused(capsys, "--source", "x/*/a.png", "--no-window", "--output", "x", "--model", untrained)
    assert "overwrite the source" in output


def test_image_logs_can_be_read_back_including_old_ones(albums, untrained):
    assert run("--source", "x/two", "--no-window", "--log", "new.csv", "--model", untrained) == 0
    new = list(read_log(Path("new.csv")))
    assert [entry["file"] for entry in new] == ["a.png", "b.png"]
    lines = Path("new.csv").read_text().splitlines()
    later = ("visibility", "unsure_because")
    for columns, has_file in ((16, False), (17, True)):  # as written by the first versions
        Path("old.csv").write_text("".join(",".join(line.split(",")[:columns]) + "\n" for line in lines))
        old = list(read_log(Path("old.csv")))
        for before, after in zip(old, new, strict=True):
            expected = [{key: value for key, value in face.items() if key not in later} for face in after["faces"]]
            assert before["faces"] == expected and ("file" in before) == has_file
        assert len(old[0]["faces"][0]["probs"]) == 7


def test_message_names_the_written_file(albums, untrained, capsys):
    for name in ("o.png", "o-2.png"):
        assert run("--source", "x/two/a.png", "--no-window", "--output", "o.png", "--model", untrained) == 0
        assert capsys.readouterr().err.splitlines()[-1] == f"wrote {name}" and Path(name).is_file()


def test_output_folder_name_can_contain_a_dot(albums, untrained, capsys):
    Path("there.v1").mkdir()
    for given, folder in (("there.v1", "there.v1"), ("results.v2/", "results.v2")):
        assert run("--source", "x/two", "--no-window", "--output", given, "--model", untrained) == 0
        assert sorted(path.name for path in Path(folder).iterdir()) == ["a.png", "b.png"]
    assert ".mp4 files" in refused(capsys, "--source", "demo", "--no-window", "--output", "o.mp4/", "--model", untrained)
    output = refused(capsys, "--source", "x/two", "--no-window", "--output", "x/one[1]/a.png/", "--model", untrained)
    assert "it is a file" in output


def test_unsupported_output_format_becomes_png(tmp_path, portrait, untrained):
    from PIL import Image

    (tmp_path / "in").mkdir()
    for name in ("a.tga", "b.pgm", "c.png"):
        image = Image.fromarray(portrait[..., ::-1])
        (image.convert("L") if name == "b.pgm" else image).save(tmp_path / "in" / name)
    assert run("--source", tmp_path / "in", "--no-window", "--output", tmp_path / "out", "--model", untrained) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.tga.png", "b.pgm.png", "c.png"]
    with ImageWriter(tmp_path / "colored", is_folder=True) as sink:
        sink.write(np.full((20, 20, 3), (10, 20, 200), np.uint8), Analysis(Frame(None, 0, 0.0, "b.pgm"), ()))
    assert cv2.imread(str(tmp_path / "colored" / "b.pgm.png"))[0, 0].tolist() == [10, 20, 200]


def test_unreadable_single_image_is_a_one_line_error(tmp_path, untrained):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    ended = subprocess.run([sys.executable, "-m", "fer_live", "--source", tmp_path / "a.png", "--no-window", "--log",
                            tmp_path / "o.jsonl", "--model", untrained], cwd=ROOT, capture_output=True, text=True, check=False)
    output = ended.stderr.strip()
    assert ended.returncode == 2 and output.startswith("error: ") and len(output.splitlines()) == 1, output
    assert "\r" not in output and "a.png" in output
    with open_source(str(tmp_path)) as source, pytest.raises(SourceError, match="see the lines above"):
        list(source)


def test_image_without_permission_is_not_called_damaged(guarded, monkeypatch):
    monkeypatch.setattr(np, "fromfile", lambda path, *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    Path("sealed.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(SourceError, match="permission denied") as caught, open_source("sealed.jpg"):
        pass
    assert "sealed.jpg" in str(caught.value)


def test_video_without_permission_is_not_called_damaged(tmp_path, make_clip, monkeypatch):
    clip = make_clip(tmp_path / "clip.mp4", frames=3, sound=None)

    def refuse(name, **_):
        raise av.error.PermissionError(13, "Permission denied", name)

    monkeypatch.setattr(av, "open", refuse)
    with pytest.raises(SourceError, match="Permission denied") as caught, open_source(str(clip)):
        pass
    assert "check its permissions" in str(caught.value) and "whole" not in str(caught.value)


def test_names_with_invalid_unicode_are_logged(tmp_path, portrait, untrained):
    name = os.fsdecode(b"caf\xe9.png")
    (tmp_path / "in").mkdir()
    try:
        (tmp_path / "in" / name).write_bytes(cv2.imencode(".png", portrait)[1].tobytes())
    except OSError:
        pytest.skip("this file system takes text only")
    for ending in ("csv", "jsonl"):
        assert run("--source", tmp_path / "in", "--no-window", "--log", tmp_path / f"o.{ending}", "--model", untrained) == 0
        (entry,) = read_log(tmp_path / f"o.{ending}")
        assert "caf" in entry["file"] and len(entry["faces"]) == 1
    (tmp_path / "o.csv").read_text(encoding="utf-8")  # other programs read it


def test_dangling_link_counts_as_existing(tmp_path):
    (tmp_path / "o.png").symlink_to(tmp_path / "nowhere")
    assert unused(tmp_path / "o.png").name == "o-2.png"
    path, file = make_new(tmp_path / "o.png")
    file.close()
    assert path.name == "o-2.png" and not (tmp_path / "nowhere").exists()
    with pytest.raises(OutputError, match="too long"):
        unused(tmp_path / LONG)


def test_recording_that_cannot_start_does_not_end_the_run(capsys):
    """Press r after the folder became inaccessible."""
    def refuse(path):
        raise OutputError(f"cannot write {path} (permission denied)")

    outputs = Outputs(View(), refuse)
    toggle_record(outputs)
    assert "permission denied" in outputs.view.notice and not outputs.view.recording and outputs.sinks == [outputs]
    assert "recording not started" in capsys.readouterr().err
