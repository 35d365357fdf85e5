"""Outputs to other programs: events, delivery, commands, the webhook, and the options."""

import http.server
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import ExitStack

import numpy as np
import pytest

from fer_live.app.options import parse
from fer_live.app.outgoing_sink import add_outgoing_sink, make_receivers
from fer_live.model.spec import EMOTIONS
from fer_live.outgoing.commands import Commands, Rule
from fer_live.outgoing.events import FACES, RUN, Event, EventDetector, Values
from fer_live.outgoing.sink import Outgoing
from fer_live.outgoing.webhook import Webhook
from fer_live.outgoing.worker import Lost, Refused, Worker
from fer_live.types import Analysis, Face, Frame, OutputError
from tests.conftest import ROOT
from tests.test_app import refused, run
from tests.test_web import get, served, wait_for

IMAGE = np.full((60, 80, 3), 90, np.uint8)
numbers = itertools.count()


def face(label="happy", track_id=1, box=(10, 12, 40, 42), confidence=0.6, calibration_s=None):
    return Face(box, track_id, np.array([0.1, 0, 0, 0.6, 0.2, 0.1, 0], np.float32), label, confidence, calibration_s)


def analysis(*faces, time_s=None, **frame):
    return Analysis(Frame(IMAGE, next(numbers), time.monotonic() if time_s is None else time_s, **frame), faces)


def an_event(number=0, kind="enter", label="happy", seconds=0.0, jpeg=b""):
    return Event(kind, time.monotonic(), time.time(), number, number, label, 0.6, seconds=seconds, jpeg=jpeg)


# ------------------------------------------------------------------------------------------------------------- events


class Story:
    """Events for frames at given times."""

    def __init__(self, *holds):
        self.is_recording = False
        self.detect = EventDetector(frozenset(holds), lambda: self.is_recording, clock=lambda: 0.0, wall=lambda: 1000.0)

    def __call__(self, time_s, *faces, **frame):
        return [self.brief(one) for one in self.detect(analysis(*faces, time_s=time_s, **frame))]

    def brief(self, event):
        assert event.unix_s == event.time_s + 1000.0
        return (event.kind, event.track_id, event.label, event.previous, round(event.seconds, 3))


def test_faces_enter_change_and_leave():
    story = Story()
    assert story(0.0) == []
    assert story(1.0, face()) == [("enter", 1, "happy", "", 0.0)]
    assert story(1.5, face(), face("sad", 2)) == [("enter", 2, "sad", "", 0.0)]
    assert story(2.0, face("unsure"), face("sad", 2)) == [("label", 1, "unsure", "happy", 1.0)]
    assert story(2.9, face("sad", 2)) == [], "a briefly missed face has not left"
    assert story(3.0, face("unsure"), face("sad", 2)) == []
    assert story(3.5, face("unsure")) == []
    assert story(4.1, face("unsure")) == [("leave", 2, "sad", "", 1.5)]
    assert story(9.0, face("happy", 3)) == [("leave", 1, "unsure", "", 3.1), ("enter", 3, "happy", "", 0.0)]
    assert [story.brief(one) for one in story.detect.end()] == [("leave", 3, "happy", "", 0.0)]
    assert story.detect.end() == []


def test_hold_event_occurs_once_per_label_run():
    story = Story(("happy", 0.5), ("happy", 2.0), ("sad", 1.0))
    told = [(t, event[2], event[4]) for t in np.arange(0, 4, 0.25) for event in story(float(t), face()) if event[0] == "hold"]
    assert told == [(0.5, "happy", 0.5), (2.0, "happy", 2.0)]
    assert [e[0] for e in story(4.0, face("neutral"))] == ["label"]
    story(4.25, face())
    assert story(4.5, face()) == [] and story(4.75, face()) == [("hold", 1, "happy", "", 0.5)]
    both = Story(("happy", 0.5))
    both(0.0, face(), face(track_id=2))
    assert [e[1] for e in both(0.6, face(), face(track_id=2))] == [1, 2], "each face separately"


