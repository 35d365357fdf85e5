"""The kiosk: visitors, consent, the screen, the systemd unit, and the whole program on a virtual screen."""

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
from fer_live.kiosk.consent import Consent, Looks
from fer_live.kiosk.layout import RED
from fer_live.kiosk.notify import Heartbeat
from fer_live.kiosk.visitors import Presence
from fer_live.screen.kiosk_window import Chord
from fer_live.types import Analysis, Face, Frame, OutputError, View
from tests.conftest import ROOT
from tests.faulty import FaultyCamera
from tests.test_app import refused
from tests.test_window import close_politely, display, key, screenshot, start, wait_for  # noqa: F401

needs_screen = pytest.mark.skipif(not (shutil.which("Xvfb") and shutil.which("xdotool")), reason="needs Xvfb and xdotool")
URL = "https://museum.example/privacy"


def seen(people: int, time_s: float, image=None) -> Analysis:
    probs = np.array([0.02, 0.03, 0.05, 0.6, 0.2, 0.05, 0.05], np.float32)
    faces = tuple(Face((100 + 300 * i, 100, 250 + 300 * i, 250), i + 1, probs, "happy", 0.6) for i in range(people))
    return Analysis(Frame(np.full((720, 1280, 3), 90, np.uint8) if image is None else image, 0, time_s), faces)


# ------------------------------------------------------------------------------------------------- visitors


def test_idle_screen_appears_and_forgets_visitors_once():
    forgotten = []
    presence = Presence(5.0, lambda: forgotten.append(1))
    assert presence.idle
    for time_s, people, idle in ((0, 0, True), (1, 1, False), (2, 0, False), (6.9, 0, False), (7.1, 0, True), (20, 0, True),
                                 (21, 2, False), (22, 0, False), (26, 1, False), (28, 0, False), (32, 0, False), (33.1, 0, True)):
        presence(seen(people, float(time_s)))
        assert presence.idle == idle, time_s
    assert len(forgotten) == 2


def test_forgetting_removes_all_visitor_state(portrait, untrained):
    from fer_live.app.loader import ClassifierLoader
    from fer_live.app.open_analyzer import open_analyzer
    from fer_live.app.options import parse

    config = parse(["--model", str(untrained), "--label-set", "basic", "--blur-faces"]).analysis
    analyzer = open_analyzer(config, "live", ClassifierLoader(config))
    looks, (mask,), state = Looks(), analyzer.steps, analyzer.state
    analyzer.steps.insert(0, looks)
    ids = [face.track_id for i in range(4) for face in analyzer(Frame(portrait, i, i / 30)).faces]
    assert ids == [1, 1] and mask.lost and looks.kept and state.smoother.states and state.reduction.smoother.states
    analyzer.forget()
    assert not (state.tracker.tracks or state.smoother.states or mask.lost or looks.kept or state.reduction.smoother.states)
    assert [face.track_id for i in range(4, 8) for face in analyzer(Frame(portrait, i, i / 30)).faces] == [2, 2], "somebody else"


class Tape:
    """A Consent with a simulated clock, and the frames its recorder received."""

    def __init__(self, seconds=10.0):
        self.time_s, self.view, self.said, self.files = 0.0, View(), [], []
        self.consent = Consent(self.open, self.view, seconds, lambda *output: self.said.append(output), clock=lambda: self.time_s)

    def open(self):
        self.files.append(Reel())
        return self.files[-1]

    def run(self, until_s, *faces, every_s=1 / 30, **frame):
        """Feed frames up to a time, each with these faces: (track id, position, appearance)."""
        while self.time_s < until_s - 1e-6:
            self.time_s += every_s
            self.consent.write(np.zeros((1, 1, 3), np.uint8), crowd(self.time_s, *faces, **frame))
            self.consent.poll()
        return self

    def press(self):
        self.consent.press()
        return self

    @property
    def is_on(self):
        assert self.view.recording == bool(self.consent.agreed)
        return self.view.recording

    @property
    def recorded(self):
        """Times of all recorded frames."""
        return [time_s for reel in self.files for time_s in reel.times]


class Reel:
    def __init__(self, good=10_000):
        self.times, self.end_s, self.is_closed, self.good = [], None, False, good

    def __enter__(self):
        return self

    def write(self, image, analysis):
        assert not self.is_closed
        if len(self.times) >= self.good:
            raise OutputError("no room")
        self.times.append(analysis.frame.time_s)

    def __exit__(self, *exception):
        self.is_closed = True


