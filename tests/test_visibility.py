"""Visibility of faces, reasons for "unsure", and ends of tracks: in the analysis, the log and the report."""

import csv
import itertools
import json

import cv2  # before av; see fer_live/sources/__init__.py

# isort: split
import av
import numpy as np
import pytest

from fer_live.__main__ import main
from fer_live.analysis.analyzer import Analyzer
from fer_live.analysis.label_sets import Reduction
from fer_live.analysis.visibility import Readability, see, why_unreadable
from fer_live.model.detections import Detections
from fer_live.model.spec import EMOTIONS, ModelSpec
from fer_live.report.__main__ import make_report
from fer_live.sinks.log import Log, entry
from fer_live.sinks.log_reader import read_log
from fer_live.types import UNCLEAR, UNSURE, Analysis, Ended, Face, Frame, Visibility

FACE = 176, 70, 273, 167  # of the portrait
HAPPY = np.float32([0.02, 0.02, 0.02, 0.88, 0.02, 0.02, 0.02])
GOOD = Visibility(97, 1.0, 0.2, 3.0, 0.9)


def landmarks(yaw, roll=0.0, box=FACE):
    """(1, 5, 2): the landmarks of a head with common proportions, seen from afar. Degrees to the image's right, clockwise."""
    points = np.array([[-1, -1, 0], [1, -1, 0], [0, 0.1, 1.0], [-0.8, 1.1, 0], [0.8, 1.1, 0]])  # half eye distances, z to us
    angle, turn = np.radians(yaw), np.radians(roll)
    x, y = points[:, 0] * np.cos(angle) + points[:, 2] * np.sin(angle), points[:, 1]
    flat = np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], axis=1)
    return (np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]) + 0.2 * (box[2] - box[0]) * flat)[None].astype(np.float32)


class Fixed:
    """A fake detector with a scripted face."""

    def __init__(self, box=FACE, yaw=None):
        self.box, self.yaw = box, yaw

    def detect(self, image, side=None):
        if self.box is None:
            return Detections.joined([])
        found = Detections.of(np.array([self.box]))
        return found if self.yaw is None else Detections(found.boxes, landmarks(self.yaw), np.float32([0.8]))


class Happy:
    """A fake classifier with a constant result."""

    spec = ModelSpec("efficientnet_lite0")

    def __init__(self, answer=HAPPY):
        self.answer = answer

    def __call__(self, crops):
        return np.repeat(self.answer[None], len(crops), 0)


def analyzer(detector, answer=HAPPY):
    return Analyzer(Happy(answer), detector, detector)


def dark(image, share=0.04):
    noise = np.random.default_rng(0).normal(0, 1.5, image.shape)
    return np.clip(image * share + noise, 0, 255).astype(np.uint8)


def blurred(image, sigma=8.0):
    return cv2.GaussianBlur(image, (0, 0), sigma)


def moved(image, pixels=40):
    return cv2.blur(image, (pixels, 1))


# ------------------------------------------------------------------------------------------------ visibility


def test_clear_face_has_a_label_and_visibility(portrait):
    face = analyzer(Fixed(yaw=10.0))(portrait).faces[0]
    assert (face.label, face.unsure_because) == ("happy", "")
    seen = face.visibility
    assert seen.size == 97 and 0.5 < seen.sharpness < 2 and 0.0 <= seen.darkness < 0.4
    assert seen.yaw == pytest.approx(10, abs=3) and seen.score == pytest.approx(0.8)
    cascade = analyzer(Fixed())(portrait).faces[0].visibility
    assert cascade.yaw is None and cascade.score is None, "Haar's cascade knows neither"


@pytest.mark.parametrize(("disturb", "reason"), [(dark, "dark"), (blurred, "blurred"), (moved, "blurred")])
def test_dark_or_blurred_face_is_unsure_for_that_reason(portrait, disturb, reason):
    face = analyzer(Fixed())(disturb(portrait)).faces[0]
    assert (face.label, face.unsure_because) == (UNSURE, reason)
    assert face.probs[EMOTIONS.index("happy")] > 0.8, "the network's output is still available"


def test_small_face_is_unsure_below_the_limit(portrait):
    for side, reason in ((10, "small"), (14, "")):
        image = cv2.resize(portrait[70:167, 176:273], (side, side), interpolation=cv2.INTER_AREA)
        assert analyzer(Fixed((0, 0, side, side)))(image).faces[0].unsure_because == reason


@pytest.mark.parametrize("yaw", [-75.0, 75.0])
def test_turned_face_is_unsure_beyond_the_limit(portrait, yaw):
    assert analyzer(Fixed(yaw=yaw))(portrait).faces[0].unsure_because == "turned"
    assert analyzer(Fixed(yaw=yaw / 2))(portrait).faces[0].unsure_because == ""


