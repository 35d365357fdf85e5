"""The kinds of hostile input: each generates an input and passes it to the program's code, in a separate folder.

A kind is a function of (box, rng). `box` has the folders `in` and `out`; the program may write only to `out`. A kind returns a
word for the outcome, or raises the program's exception.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import math
import os
import pickle
import shutil
import struct
import threading
import time
import zipfile
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from fer_live.analysis.analyzer import Analyzer
from fer_live.analysis.classifier import PACKAGES
from fer_live.model.spec import EMOTIONS
from fer_live.pipeline import run_file
from fer_live.screen.overlay import Overlay
from fer_live.sinks.image_writer import ImageWriter
from fer_live.sinks.log import Log
from fer_live.sinks.recorder import VideoRecorder
from fer_live.sources.images import ImageFiles
from fer_live.sources.open import open_source
from fer_live.sources.video_file import VideoFile
from fer_live.types import Analysis, Frame, View
from tests import fuzz_seeds as seeds
from tests.fuzz_bytes import ODD, mutate, odd_box_field, png, zeros

RUNTIMES = [name for name, package in PACKAGES.items() if find_spec(package)] or ["onnx"]
MARKER = "code-was-run"  # a file of this name in the box means that it was


class Even:
    """A classifier with uniform probabilities."""

    spec = seeds.spec()

    def __call__(self, crops):
        return np.full((len(crops), 7), 1 / 7, np.float32)


def _run(source, sinks, still: bool) -> str:
    from fer_live.analysis.detection import ScheduledDetector
    from fer_live.model.haar import HaarFaceDetector

    analyzer = Analyzer(Even(), ScheduledDetector(HaarFaceDetector()), HaarFaceDetector(0.06, step=1.05, neighbors=5))
    with source, contextlib.ExitStack() as stack:
        for sink in sinks(source):
            stack.enter_context(sink)
        analyze_all = partial(map, analyzer.analyze_still) if still else analyzer.analyze_all
        run_file(source, analyze_all, Overlay(EMOTIONS, View()).draw, list(sinks.made), threading.Event(), source.frames,
                 ahead=1 if still else 4)
    return "read"


class _Sinks:
    """Creates sinks for an open source, and keeps them."""

    def __init__(self, make):
        self.make, self.made = make, []

    def __call__(self, source):
        self.made = self.make(source)
        return self.made


# ---------------------------------------------------------------------------------------------- images


def image(box: Path, rng: np.random.Generator) -> str:
    """A damaged image, analyzed, annotated, written and logged."""
    ending = str(rng.choice([".png", ".jpg", ".webp", ".bmp", ".tiff"]))
    options = seeds.images()[ending]
    data = options[int(rng.integers(len(options)))]
    draw = rng.random()
    if draw < 0.25:
        data = _odd_size(ending, data, rng)
    elif draw < 0.3:
        ending = str(rng.choice([".png", ".jpg", ".webp", ".bmp", ".tiff"]))  # content of another format than the extension
    if not 0.15 < draw < 0.28:
        data = mutate(data, rng, 64 if rng.random() < 0.5 else 0)
    path = box / "in" / f"p{ending}"
    path.write_bytes(data)
    sinks = _Sinks(lambda _: [ImageWriter(box / "out", True), Log(box / "out" / "l.csv", EMOTIONS)])
    return _run(ImageFiles([path], "p"), sinks, True)


def _odd_size(ending: str, data: bytes, rng: np.random.Generator) -> bytes:
    """A header with a wrong size; for PNG also with valid checksums."""
    width, height = (int(rng.choice([0, 1, 3, 64, 5000, 30_000, 65_500, 1 << 20, 0x7FFFFFFF, 0xFFFFFFFF])) for _ in range(2))
    if ending == ".png":
        depth, color = int(rng.choice([1, 8, 16])), int(rng.choice([0, 2, 3, 6]))
        return png(width, height, zeros(int(rng.choice([0, 100, 1 << 20]))), depth, color)
    if ending == ".bmp":
        return data[:18] + struct.pack("<II", width, height) + data[26:]
    if ending == ".jpg":
        at = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2")) + 5
        return data[:at] + struct.pack(">HH", height & 0xFFFF, width & 0xFFFF) + data[at + 4 :]
    if ending == ".webp":
        at = 26 if data[12:16] == b"VP8 " else 21
        return data[:at] + struct.pack("<HH", width & 0x3FFF, height & 0x3FFF) + data[at + 4 :]
    at = struct.unpack("<I", data[4:8])[0] + 2
    for entry in range(at, min(at + 12 * 16, len(data) - 12), 12):  # TIFF: width 256, height 257, rows a strip 278
        tag = struct.unpack("<H", data[entry : entry + 2])[0]
        if tag in (256, 257, 278):
            data = data[: entry + 2] + struct.pack("<HII", 4, 1, width if tag == 256 else height) + data[entry + 12 :]
    return data


def name(box: Path, rng: np.random.Generator) -> str:
    """A frame whose name points outside the output folder."""
    evil = ["../evil.png", "..", "../../evil.jpg", str(box / "evil.png"), "a/../../evil.png", "a\0b.png", "x" * 300 + ".png", "",
            ".", "evil", "con.png", "a/b/c.png", "\ud800.png", "..\\evil.png", "-rf.png", " .png", "a\nb.png", ".png",
            "in/../../in/p.png", "~/evil.png", "p.exe", "p.py", "p.html"]
    text = str(rng.choice(evil))
    frame = Frame(np.zeros((20, 20, 3), np.uint8), 0, 0.0, text)
    with Log(box / "out" / "l.jsonl", EMOTIONS) as log, ImageWriter(box / "out", True) as writer:
        log.write(frame.image, Analysis(frame, ()))
        writer.write(frame.image, Analysis(frame, ()))
    return "read"


# ---------------------------------------------------------------------------------------------- clips


def _bad_clip(rng: np.random.Generator) -> tuple[str, bytes]:
    ending = str(rng.choice(["mp4", "mp4", "mkv", "avi", "mjpeg", "mov", "ts"]))
    data = seeds.clips()[ending]
    if ending in ("mp4", "mov") and rng.random() < 0.6:
        for _ in range(int(rng.integers(1, 3))):
            data = odd_box_field(data, rng)
        return ending, data
    if rng.random() < 0.1:
        data = data[: len(data) // 2] + seeds.clips()[str(rng.choice(list(seeds.clips())))][-len(data) // 2 :]
    return ending, mutate(data, rng, 1500 if rng.random() < 0.5 else 0)


def clip(box: Path, rng: np.random.Generator) -> str:
    """A damaged clip, read to its end."""
    ending, data = _bad_clip(rng)
    path = box / "in" / f"c.{ending}"
    path.write_bytes(data)
    with VideoFile(path) as source:
        for frame in source:
            assert frame.image.ndim == 3 and frame.image.dtype == np.uint8 and math.isfinite(frame.time_s)
    return "read"


def recording(box: Path, rng: np.random.Generator) -> str:
    """A damaged clip, analyzed and re-recorded with its sound."""
    ending, data = _bad_clip(rng)
    path = box / "in" / f"c.{ending}"
    path.write_bytes(data)

    def sinks(source):
        sound = path if source.has_audio else None
        recorder = VideoRecorder(box / "out" / "o.mp4", source.fps, source.time_base, sound_from=sound)
        return [recorder, Log(box / "out" / "l.jsonl", EMOTIONS)]

    return _run(VideoFile(path), _Sinks(sinks), False)


# ---------------------------------------------------------------------------------------------- training data


CELLS = ("", "-1", "7", "1e5", "256", "9" * 30, "9" * 5000, "nan", "inf", "-inf", "1e400", '"', '"\n', "\0", "\r", "é",
         "\uff10", "1_0", " 3", "0x10", "Training", "=1+1", "\ufeff")


def _bad_table(data: bytes, rng: np.random.Generator) -> bytes:
    """A CSV with unusual cells, rows, encodings or bytes."""
    draw = rng.random()
    if draw < 0.4:
        lines = data.decode().split("\n")
        for _ in range(int(rng.integers(1, 4))):
            row = int(rng.integers(len(lines)))
            mark = "," if rng.random() < 0.7 else " "
            cells = lines[row].split(mark)
            cells[int(rng.integers(len(cells)))] = CELLS[int(rng.integers(len(CELLS)))]
            lines[row] = mark.join(cells)
        return "\n".join(lines).encode()
    if draw < 0.5:
        return data.decode().encode(str(rng.choice(["utf-16", "utf-16-le", "utf-8-sig", "utf-32", "cp500"])))
    if draw < 0.6:
        long = b"1 " * int(rng.choice([100, 70_000, 1_000_000]))
        return data + b"3," + long + b",Training\n"
    return mutate(data, rng, 100 if rng.random() < 0.3 else 0)


def _load(path: Path, votes: Path | None = None) -> str:
    from training.audit import audit, describe
    from training.data import load_dataset

    data = load_dataset(path, votes)
    assert len(data.images) == len(data.labels) == len(data.rows)
    if data.votes is not None:
        assert np.isfinite(data.votes).all() and (data.votes >= 0).all()
    describe(audit(data))
    return "read"


def dataset(box: Path, rng: np.random.Generator) -> str:
    """A damaged fer2013.csv."""
    path = box / "in" / "fer2013.csv"
    path.write_bytes(_bad_table(seeds.dataset_csv()[0], rng))
    return _load(path)


def votes(box: Path, rng: np.random.Generator) -> str:
    """Damaged FER+ votes with an intact fer2013.csv."""
    path, table = box / "in" / "fer2013.csv", box / "in" / "votes.csv"
    path.write_bytes(seeds.dataset_csv()[0])
    table.write_bytes(_bad_table(seeds.dataset_csv()[1], rng))
    return _load(path, table)


def folder(box: Path, rng: np.random.Generator) -> str:
    """Class folders with unusual entries."""
    root = box / "in" / "data"
    for split in ("train", "validation") if rng.random() < 0.7 else ("",):
        for emotion in EMOTIONS:
            (root / split / emotion).mkdir(parents=True)
            for row in range(2):
                (root / split / emotion / f"{row}.png").write_bytes(seeds.images()[".png"][1])
    places = [root, *(p for p in root.rglob("*") if p.is_dir())]
    for _ in range(int(rng.integers(1, 5))):
        _strange(places[int(rng.integers(len(places)))], rng)
    return _load(root)


def _strange(place: Path, rng: np.random.Generator) -> None:
    """Add an unexpected entry, or remove one."""
    names = ["9" * 19, "9" * 30, "9" * 200, "-5", "train", "happy", "Happy", "\u0663", "a\nb", "x", "validation", "val"]
    text = str(rng.choice(names))
    path = place / (text + str(rng.choice([".png", ".jpg", "", ".bmp"])))
    kind = int(rng.integers(9))
    with contextlib.suppress(OSError):
        if kind == 0:
            path.mkdir()
        elif kind == 1:
            os.mkfifo(path)
        elif kind == 2:
            path.symlink_to(str(rng.choice(["/nowhere", "/dev/zero", "..", "/", "/dev/urandom", "."])))
        elif kind == 3:
            path.write_bytes(rng.bytes(200))
        elif kind == 4:
            path.write_bytes(mutate(seeds.images()[".png"][0], rng))
        elif kind == 5:
            path.write_bytes(png(60_000, 60_000, zeros(1000)))
        elif kind == 6:
            path.touch()
        elif kind == 7:
            with open(path, "wb") as file:
                file.truncate(1 << 40)  # a sparse file: a terabyte that takes no space
        else:
            shutil.rmtree(place)


# ---------------------------------------------------------------------------------------------- networks


class Runs:
    """Creates a file when unpickled."""

    def __init__(self, path: Path, how: int):
        self.path, self.how = path, how

    def __reduce__(self):
        text = f"open({str(self.path)!r}, 'w').close()"
        return ((os.system, (f"touch '{self.path}'",)), (exec, (text,)), (eval, (text,)), (Path.touch, (self.path,)),
                (os.makedirs, (str(self.path),)))[self.how % 5]


VALUES = (None, 0, -1, 1, 7, 10**6, 10**30, 1e308, float("nan"), float("inf"), -0.5, "", "x", "efficientnet_b0",
          "vit_giant_patch14_dinov2", "../../x", "hf-hub:x/y", True, [], [0.0], [1, 2, 3], ["a"] * 7, [None] * 7, {},
          {"fer2013": 0.0}, {"ferplus": None}, {"x": 1.0}, {"ferplus": "1"}, [[1]], "\ud800", list(range(2000)))


def _bad_spec(fields: dict, rng: np.random.Generator) -> dict:
    fields = dict(fields)
    for _ in range(int(rng.integers(1, 3))):
        key = str(rng.choice([*fields, "arch", "evil"]))
        if rng.random() < 0.15:
            fields.pop(key, None)
        else:
            fields[key] = VALUES[int(rng.integers(len(VALUES)))]
    return fields


def checkpoint(box: Path, rng: np.random.Generator) -> str:
    """A damaged or hostile checkpoint, loaded and run."""
    path = box / "in" / "m.pt"
    draw = rng.random()
    seed = seeds.checkpoint(Path(os.environ["FUZZ_SEEDS"]))
    if draw < 0.3:
        data = seed.read_bytes()
        size = int(rng.choice([300, 20_000, len(data)]))
        at_end = rng.random() < 0.5  # where a zip file has its table of contents
        path.write_bytes(data[:-size] + mutate(data[-size:], rng) if at_end else mutate(data, rng, size))
    elif draw < 0.5:
        _bad_zip(seed, path, rng, box)
    else:
        _bad_content(seed, path, rng, box)
    return _ask(path)


def _ask(path: Path, runtime: str = "auto") -> str:
    from fer_live.analysis.classifier import EmotionClassifier

    classifier = EmotionClassifier(path, "cpu", None, runtime)
    probs = classifier(np.zeros((2, classifier.spec.input_size, classifier.spec.input_size, classifier.spec.channels), np.uint8))
    assert probs.shape == (2, 7) and np.isfinite(probs).all() and len(classifier.spec.labels) == 7
    return "read"


def _bad_content(seed: Path, path: Path, rng: np.random.Generator, box: Path) -> None:
    """A checkpoint written by torch with invalid content."""
    import torch

    content = torch.load(seed, weights_only=True)
    kind, marker = int(rng.integers(9)), box / MARKER
    if kind <= 2:
        content["spec"] = _bad_spec(content["spec"], rng)
    elif kind == 3:
        content[str(rng.choice(["spec", "format", "state_dict"]))] = VALUES[int(rng.integers(len(VALUES)))]
    elif kind <= 6:
        key = list(content["state_dict"])[int(rng.integers(len(content["state_dict"])))]
        content["state_dict"][key] = _bad_tensor(content["state_dict"][key], rng)
    elif kind == 7:
        content[str(rng.choice(["metrics", "spec", "format", "evil"]))] = Runs(marker, int(rng.integers(5)))
    else:
        content = VALUES[int(rng.integers(len(VALUES)))]
    if rng.random() < 0.15:
        path.write_bytes(pickle.dumps(content, protocol=int(rng.integers(6))))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=bool(rng.random() < 0.8))


def _bad_tensor(tensor, rng: np.random.Generator):
    import torch

    kinds = (
        lambda: torch.full_like(tensor, float("nan")) if tensor.is_floating_point() else tensor - 2**62,
        lambda: torch.full_like(tensor, float("inf")) if tensor.is_floating_point() else tensor,
        lambda: tensor[..., None], lambda: torch.zeros(1).expand(1 << 20, 1 << 20), lambda: torch.zeros(()).expand(tensor.shape),
        lambda: tensor.to(torch.complex64), lambda: tensor.bool(), lambda: tensor.float().to_sparse(), lambda: tensor.to("meta"),
        lambda: None, lambda: 5, lambda: tensor.flatten()[:0], lambda: torch.nn.Parameter(tensor.float()), lambda: [tensor])
    return kinds[int(rng.integers(len(kinds)))]()


def _bad_zip(seed: Path, path: Path, rng: np.random.Generator, box: Path) -> None:
    """A checkpoint with a manipulated zip archive."""
    kind = int(rng.integers(7))
    with zipfile.ZipFile(seed) as old:
        content = {info.filename: old.read(info) for info in old.infolist()}
    data = next(name for name in content if name.endswith("data.pkl"))
    root = data.split("/")[0]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if kind == 0 else zipfile.ZIP_STORED) as new:
        for name, part in content.items():
            if kind == 1 and name == data:
                part = pickle.dumps(Runs(box / MARKER, int(rng.integers(5))), protocol=2)
            if kind == 2 and name == data:
                part = mutate(part, rng)
            if kind == 3 and name.endswith("/data/3"):
                continue
            if kind == 4 and name.endswith("/data/3"):
                part = part * 50
            new.writestr(name, part)
        if kind == 5:
            for name in ("../../evil", f"{root}/../../evil", "/evil", f"{root}/code/__torch__.py", f"{root}/constants.pkl"):
                new.writestr(name, b"import os\n")
        if kind == 6:
            name = f"{root}/data/{rng.integers(10)}" if rng.random() < 0.7 else f"{root}/data.pkl"
            with new.open(zipfile.ZipInfo(name), "w", force_zip64=True) as file:
                file.write(bytes(1000))
    if kind == 6 and rng.random() < 0.7:
        odd = struct.pack("<I", ODD[int(rng.integers(len(ODD)))])
        path.write_bytes(path.read_bytes().replace(struct.pack("<I", 1000), odd))


def onnx(box: Path, rng: np.random.Generator) -> str:
    """A damaged .onnx file with an intact spec."""
    path = box / "in" / "m.onnx"
    path.write_bytes(mutate(seeds.onnx(), rng))
    _note(path, seeds.spec().__dict__)
    return _ask(path, str(rng.choice(RUNTIMES)))


def note(box: Path, rng: np.random.Generator) -> str:
    """An intact .onnx file with a damaged spec."""
    path = box / "in" / "m.onnx"
    path.write_bytes(seeds.onnx())
    _note(path, seeds.spec().__dict__ if rng.random() < 0.4 else _bad_spec(seeds.spec().__dict__, rng))
    beside = path.with_suffix(".onnx.json")
    if rng.random() < 0.4:
        beside.write_bytes(mutate(beside.read_bytes(), rng))
    elif rng.random() < 0.1:
        beside.write_text(str(rng.choice(["[" * 100_000, "[]", "5", "null", '{"spec": {"arch": ' + "9" * 5000 + "}}"])))
    return _ask(path, str(rng.choice(RUNTIMES)))


def _note(path: Path, fields: dict) -> None:
    path.with_suffix(".onnx.json").write_text(json.dumps({"spec": fields, "source_sha256": "0" * 64}))


# ---------------------------------------------------------------------------------------------- logs


JSON = ("NaN", "Infinity", "-1", "1e999", "9" * 25, "9" * 5000, "null", "[]", "{}", '"\\ud800"', '"<script>"', "true",
        '"' + "x" * 5000 + '"', "[" * 5000, "1e7", "-1e300", '"../../evil"')


def jsonl_log(box: Path, rng: np.random.Generator) -> str:
    """A damaged .jsonl log, read and reported."""
    data = seeds.logs()[0]
    if rng.random() < 0.5:
        lines = data.decode().split("\n")
        for _ in range(int(rng.integers(1, 6))):
            row = int(rng.integers(len(lines)))
            parts = lines[row].split(": ")
            at = int(rng.integers(len(parts)))
            rest = parts[at].find(",")
            parts[at] = JSON[int(rng.integers(len(JSON)))] + (parts[at][rest:] if rest >= 0 else "")
            lines[row] = ": ".join(parts)
        data = "\n".join(lines).encode()
    else:
        data = _bad_table(data, rng)
    return _report(box, "l.jsonl", data, rng)


def csv_log(box: Path, rng: np.random.Generator) -> str:
    """A damaged .csv log, read and reported."""
    return _report(box, "l.csv", _bad_table(seeds.logs()[1], rng), rng)


def _report(box: Path, name: str, data: bytes, rng: np.random.Generator) -> str:
    from fer_live.report.__main__ import make_report
    from fer_live.sinks.log_reader import read_log

    path, video = box / "in" / name, None
    path.write_bytes(data)
    for entry in read_log(path):
        assert isinstance(entry, dict)
    if rng.random() < 0.2:
        ending, clip = _bad_clip(rng)
        video = box / "in" / f"c.{ending}"
        video.write_bytes(clip)
    make_report(path, video, box / "out" / "r.html")
    return "read"


# ---------------------------------------------------------------------------------------------- streams


@contextlib.contextmanager
def served(data: bytes, content_type: str):
    """A loopback server that sends `data` and disconnects."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            with contextlib.suppress(OSError):
                self.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Type: " + content_type.encode() + b"\r\n\r\n" + data)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.block_on_close = True, False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _bad_stream(rng: np.random.Generator) -> tuple[bytes, str]:
    kind = int(rng.integers(5))
    mjpeg = "multipart/x-mixed-replace; boundary=frame"
    if kind <= 1:
        return mutate(seeds.mjpeg_stream(), rng, 4500), mjpeg
    if kind == 2:
        return mutate(seeds.clips()["ts"], rng), "video/mp2t"
    if kind == 3:
        kinds = [mjpeg, "video/mp2t", "image/jpeg", "application/vnd.apple.mpegurl", "x"]
        return rng.bytes(int(rng.integers(20_000))), str(rng.choice(kinds))
    ending, data = _bad_clip(rng)
    return data, "video/mp4" if ending == "mp4" else ""


