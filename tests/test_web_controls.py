"""The web view's commands, log download, QR code, history and API examples."""

import contextlib
import html
import json
import re
import shutil
import subprocess
import time
import urllib.request
from dataclasses import replace

import cv2
import numpy as np
import pytest

from fer_live.app.options import parse
from fer_live.app.outputs import Outputs
from fer_live.app.web_view import Remote
from fer_live.model.spec import EMOTIONS
from fer_live.screen.overlay import Overlay
from fer_live.screen.smoothing import DisplaySmoother
from fer_live.screen.words import LANGUAGES, read_words
from fer_live.sinks.log import Log
from fer_live.sinks.recorder import VideoRecorder
from fer_live.types import NO_IMAGE, Analysis, Frame, OutputError, View
from fer_live.web import PageConfig, WebView, bind_endpoint
from fer_live.web.guard import Guard, Limits
from fer_live.web.history import History
from fer_live.web.pages import ASSETS, Pages
from tests.test_web import FACE, LOOSE, TOKEN, get, served, wait_for

BEARER = {"Authorization": f"Bearer {TOKEN}"}


class Main:
    """The main thread's part: writes each frame to the sinks of a run, which change over time."""

    def __init__(self, outputs):
        self.outputs = outputs

    def write(self, image, analysis):
        for sink in list(self.outputs.sinks):
            if sink in self.outputs.sinks:  # unless a command has just stopped it
                sink.write(image, analysis)


@contextlib.contextmanager
def controlled(folder, monkeypatch, host="127.0.0.1", limits=LOOSE, log=None, language="en"):
    """A view of a run with commands; yields its port and the outputs."""
    monkeypatch.chdir(folder)
    outputs = Outputs(View(), lambda path: VideoRecorder(path, 30.0, live=True))
    remote = Remote(outputs)
    with outputs, remote:
        if log:
            outputs.add_log(Log(folder / log, EMOTIONS, live=True))
        outputs.sinks.append(remote)
        page = PageConfig(language, read_words(language), has_controls=True, has_log=log is not None)
        with served(host, TOKEN, limits, [Main(outputs)], is_recording=lambda: outputs.view.recording, controls=remote,
                    page=page) as (port, _):
            wait_for(lambda: get(port, "/healthz", BEARER)[0] == 200)
            yield port, outputs


def post(port, name, headers=BEARER):
    """Status, and the response as an object if it is JSON."""
    status, _, body = get(port, f"/commands/{name}", headers, "POST")
    return status, json.loads(body) if body[:1] == b"{" else body.decode()


# ------------------------------------------------------------------------------------------------ commands


def test_viewers_can_save_images_and_recordings(tmp_path, monkeypatch):
    with controlled(tmp_path, monkeypatch) as (port, outputs):
        status, answer = post(port, "snapshot")
        assert status == 200 and answer["recording"] is False
        assert cv2.imread(str(tmp_path / answer["file"])).shape == (360, 640, 3), "in full size"
        status, begun = post(port, "record")
        assert status == 200 and begun["recording"] and begun["file"].endswith(".mp4")
        assert post(port, "record") == (200, begun), "already running: no change"
        assert json.loads(get(port, "/healthz", BEARER)[2])["recording"] is True
        time.sleep(0.5)
        assert post(port, "stop") == (200, {"file": begun["file"], "recording": False})
        assert post(port, "stop") == (200, {"file": None, "recording": False})
        assert not outputs.view.recording
    video = cv2.VideoCapture(str(tmp_path / begun["file"]))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) >= 5 and len(list(tmp_path.iterdir())) == 2


def test_failed_command_is_reported_on_the_page(tmp_path, monkeypatch):
    def fail(*_):
        raise OutputError("cannot write there (no space left); choose another path")

    monkeypatch.setattr("fer_live.app.keys.write_image", fail)
    with controlled(tmp_path, monkeypatch) as (port, outputs):
        assert post(port, "snapshot") == (500, "cannot write there (no space left); choose another path\n")
        assert outputs.view.notice == "image not saved: cannot write there (no space left); choose another path"
        outputs.open_recorder = fail
        assert post(port, "record")[0] == 500 and not outputs.view.recording
        assert get(port, "/healthz", BEARER)[0] == 200, "the run continues"


def test_command_without_an_image_is_not_deferred(tmp_path, monkeypatch):
    monkeypatch.setattr("fer_live.web.commands.ANSWER_S", 0.3)
    remote = Remote(Outputs(View()))
    monkeypatch.chdir(tmp_path)
    with WebView(bind_endpoint("127.0.0.1", 0, TOKEN), DisplaySmoother(EMOTIONS, {}), limits=LOOSE, controls=remote) as view:
        assert post(view.endpoint.bound[1], "snapshot")[0] == 503
        image = np.zeros((8, 8, 3), np.uint8)
        remote.outputs.last = image, Analysis(Frame(image, 0, 0.0), ())
        remote.write(*remote.outputs.last)
    assert not list(tmp_path.iterdir())