def test_face_under_calibration_has_no_label_events():
    story = Story(("sad", 0.5))
    story(0.0, face("sad", calibration_s=2.0))
    assert story(1.0, face("sad", calibration_s=1.0)) == [] and story(1.5, face("angry", calibration_s=0.5)) == []
    assert story(2.0, face("sad", calibration_s=0.0)) == [("label", 1, "sad", "angry", 0.5)]
    assert story(2.5, face("sad", calibration_s=0.0)) == [("hold", 1, "sad", "", 0.5)]


def test_camera_and_recording_events():
    story = Story()
    story(0.0, face())
    assert [e[0] for e in story(0.5, is_slate=True)] == ["camera lost"]
    story.is_recording = True
    assert [e[0] for e in story(2.0, is_slate=True)] == ["recording started", "leave"]
    assert [e[0] for e in story(2.5, face())] == ["camera found", "enter"]
    assert [e.kind for e in story.detect.end()] == ["leave", "recording stopped"]


def test_event_to_json():
    made = Event("label", 5.0, 1_700_000_000.25, 9, 3, "sad", np.float32(0.61234), "happy", 1.23456).to_dict()
    assert json.loads(json.dumps(made)) == {
        "event": "label", "time": "2023-11-14T22:13:20.250+00:00", "frame": 9, "track_id": 3, "label": "sad",
        "confidence": pytest.approx(0.6123, abs=1e-4), "previous": "happy", "seconds": 1.235}
    assert "track_id" not in Event("camera lost", 0.0, 0.0, 1).to_dict()


# ------------------------------------------------------------------------------------------------------------- worker


class Other:
    """A receiver that can be disconnected and records what it gets."""

    option, kinds, settle_s, takes_images = "--other there", FACES | RUN, 0.0, False

    def __init__(self, depth=1):
        self.depth, self.is_there, self.events, self.values, self.tries = depth, True, [], [], 0
        self.slow, self.bad, self.refuses = threading.Event(), None, False
        self.slow.set()

    def connect(self):
        self.tries += 1
        if not self.is_there:
            raise ConnectionRefusedError(111, "Connection refused")

    def check(self):
        if not self.is_there:
            raise Lost("gone")

    def send_values(self, values):
        self.slow.wait(10)
        self.check()
        assert values.image is None, "queued images would take memory"
        self.values.append(values.index)

    def send_event(self, event):
        self.check()
        if self.bad:
            raise self.bad
        if self.refuses:
            raise Refused("answered no")
        self.events.append(event.frame)

    def close(self):
        pass


@pytest.fixture
def started():
    workers = []

    def start(receiver, **options):
        worker = Worker(receiver, **{"first_wait_s": 0.02, **options})
        workers.append(worker)
        worker.start()
        return worker

    yield start
    for worker in workers:
        worker.receiver.slow.set()
        worker.ask_to_end(0.0)
        worker.join()


def values():
    return Values.of(IMAGE, analysis(face()))


def test_newest_values_win_and_no_event_is_lost(started):
    other = Other()
    worker = started(other)
    worker.put(values(), [])
    wait_for(lambda: other.values)
    other.slow.clear()
    worker.put(held := values(), [])
    wait_for(lambda: not worker._values)
    for number in range(50):
        worker.put(last := values(), [an_event(number)])
    other.slow.set()
    wait_for(lambda: other.values[-1] == last.index and len(other.events) == 50)
    assert other.values[1:] == [held.index, last.index] and other.events == list(range(50))
    wait_for(lambda: worker.counts.events == 50 and worker.counts.values == 3)
    assert worker.counts.values_skipped == 49 and worker.counts.events_lost == 0


