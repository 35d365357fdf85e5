"""Outputs with real receivers: an OSC server, Mosquitto, an LSL inlet, a virtual camera."""

import json
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import deque

import numpy as np
import pytest

from fer_live.app.options import parse
from fer_live.app.outgoing_sink import make_receivers
from fer_live.model.spec import EMOTIONS
from fer_live.outgoing import virtual_camera
from fer_live.outgoing.events import EventDetector
from fer_live.outgoing.mqtt import Broker, Mqtt, slug
from fer_live.outgoing.osc import Osc
from fer_live.outgoing.sink import Outgoing
from fer_live.outgoing.worker import Lost
from fer_live.types import OutputError
from tests.conftest import ROOT
from tests.test_app import run
from tests.test_outgoing import IMAGE, Hook, an_event, analysis, face
from tests.test_web import get, wait_for

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/local/bin:/usr/bin:/opt/homebrew/sbin")


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def running(*receivers, **options):
    """A sink for these receivers with a short reconnection interval."""
    out = Outgoing(list(receivers), EventDetector(**options))
    for worker in out.workers:
        worker.first_wait_s = worker._wait_s = 0.05
    return out


# ---------------------------------------------------------------------------------------------------------------- OSC


class OscServer:
    """A python-osc server that records messages."""

    def __init__(self, port):
        dispatcher = pytest.importorskip("pythonosc.dispatcher").Dispatcher()
        dispatcher.set_default_handler(lambda address, *values: self.got.append((address, values)))
        self.got = []
        self.server = pytest.importorskip("pythonosc.osc_server").BlockingOSCUDPServer(("127.0.0.1", port), dispatcher)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def last(self, address):
        return next((values for name, values in reversed(self.got) if name == address), None)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def test_osc_server_receives_values_and_events():
    server = OscServer(port := free_port(socket.SOCK_DGRAM))
    with running(Osc("127.0.0.1", port, EMOTIONS), holds=frozenset({("happy", 0.0)})) as out:
        out.write(IMAGE, analysis(face()))
        out.write(IMAGE, analysis(face("sad"), face("happy", 5, (40, 0, 80, 60))))
        wait_for(lambda: server.last("/fer_live/face/2/label"))
        out.write(IMAGE, analysis(face("sad"), is_slate=True))
        wait_for(lambda: server.last("/fer_live/camera"))
    wait_for(lambda: len([1 for address, _ in server.got if address == "/fer_live/leave"]) == 2)
    server.close()
    assert server.last("/fer_live/face/2/box") == pytest.approx((0.5, 0.0, 0.5, 1.0))
    assert server.last("/fer_live/face/1/happy") == pytest.approx((0.6,)) and server.last("/fer_live/face/2/track") == (5,)
    events = [(address.removeprefix("/fer_live/"), values) for address, values in server.got if address.count("/") == 2]
    events = [one for one in events if one[0] != "faces"]
    assert events[:5] == [("enter", (1, 1)), ("hold", (1, 1, "happy", 0.0)), ("label", (1, 1, "sad", "happy")), ("enter", (5, 2)),
                          ("hold", (5, 2, "happy", 0.0))]
    assert events[5] == ("camera", ("lost",)) and [one[0] for one in events[6:]] == ["leave", "leave"]
    assert server.last("/fer_live/face/1/present") == (0,) == server.last("/fer_live/face/2/present")


def test_osc_slot_is_reused_after_its_face_leaves():
    pytest.importorskip("pythonosc")
    osc, sent = Osc("127.0.0.1", 1, EMOTIONS), []
    osc._send = sent.extend
    for track_id in (4, 7):
        osc.send_event(an_event(track_id))
    osc.send_event(an_event(4, "leave"))
    for track_id in (9, 12):
        osc.send_event(an_event(track_id))
    assert osc.slots == {7: 2, 9: 1, 12: 3} and ("/fer_live/face/1/present", (0,)) in sent


def test_osc_reports_a_missing_receiver_and_its_return_once(capsys, monkeypatch):
    pytest.importorskip("pythonosc")
    monkeypatch.setattr(Osc, "settle_s", 0.5)
    port = free_port(socket.SOCK_DGRAM)
    with running(Osc("127.0.0.1", port, EMOTIONS)) as out:
        worker = out.workers[0]
        worker.receiver.settle_s = 0.5
        for _ in range(10):
            out.write(IMAGE, analysis(face()))
            time.sleep(0.02)
        wait_for(lambda: worker.counts.losses == 1)
        server = OscServer(port)
        printed = ""
        deadline = time.monotonic() + 10
        while "is back" not in printed.replace("until it is back", "") and time.monotonic() < deadline:
            out.write(IMAGE, analysis(face()))
            time.sleep(0.02)
            printed += capsys.readouterr().err
        assert printed.splitlines() == [
            f"--osc 127.0.0.1:{port}: lost (no program is listening on that port); reconnecting until it is back",
            f"--osc 127.0.0.1:{port}: is back"]
        assert server.last("/fer_live/enter") == (1, 1), "earlier events are delivered"
        server.close()