LOOKS = np.random.default_rng(0).integers(0, 255, (5, 16, 16, 3), np.uint8)  # of five people


def crowd(time_s, *faces, seen=(), **frame):
    """An analysis with these faces: (track id, position from the left, appearance)."""
    image, probs, made = np.full((200, 600, 3), 90, np.uint8), np.full(7, 1 / 7, np.float32), []
    for track_id, place, look in faces:
        box = 20 + 150 * place, 50, 120 + 150 * place, 150
        image[box[1] : box[3], box[0] : box[2]] = cv2.resize(LOOKS[look], (100, 100))
        made.append(Face(box, track_id, probs, "happy", 0.6))
    return Analysis(Frame(image, 0, time_s, **frame), tuple(made), (*(face.box for face in made), *seen))


A, B = (1, 0, 0), (2, 1, 1)  # two people at different positions


def test_consent_records_from_the_press_for_a_limited_time(capsys):
    tape = Tape().run(50, A)
    assert not tape.is_on and not tape.files
    pressed_s = tape.press().time_s
    assert tape.is_on and tape.run(pressed_s + 9.9, A).is_on
    assert not tape.run(pressed_s + 10.1, A).is_on and tape.run(70, A).files[1:] == [] and tape.files[0].is_closed
    assert pressed_s < tape.recorded[0] < pressed_s + 0.05 and tape.recorded[-1] < pressed_s + 9.3
    assert np.diff(tape.recorded).max() < 0.04, "no gap"
    assert tape.files[0].end_s == tape.recorded[-1], "the last frame is not extended"
    assert "recording ended: after 10 s" in capsys.readouterr().err


def test_frames_before_the_press_are_not_recorded():
    """Frames in flight at the press, up to half a second late on a slow machine."""
    tape = Tape().run(5, A)
    tape.time_s = 5.5  # of the press
    tape.press()
    tape.time_s = 5.0
    tape.run(8, A)
    assert tape.recorded[0] > 5.5


def test_second_press_ends_consent_but_a_held_button_counts_once():
    tape = Tape().run(2, A)
    for i in range(40):  # a key that repeats itself
        tape.press().run(2 + (i + 1) * 0.05, A)
    assert tape.is_on
    tape.run(5, A).press()
    assert not tape.is_on and len(tape.files) == 1 and tape.files[0].is_closed


def test_visitor_needs_a_second_on_screen_to_agree():
    tape = Tape().run(1, )
    assert not tape.press().is_on, "no face is present"
    tape.run(1.9, A)
    assert not tape.consent.may_begin and not tape.press().is_on
    tape.run(3, A).run(3.5, A, B)
    assert not tape.press().is_on, "one of them has been present for half a second"
    tape.run(4.6, A, B)
    assert tape.consent.may_begin and tape.press().is_on and tape.consent.agreed == {1, 2}
    tape.run(4.8, A)
    assert tape.is_on, "briefly missed"
    assert tape.run(7, A, B).is_on and tape.recorded


def test_replacement_within_two_seconds_is_not_recorded():
    """The number of people stays the same."""
    tape = Tape().run(2, A).press().run(6, A)
    assert tape.is_on
    tape.run(6.6).run(6.65, B)
    assert not tape.is_on and max(tape.recorded) < 6.0
    assert not tape.run(20, B).is_on and max(tape.recorded) < 6.0
    tape = Tape().run(2, A).press().run(6, A).run(8)
    assert not tape.is_on and max(tape.recorded) < 6.0, "gone without a replacement"
    tape = Tape().run(2, A, B).press().run(6, A, B).run(6.8, A)
    assert not tape.is_on, "one of two consenting visitors left"


def test_new_arrivals_are_never_recorded():
    tape = Tape(60.0).run(2, A).press().run(12, A)
    tape.run(12.8, A)  # a new visitor is in view but not detected yet
    tape.run(12.85, A, B)
    assert not tape.is_on and max(tape.recorded) < 12.1
    slow = Tape(60.0).run(2, A, every_s=0.1).press().run(12, A, every_s=0.1)
    slow.run(14, A, every_s=0.1).run(14.1, A, B, every_s=0.1)  # 20 frames, which include a search of the whole image
    assert max(slow.recorded) < 12.0