def test_lost_receiver_is_reported_once_and_gets_all_events_later(started, capsys):
    other = Other()
    worker = started(other, first_wait_s=0.01)
    worker.put(values(), [an_event(0)])
    wait_for(lambda: other.events == [0])
    other.is_there = False
    for number in range(1, 30):
        worker.put(values(), [an_event(number)])
        time.sleep(0.005)
    wait_for(lambda: not worker.is_up and other.tries > 2)
    output = capsys.readouterr().err
    assert output.splitlines() == ["--other there: lost (gone); reconnecting until it is back"]
    tries, since_s = other.tries, time.monotonic()
    other.is_there = True
    wait_for(lambda: other.events == list(range(30)))
    assert capsys.readouterr().err.splitlines() == ["--other there: is back"]
    assert worker.counts.losses == 1 and worker.counts.events == 30 and worker.waiting == 0
    assert other.tries - tries <= 2 or time.monotonic() - since_s > 0.5


def test_reconnection_backs_off(monkeypatch):
    waits = []
    worker = Worker(Other(), first_wait_s=0.5)
    monkeypatch.setattr(worker._changed, "wait", lambda seconds: waits.append(seconds) or setattr(worker, "_end_s", 0.0))
    for _ in range(9):
        worker._end_s = None
        worker._pause()
    assert [round(w, 1) for w in waits] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_full_queue_drops_counts_and_reports_the_oldest_events(started, capsys):
    other = Other()
    other.is_there = False
    worker = started(other, max_events=10)
    for number in range(25):
        worker.put(values(), [an_event(number)])
    assert worker.waiting == 10 and worker.counts.events_lost == 15
    other.is_there = True
    wait_for(lambda: other.events == list(range(15, 25)))
    output = capsys.readouterr().err.splitlines()
    assert sum("more than 10 events are queued" in line for line in output) == 1


def test_refused_event_does_not_block_the_next(started, capsys):
    other = Other()
    other.refuses = True
    worker = started(other)
    for number in range(3):
        worker.put(values(), [an_event(number)])
    wait_for(lambda: worker.counts.events_lost == 3)
    other.refuses = False
    worker.put(values(), [an_event(9)])
    wait_for(lambda: other.events == [9])
    assert capsys.readouterr().err.splitlines() == ["--other there: answered no; an event was rejected"]


def test_unexpected_error_reaches_the_run(started):
    other = Other()
    other.bad = KeyError("mistake")
    worker = started(other)
    worker.put(values(), [an_event()])
    wait_for(lambda: worker._error)
    with pytest.raises(KeyError, match="mistake"):
        worker.put(values(), [])


def test_queued_events_are_sent_or_reported_at_the_end(capsys):
    good, bad = Other(), Other()
    bad.is_there = False
    with Outgoing([good, bad], EventDetector()) as out:
        for worker in out.workers:
            worker.first_wait_s = worker._wait_s = 0.02
        out.write(IMAGE, analysis(face()))
        started_s = time.monotonic()
    assert time.monotonic() - started_s < 4 and len(good.events) == 2, "enter, and leave at the end"
    assert "--other there: 2 events were not sent before the run ended" in capsys.readouterr().err
    assert out.workers[1].counts.events_lost == 2


def test_hung_receiver_does_not_delay_the_camera():
    other = Other()
    other.slow.clear()
    with Outgoing([other], EventDetector()) as out:
        took_s = []
        for _ in range(200):
            started_s = time.perf_counter()
            out.write(IMAGE, analysis(face()))
            took_s.append(time.perf_counter() - started_s)
        other.slow.set()
    assert np.median(took_s) < 0.001


def test_metrics_join_those_of_the_web_view():
    with Outgoing([Other()], EventDetector()) as out, served(more_metrics=out.metrics_text) as (port, _):
        out.write(IMAGE, analysis(face()))
        wait_for(lambda: out.workers[0].counts.events == 1)
        text = get(port, "/metrics")[2].decode()
    for line in ('fer_live_output_events_total{output="other"} 1', 'fer_live_output_up{output="other"} 1',
                 'fer_live_output_events_lost_total{output="other"} 0', "fer_live_viewers 0"):
        assert line in text.splitlines(), text


# ----------------------------------------------------------------------------------------------------------- commands


