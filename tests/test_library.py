"""`fer_live.load()`: supported inputs, results, and one-line errors for ambiguous input."""

import io
import itertools
import json
import multiprocessing
import pickle
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import cv2  # before av; see fer_live/sources/__init__.py

# isort: split
import av
import numpy as np
import pandas
import pytest
from PIL import Image

import fer_live
from fer_live import Analyzer, Frame, OutputError, Recognizer, Result, SourceError
from fer_live.library import recognizer
from fer_live.model.detections import DEFAULT_DETECTOR
from fer_live.types import Analysis, Face
from tests.conftest import ROOT

PORTRAIT = ROOT / "fer_live" / "assets" / "portrait.jpg"
LABELS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")


@pytest.fixture(scope="module")
def fer():
    return fer_live.load(device="cpu")


@pytest.fixture(scope="module")
def known(fer):
    return fer(str(PORTRAIT))


def rgb(image):
    return Image.fromarray(np.ascontiguousarray(image[:, :, ::-1]))


def png(image):
    return cv2.imencode(".png", image)[1].tobytes()


def turned_by_exif(image):
    """The image rotated by 90 degrees, with an EXIF orientation that undoes it."""
    file, image = io.BytesIO(), rgb(cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(file, "PNG", exif=exif)
    return Image.open(file)


# The portrait in every accepted form: input and color
SAME = {
    "path": lambda image: PORTRAIT,
    "bytes": lambda image: png(image),
    "bytearray": lambda image: bytearray(png(image)),
    "binary file": lambda image: io.BytesIO(png(image)),
    "Pillow": rgb,
    "Pillow with alpha": lambda image: rgb(image).convert("RGBA"),
    "Pillow turned by EXIF": turned_by_exif,
    "array": lambda image: image,
    "with alpha": lambda image: np.dstack([image, image[:, :, 0]]),
    "float": lambda image: image / 255,
    "float of a resize": lambda image: np.clip(image / 255, 0, 1) * 1.0009 - 0.0002,
    "single float": lambda image: (image / 255).astype(np.float32),
    "half float": lambda image: (image / 255).astype(np.float16),
    "float to 255": lambda image: image.astype(np.float32),
    "int64": lambda image: image.astype(np.int64),
    "uint16 with bytes": lambda image: image.astype(np.uint16),
    "not contiguous": lambda image: np.repeat(np.repeat(image, 2, 0), 2, 1)[::2, ::2],
    "upside down twice": lambda image: image[::-1].copy()[::-1],
    "Fortran's order": np.asfortranarray,
    "read only": lambda image: np.frombuffer(image.tobytes(), np.uint8).reshape(image.shape),
}


@pytest.mark.parametrize("case", SAME)
def test_accepts_every_image_input(fer, known, portrait, case):
    result = fer(SAME[case](portrait))
    assert isinstance(result, Result) and len(result) == 1
    assert np.abs(result.image.astype(int) - portrait).max() <= 1
    assert np.abs(np.array(result[0].box) - known[0].box).max() <= 2 and result[0].label == "happy"


@pytest.mark.parametrize(("case", "make"), [
    ("RGB", lambda image: image[:, :, ::-1]), ("RGBA", lambda image: np.dstack([image[:, :, ::-1], image[:, :, 0]])),
    ("float RGB", lambda image: image[:, :, ::-1] / 255),
])
def test_color_sets_the_channel_order(fer, portrait, case, make):
    assert np.array_equal(fer(make(portrait), color="rgb").image, portrait), case
    assert not np.array_equal(fer(make(portrait)).image, portrait), "without it arrays are BGR"


@pytest.mark.parametrize("shape", [(512, 512), (512, 512, 1)])
def test_gray_images_ignore_channel_order(fer, portrait, shape):
    gray = cv2.cvtColor(portrait, cv2.COLOR_BGR2GRAY).reshape(shape)
    for color in (None, "bgr", "rgb"):
        result = fer(gray, color=color)
        assert result.image.shape == (512, 512, 3) and np.array_equal(result.image[:, :, 1], gray.reshape(512, 512))
        assert result[0].label == "happy"
    assert fer(Image.fromarray(gray.reshape(512, 512)))[0].label == "happy"


def test_sixteen_bit_files_and_pil_images_agree(fer, portrait, tmp_path):
    deep = cv2.cvtColor(portrait, cv2.COLOR_BGR2GRAY).astype(np.uint16) * 257
    cv2.imwrite(str(tmp_path / "deep.png"), deep)
    with Image.open(tmp_path / "deep.png") as image:
        assert image.mode.startswith("I;16")
        assert np.array_equal(fer(image).image, fer(tmp_path / "deep.png").image)


IMAGE = np.full((120, 160, 3), 90, np.uint8)
REFUSED = {  # invalid input -> error type, part of the message
    "None": (None, TypeError, "which cv2.imread returns for an unreadable file"),
    "int": (7, TypeError, "got int"),
    "dict": ({}, TypeError, "an image is a path, an array .* got dict"),
    "text file": (io.StringIO("x"), TypeError, "open it with open"),
    "tensor": (type("Tensor", (), {"numpy": lambda self: None})(), TypeError, r"tensor.permute\(1, 2, 0\).numpy\(\)"),
    "missing": ("party.jpg", SourceError, "cannot read party.jpg: no such file"),
    "address": ("https://me:secret@example.org/a.jpg", SourceError, "is a URL; download"),
    "folder": (str(ROOT), SourceError, r"not a single image; use stream\(\)"),
    "pattern": ("photos/*.jpg", SourceError, r"use stream\(\) for a folder"),
    "no image": (str(ROOT / "README.md"), SourceError, "damaged, or an unknown format"),
    "path of bytes": (b"party.jpg", SourceError, "cannot read an image of 9 bytes"),
    "no bytes": (b"", SourceError, "it is empty"),
    "null": ("a\0b.jpg", SourceError, "null"),
    "long": ("a" * 300 + ".jpg", SourceError, "too long"),
    "CHW": (IMAGE.transpose(2, 0, 1), ValueError, r"array.transpose\(1, 2, 0\)"),
    "two channels": (IMAGE[:, :, :2], ValueError, r"got uint8 of shape \(120, 160, 2\)"),
    "batch": (IMAGE[None], ValueError, r"list\(array\)"),
    "empty": (IMAGE[:0], ValueError, "it is empty"),
    "line": (IMAGE[0, :, 0], ValueError, "shape"),
    "mask": (IMAGE > 3, ValueError, "numbers"),
    "complex": (IMAGE * 1j, ValueError, "numbers"),
    "objects": (IMAGE.astype(object), ValueError, "numbers"),
    "normalized": ((IMAGE - 127.5) / 127.5, ValueError, "float64 from -0.29"),
    "just above 1": (IMAGE / 60, ValueError, "from 1.5 to 1.5; scale them"),
    "not a number": (IMAGE * np.nan, ValueError, "nan"),
    "12 bits": (IMAGE.astype(np.uint16) * 16, ValueError, "divide 16-bit values by 256, 12-bit values by 16"),
    "negative": (IMAGE.astype(int) - 100, ValueError, "from -10 to -10"),
    "nested list": ([[IMAGE]], TypeError, "image 0 of the list: .* got list"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_rejects_invalid_or_ambiguous_images(fer, case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given, kind, words = REFUSED[case]
    with pytest.raises(kind, match=words) as caught:
        fer(given)
    text = str(caught.value)
    assert "\n" not in text and len(text) < 250 and "secret" not in text and not isinstance(caught.value, cv2.error)


@pytest.mark.parametrize(("given", "color", "words"), [
    (IMAGE, "BGR", "color must be 'bgr' .* or 'rgb' .* got 'BGR'"), (IMAGE, 3, "got 3"),
    (str(PORTRAIT), "rgb", "leave it out for str"),
    (Image.new("RGB", (9, 9)), "bgr", "leave it out for PIL"), ([str(PORTRAIT)], "rgb", "image 0 of the list: color is"),
])
def test_rejects_color_without_effect(fer, given, color, words):
    with pytest.raises(ValueError, match=words):
        fer(given, color=color)


def test_rejects_a_video_as_an_image(fer, tmp_path, make_clip):
    with pytest.raises(SourceError, match=r"it is a video; use stream\(\) or video\(\)"):
        fer(make_clip(tmp_path / "clip.mp4", frames=4))


def test_rejects_truncated_or_ambiguous_pil_images(fer, portrait):
    with pytest.raises(SourceError, match=r"cannot read a PIL image: .*truncated") as caught:
        fer(Image.open(io.BytesIO(png(portrait)[:90000])))
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="from -3 to -3"):
        fer(Image.fromarray(np.full((90, 90), -3, np.float32)))
    assert fer(Image.fromarray(np.full((90, 90), 0.5, np.float32))).image.max() == 128


def test_list_returns_a_list_and_errors_name_the_index(fer, portrait):
    results = fer([PORTRAIT, IMAGE, rgb(portrait)])
    assert [len(result) for result in results] == [1, 0, 1] and [result.frame for result in results] == [0, 1, 2]
    assert [result.path for result in results] == [str(PORTRAIT), None, None] and fer(()) == []
    with pytest.raises(SourceError, match=r"image 1 of the list: cannot read nowhere\.jpg: no such file"):
        fer([portrait, "nowhere.jpg"])


def test_results_do_not_alias_the_callers_array(fer, portrait):
    mine = portrait.copy()
    result = fer(mine)
    mine[:] = 0
    assert np.array_equal(result.image, portrait) and result[0].crop.any()


# ------------------------------------------------------------------------------------------------ results


def test_result_is_a_sequence_of_faces(known, portrait):
    face, = known
    assert known and len(known) == 1 and known[0] is face and known[-1] is face and known[:1] == (face,) and list(known) == [face]
    assert face in known and known.faces == (face,) and known.path == str(PORTRAIT) and (known.frame, known.time_s) == (0, 0.0)
    assert tuple(face.emotions) == LABELS == known.labels and sum(face.emotions.values()) == pytest.approx(1, abs=1e-4)
    assert face.label == "happy" and face.confidence == face.emotions["happy"] > 0.9 and face.track_id == 1
    assert {type(v) for v in face.box} == {int} and {type(v) for v in face.emotions.values()} == {float}
    x1, y1, x2, y2 = face.box
    assert np.array_equal(face.crop, portrait[y1:y2, x1:x2]) and not np.shares_memory(face.crop, known.image)
    with pytest.raises(IndexError, match="no face 1: 1 face: happy"):
        known[1]
    assert str(known) == f"1 face: happy {face.confidence:.0%}" and str(PORTRAIT) in repr(known)


def test_faces_print_as_text(portrait):
    unsure, sure = np.full(7, 0.59 / 6, np.float32), np.full(7, 0.01, np.float32)
    unsure[4], sure[3] = 0.41, 0.93
    faces = Face((0, 0, 90, 90), 1, sure, "happy", 0.93), Face((90, -9, 600, 90), 2, unsure, "unsure", 0.41)
    two, nobody = (Result(Analysis(Frame(portrait, 3, 0.5), some), LABELS) for some in (faces, ()))
    assert str(two) == "2 faces: happy 93%, unsure (neutral 41%)" and str(nobody) == "no faces" and not nobody
    assert two[1].crop.shape == (90, 422, 3), "clipped to the image"
    assert nobody.to_dict() == {"frame": 3, "time_s": 0.5, "faces": []}


def test_result_converts_to_dict_json_and_table(known):
    made = json.loads(known.to_json())
    assert made == known.to_dict() and made["faces"][0]["label"] == "happy" and made["file"] == str(PORTRAIT)
    assert made["faces"][0]["box"] == list(known[0].box) and list(made["faces"][0]["probs"]) == list(LABELS)
    table = known.to_df()
    assert list(table) == ["frame", "time_s", "track_id", "x1", "y1", "x2", "y2", "label", "confidence", *LABELS, "file"]
    assert table.loc[0, ["x1", "y1", "x2", "y2"]].tolist() == list(known[0].box) and table.loc[0, "happy"] == known[0].confidence


def test_tables_without_faces_keep_their_types(fer, known):
    empty = fer(IMAGE).to_df()
    assert len(empty) == 0 and empty.dtypes["confidence"] == np.float64 and empty.dtypes["x1"] == np.int64
    both = pandas.concat([empty, known.to_df()])
    assert both.dtypes["happy"] == np.float64 and both.dtypes["track_id"] == np.int64 and len(both) == 1


def test_missing_pandas_says_what_to_install(known, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="to_df needs pandas: pip install pandas"):
        known.to_df()
    assert known.to_dict()


def test_plot_saves_without_overwriting(known, portrait, tmp_path):
    plot = known.plot()
    x1, y1, x2, _ = known[0].box
    assert plot.image.shape == portrait.shape and (plot.image[y1, x1:x2] != portrait[y1, x1:x2]).any()
    assert (known.plot(bars=True).image != plot.image).any() and np.array_equal(known.image, portrait)
    first, second = plot.save(tmp_path / "out.png"), plot.save(str(tmp_path / "out.png"))
    assert (first.name, second.name) == ("out.png", "out-2.png")
    assert np.array_equal(cv2.imread(str(first)), plot.image)
    Image.new("RGB", (5, 5)).save(first)
    assert plot.save(first, overwrite=True) == first and np.array_equal(cv2.imread(str(first)), plot.image)
    assert np.array_equal(np.asarray(plot.to_pil())[:, :, ::-1], plot.image)
    for path, words in ((tmp_path, "it is a folder"), (tmp_path / "out.xyz", "not a supported image format")):
        with pytest.raises(OutputError, match=words):
            plot.save(path)


def test_notebook_image_has_a_bounded_size(fer, known, portrait):
    shown = cv2.imdecode(np.frombuffer(known._repr_png_(), np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(shown, known.plot().image)
    large = fer(cv2.resize(portrait, (2048, 1024)))._repr_png_()
    assert cv2.imdecode(np.frombuffer(large, np.uint8), cv2.IMREAD_COLOR).shape == (640, 1280, 3)
    strip = fer(np.full((1, 60000), 90, np.uint8))._repr_png_()
    assert cv2.imdecode(np.frombuffer(strip, np.uint8), cv2.IMREAD_COLOR).shape == (1, 1280, 3)
    page = known[0]._repr_html_()
    assert "data:image/png;base64," in page and all(f"<td>{name}</td>" in page for name in LABELS)


# ------------------------------------------------------------------------------------------------ streams


def told(results):
    return [(one.frame, one.time_s, [(face.track_id, face.box, face.label) for face in one]) for one in results]


def test_file_stream_yields_every_frame_with_time_and_tracks(fer, tmp_path, make_clip):
    clip = make_clip(tmp_path / "clip.mp4")
    got = told(fer.stream(str(clip)))
    assert [index for index, _, _ in got] == list(range(24)) and got[3][1] == pytest.approx(0.1001, abs=1e-4)
    assert all([face[0] for face in faces] == [1] for _, _, faces in got), "one face with one track id from its first frame on"
    with fer_live.open_source(clip) as source:
        assert told(fer.stream(source)) == got, "a pre-opened source gives the same result"
    with fer_live.open_source(clip) as source:
        images = [frame.image for frame in source]
    clip_video = told(fer.stream(iter(images), fps=30000 / 1001))
    assert [(index, faces) for index, _, faces in clip_video] == [(index, faces) for index, _, faces in got]
    assert [time_s for _, time_s, _ in clip_video] == pytest.approx([time_s for _, time_s, _ in got], abs=1e-4)


def test_live_frames_are_analyzed_on_arrival(fer, portrait):
    asked = []

    def camera():
        for number in range(6):
            asked.append(number)
            time.sleep(0.02)
            yield portrait[:, :, ::-1]

    answers = fer.stream(camera(), color="rgb")
    assert asked == []
    for number, result in enumerate(answers):
        assert asked == list(range(number + 1)), "nothing is read ahead"
        assert result.frame == number and np.array_equal(result.image, portrait)
        assert result.time_s >= 0.02 * number and (result.time_s == 0) == (number == 0)
    assert result[0].track_id == 1


def test_frames_keep_their_own_times(fer, portrait):
    frames = [Frame(portrait, 10 + i, 5 + i / 10) for i in range(4)]
    assert [(one.frame, one.time_s) for one in fer.stream(frames)] == [(10, 0.0), (11, 0.1), (12, 0.2), (13, 0.3)]


def test_images_of_a_folder_are_independent(fer, portrait, tmp_path):
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), portrait)
    results = list(fer.stream(tmp_path))
    assert [(one.path, len(one), one.time_s) for one in results] == [("a.png", 1, 0.0), ("b.png", 1, 0.0)]


class Camera:
    """A hundred frames per second; unread ones are queued in the driver."""

    is_live, fps, is_open = True, 100.0, False

    def __enter__(self):
        self.is_open, self.begun_s = True, time.monotonic()
        return self

    def __exit__(self, *exception):
        self.is_open = False

    def __iter__(self):
        for index in itertools.count():
            time.sleep(max(0.0, self.begun_s + index / self.fps - time.monotonic()))
            yield Frame(IMAGE, index, self.begun_s + index / self.fps)


def test_camera_stream_yields_the_newest_frame_and_closes(fer, monkeypatch):
    camera, got = Camera(), []
    monkeypatch.setattr(recognizer, "open_source", lambda source: camera)
    results = fer.stream(0)
    assert not camera.is_open, "only once the first frame is requested"
    for result in results:
        got.append((result.frame, result.time_s, time.monotonic() - camera.begun_s))
        time.sleep(0.15)  # a slow reader
        if len(got) == 5:
            break
    assert camera.is_open
    del results, result
    assert not camera.is_open
    frames, times_s, read_s = zip(*got, strict=True)
    assert frames[-1] > 30, "frames in between were skipped"
    assert times_s[0] == 0 and read_s[-1] - (times_s[-1] + frames[0] / 100) < 0.5, "latency does not grow"


def test_leaving_a_video_loop_ends_its_threads(fer, tmp_path, make_clip):
    clip = make_clip(tmp_path / "clip.mp4")
    before = threading.active_count()
    for _ in range(3):
        for result in fer.stream(clip):
            if result.frame == 2:
                break
    assert threading.active_count() <= before


@pytest.mark.parametrize(("source", "options", "kind", "words"), [
    (IMAGE, {}, TypeError, "got uint8 of shape .* call the recognizer itself"), (None, {}, TypeError, "got None"),
    (Frame(IMAGE, 0, 0.0), {}, TypeError, "got fer_live"), (3.5, {}, TypeError, "got float"),
    (Image.new("RGB", (9, 9)), {}, TypeError, "for a single image"), (-1, {}, ValueError, "got -1"),
    ("nowhere.mp4", {}, SourceError, "no source 'nowhere.mp4'"), ("demo", {"fps": 25}, ValueError, "apply only to an iterable"),
    (0, {"color": "rgb"}, ValueError, "leave them out for 0"),
    ([IMAGE], {"fps": 0}, ValueError, "above 0, in frames per second; got 0"), ([IMAGE], {"fps": "25"}, ValueError, "got '25'"),
    ([IMAGE], {"color": "x"}, ValueError, "got 'x'"),
])
def test_rejects_invalid_sources_before_the_first_frame(fer, source, options, kind, words):
    with pytest.raises(kind, match=words) as caught:
        fer.stream(source, **options)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 250


def test_rejects_fps_and_color_for_frames(fer):
    for options in ({"fps": 25}, {"color": "rgb"}):
        with pytest.raises(ValueError, match="do not apply to Frames, which are BGR"):
            list(fer.stream([Frame(IMAGE, 0, 0.0)], **options))


# ------------------------------------------------------------------------------------------------ videos


def test_video_is_analyzed_annotated_and_reported(fer, tmp_path, make_clip, capsys):
    clip = make_clip(tmp_path / "clip.mp4")
    session = fer.video(clip, output=tmp_path / "out.mp4")
    assert "24/24" in capsys.readouterr().err, "the progress bar"
    with av.open(str(session.output)) as written:
        assert len(list(written.decode(video=0))) == 24 and written.streams.audio, "every frame, and the sound"
    assert len(session) == 24 and session.people == 1 and session.path == clip and session.damage is None
    assert session.seconds == {"happy": pytest.approx(24 * 1001 / 30000, abs=0.01)}
    assert str(session) == "clip.mp4: 24 frames, 0.8 s, 1 person: happy 100%" and "<b>clip.mp4" in session._repr_html_()
    table = session.to_df()
    assert len(table) == 24 and table["label"].eq("happy").all() and list(table)[:3] == ["frame", "time_s", "track_id"]
    assert [frame["faces"][0]["track_id"] for frame in json.loads(session.to_json())["frames"]] == [1] * 24
    page = session.report(tmp_path / "s.html").read_text()
    assert "clip.mp4" in page and "happy" in page and "data:image/jpeg" in page
    assert session.report(tmp_path / "s.html").name == "s-2.html"
    assert told(fer.stream(clip)) == [(frame.index, pytest.approx(frame.time_s, abs=1e-5),
                                       [(face.track_id, face.box, face.label) for face in one.faces])
                                      for one in session._analyses for frame in [one.frame]], "as stream() has it"


def test_video_without_progress_is_quiet_and_never_overwrites(fer, tmp_path, make_clip, capsys):
    clip = make_clip(tmp_path / "clip.mp4", frames=6, face=False)
    session = fer.video(str(clip), output=str(clip), progress=False)
    assert capsys.readouterr().err == "" and session.output.name == "clip-2.mp4"
    assert str(session) == "clip.mp4: 6 frames, 0.2 s, no faces" and session.to_df().empty and session.seconds == {}
    assert fer.video(clip, progress=False).output is None


def test_damaged_video_keeps_the_readable_part(fer, tmp_path, make_clip):
    whole = make_clip(tmp_path / "whole.mkv", frames=60).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole)
    clip = make_clip(tmp_path / "clip.avi", frames=60, sound=None)
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    with pytest.warns(UserWarning, match="clip.avi") as told_of:
        session = fer.video(clip, output=tmp_path / "out.mp4", progress=False)
    assert 0 < len(session) < 60 and session.damage == str(told_of[0].message) and session.to_df()["label"].eq("happy").all()
    with av.open(str(session.output)) as written:
        assert len(list(written.decode(video=0))) == len(session)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(fer.video(tmp_path / "cut.mkv", progress=False)) == 60


@pytest.mark.parametrize(("path", "output", "kind", "words"), [
    ("nowhere.mp4", None, SourceError, "no source 'nowhere.mp4'"),
    ("demo", None, SourceError, r"not a video file; use stream\(\)"),
    (0, None, SourceError, "not a video file"), (str(PORTRAIT), None, SourceError, "call with an image"),
    ("clip.mp4", "out.avi", OutputError, "annotated videos are .mp4 files"), ("clip.mp4", ".", OutputError, "it is a folder"),
    ("clip.mp4", "gone/out.mp4", OutputError, "folder gone"), ("clip.mp4", 7, TypeError, "got int"),
    (None, None, TypeError, "got NoneType"),
])
def test_rejects_invalid_video_or_output_up_front(fer, tmp_path, make_clip, monkeypatch, path, output, kind, words):
    make_clip(tmp_path / "clip.mp4", frames=4)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=words):
        fer.video(path, output=output, progress=False)
    assert [file.name for file in tmp_path.iterdir()] == ["clip.mp4"]


@pytest.mark.parametrize(("path", "words"), [("s.pdf", "reports are .html files"), ("gone/s.html", "the folder gone")])
def test_unwritable_report_says_why(fer, tmp_path, make_clip, monkeypatch, path, words):
    monkeypatch.chdir(tmp_path)
    session = fer.video(make_clip(tmp_path / "clip.mp4", frames=4), progress=False)
    with pytest.raises(OutputError, match=words):
        session.report(path)


# ------------------------------------------------------------------------------------------------ in other programs


def test_threads_get_their_own_results(fer, portrait, tmp_path, make_clip):
    images = [cv2.copyMakeBorder(portrait, 0, 0, left, 0, cv2.BORDER_REPLICATE) for left in (0, 90, 180)]
    clips = [make_clip(tmp_path / f"{n}.mp4", frames=n) for n in (9, 12)]
    work = [lambda p=p: told([fer(p)]) for p in images] + [lambda c=c: told(fer.stream(c)) for c in clips]
    alone = [job() for job in work]
    assert len({str(answer) for answer in alone}) == 5
    with ThreadPoolExecutor(5) as pool:
        assert list(pool.map(lambda n: work[n % 5](), range(15))) == [alone[n % 5] for n in range(15)]


def test_recognizer_and_results_can_be_pickled(fer, known, tmp_path, make_clip):
    session = fer.video(make_clip(tmp_path / "clip.mp4", frames=4), progress=False)
    again, clip_video = pickle.loads(pickle.dumps((known, session)))
    assert str(again) == str(known) and np.array_equal(again.plot().image, known.plot().image) and str(clip_video) == str(session)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        result = pool.apply(fer, (str(PORTRAIT),))
    assert str(result) == str(known) and result[0].box == known[0].box
    with pytest.raises(TypeError, match="cannot be pickled; create one in each process"):
        pickle.dumps(Recognizer(fer.analyzer))


def test_pickled_recognizer_finds_a_custom_model_from_another_folder(untrained, tmp_path, monkeypatch):
    monkeypatch.chdir(untrained.parent)
    fer = fer_live.load(untrained.name, device="cpu", head="fer2013", runtime="torch")
    content = pickle.dumps(fer)
    monkeypatch.chdir(tmp_path)
    again = pickle.loads(content)
    assert repr(again) == repr(fer) and again.analyzer.classifier.spec.head == "fer2013"
    assert pickle.loads(content) is again, "tasks of a pool share one model in each process"


@pytest.mark.parametrize(("settings", "words"), [
    ({"detector": "dlib"}, "unknown detector 'dlib'; choose from: haar, yunet, both"),
    ({"device": "gpu"}, "unknown device 'gpu'"),
    ({"head": "x"}, "'x'"), ({"model": "nowhere.pt"}, "no model file at nowhere.pt"), ({"min_face": 0}, "min_face"),
    ({"runtime": "x"}, "'x'"),
])
def test_rejects_invalid_settings(settings, words):
    with pytest.raises(ValueError, match=words):
        fer_live.load(**settings)


@pytest.mark.parametrize("detector", ["yunet", "both"])
def test_load_selects_the_detector(fer, portrait, detector):
    tilted = cv2.warpAffine(portrait, cv2.getRotationMatrix2D((224, 120), 40, 1.0), (512, 512), borderMode=cv2.BORDER_REPLICATE)
    assert len(fer_live.load(device="cpu", detector="haar")(tilted)) == 0, "upright faces only"
    found = (fer if detector == DEFAULT_DETECTOR else fer_live.load(device="cpu", detector=detector))(tilted)
    assert [face.label for face in found] == ["happy"] and found[0].crop.size


def test_recognizer_needs_an_analyzer(untrained):
    with pytest.raises(TypeError, match="needs an Analyzer; got str"):
        Recognizer("best_model.pt")
    own = Recognizer(Analyzer.from_checkpoint(untrained, device="cpu"))
    assert own(IMAGE).faces == () and "efficientnet_lite0" in repr(own)


def test_tab_completion_lists_public_names():
    assert set(dir(fer_live)) == {*fer_live.__all__, "__version__"} and "load" in fer_live.__all__
    code = "import sys, fer_live; print(dir(fer_live) and [n for n in ('cv2', 'numpy', 'torch', 'av') if n in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]", "importing is lightweight"
    names: dict = {}
    exec("from fer_live import *", names)
    assert set(fer_live.__all__) <= set(names)


def test_face_result_has_visibility_and_reason(fer, portrait):
    face = fer(portrait)[0]
    assert face.visibility.size == face.box[2] - face.box[0] and 0 <= face.visibility.darkness < 0.9 and face.unsure_because == ""
    dark = fer_live.load(device="cpu", detector="both")((portrait * 0.06).astype("uint8"))
    assert [(face.label, face.unsure_because) for face in dark] == [("unsure", "dark")]
