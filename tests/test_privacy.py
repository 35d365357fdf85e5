"""Privacy: masks, --no-store, the notice, languages and label sets."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2  # before av; see fer_live/sources/video_file.py

# isort: split
import av
import numpy as np
import pytest

from fer_live.analysis.label_sets import Reduction
from fer_live.kiosk.notice import Facts, Notice, say
from fer_live.model.spec import EMOTIONS
from fer_live.privacy.masks import Mask, widened
from fer_live.screen import text
from fer_live.screen.words import LANGUAGES, read_words
from fer_live.types import UNSURE, Analysis, Face, Frame, OutputError, View
from tests.conftest import ROOT
from tests.test_app import refused, run

BOX = (176, 70, 273, 167)  # of the portrait's face


def face(label="happy", box=BOX, track_id=1, probs=None):
    probs = np.full(7, 1 / 7, np.float32) if probs is None else np.array(probs, np.float32)
    return Face(box, track_id, probs, label, 0.5)


def likeness(before: np.ndarray, after: np.ndarray, box=BOX) -> float:
    """Correlation of the detail finer than a mask's patches: eyes, mouth and brows, which identify a face."""
    x1, y1, x2, y2 = box
    gray = [cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[y1:y2, x1:x2].astype(np.float32) for image in (before, after)]
    fine = [cv2.GaussianBlur(part, (0, 0), 1.5) - cv2.GaussianBlur(part, (0, 0), 6) for part in gray]
    return float(np.corrcoef(fine[0].ravel(), fine[1].ravel())[0, 1])


GONE = 0.35  # measured: the same face 1, softened by 3 pixels 0.93, another person's 0.04; blurred 0.27, patches and emoji 0


# --------------------------------------------------------------------------------------------------- masks


@pytest.mark.parametrize("kind", ["blur", "pixelate", "emoji"])
def test_masked_face_has_no_detail_and_the_source_image_is_unchanged(portrait, kind):
    before = portrait.copy()
    masked = Mask(kind, look=False)(Analysis(Frame(portrait, 0, 0.0), (face(),))).frame.image
    assert (portrait == before).all() and masked is not portrait
    x1, y1, x2, y2 = widened(BOX)
    outside = np.ones(portrait.shape[:2], bool)
    outside[max(0, y1 - 3) : y2 + 3, x1 - 3 : x2 + 3] = False  # edges are smooth
    assert (masked[outside] == portrait[outside]).all(), "no more than the head"
    assert likeness(portrait, portrait) > 0.99 and likeness(portrait, masked) < GONE
    patches = len(np.unique(masked[max(0, y1) : y2, x1:x2].reshape(-1, 3), axis=0))
    assert kind != "pixelate" or patches <= 42
    assert kind != "emoji" or abs(masked[75:160, 180:270].astype(int) - portrait[75:160, 180:270]).mean() > 40


def test_candidate_faces_are_masked_from_the_first_frame(portrait):
    """The tracker confirms a face at its third detection; the mask does not wait."""
    mask = Mask("pixelate", look=False)
    analysis = mask(Analysis(Frame(portrait, 0, 0.0), (), seen=(BOX,)))
    assert likeness(portrait, analysis.frame.image) < GONE
    lone = Mask("pixelate")(Analysis(Frame(portrait, 0, 0.0), ()))
    assert likeness(portrait, lone.frame.image) < GONE, "found by the second search alone"


def test_lost_face_stays_masked_for_a_second(portrait):
    mask = Mask("pixelate", look=False)
    mask(Analysis(Frame(portrait, 0, 10.0), (face(),)))
    for time_s, covered in ((10.5, True), (10.95, True), (11.1, False)):
        image = mask(Analysis(Frame(portrait, 0, time_s), ())).frame.image
        assert (likeness(portrait, image) < GONE) == covered, time_s
    mask(Analysis(Frame(portrait, 0, 20.0), (face(),)))
    mask.forget()
    assert (mask(Analysis(Frame(portrait, 0, 20.1), ())).frame.image == portrait).all()


@pytest.mark.parametrize(("options", "stills", "share"), [
    ([], True, 0.08), (["--min-face", "0.08"], False, 0.09), (["--min-face", "60"], False, 0.1),
    (["--min-face", "0.5"], False, 0.19)])