def commands_run(rules, events, **options):
    commands = Commands([Rule.of(*rule) for rule in rules], **options)
    for event in events:
        commands.send_event(event)
    wait_for(lambda: commands.check() or not commands.running)
    assert commands.folder is None or not any(commands.folder.iterdir()), "a snapshot lasts as long as its command"
    commands.close()
    return commands


def test_command_gets_event_data_and_snapshot_in_its_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_LIVE_MQTT_PASSWORD", "hunter2-hunter2")
    out = tmp_path / "out"
    write = f'env | grep ^FER_LIVE_ > "{out}"; cp "$FER_LIVE_SNAPSHOT" "{tmp_path}/kept.jpg"'
    commands_run([("happy:1.5", write), ("enter", f'echo no > "{tmp_path}/no"')], [an_event(7, "hold", "happy", 1.5, b"image")])
    found = dict(line.split("=", 1) for line in out.read_text().splitlines())
    snapshot = found.pop("FER_LIVE_SNAPSHOT")
    assert found.pop("FER_LIVE_TIME").startswith("20")
    assert found == {"FER_LIVE_EVENT": "hold", "FER_LIVE_LABEL": "happy", "FER_LIVE_TRACK": "7", "FER_LIVE_CONFIDENCE": "0.6000",
                     "FER_LIVE_SECONDS": "1.500"}, "and no password"
    assert (tmp_path / "kept.jpg").read_bytes() == b"image" and not (tmp_path / "no").exists()
    assert not os.path.exists(snapshot) and not os.path.exists(os.path.dirname(snapshot)), "deleted once the command has ended"


def test_labels_are_not_interpolated_into_commands(tmp_path):
    evil = f"$(touch {tmp_path}/a);`touch {tmp_path}/b`\"';touch {tmp_path}/c"
    commands_run([("enter", f'printf %s "$FER_LIVE_LABEL" > "{tmp_path}/label"')], [an_event(1, "enter", evil)])
    assert (tmp_path / "label").read_text() == evil and [path.name for path in tmp_path.iterdir()] == ["label"]


def test_no_store_writes_no_snapshot(tmp_path):
    args = parse(["--no-store", "--on", "enter", "true"])
    assert make_receivers(args, EMOTIONS)[0].is_storing is False
    assert make_receivers(parse(["--kiosk", "--on", "enter", "true"]), EMOTIONS)[0].is_storing is False
    commands = commands_run([("enter", f'printf "[%s]" "$FER_LIVE_SNAPSHOT" > "{tmp_path}/out"')],
                            [an_event(1, "enter", jpeg=b"image")], is_storing=False)
    assert (tmp_path / "out").read_text() == "[]" and commands.folder is None


def test_command_failures_are_reported_once_until_success(capfd, tmp_path):
    rule = ("leave", f'test -e "{tmp_path}/ok" || exit 3')
    commands_run([rule], [an_event(i, "leave") for i in range(3)])
    assert capfd.readouterr().err.splitlines() == ["--on leave: the command failed with status 3"]


def test_excess_commands_are_queued_and_all_run(tmp_path, monkeypatch):
    monkeypatch.setattr("fer_live.outgoing.commands.MAX_RUNNING", 2)
    commands_run([("enter", f'sleep 0.05; echo $FER_LIVE_TRACK >> "{tmp_path}/out"')], [an_event(i) for i in range(7)])
    assert sorted(map(int, (tmp_path / "out").read_text().split())) == list(range(7))


def test_commands_run_once_per_hold(tmp_path):
    note = f'echo $FER_LIVE_EVENT $FER_LIVE_TRACK >> "{tmp_path}/out"'
    args = parse(["--on", "happy:0.2", f'test -s "$FER_LIVE_SNAPSHOT" && {note}', "--on", "leave", note])
    sinks = []
    with ExitStack() as stack:
        out = add_outgoing_sink(args, None, sinks, EMOTIONS, lambda: False, stack)
        assert sinks == [out]
        for _ in range(8):
            out.write(IMAGE, analysis(face()))
            time.sleep(0.05)
        wait_for(lambda: (tmp_path / "out").exists())
    wait_for(lambda: (tmp_path / "out").read_text() == "hold 1\nleave 1\n")


