"""Invalid arguments of the library raise one-line errors: what is accepted, what was passed, and what to do."""

import math
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from fer_live import Analyzer, Frame, SourceError, open_source
from fer_live.analysis.classifier import EmotionClassifier
from fer_live.sources.camera import Camera
from fer_live.sources.images import ImageFiles
from fer_live.sources.video_file import VideoFile

IMAGE = np.full((120, 160, 3), 90, np.uint8)
IMAGES = {  # invalid image -> error type, part of the message
    "gray": (IMAGE[:, :, 0], ValueError, r"uint8 of shape \(120, 160\); convert gray with cv2.cvtColor"),
    "one channel": (IMAGE[:, :, :1], ValueError, "GRAY2BGR"),
    "with alpha": (np.dstack([IMAGE, IMAGE[:, :, 0]]), ValueError, "BGRA2BGR"),
    "float": (IMAGE / 255, ValueError, r"float64 .* astype\(numpy.uint8\), after multiplying by 255"),
    "16 bits": (IMAGE.astype(np.uint16), ValueError, "uint16"),
    "boolean": (IMAGE > 3, ValueError, "bool"),
    "CHW": (IMAGE.transpose(2, 0, 1), ValueError, r"image.transpose\(1, 2, 0\)"),
    "a batch": (IMAGE[None], ValueError, "one image at a time"),
    "empty": (IMAGE[:0], ValueError, "no pixels"),
    "no dimensions": (np.array(7, np.uint8), ValueError, r"shape \(\)"),
    "str": ("face.jpg", TypeError, "got str; read an image file with cv2.imread"),
    "Path": (Path("face.jpg"), TypeError, "cv2.imread"),
    "bytes": (b"face", TypeError, "got bytes"),
    "None": (None, TypeError, "cv2.imread returns for a file that it cannot read"),
    "Pillow": (Image.new("RGB", (160, 120)), TypeError, r"numpy.asarray\(image.convert\('RGB'\)\)"),
    "list": (IMAGE.tolist(), TypeError, "got list"),
    "tuple": ((IMAGE, 0, 0.0), TypeError, "got tuple"),
}
FRAMES = {  # the same for other fields of a frame
    "no index": ({"index": None}, TypeError, "index is an int"),
    "index as text": ({"index": "3"}, TypeError, "index is an int"),
    "no time": ({"time_s": None}, TypeError, "time_s is an int or float, in seconds"),
    "time as text": ({"time_s": "0.5"}, TypeError, "got str"),
    "no number": ({"time_s": math.nan}, ValueError, "finite int or float, in seconds; got nan"),
    "endless": ({"time_s": math.inf}, ValueError, "got inf"),
    "tiles as text": ({"tiles": "abc"}, TypeError, "boxes .* as a tuple; got str"),
    "no tiles": ({"tiles": None}, TypeError, "got None"),
    "tile of three": ({"tiles": ((0, 0, 9),)}, TypeError, "got tuple as one of them"),
    "tile outside": ({"tiles": ((0, 0, 9999, 9),)}, ValueError, "9999, 9. in an image of"),
    "empty tile": ({"tiles": ((5, 5, 5, 9),)}, ValueError, "5, 9. in an image of"),
}
SETTINGS = {  # the same for from_checkpoint
    "runtime": ({"runtime": "foo"}, ValueError, "'foo'; choose from: auto, torch, onnx, openvino"),
    "no runtime": ({"runtime": None}, TypeError, "runtime is one of auto, torch, onnx, openvino; got NoneType"),
    "device": ({"device": "gpu"}, ValueError, "'gpu'; choose from: auto, cpu, cuda"),
    "device number": ({"device": 0}, TypeError, "device is one of auto, cpu, cuda"),
    "head": ({"head": "foo"}, ValueError, "'foo'; choose from: fer2013, ferplus"),
    "empty head": ({"head": ""}, ValueError, "choose from: fer2013, ferplus"),
    "head number": ({"head": 1}, TypeError, "head is one of None, shown, fer2013, ferplus; got int"),
    "no face": ({"min_face": 0}, ValueError, "min_face is a size in pixels, or below 1 a fraction .* got 0"),
    "less than none": ({"min_face": -40}, ValueError, "got -40"),
    "no size": ({"min_face": math.nan}, ValueError, "got nan"),
    "face as text": ({"min_face": "40"}, TypeError, "got str"),
    "never": ({"search_every": 0}, ValueError, "search_every is 1 or more"),
    "half a frame": ({"search_every": 2.5}, TypeError, "search_every is an int, .* got float"),
    "no schedule": ({"search_every": None}, TypeError, "got None"),
    "path": ({"path": 3}, TypeError, "path names a best_model.pt or an .onnx file, as str or Path; got int"),
    "bytes": ({"path": b"a.pt"}, TypeError, "got bytes"),
    "no path": ({"path": ""}, ValueError, "names no file"),
    "here": ({"path": "."}, ValueError, "names no file"),
    "missing": ({"path": "nowhere.pt"}, ValueError, "no model file at nowhere.pt"),
}
CROPS = {
    "list": ([], TypeError, r"\(N, 48, 48, 1\) uint8, from crop_faces; got list"),
    "None": (None, TypeError, "got NoneType"),
    "one": (np.zeros((48, 48, 1), np.uint8), ValueError, r"uint8 of shape \(48, 48, 1\)"),
    "colored": (np.zeros((1, 48, 48, 3), np.uint8), ValueError, r"shape \(1, 48, 48, 3\)"),
    "large": (np.zeros((1, 64, 64, 1), np.uint8), ValueError, "shape"),
    "float": (np.zeros((1, 48, 48, 1)), ValueError, "float64"),
    "empty float": (np.zeros((0, 48, 48, 1)), ValueError, "float64"),
}