def test_candidate_face_drops_held_frames_without_ending_consent():
    tape = Tape(60.0).run(2, A).press().run(6, A)
    tape.run(6.1, A, seen=((400, 20, 500, 120),))
    assert tape.is_on and tape.run(8, A).is_on
    gap = [time_s for time_s in tape.recorded if 5.3 < time_s < 6.09]
    assert not gap and max(tape.recorded) > 7.0


def test_different_face_at_the_same_place_ends_consent():
    """The tracker matches by position, so a person who appears there half a second later gets the same id."""
    tape = Tape(60.0).run(2, A).press().run(6, A)
    tape.run(6.4).run(6.8, (1, 0, 3))
    assert not tape.is_on and max(tape.recorded) < 6.0
    before = Tape().run(3, A).run(4, (1, 0, 3))
    assert not before.consent.may_begin and not before.press().is_on, "the replacement was present for under a second"
    turned = Tape(60.0).run(2, A).press().run(6, A).run(6.2, (1, 0, 3)).run(9, A)
    assert turned.is_on and max(turned.recorded) > 8.0, "a brief change of appearance is ignored"


@pytest.mark.parametrize(("away", "options"), [(1, []), (8, []), (8, ["--mask", "emoji"])])
def test_quick_replacement_is_detected_by_appearance(portrait, untrained, away, options):
    """With the real detector, tracker and mask; the tracker gives both people the same id."""
    from contextlib import ExitStack

    from fer_live.app.kiosk import make_consent
    from fer_live.app.loader import ClassifierLoader
    from fer_live.app.open_analyzer import open_analyzer
    from fer_live.app.options import parse
    from fer_live.app.outputs import Outputs

    config, tape, ids = parse(["--kiosk", "--record-on-consent", "--consent-seconds", "60", "--model", str(untrained), "--device",
                               "cpu", "--runtime", "torch", *options]), Tape(), []
    analyzer = open_analyzer(config.analysis, "live", ClassifierLoader(config.analysis))
    tape.consent = make_consent(config, config.kiosk, analyzer, Outputs(tape.view, lambda path: tape.open()), ExitStack())
    tape.consent.clock = lambda: tape.time_s
    other = np.roll(portrait[:, ::-1], -65, axis=1)  # the mirrored face, at the position of the original one
    for i, image in enumerate([portrait] * 120 + [np.full_like(portrait, 90)] * away + [other] * 30):
        tape.time_s = i / 30
        analysis = analyzer(Frame(image, i, tape.time_s))
        ids += [face.track_id for face in analysis.faces]
        tape.consent.write(image, analysis)
        if i == 60:
            assert tape.press().is_on
        assert tape.is_on == (i >= 60) or i > 120 + away, i
    assert set(ids) == {1} and not tape.is_on and 2 < tape.recorded[0] < 2.2 and tape.recorded[-1] < 4.0


def test_lost_camera_clock_reset_and_silence_end_consent():
    assert not Tape(60.0).run(2, A).press().run(6, A).run(6.05, is_slate=True).is_on
    back = Tape(60.0).run(2, A).press().run(6, A)
    back.time_s = 1.0
    assert not back.run(1.05, A).is_on and not back.press().is_on
    assert back.run(4, A).press().is_on and back.run(5.5, A).files[1].times, "after that it records again"
    silent = Tape(60.0).run(2, A).press().run(6, A)
    silent.time_s += 2.1
    silent.consent.poll()
    assert not silent.is_on


def test_short_visit_leaves_no_file_and_full_disk_ends_only_the_recording():
    tape = Tape().run(2, A).press().run(2.7, A)
    with tape.consent:
        pass
    assert not tape.is_on and not tape.files, "the end of the program"
    full = Tape()
    full.open = lambda: Reel(good=3)
    full.consent.open_recorder = full.open
    assert not full.run(2, A).press().run(6, A).is_on and full.said == [("recording stopped", "no room")]


def test_held_frames_are_bounded():
    for rate in (5, 30, 60, 120):
        tape, most = Tape(60.0).run(2, A, every_s=1 / rate).press(), 0
        for i in range(6 * rate):
            tape.run(2 + (i + 1) / rate, A, every_s=1 / rate)
            most = max(most, len(tape.consent.held))
        assert 20 <= most <= 26 and tape.recorded, rate


def test_exit_chord():
    done = []
    chord = Chord("qQ7", lambda: done.append(1))
    for keys, times, ends in (("qq7", (0, 0.5, 1.0), 1), ("qq7", (10, 11, 12.5), 0), ("qxq7", (20, 20.1, 20.2, 20.3), 0),
                              ("xqqQ7", (30, 30.1, 30.2, 30.3, 30.4), 1), ("qqqqqq", range(40, 46), 0)):
        done.clear()
        for k, t in zip(keys, times, strict=True):
            chord.take(k, float(t))
        assert len(done) == ends, keys