def test_command_draws_an_image_without_viewers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outputs = Outputs(View())
    outputs.draw = lambda analysis: analysis.frame.image + 50
    main, remote = Main(outputs), Remote(outputs)
    outputs.sinks.append(remote)
    for index in range(2):
        answer = remote.ask("snapshot")
        main.write(NO_IMAGE, Analysis(Frame(np.full((8, 8, 3), index, np.uint8), index, 0.0), ()))
        assert (cv2.imread(str(tmp_path / answer.result(0))) == 50 + index).all(), "of this frame, not of one before"


def test_commands_need_same_origin_or_token(tmp_path, monkeypatch):
    with controlled(tmp_path, monkeypatch) as (port, _):
        own = f"http://127.0.0.1:{port}"
        cookie = {"Cookie": get(port, f"/?token={TOKEN}")[1]["Set-Cookie"].split(";")[0]}
        refused = [
            {}, {"Origin": own}, {"Authorization": "Bearer " + "x" * 27},  # without the token
            cookie, {**cookie, "Sec-Fetch-Site": "same-origin"},  # a browser names its origin with every POST
            {**cookie, "Origin": "http://evil.example"}, {**cookie, "Origin": "null"}, {**BEARER, "Origin": "http://evil.example"},
            {**cookie, "Origin": own, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
            {**cookie, "Origin": own, "Sec-Fetch-Site": "none"}, {**cookie, "Origin": own, "Host": "evil.example"},
        ]
        for headers in refused:
            assert post(port, "snapshot", headers)[0] in (401, 403, 421), headers
        assert get(port, "/commands/snapshot", BEARER)[0] == 405, "a link does nothing"
        assert get(port, "/commands/erase", BEARER, "POST")[0] == 404
        assert get(port, "/commands/snapshot", BEARER, "POST", b"x")[0] == 413
        assert not list(tmp_path.iterdir())
        assert post(port, "snapshot", {**cookie, "Origin": own, "Sec-Fetch-Site": "same-origin"})[0] == 200
        assert post(port, "snapshot", {**cookie, "Origin": own})[0] == 200, "a browser without Sec-Fetch"


def test_commands_are_rate_limited(tmp_path, monkeypatch):
    limits = Limits(commands=(3.0, 0.001), requests=(1e6, 1e6), new_connections=(1e6, 1e6))
    with controlled(tmp_path, monkeypatch, limits=limits) as (port, _):
        assert [post(port, "stop")[0] for _ in range(5)] == [200, 200, 200, 429, 429]


def test_commands_are_off_by_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with served(token=TOKEN) as (port, _):
        for name in ("snapshot", "record", "stop"):
            said = ("this run accepts no commands; start it with --web-controls, which cannot be combined with --kiosk or "
                    "--no-store\n")
            assert post(port, name) == (403, said)
        assert get(port, "/log", BEARER)[0] == 404
        page = get(port, "/", BEARER)[2].decode()
        assert not re.search(r'id="(snapshot|record|log)"', page)
        assert "--web-controls" in get(port, "/api", BEARER)[2].decode()
    with pytest.raises(ValueError, match="token"):
        endpoint = bind_endpoint("127.0.0.1", 0)
        with endpoint.socket:
            WebView(endpoint, DisplaySmoother(EMOTIONS, {}), controls=Remote(Outputs(View())))


def test_web_controls_need_a_token_and_reject_conflicting_options(capsys):
    for needs, is_made in ((True, True), (False, False)):
        endpoint = bind_endpoint("127.0.0.1", 0, needs_token=needs)
        with endpoint.socket:
            assert (endpoint.token is not None) is is_made and endpoint.is_token_made is is_made
    assert parse(["--serve", "0", "--web-controls"]).web.has_controls
    given = ["--serve", "0", "--web-controls"]
    for options, words in ((given[2:], "--serve"), ([*given, "--no-store"], "combined"), ([*given, "--kiosk"], "combined")):
        with pytest.raises(OutputError, match=words):
            parse(options)
    assert parse(["--serve", "0", "--web-controls", "--no-window", "--segment-minutes", "5"]).output.segment_minutes == 5


def test_log_download_has_complete_lines(tmp_path, monkeypatch):
    with controlled(tmp_path, monkeypatch, log="räum 1.jsonl") as (port, _):
        status, headers, body = get(port, "/log", BEARER)
        assert status == 200 and headers["Content-Disposition"] == "attachment; filename*=UTF-8''r%C3%A4um%201.jsonl"
        lines = [json.loads(line) for line in body.decode().splitlines()]
        assert body.endswith(b"\n") and lines and lines[0]["frame"] == 0 and lines[0]["faces"][0]["label"] == "happy"
        assert get(port, "/log")[0] == 401
        path = tmp_path / "räum 1.jsonl"
        path.rename(tmp_path / "away")
        assert get(port, "/log", BEARER)[0] == 500
    with controlled(tmp_path, monkeypatch) as (port, _):
        assert get(port, "/log", BEARER)[0] == 404


# ------------------------------------------------------------------------------------------------ a phone


def test_qr_code_grants_access_for_two_minutes():
    with served("0.0.0.0", TOKEN) as (port, _):
        status, headers, png = get(port, "/phone.png", {**BEARER, "Host": f"192.168.7.8:{port}"})
        assert status == 200 and headers["Content-Type"] == "image/png" and get(port, "/phone.png")[0] == 401
        address = cv2.QRCodeDetector().detectAndDecode(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR))[0]
        found = re.fullmatch(rf"http://192\.168\.7\.8:{port}/\?token=([0-9a-f]{{32}})", address)
        assert found and TOKEN not in address
        status, headers, _ = get(port, f"/?token={found[1]}")
        assert status == 303 and get(port, "/", {"Cookie": headers["Set-Cookie"].split(";")[0]})[0] == 200
        assert get(port, "/", {"Authorization": f"Bearer {found[1]}"})[0] == 401, "it opens the page but is not the token"
        here = get(port, "/phone.png", BEARER)[2]
        assert here != png, "on this computer the code has the address that others can reach"
    with served() as (port, _):
        assert get(port, "/phone.png")[0] == 404
        assert f"--serve 0.0.0.0:{port}" in get(port, "/")[2].decode()