def test_second_search_finds_faces_as_small_as_the_detector(portrait, untrained, options, stills, share):
    from fer_live.app.loader import ClassifierLoader
    from fer_live.app.open_analyzer import open_analyzer
    from fer_live.app.options import parse

    side = round(97 / share)
    image = np.full((max(side, 512), side + 100, 3), 90, np.uint8)
    image[:512, :512] = portrait
    config = parse([*options, "--blur-faces", "--model", str(untrained), "--device", "cpu", "--runtime", "torch"])
    (mask,) = open_analyzer(config.analysis, "images" if stills else "video", ClassifierLoader(config.analysis)).steps
    assert likeness(image, mask(Analysis(Frame(image, 0, 0.0), ())).frame.image) < GONE


def test_moving_face_leaves_no_trail_of_masks(portrait):
    mask = Mask("pixelate", look=False)
    mask(Analysis(Frame(portrait, 0, 0.0), (face(),)))
    near = tuple(v + 30 for v in BOX)
    image = mask(Analysis(Frame(portrait, 1, 0.03), (face(box=near),))).frame.image
    x1, y1, _, _ = widened(near)
    assert (image[:, : x1] == portrait[:, : x1]).all() and (image[: max(0, y1)] == portrait[: max(0, y1)]).all()


def test_masks_reach_recordings_in_every_frame(tmp_path, make_clip, untrained):
    """No frame of the recordings shows a moving face, including the first frame."""
    clip = make_clip(tmp_path / "clip.mp4", frames=12, sound=None, size_wh=(640, 480))
    options = {"plain": [], "blur": ["--blur-faces"], "pixelate": ["--mask", "pixelate"], "emoji": ["--mask", "emoji"]}
    for name, option in options.items():
        assert run("--source", clip, "--no-window", "--output", tmp_path / f"{name}.mp4", "--log", tmp_path / f"{name}.jsonl",
                   "--model", untrained, *option) == 0
    logs = [(tmp_path / f"{name}.jsonl").read_text() for name in options]
    assert len(set(logs)) == 1, "masks do not affect detection"
    boxes = [[f["box"] for f in json.loads(line)["faces"]] for line in logs[0].splitlines()]
    known = next(b[0] for b in boxes if b)
    for name in options:
        with av.open(str(clip)) as a, av.open(str(tmp_path / f"{name}.mp4")) as b:
            for i, (before, after) in enumerate(zip(a.decode(video=0), b.decode(video=0), strict=True)):
                box = boxes[i][0] if boxes[i] else known
                inner = box[0] + 12, box[1] + 12, box[2] - 12, box[3] - 12
                like = likeness(before.to_ndarray(format="bgr24"), after.to_ndarray(format="bgr24"), inner)
                assert like > 0.9 if name == "plain" else like < GONE, (name, i)


# ------------------------------------------------------------------------------------------------ no store

HOOK = """
import os, sys
written = []
def hook(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        wants = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
        if (isinstance(mode, str) and set(mode) & set("wax+")) or (flags or 0) & wants:
            written.append(str(path))
sys.addaudithook(hook)
import runpy
sys.argv = ["fer_live", *sys.argv[1:]]
try:
    runpy.run_module("fer_live", run_name="__main__")
finally:
    open("control", "w").close()
    print("WRITTEN", *sorted({w for w in written if not w.startswith("/dev/")}), flush=True)
"""


def test_no_store_opens_no_file_for_writing(tmp_path, untrained):
    """Checked with Python's audit hook and, if available, strace, since libav, OpenCV and torch open files without Python.

    The file "control", opened after the run, shows that both methods detect writes.
    """
    trace, folder = tmp_path / "trace", tmp_path / "in"
    folder.mkdir()
    command = [sys.executable, "-c", HOOK, "--source", "demo", "--max-seconds", "1", "--model", str(untrained), "--no-store",
               "--blur-faces"]
    strace = ["strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=open,openat,creat,rename", "-o", str(trace)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DISPLAY": ""}
    out = subprocess.run([*(strace if shutil.which("strace") else []), *command], cwd=folder, capture_output=True, text=True,
                         check=False, env=environment)
    if out.returncode and "ptrace" in out.stderr:
        out = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)
    assert "fps" in out.stdout and out.stdout.splitlines()[-1] == "WRITTEN control", out.stdout + out.stderr
    assert [path.name for path in folder.iterdir()] == ["control"]
    if trace.exists() and trace.stat().st_size:
        calls = [line for line in trace.read_text().splitlines() if any(w in line for w in ("O_WRONLY", "O_RDWR", "O_CREAT",
                 "rename("))]
        stored = [line for line in calls if '"/dev/' not in line and '"/proc/' not in line and " = -1 " not in line]
        assert len(stored) == 1 and '"control"' in stored[0], stored