# ------------------------------------------------------------------------------------------------------------ webhook


class Hook:
    """A local server with scripted answers to POST: a status, "hang", or "drop"."""

    def __init__(self, port=0):
        self.answers, self.got, self.attempts, self.heads = [], [], [], []
        self.release = threading.Event()
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                hook.attempts.append(body)
                hook.heads.append((self.path, dict(self.headers)))
                answer = hook.answers.pop(0) if hook.answers else 204
                if answer == "hang":
                    hook.release.wait(10)
                if answer in ("hang", "drop"):
                    self.close_connection = True
                    return
                if 200 <= answer < 300:
                    hook.got.append(body)
                self.send_response(answer)
                if answer == 302:
                    self.send_header("Location", "/elsewhere")
                self.end_headers()

            do_GET = None

            def log_message(self, *words):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.release.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def hook():
    made = Hook()
    yield made
    made.close()


def test_webhook_delivers_every_event_despite_server_failures(hook, started, capsys):
    hook.answers = [500, "drop", "hang", 429, 200, 302, 400]
    receiver = Webhook(f"http://me:hunter2@127.0.0.1:{hook.port}/in?key=hunter2", timeout_s=0.3)
    receiver.slow = threading.Event()
    worker = started(receiver, first_wait_s=0.01)
    for number in range(6):
        worker.put(values(), [an_event(number)])
    wait_for(lambda: worker.counts.events + worker.counts.events_lost == 6)
    assert [one["track_id"] for one in hook.got] == [0, 3, 4, 5], "302 and 400 refuse one each"
    assert [one["track_id"] for one in hook.attempts] == [0, 0, 0, 0, 0, 1, 2, 3, 4, 5]
    assert len({one["id"] for one in hook.attempts[:5]}) == 1 and len({one["id"] for one in hook.attempts}) == 6
    path, head = hook.heads[0]
    assert path == "/in?key=hunter2" and head["Authorization"] == "Basic bWU6aHVudGVyMg=="
    assert head["Content-Type"] == "application/json"
    output = capsys.readouterr().err
    assert output.count("lost (answered with status 500)") == 1 and output.count(": is back") == 1 and "hunter2" not in output
    assert output.count("an event was rejected") == 1 and worker.counts.losses == 1


def test_webhook_server_that_starts_late(hook, started, monkeypatch, capsys):
    monkeypatch.setenv("FER_LIVE_WEBHOOK_TOKEN", "secret-of-mine")
    port = hook.port
    hook.close()
    receiver = Webhook(f"http://127.0.0.1:{port}")
    receiver.slow = threading.Event()
    worker = started(receiver, first_wait_s=0.02)
    worker.put(values(), [an_event(1), an_event(2, "camera lost")])
    wait_for(lambda: "Connection refused" in capsys.readouterr().err)
    again = Hook(port)
    try:
        wait_for(lambda: len(again.got) == 2)
        assert [one["event"] for one in again.got] == ["enter", "camera lost"]
        assert again.heads[0][1]["Authorization"] == "Bearer secret-of-mine" and again.heads[0][0] == "/"
    finally:
        again.close()


# ------------------------------------------------------------------------------------------------------------ options


