"""--calibrate: removes a person's resting expression from later results while the face is tracked."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from fer_live.__main__ import main
from fer_live.analysis.analyzer import Analyzer
from fer_live.analysis.baseline import BOUND, RestingBaseline
from fer_live.model.spec import EMOTIONS, ModelSpec
from fer_live.screen import overlay
from fer_live.screen.words import LANGUAGES, read_words
from fer_live.types import Analysis, Face, Frame, View

SAD, NEUTRAL, HAPPY, ANGRY = (EMOTIONS.index(name) for name in ("sad", "neutral", "happy", "angry"))
RATE = 25.0


def answer(**shares: float) -> np.ndarray:
    """(7,) probabilities with these values and the rest spread evenly."""
    probs = np.array([shares.get(name, 0.0) for name in EMOTIONS], np.float32)
    others = 7 - len(shares)
    probs[probs == 0] = (1 - probs.sum()) / others
    return probs


RESTS_SAD = answer(sad=0.6, neutral=0.25)


class Biased:
    """A classifier that sees the person's expression mixed with a sad resting face."""

    def __init__(self):
        self.spec = ModelSpec("efficientnet_lite0")
        self.shows = RESTS_SAD

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        return np.repeat(self.shows[None], len(crops), 0)


class OneFace:
    def __init__(self):
        self.box = (100, 100, 200, 200)

    def detect(self, image: np.ndarray) -> np.ndarray:
        return np.array([self.box] if self.box else [], np.int32).reshape(-1, 4)


@pytest.fixture
def analyzer():
    return Analyzer(Biased(), OneFace(), OneFace())


def played(analyzer: Analyzer, seconds: float, start_s: float = 0.0) -> list:
    image = np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8)
    return [analyzer(Frame(image, i, start_s + i / RATE)) for i in range(round(seconds * RATE))]


def test_calibrated_resting_face_reads_as_neutral(analyzer):
    assert played(analyzer, 1.0)[-1].faces[0].label == "sad"
    analyzer.calibrate(3.0)
    asked = [one.faces[0].calibration_s for one in played(analyzer, 2.9, 1.0)]
    assert asked[0] == 3.0 and asked == sorted(asked, reverse=True) and 0 < asked[-1] < 0.2
    after = played(analyzer, 1.0, 3.9)
    assert after[-1].faces[0].calibration_s == 0
    assert after[-1].faces[0].label == "neutral"  # at once, not after an average has decayed
    assert {one.faces[0].label for one in after[4:]} == {"neutral"}


def test_calibration_keeps_real_expressions(analyzer):
    analyzer.calibrate(1.0)
    played(analyzer, 2.0)
    analyzer.classifier.shows = answer(happy=0.9)
    assert played(analyzer, 2.0, 2.0)[-1].faces[0].label == "happy"
    analyzer.classifier.shows = answer(sad=0.97)  # the correction is bounded, so a stronger expression still shows
    assert played(analyzer, 2.0, 4.0)[-1].faces[0].label == "sad"


def test_calibration_is_off_by_default_and_ends_with_the_track(analyzer):
    assert played(analyzer, 2.0)[-1].faces[0].calibration_s is None
    analyzer.calibrate(1.0)
    assert played(analyzer, 2.0, 2.0)[-1].faces[0].label == "neutral"
    analyzer.detector.box = None
    played(analyzer, 3.0, 4.0)
    analyzer.detector.box = (100, 100, 200, 200)
    face = played(analyzer, 1.0, 7.0)[-1].faces[0]
    assert (face.track_id, face.label, face.calibration_s) == (2, "sad", None)
    assert not any(key == 1 for key in analyzer.state.baseline.rests)


def test_each_new_face_is_calibrated_with_the_option(analyzer):
    analyzer.state.baseline = RestingBaseline(EMOTIONS, each_s=1.0)
    assert played(analyzer, 2.0)[-1].faces[0].label == "neutral"
    analyzer.forget()  # as a kiosk does after a visitor
    assert not analyzer.state.baseline.rests
    shown = [one.faces[0] for one in played(analyzer, 2.0, 5.0) if one.faces]
    assert shown[0].label == "sad" and 0.9 < shown[0].calibration_s <= 1.0 and shown[-1].label == "neutral"