@pytest.fixture(scope="module")
def analyzer(untrained):
    return Analyzer.from_checkpoint(untrained, device="cpu")


def refused(kind, words, call):
    with pytest.raises(kind, match=words) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text and not isinstance(caught.value, cv2.error) and len(text) < 250


@pytest.mark.parametrize("case", IMAGES)
def test_rejects_invalid_images(analyzer, case):
    image, kind, words = IMAGES[case]
    refused(kind, words, lambda: analyzer(image))
    refused(kind, words, lambda: analyzer.analyze_still(image))
    frame = Frame(image, 0, 0.0)
    refused(kind, words, lambda: analyzer(frame))
    refused(kind, words, lambda: analyzer.analyze_still(frame))
    refused(kind, words, lambda: list(analyzer.analyze_all([frame] * 4)))
    assert analyzer(Frame(IMAGE, 1, 0.1)).faces == (), "the stream continues"


@pytest.mark.parametrize("case", FRAMES)
def test_rejects_invalid_frames(analyzer, case):
    parts, kind, words = FRAMES[case]
    frame = Frame(**{"image": IMAGE, "index": 0, "time_s": 0.0} | parts)
    for call in (lambda: analyzer(frame), lambda: analyzer.analyze_still(frame), lambda: list(analyzer.analyze_all([frame]))):
        refused(kind, words, call)


@pytest.mark.parametrize(("frames", "words"), [
    (IMAGE, "got one, uint8 of shape .* call the analyzer with it"), (Frame(IMAGE, 0, 0.0), "got one, fer_live.types.Frame"),
    ("clip.mp4", "got str: open it with fer_live.open_source"), (Path("clip.mp4"), "got pathlib.*Path: open it with"),
    (None, "got None"), (7, "got int"),
])
def test_rejects_invalid_sources_before_the_first_frame(analyzer, frames, words):
    refused(TypeError, f"analyze_all takes an iterable of frames; {words}", lambda: analyzer.analyze_all(frames))


def test_invalid_frame_raises_after_the_earlier_analyses(analyzer):
    analyses, got = analyzer.new_stream().analyze_all([*(Frame(IMAGE, i, i / 30) for i in range(5)), IMAGE]), []
    refused(TypeError, r"fer_live.Frame\(image, index, time_s\); got uint8 of shape", lambda: got.extend(analyses))
    assert [analysis.frame.index for analysis in got] == [0, 1, 2, 3, 4]


def views(image):
    """The same pixels with other memory layouts."""
    read_only = image.copy()
    read_only.flags.writeable = False
    yield "turned twice", image[::-1].copy()[::-1]
    yield "from RGB", np.ascontiguousarray(image[:, :, ::-1])[:, :, ::-1]
    yield "Fortran's order", np.asfortranarray(image)
    yield "every other pixel", np.repeat(np.repeat(image, 2, 0), 2, 1)[::2, ::2]
    yield "a part", cv2.copyMakeBorder(image, 9, 9, 9, 9, cv2.BORDER_CONSTANT)[9:-9, 9:-9]
    yield "read only", read_only


def test_accepts_any_memory_layout(analyzer, portrait):
    expected = analyzer(portrait).faces[0]
    for name, view in views(portrait):
        assert np.array_equal(view, portrait)
        found = analyzer(view).faces
        assert len(found) == 1 and found[0].box == expected.box and np.allclose(found[0].probs, expected.probs, atol=1e-5), name
        stream = analyzer.new_stream()
        assert [len(stream(Frame(view, i, i / 30)).faces) for i in range(4)] == [0, 0, 1, 1], name


