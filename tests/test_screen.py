"""The window and the overlay: steady boxes, readable figures, bars that cover no face, and any window size."""

import itertools
import json
import time

import cv2
import numpy as np
import pytest

from fer_live.analysis.visibility import REASONS
from fer_live.model.spec import EMOTIONS
from fer_live.screen.canvas import KEYS, Canvas
from fer_live.screen.faces import Faces
from fer_live.screen.overlay import Overlay
from fer_live.screen.panel import Inset
from fer_live.screen.pen import overlap
from fer_live.screen.smoothing import DisplaySmoother
from fer_live.screen.words import ASSET, LANGUAGES, read_words
from fer_live.types import UNCLEAR, UNSURE, Analysis, Face, Frame, Rates, View

EMPTY = np.full((360, 640, 3), 120, np.uint8)


def probs(**given):
    values = np.array([given.get(name, 0.0) for name in EMOTIONS], np.float32)
    return values + (1 - values.sum()) / len(EMOTIONS)


def face(box, track_id=1, label="happy", answer=None, **more):
    answer = probs(happy=0.8) if answer is None else answer
    return Face(tuple(box), track_id, answer, label, float(answer.max()), **more)


def analysis(time_s, *faces, image=EMPTY, name=""):
    return Analysis(Frame(image, round(30 * time_s), time_s, name), faces)


def follow(boxes, fps=30):
    """The displayed boxes, (N, 4), rounded to pixels."""
    smoother = DisplaySmoother(EMOTIONS, {})
    shown = [smoother(analysis(i / fps, face(box)))[0].box for i, box in enumerate(boxes)]
    return np.rint(shown).astype(int)


# ------------------------------------------------------------------------------------------------ boxes


def noisy(centers_xy, side=120, seed=0):
    """Boxes with a cascade's noise: 1% of the side in the center and 2.5% in the size."""
    rng = np.random.default_rng(seed)
    sides = side * (1 + 0.025 * rng.standard_normal(len(centers_xy)))
    centers = centers_xy + 0.01 * side * rng.standard_normal((len(centers_xy), 2))
    return np.rint(np.concatenate([centers - sides[:, None] / 2, centers + sides[:, None] / 2], axis=1)).astype(int)


def test_still_face_has_a_still_box():
    found = noisy(np.full((300, 2), 200.0))
    assert (np.diff(found, axis=0) != 0).any(axis=1).mean() > 0.9, "the input is noisy"
    shown = follow(found)
    assert (np.diff(shown[30:], axis=0) != 0).any(axis=1).mean() < 0.1
    assert np.abs(shown[30:].mean(axis=0) - [140, 140, 260, 260]).max() < 0.08 * 120