def test_ticket_expires_and_belongs_to_its_token(monkeypatch):
    now = [1_000_000.0]
    monkeypatch.setattr("fer_live.web.guard.time.time", lambda: now[0])
    guard, other = (Guard("10.0.0.1", "box", token, Limits()) for token in (TOKEN, TOKEN + "x"))
    ticket = guard.ticket()
    assert guard.opens(ticket) and not other.opens(ticket) and not Guard("10.0.0.1", "box", None, Limits()).opens(ticket)
    now[0] += 120.0
    assert guard.opens(ticket) and guard.ticket() != ticket
    now[0] += 120.0
    assert not guard.opens(ticket)


# ------------------------------------------------------------------------------------------------ the last three minutes


def analysis(index, faces=(), is_slate=False):
    return Analysis(Frame(np.zeros((4, 4, 3), np.uint8), index, 0.0, is_slate=is_slate), tuple(faces))


def test_history_has_means_per_second():
    past = History(EMOTIONS)
    for index, (time_s, faces) in enumerate([(0.1, [FACE]), (0.6, [FACE, FACE]), (0.9, []), (2.5, []), (3.2, [FACE])]):
        past.add(analysis(index, faces), time_s)
    past.add(analysis(6, is_slate=True), 4.5)
    seconds = past.seconds(5.5)
    assert [(one["second"], one["faces"], one.get("camera_lost")) for one in seconds] == [
        (0, 1.0, None), (2, 0.0, None), (3, 1.0, None), (4, 0.0, True)], "a second without a frame is omitted"
    assert seconds[0]["probs"] == pytest.approx(dict(zip(EMOTIONS, FACE.probs, strict=True)), abs=0.001)
    assert seconds[1]["probs"] == {} and past.seconds(5.5, after=2) == seconds[2:] and past.seconds(3.5) == seconds[:2]


def test_history_is_limited_to_three_minutes():
    past = History(EMOTIONS)
    for second in range(1000):
        past.add(analysis(second, [FACE]), second + 0.5)
    assert [one["second"] for one in past.seconds(1000.2)] == list(range(820, 1000))
    assert past.seconds(1179.9)[0]["second"] == 999
    assert not past.seconds(2000.0), "older seconds are not shown, even if the camera hangs"


def test_kiosk_clears_history_with_its_visitor():
    past = History(EMOTIONS, forget_s=8.0)
    for time_s in (0.5, 1.5, 2.5):
        past.add(analysis(0, [FACE]), time_s)
    past.add(analysis(1), 9.0)
    assert len(past.seconds(20.0)) == 4
    past.add(analysis(2), 10.6)
    assert [one["second"] for one in past.seconds(20.0)] == [10]