def test_dim_light_and_dark_skin_do_not_count_as_dark(portrait):
    for share in (0.5, 0.25, 0.15):
        assert analyzer(Fixed())(dark(portrait, share)).faces[0].unsure_because == ""


@pytest.mark.parametrize("roll", [-40.0, 0.0, 40.0])
@pytest.mark.parametrize("yaw", [-60.0, -30.0, 0.0, 30.0, 60.0])
def test_yaw_comes_from_the_landmarks_whatever_the_tilt(yaw, roll):
    found = Detections(np.array([FACE]), landmarks(yaw, roll), np.float32([0.9]))
    assert found.yaws[0] == pytest.approx(yaw, abs=8)
    assert np.isnan(Detections.of(np.array([FACE])).yaws).all()


def test_noise_does_not_make_a_blurred_face_sharp(portrait):
    crop = cv2.resize(cv2.cvtColor(portrait[70:167, 176:273], cv2.COLOR_BGR2GRAY), (48, 48), interpolation=cv2.INTER_AREA)
    soft = blurred(crop, 3.0).astype(float) + np.random.default_rng(0).normal(0, 2, crop.shape)
    seen = see(np.clip(soft, 0, 255).astype(np.uint8)[..., None], FACE)
    assert why_unreadable(seen.size, seen.sharpness, seen.darkness, 0.0) == "blurred"


def test_unclear_is_a_separate_reason(portrait):
    face = analyzer(Fixed(), np.full(7, 1 / 7, np.float32))(portrait).faces[0]
    assert (face.label, face.unsure_because) == (UNSURE, UNCLEAR)


# ------------------------------------------------------------------------------------------------ over time


def test_single_blurred_frame_does_not_make_a_face_unsure(portrait):
    subject = analyzer(Fixed())
    told = [subject(Frame(blurred(portrait) if i == 20 or i > 30 else portrait, i, i / 30)).faces for i in range(60)]
    reasons = [faces[0].unsure_because for faces in told if faces]
    assert set(reasons[:28]) == {""} and reasons[-1] == "blurred"


def test_dark_results_are_dropped_when_the_light_returns(portrait):
    subject, sad = analyzer(Fixed()), np.roll(HAPPY, 2)
    labels, night = [], dark(portrait)
    for i in range(90):
        is_dark = i < 60
        subject.classifier.answer = sad if is_dark else HAPPY
        faces = subject(Frame(night if is_dark else portrait, i, i / 30)).faces
        labels += [face.label for face in faces]
    assert labels[0] == labels[50] == UNSURE and set(labels) == {UNSURE, "happy"}, "sad was never visible"


def test_readability_has_hysteresis():
    readability, chance = Readability(), np.random.default_rng(0)
    views = [Visibility(97, float(0.31 + chance.normal(0, 0.02)), 0.2) for _ in range(300)]
    told = [readability.update(1, view, i / 30)[0] for i, view in enumerate(views)]
    assert sum(a != b for a, b in itertools.pairwise(told)) <= 2


def test_coasting_face_has_no_visibility_and_keeps_its_reason(portrait):
    detector = Fixed()
    subject, night = analyzer(detector), dark(portrait)
    for i in range(10):
        subject(Frame(night, i, i / 30))
    detector.box = None
    face = subject(Frame(night, 10, 10 / 30)).faces[0]
    assert face.visibility is None and (face.label, face.unsure_because) == (UNSURE, "dark")


def test_file_faces_have_visibility_from_the_first_frame(portrait):
    frames = [Frame(portrait, i, i / 30) for i in range(12)]
    views = [one.faces[0].visibility for one in analyzer(Fixed(yaw=20.0)).analyze_all(frames)]
    assert len(views) == 12 and {view.yaw for view in views} == {views[-1].yaw} and views[0].score == pytest.approx(0.8)


def test_calibration_pauses_in_the_dark(portrait):
    subject = analyzer(Fixed())
    subject.calibrate(1.0)
    night = dark(portrait)
    last = [subject(Frame(night, i, i / 30)).faces for i in range(60)][-1][0]
    assert last.calibration_s > 0, "still calibrating"
    for i in range(60, 130):
        last = subject(Frame(portrait, i, i / 30)).faces[0]
    assert last.calibration_s == 0.0
    for i in range(130, 230):
        last = subject(Frame(night, i, i / 30)).faces[0]
    assert last.calibration_s == 0.0, "three dark seconds do not restart calibration"


