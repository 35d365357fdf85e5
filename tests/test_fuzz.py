"""Hostile input: a short fuzzer run, a check that the fuzzer detects faults, and regression tests of its findings."""

import os
import struct
import subprocess
import sys
import time
import zipfile
import zlib

import numpy as np
import pytest
import torch

from fer_live.analysis.classifier import EmotionClassifier
from fer_live.analysis.runtimes.onnx_network import read_spec
from fer_live.model.checkpoint import load_checkpoint, read_checkpoint
from fer_live.model.spec import CheckpointError, parse_spec
from fer_live.sinks.image_writer import ImageWriter
from fer_live.sinks.log_reader import read_log
from fer_live.sinks.recorder import VideoRecorder
from fer_live.sources.images import ImageFiles
from fer_live.sources.stream import Stream
from fer_live.sources.video_file import VideoFile
from fer_live.types import Analysis, Frame, OutputError, SourceError
from tests import fuzz_seeds as seeds
from tests.conftest import ROOT
from tests.fuzz import FINE, Worker, run, table
from tests.fuzz_bytes import png, zeros
from tests.fuzz_kinds import KINDS, MARKER, Runs, served
from training.data import DataError, load_dataset

SPEC = {"arch": "mobilenetv3_small_050", "heads": {"fer2013": 1.0}, "head": "fer2013"}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A checkpoint of a megabyte."""
    return seeds.checkpoint(tmp_path_factory.mktemp("weights"))


def test_short_run_finds_nothing():
    results = run(60, seed=1)
    assert {result["kind"] for result in results} == set(KINDS) and len(results) >= 60
    assert all(result["outcome"] in FINE for result in results), table(results)
    assert {"read", "refused"} <= {result["outcome"] for result in results}  # neither all accepted nor all rejected


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="memory is watched on Linux only")
def test_fuzzer_detects_crashes_hangs_memory_files_and_errors():
    expected = {"leave": "outside", "raise": "KeyError", "crash": "crash", "hang": "hang", "eat": "memory"}
    with Worker(0, kind="crash") as worker:
        found = {}
        for trap in expected:
            worker.most_s = 1.0 if trap == "hang" else 30.0
            found[trap] = worker.run(trap, 0)["outcome"]
        assert found == expected


# ---------------------------------------------------------------------------------------------- images and clips


def test_image_declaring_gigabytes_is_skipped_in_little_memory(tmp_path):
    whole, bomb, impossible, long = (tmp_path / f"{letter}.png" for letter in "abcd")
    whole.write_bytes(seeds.images()[".png"][0])
    bomb.write_bytes(png(29_000, 29_000, zeros(29_000 * 300)))  # 2.5 GB of pixels, fewer than OpenCV's own limit
    impossible.write_bytes(png(60_000, 60_000, zeros(100)))  # for which OpenCV raises
    data = seeds.images()[".png"][0]
    long.write_bytes(data[:33] + b"\xff\xff\xff\x00" + data[37:])  # a chunk that claims 4 GB
    code = ("import sys; from pathlib import Path; from fer_live.sources.images import ImageFiles; from tests.fuzz import _peak\n"
            "print(len(list(ImageFiles([Path(p) for p in sys.argv[1:]], 'x'))), _peak())")
    files = [whole, bomb, impossible, long]
    out = subprocess.run([sys.executable, "-c", code, *files], cwd=ROOT, capture_output=True, text=True, check=True)
    images, peak = map(int, out.stdout.split())
    assert images == 1 and peak < 600_000_000
    assert out.stderr.count("skipped an image") == 3


def test_pixel_limit_is_the_same_in_both_packages():
    code = "import os, {}; print(os.environ['OPENCV_IO_MAX_IMAGE_PIXELS'])"
    outputs = {subprocess.run([sys.executable, "-c", code.format(name)], cwd=ROOT, capture_output=True, text=True,
                              check=True).stdout for name in ("fer_live", "training")}
    assert outputs == {"64000000\n"}


def test_huge_sparse_file_is_not_read(tmp_path):
    path = tmp_path / "a.png"
    with open(path, "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(SourceError, match="none of the 1 images"):
        list(ImageFiles([path], "x"))


def test_rejects_a_clip_without_decoder(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(seeds.clips()["mp4"].replace(b"avc1", b"zzzz"))
    with pytest.raises(SourceError), VideoFile(path) as source:
        list(source)


def test_rejects_a_clip_with_oversized_frames(tmp_path):
    size = struct.pack(">HH", 7000, 7000)
    data, start = bytearray(seeds.clips()["avi"]), 0
    while (start := data.find(b"\xff\xc0", start) + 1) > 0:
        data[start + 4 : start + 8] = size
    path = tmp_path / "a.avi"
    path.write_bytes(data)
    with pytest.raises(SourceError, match="damaged"), VideoFile(path) as source:
        list(source)


@pytest.mark.parametrize("name", ["../evil.png", "..", "", "/evil.png", "a/../../b.png", "a\0b.png", "\ud800.png",
                                  "x" * 300 + ".png"])
def test_file_names_cannot_escape_the_folder(tmp_path, name):
    frame = Frame(np.zeros((20, 20, 3), np.uint8), 0, 0.0, name)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(OutputError):
        ImageWriter(out, True).write(frame.image, Analysis(frame, ()))
    assert list(tmp_path.rglob("*")) == [out]


# ---------------------------------------------------------------------------------------------- data


@pytest.mark.parametrize("change", [
    lambda text: text.encode("utf-16"), lambda text: text.encode() + b"\xff\xfe",
    lambda text: text.replace(",", "\r,", 1).encode(), lambda text: text.encode() + b"3," + b"1 " * 100_000,
    lambda text: text.replace(" ", " " + "9" * 30 + " ", 1).encode(),
], ids=["utf16", "bytes", "return", "long", "digits"])
def test_rejects_invalid_csv(tmp_path, change):
    path = tmp_path / "fer2013.csv"
    path.write_bytes(change(seeds.dataset_csv()[0].decode()))
    with pytest.raises(DataError):
        load_dataset(path)


def test_byte_order_mark_is_ignored(tmp_path):
    path = tmp_path / "fer2013.csv"
    path.write_bytes(b"\xef\xbb\xbf" + seeds.dataset_csv()[0])
    assert len(load_dataset(path).images) == 24


@pytest.mark.parametrize("vote", ["nan", "inf", "-1", "1e30"])
def test_rejects_votes_that_are_not_counts(tmp_path, vote):
    path, table_ = tmp_path / "fer2013.csv", tmp_path / "votes.csv"
    path.write_bytes(seeds.dataset_csv()[0])
    head, first, rest = seeds.dataset_csv()[1].decode().split("\n", 2)
    table_.write_text("\n".join([head, first.rsplit(",", 1)[0] + "," + vote, rest]))
    with pytest.raises(DataError, match="line 2"):
        load_dataset(path, table_)


def test_special_files_in_class_folders_are_skipped(face_folders, tmp_path):
    import shutil

    root = tmp_path / "data"
    shutil.copytree(face_folders, root)
    happy = root / "train" / "happy"
    (happy / "folder.png").mkdir()
    (happy / "dead.png").symlink_to(tmp_path / "nothing")
    (happy / "endless.png").symlink_to("/dev/zero")
    os.mkfifo(happy / "pipe.png")
    (happy / "bomb.png").write_bytes(png(60_000, 60_000, zeros(100)))
    (happy / ("9" * 30 + ".png")).write_bytes(seeds.images()[".png"][0])
    data, before = load_dataset(root), load_dataset(face_folders)
    assert len(data.images) == len(before.images) + 1 and (data.rows == -1).sum() == 1


# ---------------------------------------------------------------------------------------------- networks


@pytest.mark.parametrize("field, value", [
    ("input_size", 10**6), ("input_size", "48"), ("input_size", True), ("resolution", None), ("crop_margin", 1e9),
    ("channels", 2), ("mean", []), ("mean", [None]), ("std", [0.0]),
    ("labels", ["a"] * 7), ("labels", [1] * 7),
    ("heads", {}), ("heads", ["fer2013"]), ("heads", {"fer2013": "1"}), ("head", {}), ("head", "x"), ("arch", 5),
    ("head", "shown"), ("class_shares", 3), ("class_shares", {"fer2013": [0.5] * 6}), ("class_shares", {"fer2013": [0.0] * 7}),
    ("decision", 3), ("decision", {"weights": {"ferplus": 1.0}}),
    ("decision", {"weights": {"ferplus": 0.5}, "strength": 0.0, "temperature": 1.0}),
    ("decision", {"weights": {"other": 1.0}, "strength": 0.0, "temperature": 1.0}),
    ("decision", {"weights": {"ferplus": 1.0}, "strength": 0.5, "temperature": 1.0}),  # without the shares
    ("decision", {"weights": {"ferplus": 1.0}, "strength": 0.0, "temperature": float("nan")}),
])
def test_rejects_specs_with_invalid_values(field, value):
    with pytest.raises(CheckpointError, match=field):
        parse_spec({**SPEC, field: value})


def test_small_file_cannot_declare_a_huge_network(small, tmp_path):
    content = torch.load(small, weights_only=True)
    content["spec"]["arch"] = "vit_giant_patch14_dinov2"  # 4.5 GB of parameters
    torch.save(content, tmp_path / "m.pt")
    with pytest.raises(CheckpointError, match="do not match"):
        load_checkpoint(tmp_path / "m.pt")


def test_rejects_zip_bombs(small, tmp_path):
    path = tmp_path / "m.pt"
    with zipfile.ZipFile(small) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            new.writestr(info.filename, old.read(info) if not info.filename.endswith("/data/3") else bytes(20_000_000))
    with pytest.raises(CheckpointError, match="more than its size"):
        read_checkpoint(path)


def test_rejects_networks_that_return_nan(small, tmp_path):
    content = torch.load(small, weights_only=True)
    name = next(name for name in content["state_dict"] if name.endswith("ferplus.weight"))
    content["state_dict"][name].fill_(float("nan"))
    torch.save(content, tmp_path / "m.pt")
    with pytest.raises(CheckpointError, match="damaged"):
        EmotionClassifier(tmp_path / "m.pt", "cpu")


@pytest.mark.parametrize("how", range(5))
def test_checkpoint_code_never_runs(tmp_path, small, how):
    content = torch.load(small, weights_only=True)
    for i, zipped in enumerate((True, False)):
        torch.save({**content, "metrics": Runs(tmp_path / MARKER, how)}, tmp_path / f"{i}.pt",
                   _use_new_zipfile_serialization=zipped)
        with pytest.raises(CheckpointError):
            load_checkpoint(tmp_path / f"{i}.pt")
    assert not (tmp_path / MARKER).exists()


def test_rejects_deeply_nested_json(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"x")
    (tmp_path / "m.onnx.json").write_text("[" * 100_000)
    with pytest.raises(CheckpointError, match="does not describe an exported network"):
        read_spec(tmp_path / "m.onnx")


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_rejects_onnx_that_does_not_match_its_spec(tmp_path, runtime):
    pytest.importorskip("onnx")
    pytest.importorskip({"onnx": "onnxruntime"}.get(runtime, runtime))
    import json

    path = tmp_path / "m.onnx"
    path.write_bytes(seeds.onnx())
    fields = {**seeds.spec().__dict__, "channels": 3, "mean": [0.5] * 3, "std": [0.5] * 3}
    path.with_suffix(".onnx.json").write_text(json.dumps({"spec": fields, "source_sha256": ""}))
    with pytest.raises(CheckpointError):
        EmotionClassifier(path, "cpu", None, runtime)


def test_video_with_timestamp_jumps_keeps_playing():
    data = bytearray(seeds.clips()["avi"])
    at = data.find(b"strh") + 8 + 20
    data[at : at + 8] = struct.pack("<II", 1_000_000, 1)  # a frame every eleven days
    began_s = time.monotonic()
    with pytest.raises(SourceError), served(bytes(data), "video/x-msvideo") as address, Stream(address) as source:
        assert source.ends
        for frame in source:
            assert time.monotonic() - began_s < 8, "it waits for the next image"
            if frame.index == 3:
                raise SourceError("enough")


def test_invalid_metadata_does_not_end_a_recording(tmp_path):
    path = tmp_path / "a.mkv"
    data = seeds.clips()["mkv"]
    assert b"Lavf" in data
    path.write_bytes(data.replace(b"Lavf", b"\xff\xfe\xff\xff"))
    with VideoFile(path) as source, VideoRecorder(tmp_path / "b.mp4", 25.0, sound_from=path) as recorder:
        for frame in source:
            recorder.write(frame.image, Analysis(frame, ()))
    assert recorder.path.stat().st_size > 1000


# ---------------------------------------------------------------------------------------------- logs


def test_rejects_a_log_with_a_truncated_first_line(tmp_path):
    path = tmp_path / "l.csv"
    path.write_bytes(b"frame\r,time_s\n" + zlib.compress(b"x" * 99))
    with pytest.raises(SourceError, match="not a log of fer_live"):
        list(read_log(path))