@pytest.mark.parametrize("rest", [answer(sad=0.6, neutral=0.25), answer(angry=0.999), answer(neutral=0.9), answer(happy=0.5)])
def test_correction_is_bounded_and_never_increases_a_class(rest):
    baseline = RestingBaseline(EMOTIONS)
    baseline.ask(1.0)
    for i in range(40):
        baseline.begin([5], i / RATE)
        after, _ = baseline.update(5, rest, i / RATE)
    offset = baseline.rests[5].offset
    assert offset[NEUTRAL] == 0 and offset.min() >= 0 and offset.max() <= BOUND and abs(after.sum() - 1) < 1e-5
    if rest[NEUTRAL] == np.float32(0.9):
        assert not offset.any()  # a face that is neutral at rest is unchanged
    else:
        assert offset[rest.argmax()] == pytest.approx(min(BOUND, np.log(2.5 * rest.max() / rest[NEUTRAL])), abs=1e-4)


def test_face_lost_during_calibration_is_calibrated_again():
    baseline = RestingBaseline(EMOTIONS)
    baseline.ask(3.0)
    baseline.begin([1], 0.0)
    baseline.update(1, RESTS_SAD, 0.0)
    baseline.begin([1], 3.1)
    assert baseline.update(1, RESTS_SAD, 3.1)[0] is RESTS_SAD and baseline.left_s(1) == 3.0


def test_calibration_ignores_its_first_part():
    baseline = RestingBaseline(EMOTIONS)
    baseline.ask(3.0)
    for i in range(90):
        baseline.begin([1], i / RATE)
        baseline.update(1, answer(happy=0.95) if i < 24 else RESTS_SAD, i / RATE)
    assert baseline.rests[1].offset[SAD] == pytest.approx(np.log(0.6 / 0.25 * 2.5), abs=1e-3)
    assert baseline.rests[1].offset[HAPPY] == 0


@pytest.mark.parametrize("seconds", [0, 0.5, 31, float("nan")])
def test_rejects_unusable_calibration_durations(analyzer, seconds):
    with pytest.raises(ValueError, match="1 to 30 seconds"):
        analyzer.calibrate(seconds)


def run_film(tmp_path, make_clip, untrained, *more: str) -> list[dict]:
    clip = make_clip(tmp_path / "clip.mp4", frames=60, size_wh=(360, 240))
    log = tmp_path / "o.jsonl"
    assert main(["--source", str(clip), "--no-window", "--log", str(log), "--model", str(untrained), *more]) == 0
    return [face for line in log.read_text().splitlines() for face in json.loads(line)["faces"]]


def test_video_calibrates_the_faces_at_its_start(tmp_path, make_clip, untrained):
    shown = [face["calibration_s"] for face in run_film(tmp_path, make_clip, untrained, "--calibrate", "1")]
    assert shown[0] == 1.0 and shown[-1] == 0 and shown == sorted(shown, reverse=True)


def test_too_short_video_reports_missing_calibration(tmp_path, make_clip, untrained, capsys):
    assert all(face["calibration_s"] for face in run_film(tmp_path, make_clip, untrained, "--calibrate", "3"))
    assert "no face was calibrated" in capsys.readouterr().err


def test_log_has_no_calibration_without_the_option(tmp_path, make_clip, untrained):
    assert not any("calibration_s" in face for face in run_film(tmp_path, make_clip, untrained))


@pytest.mark.parametrize("seconds", ["0.5", "31", "x"])
def test_rejects_invalid_calibration_option(seconds, capsys):
    with pytest.raises(SystemExit) as end:
        main(["--calibrate", seconds])
    assert end.value.code == 2 and "--calibrate" in capsys.readouterr().err.splitlines()[-1]


def test_calibration_is_rejected_for_images(tmp_path, portrait, capsys):
    cv2.imwrite(str(tmp_path / "a.png"), portrait)
    assert main(["--source", str(tmp_path / "a.png"), "--output", str(tmp_path / "b.png"), "--calibrate", "--no-window"]) == 2
    assert "--calibrate is for cameras and videos" in capsys.readouterr().err


@pytest.mark.parametrize("language", LANGUAGES)
def test_countdown_is_translated(language, monkeypatch):
    output = []
    monkeypatch.setattr(overlay.text, "write", lambda image, words, *_: output.append(words))
    face = Face((100, 100, 200, 200), 1, answer(happy=0.9), "happy", 0.9, 1.2)
    words = read_words(language)
    overlay.Overlay(EMOTIONS, View(fps=False), words).draw(Analysis(Frame(np.zeros((300, 300, 3), np.uint8), 0, 0.0), (face,)))
    assert output == [f"{words['look neutral']} 2"]