def test_label_set_keeps_the_reason():
    def reduced(label, because, probs):
        reduction = Reduction("basic", EMOTIONS)
        face = Face(FACE, 1, probs, label, 0.3, None, GOOD, because)
        done = reduction(Analysis(Frame(None, 0, 0.0), (face,))).faces[0]
        return done.label, done.unsure_because

    assert reduced(UNSURE, "dark", HAPPY) == (UNSURE, "dark")
    split = np.float32([0.3, 0.1, 0.1, 0.02, 0.2, 0.28, 0.0])
    assert reduced(UNSURE, UNCLEAR, split) == ("negative", ""), "four classes together are clear"
    even = np.float32([0.1, 0.1, 0.1, 0.25, 0.25, 0.05, 0.15])
    assert reduced(UNSURE, UNCLEAR, even) == (UNSURE, UNCLEAR)


# ------------------------------------------------------------------------------------------------ why a track ended


def followed(box, frames, size_hw=(300, 400), **more):
    """The end of a track that is detected in `box` for half a second."""
    detector, ended = Fixed(box), []
    subject = analyzer(detector)
    image = np.random.default_rng(0).integers(0, 255, (*size_hw, 3), np.uint8)
    for i in range(15):
        ended += subject(Frame(image, i, i / 30, **more)).ended
    assert not ended
    detector.box = None
    for frame in frames(image):
        ended += subject(frame).ended
    return [(one.track_id, one.because, round(one.seen_s, 3)) for one in ended]


def later(image, **more):
    return [Frame(image, i, i / 30, **more) for i in range(15, 60)]


def test_track_ended_at_the_edge_left_and_elsewhere_is_lost():
    assert followed((2, 100, 82, 180), later) == [(1, "left", 0.467)]
    assert followed((310, 100, 390, 180), later) == [(1, "left", 0.467)]
    assert followed((160, 100, 240, 180), later) == [(1, "lost", 0.467)]


def test_tile_edges_count_as_edges():
    tiles = (0, 0, 200, 300), (200, 0, 400, 300)
    assert followed((205, 100, 285, 180), lambda image: later(image, tiles=tiles), tiles=tiles)[0][1] == "left"


def test_lost_camera_of_a_grid_ends_only_the_tracks_of_its_tile(portrait):
    """The face in the other tile keeps its track, and detections in the slate are ignored."""
    tiles = (0, 0, 200, 300), (200, 0, 400, 300)
    detector, ended, shown = Fixed(), [], []
    boxes = np.array([[60, 100, 140, 180], [260, 100, 340, 180]])
    detector.detect = lambda image, side=None: Detections.of(boxes)
    subject = analyzer(detector)
    image = np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)
    for i in range(40):
        found = subject(Frame(image, i, i / 30, tiles=tiles, lost_tiles=tiles[1:] if 15 <= i < 25 else ()))
        ended += [(i, one.track_id, one.because) for one in found.ended]
        shown.append([face.track_id for face in found.faces])
    assert ended == [(15, 2, "camera lost")]
    assert shown[14] == [1, 2] and shown[15] == shown[24] == [1] and shown[39] == [1, 3]


def test_lost_camera_and_new_video_are_end_reasons():
    middle = 160, 100, 240, 180
    assert followed(middle, lambda image: [Frame(image, 15, 0.5, is_slate=True)])[0][1] == "camera lost"
    assert followed(middle, lambda image: [Frame(image, 15, 0.1)])[0][1] == "new video"
    assert followed(middle, lambda image: [Frame(image, 15, 0.5, segment=1)])[0][1] == "new video"


def test_unconfirmed_track_has_no_end(portrait):
    detector = Fixed()
    subject = analyzer(detector)
    subject(Frame(portrait, 0, 0.0))
    detector.box = None
    assert not any(subject(Frame(portrait, i, i / 10)).ended for i in range(1, 30))


# ------------------------------------------------------------------------------------------------ log and report


def seen_face(because="", visibility=GOOD):
    return Face((10, 12, 40, 42), 3, HAPPY, UNSURE if because else "happy", 0.88, None, visibility, because)


def analysis(i, faces, ended=()):
    return Analysis(Frame(None, i, 100 + i / 10), tuple(faces), (), tuple(ended))