@pytest.mark.parametrize("fps", [10, 30])
def test_box_follows_a_moving_face(fps):
    """At two sides per second, the box lags by at most an eighth of a side."""
    way = np.stack([100 + 240.0 * np.arange(2 * fps) / fps, np.full(2 * fps, 150.0)], axis=1)
    shown = follow(noisy(way), fps)
    behind = way[fps // 3 :, 0] - shown[fps // 3 :, [0, 2]].mean(axis=1)
    assert np.abs(behind).max() < 120 / 8 and abs(np.median(behind)) < 120 / 12


def test_jump_to_another_place_is_not_smoothed():
    shown = follow([(0, 0, 100, 100), (0, 0, 100, 100), (300, 100, 400, 200)])
    assert shown[2].tolist() == [300, 100, 400, 200]


def test_smoothing_does_not_change_measured_boxes():
    item = analysis(0.0, face((10, 10, 90, 90)))
    smoother = DisplaySmoother(EMOTIONS, {})
    smoother(item)
    later = analysis(0.033, face((14, 10, 94, 90)))
    smoother(later)
    assert later.faces[0].box == (14, 10, 94, 90) and item.faces[0].box == (10, 10, 90, 90)


def test_independent_images_are_not_smoothed():
    smoother = DisplaySmoother(EMOTIONS, {})
    smoother(analysis(0.0, face((0, 0, 100, 100)), name="a.jpg"))
    shown = smoother(analysis(0.0, face((4, 0, 104, 100), answer=probs(happy=0.5)), name="b.jpg"))[0]
    assert shown.box == (4, 0, 104, 100) and shown.figure == "57%"


# ------------------------------------------------------------------------------------------------ words and figures


def test_percentage_changes_at_most_three_times_a_second():
    rng, smoother = np.random.default_rng(0), DisplaySmoother(EMOTIONS, {})
    figures = []
    for i in range(300):
        answer = probs(happy=0.5 + 0.3 * rng.random())
        figures.append(smoother(analysis(i / 30, face((0, 0, 99, 99), answer=answer)))[0].figure)
    changes = [i for i, (a, b) in enumerate(itertools.pairwise(figures)) if a != b]
    assert 15 < len(changes) <= 30 and min(np.diff(changes)) >= 10, "in ten seconds at 30 frames per second"


def test_new_label_shows_its_percentage_at_once():
    smoother = DisplaySmoother(EMOTIONS, {})
    smoother(analysis(0.0, face((0, 0, 99, 99), answer=probs(happy=0.9))))
    shown = smoother(analysis(0.033, face((0, 0, 99, 99), label="sad", answer=probs(sad=0.6))))[0]
    assert (shown.label, shown.figure) == ("sad", f"{round(100 * float(probs(sad=0.6).max()))}%")


@pytest.mark.parametrize("language", LANGUAGES)
def test_unsure_names_the_candidates_or_the_reason(language):
    words = read_words(language)
    smoother = DisplaySmoother(EMOTIONS, words)

    def word(because, time_s):
        doubtful = face((0, 0, 99, 99), label=UNSURE, answer=probs(happy=0.35, neutral=0.3), unsure_because=because)
        return smoother(analysis(time_s, doubtful))[0].word

    output = word(UNCLEAR, 0.0)
    assert words["happy"] in output and words["neutral"] in output and "{" not in output
    unreadable = face((0, 0, 99, 99), label=UNSURE, unsure_because=REASONS[0])
    assert not DisplaySmoother(EMOTIONS, words)(analysis(0.0, unreadable))[0].bars
    reasons = {word(because, 0.1) for because in REASONS}
    assert len(reasons) == len(REASONS) and words["unsure"] not in reasons
    if language != "en":
        assert not reasons & {read_words("en")[f"unsure_{because}"] for because in REASONS}


def test_newly_unsure_face_names_its_current_candidates():
    smoother = DisplaySmoother(EMOTIONS, read_words("en"))
    smoother(analysis(0.0, face((0, 0, 99, 99), answer=probs(happy=0.6, sad=0.3))))
    doubtful = face((0, 0, 99, 99), label=UNSURE, answer=probs(fear=0.3, angry=0.25), unsure_because=UNCLEAR)
    shown = smoother(analysis(0.1, doubtful))[0]
    assert shown.word == "hard to say: afraid or angry" and shown.short == "unsure"


def test_unsure_text_does_not_flicker():
    smoother, output = DisplaySmoother(EMOTIONS, read_words("en")), []
    for i in range(90):
        second = {"sad": 0.26, "neutral": 0.24} if i % 2 else {"sad": 0.24, "neutral": 0.26}
        doubtful = face((0, 0, 99, 99), label=UNSURE, answer=probs(happy=0.35, **second), unsure_because=UNCLEAR)
        output.append(smoother(analysis(i / 30, doubtful))[0].word)
    assert sum(a != b for a, b in itertools.pairwise(output)) <= 3


def test_all_languages_have_all_phrases():
    texts = json.loads(ASSET.read_text(encoding="utf-8"))
    assert all(set(words) == set(texts["en"]) for words in texts.values())
    assert all(name in texts["en"] for name in KEYS.values())


def test_bars_are_animated_and_keep_their_order_in_a_tie():
    smoother, lengths, orders = DisplaySmoother(EMOTIONS, {}), [], set()
    for i in range(60):
        wobble = 0.01 * (-1) ** i
        answer = probs(happy=0.4, sad=0.3 + wobble, neutral=0.3 - wobble) if i < 30 else probs(happy=0.9)
        bars = smoother(analysis(i / 30, face((0, 0, 99, 99), answer=answer)))[0].bars
        lengths.append(bars[0][1])
        orders |= {tuple(name for name, _, _ in bars)} if i < 30 else set()
    assert len(bars) == 3 and len(orders) == 1
    assert max(np.abs(np.diff(lengths))) < 0.25 and lengths[-1] > 0.85, "from 40% to 90% in more than two frames"


# ------------------------------------------------------------------------------------------------ nothing on faces


def drawn_boxes(faces, size_wh=(640, 360), repeat=1):
    smoother, painter = DisplaySmoother(EMOTIONS, read_words("en")), Faces()
    image = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    for i in range(repeat):
        taken = painter.draw(image, smoother(analysis(i / 30, *faces)), 1.0, True)
    return taken[: len(faces)], taken[len(faces) :]


def test_chips_cover_no_face_if_there_is_room():
    faces = [face((60, 120, 160, 220), 1), face((170, 100, 290, 220), 2, UNSURE, probs(happy=0.3, sad=0.3)),
             face((420, 4, 500, 84), 3)]
    boxes, chips = drawn_boxes(faces)
    for i, chip in enumerate(chips):
        assert not any(overlap(chip, box) for box in boxes) and not any(overlap(chip, other) for other in chips[:i])
        assert min(chip) >= 0 and chip[2] <= 640 and chip[3] <= 360


def test_chips_keep_their_position():
    """A face at a height where its chip barely fits above it, or barely does not."""
    smoother, painter = DisplaySmoother(EMOTIONS, {}), Faces()
    tops = []
    for i in range(60):
        y = 34 + 3 * (i % 2)
        taken = painter.draw(EMPTY.copy(), smoother(analysis(i / 30, face((300, y, 400, y + 100)))), 1.0, False)
        tops.append(taken[1][1] < y)
    assert sum(a != b for a, b in itertools.pairwise(tops)) <= 1


def crowd(time_s):
    """Three swaying faces."""
    xs = [90 + 60 * np.sin(2 * time_s), 320 + 70 * np.sin(1.3 * time_s + 1), 520 + 50 * np.sin(1.7 * time_s + 2)]
    return [face((round(x) - 45, 130, round(x) + 45, 220), i + 1) for i, x in enumerate(xs)]


def test_recorded_bars_keep_their_side_and_cover_no_face():
    smoother, painter, inset, sides = DisplaySmoother(EMOTIONS, {}), Faces(), Inset(EMOTIONS, {}), []
    for i in range(7 * 30):
        shown = smoother(analysis(i / 30, *crowd(i / 30)))
        taken = painter.draw(EMPTY.copy(), shown, 1.0, True)
        image = np.full_like(EMPTY, 255)
        inset.draw(image, shown, taken, i / 30)
        for x1, y1, x2, y2 in taken:
            assert (image[max(0, y1) : y2, max(0, x1) : x2] == 255).all(), "no pixel of a face or of its chip"
        assert (image != 255).any() == bool(inset.side)
        sides.append(inset.side)
    assert sum(a != b for a, b in itertools.pairwise(sides)) <= 2 and sum(map(bool, sides)) > 0.9 * len(sides)


def test_recorded_bars_appear_if_there_is_room():
    item = analysis(0.0, face((80, 100, 180, 200)))
    plain, with_bars = (Overlay(EMOTIONS, View(bars=bars)).draw(item) for bars in (False, True))
    assert (plain != with_bars)[:, 400:].mean() > 0.1 and plain.shape == EMPTY.shape


# ------------------------------------------------------------------------------------------------ the window


def canvas(mirrored=None, words=None, keys="qrsnbmfh", **view):
    words = words or {}
    return Canvas(EMOTIONS, View(**view), words, keys, DisplaySmoother(EMOTIONS, words), mirrored)


def late(one):
    """A time after the initial hint has disappeared."""
    return one.hint_until_s + 1


def test_panel_is_next_to_the_image_with_a_card_per_face(portrait):
    one = canvas(bars=True)
    item = analysis(0.0, *crowd(0.0), image=cv2.resize(portrait, (640, 360)))
    one.draw(item, Rates(), (1280, 720), 100.0)
    with_bars = one.draw(item, Rates(), (1280, 720), late(one)).copy()
    panel_x = 1280 - one.panel.wide - 2 * one.panel.gap
    colors = {tuple(c) for c in with_bars[:, panel_x:].reshape(-1, 3)}
    assert (255, 255, 255) in colors and (28, 223, 255) in colors, "letters and a bar of happy"
    image_h = round(panel_x * 360 / 640)
    top = (720 - image_h) // 2
    assert not with_bars[: top - 1, :panel_x].any() and not with_bars[top + image_h + 1 :, :panel_x].any(), "black margins"
    expected = cv2.resize(item.frame.image, (panel_x, image_h), interpolation=cv2.INTER_LINEAR)
    part = with_bars[top : top + image_h, :panel_x]
    assert (np.abs(part.astype(int) - expected).max(axis=2) < 3).mean() > 0.8, "the image is whole, not covered"


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("size_wh", [(1344, 756), (504, 896), (320, 240), (160, 160)])
def test_window_fits_any_size_and_language(size_wh, language):
    words = read_words(language)
    one = canvas(words=words, bars=True, help=True, fps=True, notice="log stopped: no room", recording=True, badge="DEMO")
    doubt = face((200, 10, 300, 110), 9, UNSURE, probs(happy=0.3, surprise=0.3), unsure_because=UNCLEAR)
    drawn = one.draw(analysis(0.0, *crowd(0.0), doubt), Rates(30, 0), size_wh, 5.0)
    assert drawn.shape == (size_wh[1], size_wh[0], 3) and drawn.any()
    assert len(one.draw(analysis(0.1), Rates(), (40, 30), 5.1)), "even a tiny one"


def test_hint_and_toast_disappear():
    one, item = canvas(), analysis(0.0)
    begin = one.draw(item, Rates(), (1280, 720), 100.0).copy()
    plain = one.draw(item, Rates(), (1280, 720), late(one)).copy()
    assert (begin != plain)[600:].any() and not (begin != plain)[:600].any()
    one.view.toast, one.view.toast_until_s = "Image saved: a.png", 203.0
    toast = one.draw(item, Rates(), (1280, 720), 202.0).copy()
    assert (toast != plain)[600:].any() and one.changes_s(202.0) == 203.0
    assert (one.draw(item, Rates(), (1280, 720), 203.5) == plain).all()


def test_help_lists_only_active_keys():
    def rows(keys):
        one = canvas(help=True, keys=keys)
        drawn = one.draw(analysis(0.0, image=np.zeros((360, 640, 3), np.uint8)), Rates(), (1280, 720), 1.0)
        return (drawn == 24).all(axis=2).any(axis=1).sum()

    assert rows("qbmfh") < rows("qrsnbmfh")


def test_fps_is_shown_only_on_request():
    def corner(**view):
        one = canvas(**view)
        one.draw(analysis(0.0), Rates(29.6, 3), (1280, 720), 1.0)
        return one.draw(analysis(0.0), Rates(29.6, 3), (1280, 720), late(one))[:60, :400].copy()

    assert not (corner() != 120).any() and (corner(fps=True) != 120).any()


def test_mirror_works_on_a_still_image(portrait):
    """The analysis is unmirrored; only the displayed image and its box are flipped."""
    image = cv2.resize(portrait, (640, 640))
    item = analysis(0.0, face((100, 100, 200, 200)), image=image, name="a.png")
    one = canvas(mirrored=False)
    one.draw(item, Rates(), (640, 640), 1.0)
    plain = one.draw(item, Rates(), (640, 640), late(one)).copy()
    one.view.mirror = True
    flipped = one.draw(item, Rates(), (640, 640), late(one)).copy()
    assert (flipped[300:600] == plain[300:600, ::-1]).all() and (flipped != plain).any()
    assert one.seen(item).faces[0].box == (440, 100, 540, 200) and item.faces[0].box == (100, 100, 200, 200)
    one.view.mirror = False
    assert one.seen(item) is item


def test_text_is_drawn_once():
    from fer_live.screen import pen, text

    one = Overlay(EMOTIONS, View(bars=True))
    items = [analysis(i / 30, *crowd(0.0)) for i in range(50)]
    one.draw(items[0])
    made = text._drawn.cache_info().misses + pen.chip.cache_info().misses
    for item in items[1:]:
        one.draw(item)
    assert text._drawn.cache_info().misses + pen.chip.cache_info().misses == made


def test_completed_actions_show_a_toast(tmp_path, monkeypatch):
    from fer_live.app.keys import snapshot, toggle_record
    from fer_live.app.outputs import Outputs
    from fer_live.sinks.recorder import VideoRecorder

    monkeypatch.chdir(tmp_path)
    view = View()
    with Outputs(view, lambda path: VideoRecorder(path, 30.0, live=True), read_words("de")) as outputs:
        outputs.draw = Overlay(EMOTIONS, view).draw
        outputs.write(EMPTY, analysis(0.0, face((100, 100, 200, 200))))
        snapshot(outputs)
        (saved,) = tmp_path.glob("*.png")
        assert view.toast == f"Foto gespeichert: {saved.name}" and view.toast_until_s > time.monotonic()
        assert (cv2.imread(str(saved)) != EMPTY).any(), "annotated"
        toggle_record(outputs)
        assert view.toast == "Aufnahme gestartet" and view.recording
        outputs.recording_since_s -= 67
        toggle_record(outputs)
        assert view.toast == "Aufnahme beendet: 1:07" and not view.recording


@pytest.mark.parametrize(("options", "why"), [
    (["--source", "demo", "--no-window", "--show", "help", "--max-seconds", "1"], "--show help is for the window"),
    (["--source", "a.png", "--show", "fps"], "--show fps is for live sources"),
])
def test_show_rejects_unavailable_elements(tmp_path, monkeypatch, portrait, capsys, options, why):
    from fer_live.__main__ import main

    monkeypatch.chdir(tmp_path)
    cv2.imwrite("a.png", portrait)
    with pytest.raises(SystemExit) as end:
        raise SystemExit(main(options))
    said = capsys.readouterr().err
    assert end.value.code == 2 and why in said and "Traceback" not in said
