"""The kiosk: who is there, who has agreed, what the screen shows, the unit that keeps it running; and all on a virtual screen."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import cv2  # before av; see fer_live/sources/__init__.py

# isort: split
import av
import numpy as np
import pytest

from fer_live.kiosk import __main__ as kiosk
from fer_live.kiosk.layout import Layout
from fer_live.kiosk.notice import Facts, Notice
from fer_live.kiosk.notify import Heartbeat
from fer_live.kiosk.visitors import Consent, Presence
from fer_live.model.spec import EMOTIONS
from fer_live.screen.labels import LANGUAGES, read_words
from fer_live.screen.window import Chord
from fer_live.types import Analysis, Face, Frame, View
from tests.conftest import ROOT
from tests.test_app import refused
from tests.test_window import close_politely, display, key, screenshot, start, wait_for  # noqa: F401

needs_screen = pytest.mark.skipif(not (shutil.which("Xvfb") and shutil.which("xdotool")), reason="needs Xvfb and xdotool")
URL = "https://museum.example/privacy"


def seen(people: int, time_s: float, image=None) -> Analysis:
    probs = np.array([0.02, 0.03, 0.05, 0.6, 0.2, 0.05, 0.05], np.float32)
    faces = tuple(Face((100 + 300 * i, 100, 250 + 300 * i, 250), i + 1, probs, "happy", 0.6) for i in range(people))
    return Analysis(Frame(np.full((720, 1280, 3), 90, np.uint8) if image is None else image, 0, time_s), faces)


# ------------------------------------------------------------------------------------------------- visitors


def test_idle_comes_after_a_while_and_everyone_is_forgotten_once():
    forgotten = []
    presence = Presence(5.0, lambda: forgotten.append(1))
    assert presence.idle
    for time_s, people, idle in ((0, 0, True), (1, 1, False), (2, 0, False), (6.9, 0, False), (7.1, 0, True), (20, 0, True),
                                 (21, 2, False), (22, 0, False), (26, 1, False), (28, 0, False), (32, 0, False), (33.1, 0, True)):
        presence(seen(people, float(time_s)))
        assert presence.idle == idle, time_s
    assert len(forgotten) == 2


def test_forgetting_leaves_nothing_of_a_visitor(portrait, untrained):
    from fer_live.analysis.analyzer import Analyzer
    from fer_live.app.chain import Chain
    from fer_live.app.options import parse

    chain = Chain(parse(["--label-set", "basic", "--blur-faces"]), Analyzer.from_checkpoint(untrained))
    ids = [face.track_id for i in range(4) for face in chain(Frame(portrait, i, i / 30)).faces]
    assert ids == [1, 1] and chain.mask.lost and chain.analyzer.smoother.states
    chain.forget()
    assert not (chain.analyzer.tracker.tracks or chain.analyzer.smoother.states or chain.mask.lost
                or chain.reduction.steady.states)
    assert [face.track_id for i in range(4, 8) for face in chain(Frame(portrait, i, i / 30)).faces] == [2, 2], "somebody else"


class Tape:
    """Counts what a recorder is told."""

    def __init__(self):
        self.said = []
        self.consent = Consent(lambda: self.said.append("start"), lambda: self.said.append("stop"), seconds=10.0)

    def at(self, time_s, people=1):
        self.consent.write(np.zeros((1, 1, 3), np.uint8), seen(people, float(time_s)))
        self.consent.poll()
        return self.said


def test_consent_records_from_a_press_only_and_ends_by_itself():
    tape = Tape()
    assert tape.at(0) == tape.at(50) == []
    tape.consent.press()
    assert tape.at(51) == ["start"]
    assert tape.at(59.9) == ["start"] and tape.at(60.1) == ["start", "stop"] and tape.at(99) == ["start", "stop"]


def test_consent_ends_with_a_second_press_but_a_held_button_counts_once():
    tape = Tape()
    tape.at(0)
    for i in range(40):  # a key that repeats itself
        tape.consent.press()
        tape.at(i * 0.05)
    assert tape.said == ["start"]
    tape.at(4)
    tape.consent.press()
    assert tape.said == ["start", "stop"]


def test_consent_is_nobody_else_s():
    tape = Tape()
    tape.at(0, people=0)
    tape.consent.press()
    assert tape.said == [], "nobody is there"
    tape.at(1)
    tape.consent.press()
    assert tape.at(2, 0) == ["start"] and tape.at(3, 0) == ["start", "stop"], "gone"
    tape.at(5, 1)
    tape.consent.press()
    tape.at(6, 1)
    tape.at(6.1, 2)
    assert tape.at(6.2, 1)[-1] == "start", "one false face for a moment"
    tape.at(7, 1)
    tape.at(7.3, 2)
    assert tape.at(7.6, 2)[-1] == "stop", "somebody joined who has not agreed"
    tape.at(8, 2)
    tape.consent.press()
    with tape.consent:
        pass
    assert tape.said[-2:] == ["start", "stop"], "the end of the program"


def test_the_chord():
    done = []
    chord = Chord("qQ7", lambda: done.append(1))
    for keys, times, ends in (("qq7", (0, 0.5, 1.0), 1), ("qq7", (10, 11, 12.5), 0), ("qxq7", (20, 20.1, 20.2, 20.3), 0),
                              ("xqqQ7", (30, 30.1, 30.2, 30.3, 30.4), 1), ("qqqqqq", range(40, 46), 0)):
        done.clear()
        for k, t in zip(keys, times, strict=True):
            chord.take(k, float(t))
        assert len(done) == ends, keys


# --------------------------------------------------------------------------------------------------- screen


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_screen_in_every_language_shape_and_company(language):
    words = read_words(language)
    notice = Notice([words], Facts(("consent",), True, "Museum für Gestaltung", URL))
    for size_wh in ((1280, 720), (720, 1280), (1728, 720), (960, 720)):
        view, idle = View(badge="DEMO"), []
        layout = Layout(size_wh, EMOTIONS, [words], view, notice, lambda idle=idle: bool(idle), asks=True)
        screens = [layout.draw(seen(people, 0.0)) for people in (0, 1, 2, 3, 5)]
        assert all(screen.shape == (size_wh[1], size_wh[0], 3) for screen in screens)
        assert len({screen.tobytes() for screen in screens}) == 5
        assert cv2.QRCodeDetector().detectAndDecode(screens[1])[0] == URL, size_wh
        assert layout.button and layout.button[3] <= size_wh[1] and layout.button[2] <= size_wh[0]
        view.recording = True
        red = layout.draw(seen(1, 0.0))
        assert (red != screens[1]).any() and layout.button
        view.recording = False
        layout.draw(seen(0, 0.0))
        assert layout.button is None, "nobody is there to press it"
        idle.append(1)
        rest = layout.draw(seen(0, 0.0, image=np.full((720, 1280, 3), (0, 200, 0), np.uint8)))
        assert not (rest == (0, 200, 0)).all(axis=2).any(), "no picture of the room"
        assert cv2.QRCodeDetector().detectAndDecode(rest)[0] == URL, size_wh


def test_visitors_keep_their_numbers():
    layout = Layout((1280, 720), EMOTIONS, [read_words("en")], View())
    probs = np.full(7, 1 / 7, np.float32)
    faces = {i: Face((x, 100, x + 150, 250), i, probs, "sad", 0.3) for i, x in ((4, 900), (5, 100), (6, 500))}
    numbers = lambda *ids: {face.track_id: n for n, face in layout._seated(tuple(faces[i] for i in ids))}  # noqa: E731
    assert numbers(4) == {4: 1}
    assert numbers(4, 5) == {4: 1, 5: 2}
    assert numbers(5) == {5: 2} and numbers(5, 6) == {6: 1, 5: 2} and numbers(4, 5, 6) == {6: 1, 5: 2, 4: 3}
    assert numbers() == {} and numbers(5, 4) == {5: 1, 4: 2}


def test_drawing_leaves_time_for_the_rest():
    words = read_words("de")
    layout = Layout((1280, 720), EMOTIONS, [words], View(), Notice([words], Facts(policy_url=URL)))
    layout.draw(seen(3, 0.0))
    took = []
    for _ in range(15):
        began = time.thread_time()
        layout.draw(seen(3, 0.0))
        took.append(time.thread_time() - began)
    assert np.median(took) < 0.02, "of the 33 ms that a picture has"


# ----------------------------------------------------------------------------------------- unit and watchdog


def test_the_unit_is_written_printed_and_removed(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")  # no systemctl: the test must not touch the user's own
    options = ["--language", "de,en", "--operator", 'Café "100%" $HOME', "--policy-url", URL]
    assert kiosk.main(["install", "--dry-run", "--", *options]) == 0
    printed = capsys.readouterr().out
    path = tmp_path / "systemd" / "user" / kiosk.NAME
    assert not path.exists() and str(path) in printed
    assert kiosk.main(["install", "--", *options]) == 0
    said = capsys.readouterr()
    unit = path.read_text()
    assert unit in printed and "systemctl --user daemon-reload && systemctl --user enable" in said.err
    for line in ("Type=notify", "Restart=always", "WatchdogSec=30", "After=graphical-session.target",
                 "WantedBy=graphical-session.target", f"WorkingDirectory={ROOT}"):
        assert line in unit.splitlines()
    command = next(line for line in unit.splitlines() if line.startswith("ExecStart="))
    assert '"--kiosk" "--source" "0"' in command and '"Café \\"100%%\\" $$HOME"' in command
    assert kiosk.main(["uninstall", "--dry-run"]) == 0 and path.exists()
    assert kiosk.main(["uninstall"]) == 0 and not path.exists()
    assert kiosk.main(["uninstall"]) == 0 and "nothing to remove" in capsys.readouterr().out
    assert kiosk.main(["install", "--", "--no-store", "--log", "x.csv"]) == 2 and "exclude" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        kiosk.main(["install", "--", "--languages", "de"])
    assert not path.exists()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_accepts_the_unit(tmp_path):
    path = tmp_path / kiosk.NAME
    path.write_text(kiosk.unit(["--operator", 'Café "100%" $HOME', "--source=demo"]))
    out = subprocess.run(["systemd-analyze", "--user", "verify", str(path)], capture_output=True, text=True, check=False,
                         env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)})
    assert not [line for line in out.stderr.splitlines() if kiosk.NAME in line], out.stderr


@pytest.mark.parametrize("abstract", [False, True])
def test_the_running_program_tells_systemd(tmp_path, untrained, abstract):
    address = f"\0fer-live-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(60)
        process = subprocess.Popen(
            [sys.executable, "-m", "fer_live", "--source", "demo", "--no-window", "--model", untrained, "--max-seconds", "2"],
            cwd=ROOT, stdout=subprocess.DEVNULL,
            env={**os.environ, "NOTIFY_SOCKET": address.replace("\0", "@"), "WATCHDOG_USEC": "900000"})
        heard = []
        while not heard or heard[-1][0] != "STOPPING=1":
            heard.append((manager.recv(100).decode(), time.monotonic()))
        assert process.wait(20) == 0
    said = [message for message, _ in heard]
    assert said[0] == "READY=1" and said[-1] == "STOPPING=1" and set(said[1:-1]) == {"WATCHDOG=1"}
    assert 3 <= len(said[1:-1]) <= 7, "every 0.3 s or so"


def test_no_pictures_no_heartbeat(tmp_path):
    """What systemd hears comes from the live loop alone: pictures that do not flow are a program that hangs."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "60000"}
        with Heartbeat(environment):
            time.sleep(0.1)
            with pytest.raises(BlockingIOError):
                manager.recv(100)
        assert manager.recv(100) == b"STOPPING=1"
        with Heartbeat({**environment, "WATCHDOG_PID": "1"}) as other:  # meant for another process
            for _ in range(3):
                other.write(np.zeros((1, 1, 3), np.uint8), seen(0, 0.0))
                time.sleep(0.05)
        assert [manager.recv(100) for _ in range(2)] == [b"READY=1", b"STOPPING=1"]
    with Heartbeat({"NOTIFY_SOCKET": str(tmp_path / "gone")}) as lone:
        lone.write(np.zeros((1, 1, 3), np.uint8), seen(0, 0.0))
    with Heartbeat({}) as none:
        none.write(np.zeros((1, 1, 3), np.uint8), seen(0, 0.0))


