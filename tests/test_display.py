"""Whether a window can be opened: real X servers that refuse connections, and servers with other protocols."""

import os
import shutil
import socket
import struct
import subprocess
import sys
import threading

import pytest

from fer_live.screen import display as asked
from fer_live.screen import window
from tests.conftest import ROOT

COOKIE = bytes(range(16))
needs_xvfb = pytest.mark.skipif(not shutil.which("Xvfb"), reason="needs Xvfb")
linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="X11")


def entry(number, data=COOKIE, family=asked.LOCAL, address=None, name=asked.COOKIE):
    """An entry of an authority file (Xau(3))."""
    parts = socket.gethostname().encode() if address is None else address, number.encode(), name, data
    return struct.pack(">H", family) + b"".join(struct.pack(">H", len(part)) + part for part in parts)


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    """A display of 1366x768 that requires a cookie, as for cron jobs, sudo or ssh."""
    authority = tmp_path_factory.mktemp("x") / "authority"
    authority.write_bytes(entry(""))
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1366x768x24", "-noreset", "-auth", str(authority)]
    server = subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL)
    os.close(write)
    with os.fdopen(read) as pipe:
        yield f":{pipe.readline().strip()}", authority
    server.terminate()
    server.wait(10)


def run(*arguments, **environment):
    process = subprocess.run([sys.executable, *map(str, arguments)], env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
                             capture_output=True, text=True, timeout=120)
    return process.returncode, process.stdout + process.stderr


@pytest.mark.slow
@needs_xvfb
def test_refused_display_connection_is_reported_without_crashing(locked, tmp_path, untrained):
    status, output = run("-m", "fer_live", "--source", "demo", "--model", untrained, "--max-seconds", 1, "--log",
                       tmp_path / "o.jsonl", DISPLAY=locked[0], XAUTHORITY="/nonexistent")
    assert status == 0 and (tmp_path / "o.jsonl").stat().st_size
    line = next(line for line in output.splitlines() if "without a window" in line)
    assert line.startswith(f"the display {locked[0]} refuses windows (Authorization required")
    status, output = run("-m", "fer_live", "--source", "demo", "--kiosk", "--model", untrained, DISPLAY=locked[0],
                       XAUTHORITY="/nonexistent")
    assert status == 2 and "Traceback" not in output and "a kiosk needs one" in output


@needs_xvfb
@pytest.mark.parametrize("entries, is_let_in", [
    (entry("", family=asked.WILD, address=b""), True),
    (entry("{n}"), True),
    (entry("9999", bytes(16)) + entry("{n}", bytes(16), address=b"elsewhere") + entry("{n}"), True),
    (entry("{n}", b"other", name=b"XDM-AUTHORIZATION-1") + entry("{n}"), True),
    (entry("{n}", bytes(16)), False),
    (entry("9999"), False),
    (entry("{n}")[:-3], False),
    (b"", False)])
def test_authority_file_cookie_grants_access(locked, tmp_path, monkeypatch, entries, is_let_in):
    number = locked[0][1:]
    at = entries.replace(struct.pack(">H", 3) + b"{n}", struct.pack(">H", len(number)) + number.encode())
    (tmp_path / "a").write_bytes(at)
    monkeypatch.setenv("DISPLAY", locked[0])
    monkeypatch.setenv("XAUTHORITY", str(tmp_path / "a"))
    missing = asked.missing_display()
    assert (missing is None) == is_let_in, missing


@needs_xvfb
def test_rejects_a_missing_screen(locked, monkeypatch):
    monkeypatch.setenv("XAUTHORITY", str(locked[1]))
    for screen, is_there in (("", True), (".0", True), (".3", False)):
        monkeypatch.setenv("DISPLAY", locked[0] + screen)
        assert (asked.missing_display() is None) == is_there


@linux_only
@pytest.mark.parametrize("name", ["", "0", ":", ":x", ":²", ":99999999999", ":0.x", ":64001", "no.such.host.invalid:0",
                                  "localhost:59530", "a" * 70 + ":1", ":59530"])
def test_reports_invalid_display_names(monkeypatch, name):
    monkeypatch.setenv("DISPLAY", name)
    assert asked.missing_display().startswith("no display")