def test_rejects_output_options_without_effect(capsys, untrained, tmp_path, make_clip):
    clip = make_clip(tmp_path / "clip.mp4", frames=3, sound=None)
    cases = [
        (["--on", "gleeful", "true"], "unknown label gleeful; choose from: angry"),
        (["--on", "happy:x", "true"], "enter, leave, LABEL or LABEL:SECONDS"),
        (["--on", "enter:3", "true"], "enter, leave, LABEL or LABEL:SECONDS"),
        (["--on", "enter", " "], "empty"),
        (["--on", "happy", "true", "--label-set", "basic"], "unknown label happy; choose from: negative"),
        (["--webhook", "ftp://me:hunter2@x/"], "http"),
        (["--webhook", "http://me:hunter2@x:port/"], "http"),
        (["--osc", "127.0.0.1"], "HOST:PORT"),
        (["--osc", "127.0.0.1:70000"], "HOST:PORT"),
        (["--osc", "a..b:9000"], "HOST:PORT"),
        (["--webhook", f"http://{'x' * 70}/"], "http"),
        (["--mqtt", "me:hunter2@broker"], "--mqtt-user"),
        (["--mqtt-user", "me"], "--mqtt-user is for --mqtt"),
        (["--mqtt-tls"], "--mqtt-tls is for --mqtt"),
        (["--mqtt-name", "hall"], "--mqtt-name is for --mqtt"),
        (["--mqtt-name", "a/b", "--mqtt", "x"], "letters"),
        (["--lsl", "a b"], "letters"),
        (["--source", clip, "--webhook", "http://x/", "--log", tmp_path / "o.csv"], "--webhook is for live sources"),
        (["--source", clip, "--virtual-camera", "--log", tmp_path / "o.csv"], "--virtual-camera is for live sources"),
    ]
    for arguments, words in cases:
        source = [] if "--source" in arguments else ["--source", "demo"]
        output = refused(capsys, *source, "--max-seconds", 1, "--no-window", "--model", untrained, *arguments)
        assert words in output and "hunter2" not in output, output


@pytest.mark.parametrize(("option", "package", "extra", "module"), [
    ("--osc=127.0.0.1:9", "python-osc", "osc", "pythonosc"), ("--mqtt=127.0.0.1", "paho-mqtt", "mqtt", "paho"),
    ("--lsl=fer", "pylsl", "lsl", "pylsl"), ("--virtual-camera", "pyvirtualcam", "virtual-camera", "pyvirtualcam")])
def test_missing_package_names_its_extra(capsys, monkeypatch, option, package, extra, module):
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Blocked(module), *sys.meta_path])
    output = refused(capsys, "--source", "demo", "--no-window", option)
    name = option.split("=")[0]
    assert output == f"error: {name} needs the package {package}: pip install 'fer-live[{extra}]'"


class Blocked:
    """An import hook that hides one package."""

    def __init__(self, module):
        self.module = module

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == self.module:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@pytest.mark.parametrize(("module", "heavy"), [("app.live", set()), ("app.options", {"cv2", "aiohttp"})])
def test_optional_packages_are_imported_only_if_needed(module, heavy):
    code = (f"import sys, fer_live.{module}; names = {{n.split('.')[0] for n in sys.modules}};"
            f"print(names & {{'pythonosc', 'paho', 'pylsl', 'pyvirtualcam', *{sorted(heavy)}}})")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_demo_runs_commands_and_a_webhook(hook, tmp_path, untrained):
    out = tmp_path / "out"
    command = f'test -s "$FER_LIVE_SNAPSHOT" && echo $FER_LIVE_EVENT > "{out}"'
    assert run("--source", "demo", "--no-window", "--max-seconds", 3, "--model", untrained, "--webhook",
               f"http://127.0.0.1:{hook.port}/", "--on", "enter", command) == 0
    kinds = [one["event"] for one in hook.got]
    assert kinds[0] == "enter" and kinds[-1] == "leave" and out.read_text() == "enter\n"


def test_kiosk_unit_rejects_options_without_effect():
    from fer_live.kiosk.__main__ import unit

    assert '"--on" "happy" "echo $$FER_LIVE_LABEL"' in unit(["--on", "happy", "echo $FER_LIVE_LABEL"])
    with pytest.raises(OutputError, match="--mqtt-user is for --mqtt"):
        unit(["--mqtt-user", "me"])
    assert "hunter2" not in unit(["--webhook", "https://me:hunter2@e.org/?key=hunter2"], hide=True)


def test_unknown_hold_label_is_rejected_once_the_model_is_loaded():
    with pytest.raises(OutputError, match="unsure"):
        make_receivers(parse(["--on", "positive", "true"]), EMOTIONS)
    assert len(make_receivers(parse(["--on", "unsure:2", "true"]), EMOTIONS)) == 1