def test_no_store_disables_keys_that_write():
    from fer_live.app.keys import make_keys
    from fer_live.app.options import parse
    from fer_live.app.outputs import Outputs

    outputs = Outputs(View(), lambda path: None)
    for options, keys in ((["--no-store"], "qbmhn"), ([], "qbmhnrs")):
        can_write = parse(options).output.can_write
        assert set(make_keys(outputs, print, print, can_write)) == {*keys, "esc"}


def test_rejects_mutually_exclusive_options(tmp_path, capsys, untrained):
    cases = [
        (["--no-store", "--output", tmp_path / "o.mp4"], "--no-store and --output"),
        (["--no-store", "--log", tmp_path / "o.csv"], "--no-store and --log"),
        (["--no-store", "--kiosk", "--record-on-consent"], "--no-store and --record-on-consent"),
        (["--no-store", "--audio"], "--no-store and --audio"),
        (["--no-store", "--keep-days", "3"], "--no-store and --keep-days"),
        (["--kiosk", "--audio"], "--audio is for recordings"),
        (["--kiosk", "--segment-minutes", "3", "--log", tmp_path / "o.csv"], "--segment-minutes is for recordings"),
        (["--no-window", "--keep-gb", "3"], "--keep-gb is for recordings"),
        (["--blur-faces", "--mask", "emoji"], "not allowed with"),
        (["--mask", "hat"], "emoji"),
        (["--kiosk", "--no-window"], "--no-window"),
        (["--record-on-consent"], "add --kiosk"),
        (["--operator", "X"], "add --kiosk"),
        (["--kiosk", "--policy-url", "example.org"], "http"),
        (["--kiosk", "--policy-url", "https://me:word@e.org/"], "contains a password"),
        (["--kiosk", "--policy-url", "https://e.org/?v=1&PassWd=word"], "contains a password"),
        (["--kiosk", "--policy-url", "https://e.org/" + "x" * 300], "shorter"),
        (["--kiosk", "--operator", "x" * 300], "80"),
        (["--kiosk", "--exit-chord", "q"], "letters"),
        (["--kiosk", "--idle-seconds", "0"], "above 0"),
        (["--language", "en,xx"], "xx"),
        (["--label-set", "tiny"], "basic"),
    ]
    for arguments, words in cases:
        assert words in refused(capsys, "--source", "demo", "--max-seconds", 1, "--model", untrained, *arguments), arguments
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------------- labels and label sets


def test_every_language_is_complete_and_drawable():
    assert len({tuple(sorted(read_words(language))) for language in LANGUAGES}) == 1
    for language in LANGUAGES:
        words = read_words(language)
        assert set(EMOTIONS) | {UNSURE, "positive", "negative", "surprised"} <= set(words)
        assert all(text.font_file(word) == str(text.BUNDLED) for word in words.values()), language


def test_text_is_drawn_without_missing_glyphs():
    drawn = {}
    for word in ("驚き", "悲み", "şaşkın", "saskin", "überrascht", "uberrascht"):
        image = np.zeros((80, 400, 3), np.uint8)
        text.write(image, word, 5, 60, 50, (255, 255, 255))
        assert image.any() and not image[:, -1].any(), word
        drawn[word] = image.tobytes()
    assert len(set(drawn.values())) == len(drawn)
    image = np.zeros((40, 60, 3), np.uint8)
    text.write(image, "überrascht", -30, 30, 40, (255, 255, 255))  # cut off at both ends
    assert image.any()
    assert text.wrap("one two three", 20, 10_000) == ["one two three"]
    lines = text.wrap(read_words("ja")["notice"], 30, 300)
    assert len(lines) > 1 and "".join(lines) == read_words("ja")["notice"] and all(text.width(line, 30) <= 300 for line in lines)
    with pytest.raises(OutputError, match="install"):
        text.check(["\U00013000"])  # an Egyptian hieroglyph