def test_log_has_visibility_reason_and_ended(tmp_path):
    ended = Ended(3, "left", 100.1)
    dark_one = Visibility(30, 0.7, 0.97, None, None)
    for name in ("a.jsonl", "a.csv"):
        with Log(tmp_path / name, EMOTIONS, live=True) as log:
            log.write(None, analysis(0, [seen_face()]))
            log.write(None, analysis(1, [seen_face("dark", dark_one)]))
            log.write(None, analysis(2, [seen_face(visibility=None)]))
            log.write(None, analysis(9, [], [ended]))
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    faces = [line["faces"][0] for line in lines[:3]]
    assert faces[0]["visibility"] == {"size": 97, "sharpness": 1.0, "darkness": 0.2, "yaw": 3.0, "score": 0.9}
    assert "unsure_because" not in faces[0] and "visibility" not in faces[2]
    assert faces[1]["unsure_because"] == "dark" and faces[1]["visibility"]["yaw"] is None
    assert lines[3] == {"frame": 9, "time_s": 0.9, "faces": [], "ended": [{"track_id": 3, "because": "left", "seen_s": 0.1}]}
    rows = list(csv.DictReader((tmp_path / "a.csv").open()))
    assert [row["size"] for row in rows] == ["97", "30", ""] and rows[1]["unsure_because"] == "dark" and rows[1]["yaw"] == ""
    assert list(read_log(tmp_path / "a.csv")) == lines[:3], "a CSV log reads as the same objects"


def test_old_log_columns_keep_their_positions(tmp_path):
    with Log(tmp_path / "new.csv", EMOTIONS) as log:
        log.write(None, Analysis(Frame(None, 0, 0.5, "a/b.jpg"), (seen_face(),)))
    new = [row.split(",") for row in (tmp_path / "new.csv").read_text().splitlines()]
    assert new[0][16] == "file" and new[1][16] == "a/b.jpg"
    (tmp_path / "old.csv").write_text("\n".join(",".join(row[:17]) for row in new) + "\n")
    old, = read_log(tmp_path / "old.csv")
    assert old["file"] == "a/b.jpg" and set(old["faces"][0]["probs"]) == set(EMOTIONS) and "visibility" not in old["faces"][0]


def test_web_events_have_visibility_and_reason():
    made = entry(analysis(0, [seen_face("blurred")]), EMOTIONS)
    assert made["faces"][0]["unsure_because"] == "blurred" and made["faces"][0]["visibility"]["size"] == 97


def test_report_distinguishes_absent_from_unreadable(tmp_path):
    with Log(tmp_path / "a.jsonl", EMOTIONS, live=True) as log:
        for i in range(30):
            log.write(None, analysis(i, [seen_face("dark" if i < 10 else "")]))
        log.write(None, analysis(30, [], [Ended(3, "left", 102.9)]))
        for i in range(31, 60):
            log.write(None, analysis(i, []))
    page = make_report(tmp_path / "a.jsonl").read_text()
    assert "unsure because" in page and "<td>dark</td><td>33%</td><td>1.0 s</td><td>10</td>" in page
    assert "from 0.0 s to 3.0 s, then left" in page and "(the last face left the image)" in page
    assert "left 1" in page


def test_report_accepts_any_values_in_new_fields(tmp_path):
    bad = [1, "x", [None], [{}], [{"track_id": "1", "because": "left"}], [{"track_id": 1, "because": "<script>" * 50}]]
    good = {"track_id": 1, "label": "happy", "confidence": 0.5, "box": [0, 0, 9, 9]}
    lines = [{"frame": i, "time_s": i / 10, "ended": ended, "faces": [
        {**good, "unsure_because": because, "visibility": [because]}]}
        for i, (ended, because) in enumerate(zip(bad * 40, [None, 3, "<b>", *(f"r{i}" for i in range(237))], strict=True))]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = make_report(tmp_path / "a.jsonl").read_text()
    assert "<script><script>" not in page and "<b>" not in page.split("Expressions")[1].split("unsure because")[0]
    assert page.count("<td>r") < 30, "as many reasons as labels at most"


# ------------------------------------------------------------------------------------------------ the program


def test_video_of_a_person_leaving(tmp_path, portrait):
    path, log = tmp_path / "clip.mp4", tmp_path / "log.jsonl"
    small = cv2.resize(portrait, (320, 320), interpolation=cv2.INTER_AREA)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=20, options={"crf": "10"})
        video.width, video.height, video.pix_fmt = 480, 320, "yuv420p"
        for i in range(70):
            image, shift = np.full((320, 480, 3), 90, np.uint8), 12 * max(0, i - 20)
            if shift < 480:
                image[:, shift:] = small[:, : 480 - shift] if shift > 160 else np.pad(
                    small, ((0, 0), (0, 160 - shift), (0, 0)), mode="edge")
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(video.encode(None))
    assert main(["--source", str(path), "--log", str(log), "--no-window", "--device", "cpu"]) == 0
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    ends = [one for line in entries for one in line.get("ended", ())]
    assert [one["because"] for one in ends] == ["left"] and 1.0 < ends[0]["seen_s"] < 2.6
    faces = entries[5]["faces"]
    assert faces[0]["label"] == "happy" and 50 < faces[0]["visibility"]["size"] < 75 and "unsure_because" not in faces[0]