def stream(box: Path, rng: np.random.Generator) -> str:
    """A network camera that sends damaged bytes and disconnects."""
    with served(*_bad_stream(rng)) as address, open_source(address) as source:
        for frame in source:
            assert frame.image.ndim == 3 and frame.image.dtype == np.uint8
    return "read"


def supervised(box: Path, rng: np.random.Generator) -> str:
    """The same with the supervisor, which must show slates, or the video if the stream is one."""
    from fer_live.sources.connection import Timeouts
    from fer_live.sources.slate import draw_slate
    from fer_live.sources.supervisor import Supervised

    timeouts = Timeouts(silent_s=0.4, frozen_s=0.4, open_s=1.0, shortest_s=0.05, longest_s=0.1, slate_s=0.05)
    until_s = time.monotonic() + 0.8
    with (served(*_bad_stream(rng)) as address,
          Supervised("camera", lambda: open_source(address), draw_slate, timeouts=timeouts, wait=True) as source):
        for _ in source:
            if time.monotonic() > until_s:
                return "held" if source.faults else "read"
    return "ended"


SHARES = {image: 30, name: 1, clip: 16, recording: 4, dataset: 8, votes: 4, folder: 4, checkpoint: 8, onnx: 4, note: 5,
          jsonl_log: 7, csv_log: 4, stream: 4, supervised: 1}
KINDS = {kind.__name__: kind for kind in SHARES}


def _eat(box: Path, rng: np.random.Generator) -> str:
    return str(np.ones(2_500_000_000, np.uint8).sum())


def _leave(box: Path, rng: np.random.Generator) -> str:
    (box / MARKER).touch()
    return "read"


# Faults that the fuzzer must detect, for its own test.
TRAPS = {"crash": lambda box, rng: os.abort(), "hang": lambda box, rng: time.sleep(60), "eat": _eat, "leave": _leave,
         "raise": lambda box, rng: {}["x"]}


def counts(total: int) -> dict[str, int]:
    """The number of cases per kind for at least `total` cases."""
    return {kind.__name__: math.ceil(total * share / sum(SHARES.values())) for kind, share in SHARES.items()}