def test_custom_labels(tmp_path, capsys, untrained, portrait):
    own = tmp_path / "own.json"
    own.write_text('{"happy": "みんな笑顔", "operator": "© {operator}"}', encoding="utf-8")
    words = read_words("de", own)
    assert words["happy"] == "みんな笑顔" and words["sad"] == "traurig"
    cv2.imwrite(str(tmp_path / "p.png"), portrait)
    cases = [('{"joy": "x"}', "joy"), ("[1]", "a JSON object"), ("{}", "a JSON object"), ('{"happy": 3}', "line of text"),
             ('{"happy": ""}', "line of text"), ('{"happy": "a\\nb"}', "line of text"), ('{"happy"', "not valid JSON"),
             ('{"happy": "\U00013000"}', "install")]
    for content, words in cases:
        own.write_text(content, encoding="utf-8")
        assert words in refused(capsys, "--source", tmp_path / "p.png", "--no-window", "--output", tmp_path / "o.png", "--labels",
                               own, "--model", untrained), content
    own.write_bytes(b'{"happy": "fr\xf6hlich"}')
    assert "UTF-8" in refused(capsys, "--source", tmp_path / "p.png", "--no-window", "--output", tmp_path / "o.png", "--labels",
                              own, "--model", untrained)
    assert "cannot be read" in refused(capsys, "--source", tmp_path / "p.png", "--no-window", "--output", tmp_path / "o.png",
                                       "--labels", tmp_path / "none.json", "--model", untrained)


def test_label_set_sums_and_smooths_probabilities():
    reduce = Reduction("basic", EMOTIONS)
    assert reduce.labels == ("positive", "neutral", "negative", "surprised")
    probs = {"angry": 0.15, "disgust": 0.05, "fear": 0.1, "happy": 0.2, "neutral": 0.2, "sad": 0.2, "surprise": 0.1}
    given = face(UNSURE, probs=[probs[name] for name in EMOTIONS])
    out = reduce(Analysis(Frame(np.zeros((9, 9, 3), np.uint8), 0, 0.0), (given,))).faces[0]
    assert out.probs == pytest.approx([0.2, 0.2, 0.5, 0.1]) and out.probs.dtype == np.float32
    assert out.label == "negative" and out.confidence == pytest.approx(0.5), "the sum is sure although no class was"
    close = face(probs=[(0.455 if n == "happy" else 0.5 if n == "neutral" else 0.009) for n in EMOTIONS])
    out = reduce(Analysis(Frame(np.zeros((9, 9, 3), np.uint8), 1, 1.0), (close,))).faces[0]
    assert out.label == "neutral"
    close = face(probs=[(0.5 if n == "happy" else 0.455 if n == "neutral" else 0.009) for n in EMOTIONS])
    out = reduce(Analysis(Frame(np.zeros((9, 9, 3), np.uint8), 2, 2.0), (close,))).faces[0]
    assert out.label == "positive", "the strongest class, and no other"
    with pytest.raises(OutputError, match="label-set"):
        Reduction("basic", ("a", "b"))


def test_label_set_applies_to_log_and_image(tmp_path, make_clip):
    clip = make_clip(tmp_path / "clip.mp4", frames=12, sound=None)
    for options in ([], ["--label-set", "basic", "--language", "ja"]):
        assert run("--source", clip, "--no-window", "--output", tmp_path / "o.mp4", "--log", tmp_path / "o.jsonl", *options) == 0
    full, basic = ([json.loads(line)["faces"] for line in (tmp_path / name).read_text().splitlines()]
                   for name in ("o.jsonl", "o-2.jsonl"))
    pairs = [(a[0], b[0]) for a, b in zip(full, basic, strict=True) if a]
    assert len(pairs) > 5
    for a, b in pairs:
        assert list(b["probs"]) == ["positive", "neutral", "negative", "surprised"] and b["label"] == "positive"
        assert b["probs"]["positive"] == a["probs"]["happy"] and sum(b["probs"].values()) == pytest.approx(1, abs=1e-3)
    assert (tmp_path / "o.mp4").read_bytes() != (tmp_path / "o-2.mp4").read_bytes()


