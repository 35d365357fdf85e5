"""No password reaches a message."""

import importlib
import os
import shlex
import stat
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from fer_live.app.outputs import Outputs
from fer_live.kiosk import __main__ as kiosk
from fer_live.model.spec import EMOTIONS
from fer_live.redact import SECRET_VARIABLES, redact, redact_address
from fer_live.sinks.log import Log
from fer_live.sinks.microphone import Microphone
from fer_live.sources.hooks import Hooks
from fer_live.types import OutputError, SourceError, View
from tests.conftest import ROOT
from tests.faulty import FaultyCamera
from tests.test_kiosk import seen
from tests.test_supervisor import wait_until

SECRETS = [  # each contains a secret with the letters "s3cr3t"
    ("rtsp://admin:s3cr3t@host/ch1", "rtsp://host/ch1"),
    ("rtsp://admin:p@s3cr3t@host", "rtsp://host"),
    ("rtsp://admin:a/s3cr3t@host/ch1", "rtsp://host/ch1"),
    ("rtsp://admin:a?s3cr3t@host/ch1", "rtsp://***"),
    ("rtsp://admin:a#s3cr3t@host", "rtsp://***"),
    ("rtsp://admin:a?b=s3cr3t@host", "rtsp://***"),
    ("rtsp://s3cr3t@host/x", "rtsp://host/x"),
    ("RTSP://admin:s3cr3t@host:554/x", "RTSP://host:554/x"),
    ("rtsp://admin:s3cr3t@[fe80::1]:554/x", "rtsp://[fe80::1]:554/x"),
    ("http://host/snap.cgi?user=admin&pwd=s3cr3t", "http://host/snap.cgi?user=***&pwd=***"),
    ("http://host/snap.cgi?user=admin;pwd=s3cr3t;n=1", "http://host/snap.cgi?user=***;pwd=***;n=***"),
    ("http://host/snap.cgi?pwd=a&s3cr3t", "http://host/snap.cgi?pwd=***&***"),
    ("http://host/snap.cgi?s3cr3t", "http://host/snap.cgi?***"),
    ("http://host/snap.cgi?pwd=a/s3cr3t@b", "http://host/snap.cgi?pwd=***"),
    ("http://host:80/snap.cgi?pwd=a@s3cr3t", "http://***"),
    ("http://host/x?pwd=a?s3cr3t=1", "http://host/x?pwd=***?s3cr3t=***"),
    ("rtsp://host:554/user=admin&password=s3cr3t&channel=1", "rtsp://host:554/user=***&password=***&channel=***"),
    ("rtsp://host/user=admin_password=s3cr3t_stream=0.sdp?real_stream", "rtsp://host/user=***?***"),
    ("http://u:s3cr3t@host/x?key=s3cr3t#s3cr3t", "http://host/x?key=***#***"),
    ("rtsp:/admin:s3cr3t@host", "rtsp:/host"),
    ("//admin:s3cr3t@host/x", "//host/x"),
    ("admin:s3cr3t@192.168.0.9/live", "192.168.0.9/live"),
    ("rtsp://admin:two s3cr3t@host/x", "rtsp://host/x"),
    ("rtsp://admin:554 s3cr3t@host/x", "rtsp://host/x"),
]
PLAIN = ["rtsp://host:554/live/ch1", "http://host/a.mjpg",
         "http://host:80/me at home.mp4", "demo", "clip.mp4", "/dev/video0", "a/b@c.mp4", "C:\\me@work\\a.mp4"]
KNOWN_KEY = "http://host/x?pwd=a?s3cr3t=1"  # here the letters are parsed as the name of a key


@pytest.mark.parametrize(("address", "shown"), SECRETS, ids=[address for address, _ in SECRETS])
def test_urls_are_shown_without_secrets(address, shown):
    assert redact_address(address) == shown
    assert redact_address(shown) == shown, "redacting twice changes nothing more"
    for text in (f"{address} is lost (no answer); reconnecting", f"no source {address!r}; give another", f"a ({address}) b"):
        if address != KNOWN_KEY:
            assert "s3cr3t" not in redact(text) and "s3cr3t" not in str(SourceError(text)) + str(OutputError(text))