# ----------------------------------------------------------------------------------------- unit and watchdog


def test_unit_is_written_printed_and_removed(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")  # no systemctl: the test must not touch the user's own
    options = ["--language", "de,en", "--operator", 'Café "100%" $HOME', "--policy-url", URL]
    assert kiosk.main(["install", "--dry-run", "--", *options]) == 0
    printed = capsys.readouterr().out
    path = tmp_path / "systemd" / "user" / kiosk.NAME
    assert not path.exists() and str(path) in printed
    assert kiosk.main(["install", "--", *options]) == 0
    output = capsys.readouterr()
    unit = path.read_text()
    assert unit in printed and "systemctl --user daemon-reload && systemctl --user enable" in output.err
    for line in ("Type=notify", "Restart=always", "WatchdogSec=30", "After=graphical-session.target",
                 "WantedBy=graphical-session.target", f"WorkingDirectory={ROOT}"):
        assert line in unit.splitlines()
    command = next(line for line in unit.splitlines() if line.startswith("ExecStart="))
    assert '"--kiosk" "--source" "0"' in command and '"Café \\"100%%\\" $$HOME"' in command
    assert kiosk.main(["uninstall", "--dry-run"]) == 0 and path.exists()
    assert kiosk.main(["uninstall"]) == 0 and not path.exists()
    assert kiosk.main(["uninstall"]) == 0 and "nothing to remove" in capsys.readouterr().out
    assert kiosk.main(["install", "--", "--no-store", "--log", "x.csv"]) == 2 and "cannot be combined" in capsys.readouterr().err
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


@pytest.mark.slow
@pytest.mark.parametrize("abstract", [False, True])
def test_running_program_notifies_systemd(tmp_path, untrained, abstract):
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
    output = [message for message, _ in heard]
    assert output[0] == "READY=1" and output[-1] == "STOPPING=1" and set(output[1:-1]) == {"WATCHDOG=1"}
    assert 3 <= len(output[1:-1]) <= 7, "every 0.3 s or so"


def test_no_frames_no_heartbeat(tmp_path):
    """Only the live loop notifies systemd, so missing frames count as a hang."""
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


# ------------------------------------------------------------------------------------------- the whole program


def test_kiosk_needs_a_screen_and_a_live_source(tmp_path, make_clip, untrained, capsys, monkeypatch):
    monkeypatch.setenv("DISPLAY", "")
    assert "needs one" in refused(capsys, "--kiosk", "--source", "demo", "--model", untrained)
    clip = make_clip(tmp_path / "clip.mp4", frames=3, sound=None)
    assert "camera" in refused(capsys, "--kiosk", "--source", clip, "--model", untrained)


def code_on(display) -> str:  # noqa: F811
    return cv2.QRCodeDetector().detectAndDecode(np.ascontiguousarray(screenshot(display)[..., ::-1]))[0]


def click(display, x, y, button=1):  # noqa: F811
    subprocess.run(["xdotool", "mousemove", str(x), str(y), "click", str(button)], check=True,
                   env={**os.environ, "DISPLAY": display})


class Room(FaultyCamera):
    """A source that shows `who`: nobody, a red face on the left, or a blue face on the right."""

    def __init__(self, portrait, who=""):
        self.who, head = who, cv2.resize(portrait[20:320, 60:360], (300, 300))
        self.people = {"red": (head * (0.1, 0.3, 1.0), 30), "blue": (head[:, ::-1] * (1.0, 0.3, 0.1), 310)}
        super().__init__(size_wh=(640, 360), rate=20.0)

    def image(self, number, size_wh):
        image = np.full((360, 640, 3), 90, np.uint8)
        if self.who:
            person, left = self.people[self.who]
            image[30:330, left : left + 300] = person
        image[0, 0] = number % 256, 0, 0
        return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


@pytest.mark.slow
@needs_screen
def test_kiosk_runs_on_a_screen(display, tmp_path, untrained, portrait):  # noqa: F811
    camera = Room(portrait, "red")
    with camera:
        process = start(display, tmp_path, "--source", camera.address, "--frozen-seconds", "0", "--model", untrained, "--kiosk",
                        "--language", "ja,tr", "--operator", "東京", "--policy-url", URL, "--record-on-consent", "--output",
                        tmp_path / "o.mp4", "--consent-seconds", "60")
        try:
            wait_for(lambda: code_on(display) == URL, "the notice", 90)
            # the notice rises and falls while visitors come
            wait_for(lambda: (abs(screenshot(display)[-1].astype(int) - 24) < 3).mean() > 0.8, "the footer at the border", 20)
            image = screenshot(display)
            assert image[:, [0, -1]].any(axis=2).all() and image[0].any(axis=1).all(), "no frame, and all of the screen"
            for _ in range(5):
                click(display, 700, 450, button=4)  # the mouse wheel would zoom the image
            key(display, "s", "r", "b", "m", "f", "Escape", "q", "q", "x", "alt+F4", "ctrl+s")
            assert process.poll() is None and not list(tmp_path.iterdir()), "all keys are disabled"
            close_politely(display)
            time.sleep(0.5)
            wait_for(lambda: code_on(display) == URL, "the window again, as large as before")
            wait_for(lambda: red_button(display), "the button", 90)
            click(display, *red_button(display))
            wait_for(lambda: (tmp_path / "o.mp4").exists(), "a recording", 90)
            time.sleep(1.5)
            click(display, *red_button(display))
            time.sleep(0.5)
            key(display, "q", "q", "q")
            output = process.communicate(timeout=20)[1]
        finally:
            process.kill()
    assert process.returncode == 0 and "Traceback" not in output and "reopening it" in output, output
    with av.open(str(tmp_path / "o.mp4")) as container:
        stream = container.streams.video[0]
        assert sum(1 for _ in container.decode(video=0)) > 2
        assert stream.width / stream.height == pytest.approx(1400 / 900, abs=0.01)


def red_button(display) -> tuple[int, int] | None:  # noqa: F811
    """Where the button that records can be pressed."""
    ys, xs = np.nonzero((screenshot(display) == RED[::-1]).all(axis=2))
    return (int(np.median(xs)), int(np.median(ys))) if len(xs) > 8000 else None


@pytest.mark.slow
@needs_screen
def test_only_consenting_visitors_are_in_the_file(display, tmp_path, untrained, portrait):  # noqa: F811
    """Red agrees and leaves; blue appears half a second later, during a recording of up to a minute."""
    with Room(portrait) as camera:
        process = start(display, tmp_path, "--source", camera.address, "--no-mirror", "--model", untrained, "--kiosk",
                        "--no-notice", "--record-on-consent", "--output", tmp_path / "o.mp4", "--consent-seconds", "60",
                        "--frozen-seconds", "0")
        try:
            camera.who = "red"
            wait_for(lambda: red_button(display), "the button", 90)
            click(display, *red_button(display))
            wait_for(lambda: (tmp_path / "o.mp4").exists(), "a recording", 90)
            time.sleep(2.0)
            camera.who = ""
            time.sleep(0.5)
            camera.who = "blue"
            time.sleep(3.0)
            key(display, "q", "q", "q")
            output = process.communicate(timeout=20)[1]
        finally:
            process.kill()
    assert process.returncode == 0 and "recording ended: a visitor" in output, output
    assert [path.name for path in tmp_path.iterdir()] == ["o.mp4"]
    with av.open(str(tmp_path / "o.mp4")) as container:
        frames = [frame.to_ndarray(format="bgr24")[100:480].astype(int) for frame in container.decode(video=0)]
    # no color of a label has so little green
    reds = [((f[..., 2] - f[..., 0] > 40) & (f[..., 1] < 0.38 * f[..., 2])).mean() for f in frames]
    blues = [((f[..., 0] - f[..., 2] > 40) & (f[..., 1] < 0.38 * f[..., 0])).mean() for f in frames]
    assert len(frames) > 2 and min(reds) > 0.05 and max(blues) < 0.01


@needs_screen
def test_terminated_kiosk_is_restarted(display, tmp_path, untrained):  # noqa: F811
    """Its status is neither 0, which the unit does not restart, nor an error."""
    process = start(display, tmp_path, "--source", "demo", "--model", untrained, "--kiosk", "--no-notice")
    try:
        wait_for(lambda: screenshot(display).any(), "a window")
        process.send_signal(signal.SIGTERM)
        output = process.communicate(timeout=20)[1]
    finally:
        process.kill()
    assert process.returncode == 143 and "Traceback" not in output and not list(tmp_path.iterdir()), output