def test_label_set_keeps_still_images_independent(tmp_path, portrait, untrained):
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / "in" / name), portrait if name == "a.png" else portrait[:, ::-1])
    log = tmp_path / "o.jsonl"
    assert run("--source", tmp_path / "in", "--no-window", "--log", log, "--label-set", "basic", "--mask", "pixelate",
               "--output", tmp_path / "out") == 0
    assert [json.loads(line)["faces"][0]["label"] for line in log.read_text().splitlines()] == ["positive", "positive"]
    assert likeness(portrait, cv2.imread(str(tmp_path / "out" / "a.png")), (190, 80, 260, 160)) < GONE


# -------------------------------------------------------------------------------------------------- notice


def told(*options: str) -> str:
    """The English notice for these options."""
    from fer_live.app.kiosk import facts
    from fer_live.app.options import parse

    config = parse(["--kiosk", *options])
    return say(read_words("en"), facts(config, config.kiosk))


HERE, NOTHING, VALUES = "on this device", "Nothing is stored.", "The results are stored; images are not."
CONSENT, VIDEO = "Video is recorded only after the button is pressed.", "Video is recorded."
SHARED = "passes the camera image and the results to other programs or devices"
SHARED_RESULTS = "passes the results to other programs or devices"
SENT, NOTHING_HERE = "sends the camera image and the results to other devices", "Nothing is stored on this device."


@pytest.mark.parametrize(("options", "notice"), [
    ("", (HERE, NOTHING)),
    ("--no-store", (HERE, NOTHING)),
    ("--log x.csv", (HERE, VALUES)),
    ("--output x.mp4", (HERE, VIDEO)),
    ("--output x.mp4 --log x.csv", (HERE, "The results are stored. Video is recorded.")),
    ("--output x.mp4 --audio", (HERE, "Video and sound are recorded.")),
    ("--record-on-consent", (HERE, CONSENT)),
    ("--record-on-consent --output x.mp4", (HERE, CONSENT)),
    ("--record-on-consent --output x.mp4 --log x.csv", (HERE, f"The results are stored. {CONSENT}")),
    ("--record-on-consent --audio mic", (HERE, "Video and sound are recorded only after the button is pressed.")),
    ("--serve 8080", (HERE, NOTHING)),
    ("--serve localhost:8080", (HERE, NOTHING)),
    ("--serve [::1]:8080", (HERE, NOTHING)),
    ("--serve 0.0.0.0:8080", (SENT, NOTHING_HERE)),
    ("--serve [::]:8080 --no-store", (SENT, NOTHING_HERE)),
    ("--serve 192.168.0.7:8080 --log x.csv", (SENT, VALUES)),
    ("--serve kiosk.local:8080 --output x.mp4", (SENT, VIDEO)),
    ("--on enter true", (SHARED_RESULTS, NOTHING_HERE)),
    ("--webhook https://e.org/hook", (SHARED_RESULTS, NOTHING_HERE)),
    ("--osc 127.0.0.1:9000 --no-store", (SHARED_RESULTS, NOTHING_HERE)),
    ("--mqtt broker --mqtt-tls --mqtt-user me --mqtt-name hall", (SHARED_RESULTS, NOTHING_HERE)),
    ("--lsl fer --log x.csv", (SHARED_RESULTS, VALUES)),
    ("--virtual-camera --osc [::1]:9000", (SHARED, NOTHING_HERE)),
    ("--virtual-camera --record-on-consent", (SHARED, CONSENT)),
    ("--serve 0.0.0.0:8080 --osc 192.168.0.7:9000 --virtual-camera", (SENT, NOTHING_HERE)),
    ("--serve 8080 --lsl fer", (SHARED_RESULTS, NOTHING_HERE)),
    ("--blur-faces --policy-url https://e.org", (HERE, NOTHING, "Faces are masked", "scan the code")),
    ("--mask emoji --operator Museum", (HERE, NOTHING, "Faces are masked", "Responsible: Museum.")),
])
def test_notice_matches_the_configuration(options, notice):
    text = told(*options.split())
    for part in notice:
        assert part in text, text
    for part in {HERE, SENT, SHARED, SHARED_RESULTS, NOTHING,
                 NOTHING_HERE, VALUES, CONSENT, VIDEO, "sound", "covered", "Responsible", "{"}:
        assert (part in text) == any(part in one for one in notice), (part, text)