@pytest.mark.parametrize(("seconds", "kind"), [("2", TypeError), (None, TypeError), (True, TypeError), (math.nan, ValueError)])
def test_rejects_invalid_calibration_times(analyzer, seconds, kind):
    with pytest.raises(kind, match="a face is asked to look neutral for"):
        analyzer.calibrate(seconds)


@pytest.mark.parametrize("case", SETTINGS)
def test_rejects_invalid_settings(untrained, case):
    settings, kind, words = SETTINGS[case]
    refused(kind, words, lambda: Analyzer.from_checkpoint(**{"path": untrained, "device": "cpu"} | settings))
    settings = {name: value for name, value in settings.items() if name in ("path", "device", "head", "runtime")}
    if settings:
        refused(kind, words, lambda: EmotionClassifier(**{"path": untrained, "device": "cpu"} | settings))


@pytest.mark.parametrize("setting", [{"min_face": -1}, {"search_every": 0}, {"label_set": "all"}, {"detector": "harr"}])
def test_invalid_settings_are_rejected_before_the_network_is_loaded(setting):
    with pytest.raises(ValueError, match=r"^(?!no model file)"):
        Analyzer.from_checkpoint("missing.pt", **setting)


def test_rejects_invalid_analyzer_components(analyzer):
    classifier, detector = analyzer.classifier, analyzer.detector
    refused(TypeError, "classifier is an EmotionClassifier, .* got str; Analyzer.from_checkpoint",
            lambda: Analyzer("best_model.pt", detector, detector))
    refused(TypeError, r"have detect\(image\); got str", lambda: Analyzer(classifier, "haar", detector))
    refused(TypeError, r"have detect\(image\); got None", lambda: Analyzer(classifier, detector, None))
    assert Analyzer(classifier, detector, analyzer.still_detector)(IMAGE).faces == ()


@pytest.mark.parametrize("case", CROPS)
def test_rejects_invalid_crops(analyzer, case):
    crops, kind, words = CROPS[case]
    refused(kind, words, lambda: analyzer.classifier(crops))


@pytest.mark.filterwarnings("error")
def test_accepts_crops_that_are_views(analyzer):
    crops = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 1), np.uint8)
    mirrored, read_only = np.ascontiguousarray(crops[:, :, ::-1])[:, :, ::-1], crops.copy()
    read_only.flags.writeable = False
    for view in (mirrored, read_only):
        assert np.allclose(analyzer.classifier(view), analyzer.classifier(crops), atol=1e-6)


# ------------------------------------------------------------------------------------------------ sources


def test_source_is_an_int_path_or_str(tmp_path, make_clip, portrait, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clip = make_clip(tmp_path / "clip.mp4", frames=4)
    os.link(clip, tmp_path / "0")  # a file named like camera 0
    os.link(clip, tmp_path / "demo")
    (tmp_path / "photos").mkdir()
    cv2.imwrite(str(tmp_path / "photos" / "a.png"), portrait)
    for number in (0, 3, np.int64(2)):
        camera = open_source(number)
        assert isinstance(camera, Camera) and camera.name == number
    assert isinstance(open_source(Path("/dev/video0")), Camera)
    for name in ("0", "demo", "clip.mp4", str(clip)):
        with open_source(Path(name)) as source:
            assert isinstance(source, VideoFile) and len(list(source)) == 4
    for name in ("photos", "photos/a.png", "photos/*.png"):
        with open_source(Path(name)) as source:
            assert isinstance(source, ImageFiles) and len(list(source)) == 1
    with pytest.raises(SourceError, match=r"no source '\./1'"):
        open_source(Path("1"))


@pytest.mark.parametrize(("source", "kind", "words"), [
    (-1, ValueError, "camera numbers start at 0; got -1"), (True, TypeError, "got bool"), (0.0, TypeError, "got float"),
    (None, TypeError, r"a source is a camera number \(int\), or a str or Path: .* got NoneType"),
    (b"0", TypeError, "got bytes"), (["clip.mp4"], TypeError, "got list"), (IMAGE, TypeError, "got ndarray"),
])
def test_rejects_invalid_source_names(source, kind, words):
    refused(kind, words, lambda: open_source(source))


def test_reading_a_source_that_was_not_entered_raises(analyzer, tmp_path, make_clip):
    clip = make_clip(tmp_path / "clip.mp4", frames=4)
    for source in ("demo", 0, "http://127.0.0.1:9/a.mjpg", clip):
        refused(SourceError, r"is not open; use it as in: with open_source\(...\) as source",
                lambda source=source: next(iter(open_source(source))))
    refused(SourceError, "is not open", lambda: list(analyzer.analyze_all(open_source(clip))))
    with open_source(clip) as source:
        assert len(list(analyzer.analyze_all(source))) == 4
    refused(SourceError, "is not open", lambda: list(source))