def test_history_route():
    with served() as (port, _):
        wait_for(lambda: len(json.loads(get(port, "/history")[2])["seconds"]) >= 1)
        past = json.loads(get(port, "/history")[2])
        assert past["labels"] == list(EMOTIONS) and past["now_s"] > past["seconds"][-1]["second"] + 1
        assert past["seconds"][0]["faces"] == 1 and past["seconds"][0]["probs"]["happy"] == 0.6
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/events?rate=1", timeout=10) as stream:
            told = []
            while len(told) < 2:
                if stream.readline() == b"event: second\n":
                    told.append(json.loads(stream.readline().removeprefix(b"data: ")))
    assert told[1]["second"] == told[0]["second"] + 1 and told[1]["probs"]["happy"] == 0.6


# ------------------------------------------------------------------------------------------------ texts and the API page


def test_all_languages_have_the_same_keys():
    texts = json.loads((ASSETS / "languages.json").read_text(encoding="utf-8"))
    assert tuple(texts) == LANGUAGES
    for language, out in texts.items():
        assert out.keys() == texts["en"].keys(), language
        for name, text in out.items():
            assert sorted(re.findall(r"\{\w+\}", text)) == sorted(re.findall(r"\{\w+\}", texts["en"][name])), (language, name)
    asked = {name for kind, pattern in ((".html", r"\btext\.(\w+)"), (".js", r"\btexts\.(\w+)"))
             for path in ASSETS.glob(f"*{kind}") for name in re.findall(pattern, path.read_text(encoding="utf-8"))}
    assert asked == texts["en"].keys(), "every text is used, and every used text exists"


@pytest.mark.parametrize("language", LANGUAGES)
def test_pages_use_the_language_of_the_run(language):
    endpoint = bind_endpoint("127.0.0.1", 0, TOKEN)
    with endpoint.socket:
        files = Pages(PageConfig(language, read_words(language)), endpoint).files
    texts = json.loads((ASSETS / "languages.json").read_text(encoding="utf-8"))[language]
    for name, part in (("index.html", "past"), ("locked.html", "locked"), ("overlay.html", "faces")):
        page = html.unescape(files[name][0].decode())
        assert f'<html lang="{language}"' in page and texts[part] in page
    assert json.dumps(read_words(language)["happy"]) in files["words.js"][0].decode()


@pytest.mark.skipif(shutil.which("curl") is None or shutil.which("bash") is None, reason="needs curl and bash")
@pytest.mark.parametrize("has_controls", [False, True])
def test_api_examples_work_as_written(tmp_path, monkeypatch, has_controls):
    with contextlib.ExitStack() as stack:
        if has_controls:
            port, _ = stack.enter_context(controlled(tmp_path, monkeypatch, log="day.jsonl"))
        else:
            port, _ = stack.enter_context(served())
            monkeypatch.chdir(tmp_path)
        page = get(port, "/api", BEARER)[2].decode()
        examples = [html.unescape(text) for text in re.findall(r"<code>(curl .*?)</code>", page)]
        assert len(examples) == (11 if has_controls else 7)
        monkeypatch.setenv("FER_LIVE_TOKEN", TOKEN)
        out = {}
        for example in examples:
            done = subprocess.run(["bash", "-c", f"set -o pipefail; {example.replace('curl ', 'curl -f ', 1)}"],
                                  capture_output=True, text=True, timeout=20)
            assert done.returncode in (0, 23), (example, done)  # 23: head closed the pipe
            out[re.search(r"/([\w/.]+?)['?\s]", example.split(str(port), 1)[1] + " ")[1]] = done.stdout
    assert cv2.imread(str(tmp_path / "image.jpg")).shape == (360, 640, 3)
    assert (tmp_path / "part.mjpg").read_bytes().startswith(b"--frame")
    assert json.loads(out["healthz"])["camera"] == "ok" and json.loads(out["history"])["labels"] == list(EMOTIONS)
    assert "event: state" in out["events"] and "# TYPE fer_live_fps gauge" in out["metrics"] and "chips" in out["overlay"]
    if has_controls:
        assert (tmp_path / json.loads(out["commands/snapshot"])["file"]).exists()
        assert json.loads(out["commands/record"])["recording"] and not json.loads(out["commands/stop"])["recording"]
        assert json.loads((tmp_path / "log.txt").read_text().splitlines()[0])["frame"] == 0


def test_overlay_numbers_faces_for_the_web_page(portrait):
    item = Analysis(Frame(portrait, 0, 0.0), (replace(FACE, box=(176, 70, 273, 167)),))
    plain, numbered = (Overlay(EMOTIONS, View(numbers=numbers)).draw(item) for numbers in (False, True))
    assert (plain != numbered).any()