@pytest.mark.parametrize("address", PLAIN)
def test_text_without_secrets_is_unchanged(address):
    assert redact_address(address) == redact(address) == address
    text = f"cannot open {address}: no such file; is it 10:30 already (see --list-cameras)?"
    assert redact(text) == text == str(SourceError(text))
    text += " Ask me@home."
    assert redact(text) == text, "an @ elsewhere does not end a password"


# ------------------------------------------------------------------------------------------------ possible leaks

ADDRESS = "rtsp://admin:p@s3cr3t@host/ch1?pwd=s3cr3t"


@pytest.mark.parametrize(("command", "arguments"), [
    ("fer_live", ["--serve", ADDRESS]), ("fer_live", ["--source", "demo", ADDRESS]), ("fer_live", ["--min-face", ADDRESS]),
    ("fer_live", ["--device", ADDRESS]), ("fer_live", ["--model", ADDRESS]), ("fer_live", ["--source", "rtmp" + ADDRESS[4:]]),
    ("fer_live", ["--source", "demo", "--log", ADDRESS]), ("fer_live", ["--source", "demo", "--output", ADDRESS, "--no-window"]),
    ("fer_live", ["--kiosk", "--policy-url", "https://admin:s3cr3t@host/x"]), ("fer_live", ["--show", ADDRESS]),
    ("fer_live", ["--kiosk", "--policy-url", "https://host/x?a=1&passwd=s3cr3t"]), ("fer_live", ["--language", ADDRESS]),
    ("fer_live.kiosk", ["install", ADDRESS]), ("fer_live.kiosk", ["install", "--", "--sauce", ADDRESS]),
    ("fer_live.kiosk", [ADDRESS]), ("fer_live.bench", ["--only", ADDRESS]), ("fer_live.bench", ["--model", ADDRESS]),
    ("fer_live.report", [ADDRESS]), ("fer_live.report", ["a.csv", ADDRESS]), ("fer_live.doctor", ["--timeout", ADDRESS]),
])
def test_no_command_prints_a_misplaced_password(command, arguments, capsys):
    main = importlib.import_module(f"{command}.__main__").main
    try:
        status = main(arguments)
    except SystemExit as ended:
        status = ended.code
    output = capsys.readouterr()
    assert status == 2 and "error" in output.err and "s3cr3t" not in output.err + output.out, output.err


def test_log_image_and_hooks_have_no_password(tmp_path, capsys):
    view = View()
    log = Log(tmp_path / "o.jsonl", EMOTIONS)
    with Outputs(view) as outputs:
        outputs.add_log(log)
        log.write(None, seen(0, 0.0))
        outputs.tell("microphone lost", f"{ADDRESS} is gone")
        log.event("camera lost", f"{ADDRESS} is lost", 1.0)
    text = (tmp_path / "o.jsonl").read_text()
    assert text.count("rtsp://host/ch1?pwd=***") == 2 and view.notice == "microphone lost: rtsp://host/ch1?pwd=*** is gone"
    hooks = Hooks({"lost": f"env > {shlex.quote(str(tmp_path / 'env'))}"}, ADDRESS)
    hooks("lost", f"{ADDRESS} broke off")
    hooks.running["lost"].wait(10)
    environment = (tmp_path / "env").read_text()
    assert "FER_LIVE_CAMERA=rtsp://host/ch1" in environment and "FER_LIVE_REASON=rtsp://host/ch1" in environment
    hooks.commands["found"] = f"{ADDRESS}\0"
    hooks("found", "")
    microphone, lost = Microphone(ADDRESS), []
    microphone.lost, microphone._on_time = lost.append, lambda: iter(())
    microphone._listen()
    assert lost == ["rtsp://host/ch1?pwd=***: it ended; recordings continue with silence"]
    assert "s3cr3t" not in text + environment + view.notice + "".join(capsys.readouterr())