# --------------------------------------------------------------------------------------------------------------- MQTT


class Mosquitto:
    """Mosquitto on a free port, with a client that records messages."""

    def __init__(self, folder, *lines, port=None, **client):
        self.port, self.folder, self.client_options = port or free_port(), folder, client
        self.config = folder / "mosquitto.conf"
        lines = [f"listener {self.port} 127.0.0.1", "persistence false", *(lines or ["allow_anonymous true"])]
        self.config.write_text("\n".join(lines))
        self.config.chmod(0o644)
        self.start()

    def start(self):
        self.process = subprocess.Popen([MOSQUITTO, "-c", str(self.config)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        wait_for(self.answers)

    def answers(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self):
        self.process.kill()
        self.process.wait()

    def listen(self):
        """Topic -> received payloads, and whether the last one was retained."""
        import paho.mqtt.client as paho

        got = {}
        client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        if "user" in self.client_options:
            client.username_pw_set(*self.client_options["user"])
        if "tls" in self.client_options:
            client.tls_set_context(ssl.create_default_context(cafile=self.client_options["tls"]))
        client.on_message = lambda _client, _data, message: got.setdefault(message.topic, []).append(
            (message.payload.decode(), bool(message.retain)))
        client.on_connect = lambda *_: client.subscribe("#", qos=1)
        client.connect("127.0.0.1" if "tls" not in self.client_options else "localhost", self.port)
        client.loop_start()
        return client, got


@pytest.fixture
def broker(tmp_path):
    pytest.importorskip("paho.mqtt")
    if MOSQUITTO is None:
        pytest.skip("needs Mosquitto (apt-get install mosquitto)")
    made, clients = [], []

    def make(*lines, **options):
        made.append(Mosquitto(tmp_path, *lines, **options))
        return made[-1]

    def listen(one):
        client, got = one.listen()
        clients.append(client)
        return got

    make.listen = listen
    yield make
    for client in clients:
        client.disconnect()
        client.loop_stop()
    for one in made:
        one.kill()


def last(got, topic):
    return got.get(topic, [("", False)])[-1][0]


def test_home_assistant_discovers_sensors_per_source(broker):
    server = broker()
    got = broker.listen(server)
    tiles = ((0, 0, 40, 60), (40, 0, 80, 60))
    lost = set()
    mqtt = Mqtt(Broker("127.0.0.1", server.port), "Hall 1", ["0", "rtsp://me:hunter2@door/cam?key=hunter2"], EMOTIONS,
                lost.__contains__)
    with running(mqtt) as out:
        out.write(IMAGE, analysis(face(box=(0, 0, 20, 20)), face("sad", 2, (5, 5, 35, 45)), face("fear", 3, (50, 5, 70, 30)),
                                  tiles=tiles))
        door = next(place for place in mqtt.places if "door" in place)
        wait_for(lambda: f"{door}/state" in got and "fer_live/hall_1/0/state" in got)
        state = json.loads(last(got, "fer_live/hall_1/0/state"))
        assert state["label"] == "sad" and state["faces"] == 2 and state["probs"]["happy"] == 0.6, "the largest face"
        assert json.loads(last(got, f"{door}/state"))["label"] == "fear"
        assert last(got, "fer_live/hall_1/availability") == "online" == last(got, f"{door}/availability")
        lost.add(1)
        out.write(IMAGE, analysis(tiles=tiles))
        wait_for(lambda: last(got, f"{door}/availability") == "offline")
        assert last(got, "fer_live/hall_1/0/availability") == "online", "one of two cameras"
    wait_for(lambda: last(got, "fer_live/hall_1/availability") == "offline")
    later = broker.listen(server)  # Home Assistant starts later and gets the retained messages
    topic = "homeassistant/sensor/fer_live_hall_1_0_expression/config"
    wait_for(lambda: topic in later and f"{door}/state" in later)
    config, is_retained = later[topic][-1]
    config = json.loads(config)
    assert is_retained and config["state_topic"] == "fer_live/hall_1/0/state" and config["options"][-2:] == ["unsure", "nobody"]
    assert config["unique_id"] == "fer_live_hall_1_0_expression" and config["value_template"] == "{{ value_json.label }}"
    assert {one["topic"] for one in config["availability"]} == {"fer_live/hall_1/availability", "fer_live/hall_1/0/availability"}
    assert len([name for name in later if name.startswith("homeassistant/")]) == 4
    assert "hunter2" not in json.dumps(later) + json.dumps(got)
    events = [json.loads(payload)["event"] for payload, _ in got["fer_live/hall_1/event"]]
    assert events == ["enter"] * 3 + ["leave"] * 3 and "fer_live/hall_1/event" not in later


def test_states_are_sent_on_change_at_most_once_a_second(broker):
    server = broker()
    got = broker.listen(server)
    with running(Mqtt(Broker("127.0.0.1", server.port), "hall", ["demo"], EMOTIONS)) as out:
        started_s = time.monotonic()
        while time.monotonic() - started_s < 2.5:
            out.write(IMAGE, analysis(face(confidence=0.5 + (time.monotonic() % 1) / 3)))
            time.sleep(0.02)
        assert 2 <= len(got["fer_live/hall/demo/state"]) <= 3
        out.write(IMAGE, analysis(is_slate=True))
        wait_for(lambda: last(got, "fer_live/hall/demo/availability") == "offline")
        wait_for(lambda: json.loads(got["fer_live/hall/event"][-1][0])["event"] == "camera lost")


def test_restarted_broker_gets_every_event_and_the_state(broker, capsys):
    server = broker()
    with running(Mqtt(Broker("127.0.0.1", server.port), "hall", ["demo"], EMOTIONS)) as out:
        out.write(IMAGE, analysis(face()))
        wait_for(lambda: out.workers[0].counts.events == 1)
        server.kill()
        for i in range(20):
            out.write(IMAGE, analysis(face("sad" if i % 2 else "happy")))
            time.sleep(0.02)
        wait_for(lambda: out.workers[0].counts.losses == 1 and not out.workers[0].is_up)
        server.start()
        got = broker.listen(server)
        wait_for(lambda: "is back" in capsys.readouterr().err.replace("until it is back", ""), 20)
        out.write(IMAGE, analysis(face("sad")))
        wait_for(lambda: last(got, "fer_live/hall/demo/state") and last(got, "fer_live/hall/availability") == "online")
        assert out.workers[0].counts.events == 20 and out.workers[0].counts.events_lost == 0
        assert out.workers[0].counts.losses == 1
        assert "homeassistant/sensor/fer_live_hall_demo_faces/config" in got


def test_hung_broker_is_lost_and_recovers(broker, capsys, monkeypatch):
    monkeypatch.setattr("fer_live.outgoing.mqtt.ANSWER_S", 0.5)
    server = broker()
    with running(Mqtt(Broker("127.0.0.1", server.port), "hall", ["demo"], EMOTIONS)) as out:
        out.write(IMAGE, analysis(face()))
        wait_for(lambda: out.workers[0].counts.events == 1)
        server.process.send_signal(signal.SIGSTOP)
        out.write(IMAGE, analysis(face("sad")))
        wait_for(lambda: "sent no acknowledgment for 0.5 s" in capsys.readouterr().err)
        server.process.send_signal(signal.SIGCONT)
        wait_for(lambda: out.workers[0].counts.events == 2)
        wait_for(lambda: ": is back" in capsys.readouterr().err)


def test_last_will_reports_a_killed_program_as_offline(broker):
    server = broker()
    got = broker.listen(server)
    code = ("import time; from fer_live.outgoing.mqtt import *;"
            f"m = Mqtt(Broker('127.0.0.1', {server.port}), 'hall', ['demo'], ('a',));"
            "m.connect(); print('up', flush=True); time.sleep(60)")
    program = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT)
    assert program.stdout.readline() == b"up\n"
    wait_for(lambda: last(got, "fer_live/hall/availability") == "online")
    program.kill()
    program.wait()
    wait_for(lambda: last(got, "fer_live/hall/availability") == "offline")


def test_password_from_the_environment_and_tls(broker, tmp_path, monkeypatch, capsys):
    if not (shutil.which("openssl") and shutil.which("mosquitto_passwd")):
        pytest.skip("needs openssl and mosquitto_passwd")
    key, certificate, users = tmp_path / "key.pem", tmp_path / "cert.pem", tmp_path / "users"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key, "-out", certificate,
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
    subprocess.run(["mosquitto_passwd", "-c", "-b", users, "me", "hunter2"], check=True, capture_output=True)
    for path in (key, certificate, users, tmp_path):
        path.chmod(0o755)
    for parent in tmp_path.parents:  # the broker drops its privileges before it reads them
        if parent.stat().st_uid == 0 and parent.name.startswith("pytest"):
            parent.chmod(0o755)
    server = broker("allow_anonymous false", f"password_file {users}", f"certfile {certificate}", f"keyfile {key}",
                    "user root", user=("me", "hunter2"), tls=str(certificate))
    got = broker.listen(server)
    monkeypatch.setenv("FER_LIVE_MQTT_PASSWORD", "hunter2")
    options = ["--mqtt", f"localhost:{server.port}", "--mqtt-user", "me", "--mqtt-name", "hall", "--source", "demo"]
    with running(*make_receivers(parse([*options, "--mqtt-tls", str(certificate)]), EMOTIONS)) as out:
        out.write(IMAGE, analysis(face()))
        wait_for(lambda: last(got, "fer_live/hall/demo/state"))
    monkeypatch.setenv("FER_LIVE_MQTT_PASSWORD", "wrong-word")
    for more, why in ((["--mqtt-tls", str(certificate)], "(?i)not authori"), (["--mqtt-tls"], "certificate")):
        receiver = make_receivers(parse([*options, *more]), EMOTIONS)[0]
        with pytest.raises((Lost, OSError), match=why):
            receiver.connect()
        receiver.close()
    with pytest.raises(OutputError, match="No such file"):
        make_receivers(parse([*options, "--mqtt-tls", str(tmp_path / "none.pem")]), EMOTIONS)
    with pytest.raises(OutputError, match="PEM"):
        make_receivers(parse([*options, "--mqtt-tls", str(users)]), EMOTIONS)
    assert "hunter2" not in capsys.readouterr().err


def test_topic_segments_have_no_password_or_wildcard():
    assert slug("rtsp://me:hunter2@cam/+/#") == "rtsp_cam" and slug("/dev/video0") == "dev_video0" and slug("###") == "source"


# ---------------------------------------------------------------------------------------------------------------- LSL

INLET = """
import sys, time, json, pylsl
name = sys.argv[1]
values = pylsl.StreamInlet(pylsl.resolve_byprop("name", name, timeout=20)[0])
markers = pylsl.StreamInlet(pylsl.resolve_byprop("name", name + "-markers", timeout=20)[0])
for inlet in (values, markers):
    inlet.open_stream(timeout=10)
info, channel = values.info(), values.info().desc().child("channels").child("channel")
channels = []
while not channel.empty():
    channels.append(channel.child_value("label"))
    channel = channel.next_sibling()
print(json.dumps({"channels": channels, "type": info.type(), "rate": info.nominal_srate()}), flush=True)
samples = []
while len(samples) < 4:
    sample, stamp = values.pull_sample(timeout=20)
    samples.append([sample, stamp + values.time_correction(), time.monotonic() + pylsl.local_clock() - time.monotonic()])
text, stamp = markers.pull_sample(timeout=20)
print(json.dumps({"samples": samples, "marker": text, "marker_s": stamp + markers.time_correction(),
                  "offset": pylsl.local_clock() - time.monotonic()}), flush=True)
"""


def test_lsl_inlet_gets_every_frame_with_its_capture_time():
    pytest.importorskip("pylsl")
    from fer_live.outgoing.lsl import Lsl

    name = f"fer-test-{free_port()}"
    with running(Lsl(name, EMOTIONS)) as out:
        command = [sys.executable, "-c", INLET, name]
        inlet = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        told = json.loads(inlet.stdout.readline())
        assert told == {"channels": [*EMOTIONS, "track_id"], "type": "Expression", "rate": 0.0}
        time.sleep(0.3)
        times = [time.monotonic() - 0.2 + 0.03 * i for i in range(3)]
        out.write(IMAGE, analysis(face(track_id=4), face("sad", 9), time_s=times[0]))
        out.write(IMAGE, analysis(time_s=times[1]))
        out.write(IMAGE, analysis(face(track_id=9), time_s=times[2], is_slate=True))
        got = json.loads(inlet.stdout.readline())
        inlet.wait()
    samples = got["samples"]
    assert [one[0][-1] for one in samples] == [4.0, 9.0, 0.0, 9.0]
    assert samples[0][0][:7] == pytest.approx(list(face().probs)) and np.isnan(samples[2][0][:7]).all()
    stamps = [one[1] - got["offset"] for one in samples]
    assert stamps == pytest.approx([times[0], times[0], times[1], times[2]], abs=0.005), "within 5 ms of the capture"
    assert got["marker"] == ["camera lost"] and got["marker_s"] - got["offset"] == pytest.approx(times[2], abs=0.005)


# ------------------------------------------------------------------------------------------------------ virtual camera


class Device:
    """Replaces pyvirtualcam.Camera."""

    made, fault = [], None

    def __init__(self, width, height, fps, fmt):
        if Device.fault:
            raise RuntimeError(Device.fault)
        self.shape, self.images, self.count, self.is_open = (height, width, 3), deque(maxlen=3), 0, True
        Device.made.append(self)

    def send(self, image):
        if Device.fault:
            raise RuntimeError(Device.fault)
        assert image.shape == self.shape and image.dtype == np.uint8 and image.flags.c_contiguous
        self.images.append(image)
        self.count += 1

    def close(self):
        self.is_open = False


@pytest.fixture
def device(monkeypatch):
    package = pytest.importorskip("pyvirtualcam")
    monkeypatch.setattr(Device, "made", [])
    monkeypatch.setattr(Device, "fault", None)
    monkeypatch.setattr(package, "Camera", Device)
    return Device


def test_virtual_camera_shows_images_and_recovers_from_errors(device, capsys):
    with running(virtual_camera.VirtualCamera()) as out:
        out.write(np.full((60, 60, 3), 200, np.uint8), analysis(face()))
        wait_for(lambda: device.made[0].images)
        image = device.made[0].images[0]
        assert (image[:, 280:1000] == 200).all() and not image[:, :280].any() and not image[:, 1000:].any()
        device.fault = "device\n was removed."
        out.write(IMAGE, analysis(face()))
        wait_for(lambda: not out.workers[0].is_up and not device.made[0].is_open)
        device.fault = None
        wait_for(lambda: len(device.made) == 2)
        out.write(IMAGE, analysis(face()))
        wait_for(lambda: device.made[1].images)
    assert not device.made[1].is_open
    assert capsys.readouterr().err.splitlines() == [
        "--virtual-camera: lost (device was removed); reconnecting until it is back", "--virtual-camera: is back"]


def test_missing_virtual_camera_is_a_one_line_error(device):
    device.fault = "No v4l2 loopback device found.\nDid you run modprobe?"
    with pytest.raises(OutputError, match=r"no virtual camera device was found \(No v4l2 .* modprobe\?\); install") as caught:
        virtual_camera.VirtualCamera()
    assert "\n" not in str(caught.value)


# -------------------------------------------------------------------------------------------------------- all at once


@pytest.mark.slow
def test_all_outputs_together_drop_no_frame(broker, device, tmp_path, capfd):
    """A minute of the demo at 30 fps: no frame is dropped after the start, and every output gets everything."""
    for package in ("pythonosc", "pylsl"):
        pytest.importorskip(package)
    server, hook, osc = broker(), Hook(), OscServer(port := free_port(socket.SOCK_DGRAM))
    command = f'echo $FER_LIVE_TRACK >> "{tmp_path}/ran"'
    got, name, web = broker.listen(server), f"fer-test-{free_port()}", free_port()
    inlet = subprocess.Popen([sys.executable, "-c", INLET, name], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    scraped = []
    scrape = threading.Timer(45.0, lambda: scraped.append(get(web, "/metrics")[2].decode()))
    scrape.start()
    assert run("--source", "demo", "--no-window", "--max-seconds", 60, "--on", "enter", command,
               "--webhook", f"http://127.0.0.1:{hook.port}/", "--osc", f"127.0.0.1:{port}", "--mqtt", f"127.0.0.1:{server.port}",
               "--mqtt-name", "hall", "--lsl", name, "--virtual-camera", "--serve", web) == 0
    scrape.join()
    osc.close()
    hook.close()
    lines = re.findall(r"([\d.]+) fps .* (\d+) dropped", capfd.readouterr().out)
    rates = [float(fps) for fps, _ in lines[3:]]
    assert len(rates) > 40 and np.median(rates) > 29.5, rates
    assert lines[-1][1] == lines[3][1], "none is dropped once it runs"
    assert "enter" in {one["event"] for one in hook.got} and (tmp_path / "ran").read_text()
    assert last(got, "fer_live/hall/demo/state") and osc.last("/fer_live/face/1/happy")
    assert json.loads(inlet.communicate(timeout=30)[0].splitlines()[0])["type"] == "Expression"
    assert device.made[0].count > 1500
    for output in ("on", "webhook", "osc", "mqtt", "lsl", "virtual-camera"):
        assert f'fer_live_output_events_lost_total{{output="{output}"}} 0' in scraped[0]
        assert f'fer_live_output_up{{output="{output}"}} 1' in scraped[0]