# ------------------------------------------------------------------------------------------- the real thing


def test_a_kiosk_needs_a_screen_and_a_live_source(tmp_path, make_clip, untrained, capsys, monkeypatch):
    monkeypatch.setenv("DISPLAY", "")
    assert "needs one" in refused(capsys, "--kiosk", "--source", "demo", "--model", untrained)
    clip = make_clip(tmp_path / "clip.mp4", frames=3, sound=None)
    assert "camera" in refused(capsys, "--kiosk", "--source", clip, "--model", untrained)


def code_on(display) -> str:  # noqa: F811
    return cv2.QRCodeDetector().detectAndDecode(np.ascontiguousarray(screenshot(display)[..., ::-1]))[0]


def click(display, x, y, button=1):  # noqa: F811
    subprocess.run(["xdotool", "mousemove", str(x), str(y), "click", str(button)], check=True,
                   env={**os.environ, "DISPLAY": display})


@needs_screen
def test_a_kiosk_on_a_screen(display, tmp_path, untrained):  # noqa: F811
    process = start(display, tmp_path, "--source", "demo", "--model", untrained, "--kiosk", "--language", "ja,tr", "--operator",
                    "東京", "--policy-url", URL, "--record-on-consent", "--output", tmp_path / "o.mp4", "--consent-seconds", "60")
    try:
        wait_for(lambda: code_on(display) == URL, "the notice")
        picture = screenshot(display)
        edges = [picture[[0, -1]].reshape(-1, 3), picture[:, [0, -1]].reshape(-1, 3)]
        assert all((abs(edge - np.array([24, 24, 24])) < 3).mean() > 0.9 for edge in edges), "no frame, and all of the screen"
        for _ in range(5):
            click(display, 700, 450, button=4)  # the wheel would enlarge the picture
        key(display, "s", "r", "b", "m", "f", "Escape", "q", "q", "x", "alt+F4", "ctrl+s")
        assert process.poll() is None and not list(tmp_path.iterdir()), "all keys are dead"
        close_politely(display)
        time.sleep(0.5)
        wait_for(lambda: code_on(display) == URL, "the window again, as large as before")
        wait_for(lambda: is_red(display), "the button", 40)
        click(display, 1200, 840)
        wait_for(lambda: (tmp_path / "o.mp4").exists(), "a recording")
        time.sleep(1.5)
        click(display, 1200, 840)
        time.sleep(0.5)
        key(display, "q", "q", "q")
        said = process.communicate(timeout=20)[1]
    finally:
        process.kill()
    assert process.returncode == 0 and "Traceback" not in said and "opened again" in said, said
    with av.open(str(tmp_path / "o.mp4")) as container:
        stream = container.streams.video[0]
        assert sum(1 for _ in container.decode(video=0)) > 5
        assert stream.width / stream.height == pytest.approx(1400 / 900, abs=0.01)


def is_red(display) -> bool:  # noqa: F811
    return (screenshot(display)[800:880, 900:1370] == (220, 40, 40)).all(axis=2).mean() > 0.3


@needs_screen
def test_a_terminated_kiosk_is_started_again(display, tmp_path, untrained):  # noqa: F811
    """Its status is neither 0, which the unit does not start again, nor that of a program that broke."""
    process = start(display, tmp_path, "--source", "demo", "--model", untrained, "--kiosk", "--no-notice")
    try:
        wait_for(lambda: screenshot(display).any(), "a window")
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=20)[1]
    finally:
        process.kill()
    assert process.returncode == 143 and "Traceback" not in said and not list(tmp_path.iterdir()), said