STORES_OR_SENDS = {"output": "x.mp4", "log": "x.csv", "record_on_consent": None, "audio": "mic", "serve": "0.0.0.0:1",
                   "mask": "emoji", "operator": "M", "policy_url": "https://e.org", "on": ["enter", "true"],
                   "webhook": "https://e.org", "osc": "127.0.0.1:9", "mqtt": "127.0.0.1", "lsl": "fer", "virtual_camera": None}
STORES_AND_SENDS_NOTHING = {  # apart from what other options store or send; with the reason
    "help": "", "source": "where images come from", "list_cameras": "", "max_seconds": "", "wait_for_camera": "",
    "frozen_seconds": "", "silent_seconds": "", "calibrate": "kept in memory while the face is followed",
    "on_camera_lost": "runs a command that is told of the camera, not of visitors",
    "on_camera_found": "the same", "segment_minutes": "how --output is split", "keep_gb": "what of it is deleted",
    "keep_days": "the same", "model": "", "head": "", "device": "", "runtime": "", "detector": "", "min_face": "",
    "target_fps": "", "no_window": "", "mirror": "", "show": "", "token": "who may see what --serve sends", "language": "",
    "labels": "", "label_set": "", "no_store": "forbids", "kiosk": "", "exit_chord": "", "idle_seconds": "", "notice": "",
    "consent_seconds": "how long --record-on-consent lasts",
    "sources": "where images come from", "web_controls": "excludes --kiosk",
    "challenge": "what is read is kept in memory until the game is over", "mqtt_user": "how --mqtt sends", "mqtt_tls": "the same",
    "mqtt_name": "the same", "log_level": "which messages are shown"}


def test_every_storing_or_sending_option_is_in_the_notice():
    """A new option must be added to one of the two lists, and to the notice if it stores or sends."""
    from fer_live.app.options import make_parser

    options = {action.dest: (action.option_strings or [""])[0] for action in make_parser()._actions}
    assert set(options) == STORES_OR_SENDS.keys() | STORES_AND_SENDS_NOTHING.keys()
    assert not STORES_OR_SENDS.keys() & STORES_AND_SENDS_NOTHING.keys()
    for dest, value in STORES_OR_SENDS.items():
        before = ["--record-on-consent"] if dest == "audio" else []
        name = "--mask" if dest == "mask" else options[dest]
        given = value if isinstance(value, list) else [value] if value else []
        assert told(*before, name, *given) != told(*before), dest


@pytest.mark.parametrize("language", LANGUAGES)
def test_notice_fits_and_its_qr_code_is_readable(language):
    url = "https://museum.example/datenschutz?v=2"
    facts = Facts(("values", "consent", "sound"), True, "Museum für Gestaltung, Zürich", url, sent=True)
    notice = Notice([read_words(language)], facts)
    screen = np.full((720, 1280, 3), 24, np.uint8)
    place = notice.draw(screen, (24, 464, 742, 696), 0, 34, notice.code_side(150))
    assert cv2.QRCodeDetector().detectAndDecode(screen)[0] == url
    assert (screen[464:696, 24:742] != 24).any() and (screen[:464] == 24).all() and (screen[:, 742:] == 24).all()
    assert place is not None and place[0] >= 24 and place[2] <= 742 and place[2] - place[0] == notice.code_side(150)


def test_kiosk_screen_has_the_monitor_aspect_ratio():
    from fer_live.app.kiosk import canvas_size

    assert canvas_size(None) == canvas_size((0, 0, 1920, 1080)) == (1280, 720)
    assert canvas_size((0, 0, 1080, 1920)) == (720, 1280) and canvas_size((0, 0, 9000, 10)) == (1728, 720)
    assert Path(ROOT / "fer_live" / "assets" / "mplus1-bold-subset.LICENSE.txt").is_file()