def test_unit_file_is_private_and_dry_run_shows_no_password(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    options = ["--source", ADDRESS, "--serve", "8080", "--token", "s3cr3t-s3cr3t", f"--on-camera-lost=curl https://x?key={'s3cr3t'}"]
    assert kiosk.main(["install", "--dry-run", "--", *options]) == 0
    printed = capsys.readouterr().out
    assert '"--source" "rtsp://host/ch1?pwd=***"' in printed and '"--token" "***"' in printed and "s3cr3t" not in printed
    path = tmp_path / "systemd" / "user" / kiosk.NAME
    path.parent.mkdir(parents=True)
    path.write_text("an older one")
    path.chmod(0o644)
    for _ in range(2):
        assert kiosk.main(["install", "--", *options]) == 0
        assert stat.S_IMODE(path.stat().st_mode) == 0o600 and ADDRESS in path.read_text()
        path.unlink()
    assert "s3cr3t" not in "".join(capsys.readouterr())


@pytest.mark.slow
def test_running_program_never_shows_the_camera_password(tmp_path, untrained):
    """Checks messages, log, hooks, page, metrics and events, with the camera connected and lost."""
    with FaultyCamera(rate=15.0) as camera:
        address = camera.address.replace("http://", "http://admin:p@s3cr3t@") + "live?user=admin&pwd=s3cr3t"
        hook = f"env | grep FER_LIVE >> {shlex.quote(str(tmp_path / 'env'))}"
        process = subprocess.Popen(
            [sys.executable, "-m", "fer_live", "--source", address, "--no-window", "--log", tmp_path / "o.jsonl", "--model",
             untrained, "--serve", "0", "--on-camera-lost", hook, "--on-camera-found", hook, "--output", tmp_path / "o.mp4"],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=(tmp_path / "said").open("w"), text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"})
        try:
            wait_until(lambda: "web view: " in (tmp_path / "said").read_text(), 60)
            page = (tmp_path / "said").read_text().split("web view: ")[1].split()[0]
            wait_until(lambda: (tmp_path / "o.jsonl").exists(), 30)
            answers = [fetch(page + place) for place in ("", "metrics", "healthz", "events")]
            camera.stop()
            wait_until(lambda: "camera_lost" in (tmp_path / "o.jsonl").read_text(), 20)
            answers += [fetch(page + place) for place in ("metrics", "healthz", "events", "snapshot.jpg")]
            camera.start()
            wait_until(lambda: "is back" in (tmp_path / "said").read_text(), 20)
            wait_until(lambda: "found" in (tmp_path / "env").read_text())
            process.terminate()
            answers.append(process.communicate(timeout=20)[0].encode())
        finally:
            process.kill()
    told = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(told) == {"said", "env", "o.jsonl", "o.mp4"} and b"is lost" in told["said"] and b"lost" in told["env"]
    for content in (*told.values(), *answers):
        assert content and b"s3cr3t" not in content and b"admin" not in content, content[:2000]


def fetch(address: str) -> bytes:
    """The response body, or the first lines of an endless one."""
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return b"".join(answer.readline() for _ in range(6)) if "events" in address else answer.read()
    except urllib.error.HTTPError as error:
        return error.read()


def test_hooks_do_not_get_the_programs_secrets(tmp_path, monkeypatch):
    for name in SECRET_VARIABLES:
        monkeypatch.setenv(name, "hidden-secret")
    monkeypatch.setenv("OTHERS_OWN", "visible")
    hooks, path = Hooks({"lost": f"env > {tmp_path / 'env'}"}, "camera 0"), tmp_path / "env"
    hooks("lost", "unplugged")
    for process in hooks.running.values():
        process.wait(10)
    output = path.read_text()
    assert "hidden-secret" not in output and "OTHERS_OWN=visible" in output and "FER_LIVE_REASON=unplugged" in output