@linux_only
@pytest.mark.parametrize("answer", [b"", b"\0", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\1" + bytes(7), b"\2\0\x0b\0\0\0\1\0more"])
def test_rejects_a_server_without_x11_protocol(monkeypatch, answer):
    with socket.create_server(("127.0.0.1", 0)) as server:
        def serve():
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        monkeypatch.setattr(asked, "FIRST_PORT", server.getsockname()[1])
        monkeypatch.setenv("DISPLAY", "127.0.0.1:0")
        assert asked.missing_display() is not None


@needs_xvfb
@pytest.mark.parametrize("platform", ["wayland", "wayland-egl;nothing", "xcb", "wayland;xcb"])
def test_unsupported_qt_platform_does_not_abort(locked, platform):
    """Wayland desktops set QT_QPA_PLATFORM for all programs."""
    code = ("from fer_live.screen.window import Window; w = Window({}, print, None); w.__enter__(); w.__exit__(); "
            "print('closed')")
    status, output = run("-c", code, DISPLAY=locked[0], XAUTHORITY=str(locked[1]), QT_QPA_PLATFORM=platform)
    assert status == 0 and "closed" in output, output
    assert ("using xcb" in output) == ("xcb" not in platform)


@needs_xvfb
@pytest.mark.parametrize("size_wh", [(1920, 1080), (1080, 1920), (640, 480), (596, 336)])
def test_window_opens_centered_at_seventy_percent_of_the_screen(locked, size_wh):
    """Small images are enlarged and large ones reduced; the contents are drawn at the window's own size."""
    code = f"""if True:
        import cv2, numpy as np
        from fer_live.screen.canvas import Canvas
        from fer_live.screen.smoothing import DisplaySmoother
        from fer_live.screen.window import TITLE, Window
        from fer_live.types import NO_IMAGE, Analysis, Frame, Rates, View
        canvas = Canvas((), View(), {{}}, "", DisplaySmoother((), {{}}))
        with Window({{}}, print, canvas) as w:
            for i in range(5):
                w.show(NO_IMAGE, Analysis(Frame(np.zeros(({size_wh[1]}, {size_wh[0]}, 3), np.uint8), i, i), ()), Rates())
                w.poll(50)
            print("rect", *cv2.getWindowImageRect(TITLE), *canvas.image.shape[1::-1])"""
    status, output = run("-c", code, DISPLAY=locked[0], XAUTHORITY=str(locked[1]))
    assert status == 0, output
    x, y, w, h, drawn_w, drawn_h = map(int, next(line for line in output.splitlines() if line.startswith("rect")).split()[1:])
    assert max(w / 1366, h / 768) == pytest.approx(0.7, abs=0.005) and w / h == pytest.approx(size_wh[0] / size_wh[1], rel=0.02)
    assert abs(2 * x + w - 1366) <= 2 and abs(2 * y + h - 768) <= 2 and (w, h) == (drawn_w, drawn_h)


def test_window_uses_a_safe_size_on_unknown_screens():
    assert window.opening((1920, 1080), None) == ((896, 504), None)
    assert window.opening((640, 480), (1920, 0, 2560, 1440)) == ((1344, 1008), (2528, 216)), "on the monitor on the right"


@needs_xvfb
def test_python_xlib_errors_do_not_end_a_kiosk(locked, monkeypatch, capsys):
    """python-xlib reads the authority file and queries extensions that can be missing."""
    from fer_live.screen.x11 import ScreenHold

    monkeypatch.setenv("DISPLAY", locked[0])
    monkeypatch.setenv("XAUTHORITY", "/nonexistent")
    with ScreenHold() as hold:
        assert hold.xywh is None
    assert "the pointer stays on the screen" in capsys.readouterr().err


@pytest.mark.parametrize("code, key", [
    (ord("q"), ord("q")), (ord("Q"), ord("Q")), (27, 27), (32, 32), (13, 13), (-1, None), (0x100000 | ord("q"), ord("q")),
    (0xFF51, None), (0xFF52, None), (0xFF53, None), (0xFF54, None), (0xFF1B, None), (0xFFBE, None), (0xE1, None),
    (0x250000, None), (63234, None), (127, None), (9, 9), (0, None)])
def test_only_characters_count_as_keys(code, key):
    """Codes of Qt and GTK (X11's: arrows, Escape of the keypad, F1, Shift), of Windows (left) and of macOS (left)."""
    assert window.typed(code) == key
