"""The desktop window on a virtual screen: its content and its keys."""

import os
import shutil
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(not (shutil.which("Xvfb") and shutil.which("xdotool")), reason="needs Xvfb and xdotool")


@pytest.fixture(scope="module")
def display():
    read, write = os.pipe()
    server = subprocess.Popen(["Xvfb", "-displayfd", str(write), "-screen", "0", "1400x900x24", "-noreset"], pass_fds=[write],
                              stderr=subprocess.DEVNULL)
    os.close(write)
    with os.fdopen(read) as pipe:
        yield f":{pipe.readline().strip()}"
    server.terminate()
    server.wait(10)


def screenshot(display) -> np.ndarray:
    from PIL import ImageGrab

    return np.asarray(ImageGrab.grab(xdisplay=display).convert("RGB"))


def inside(display) -> np.ndarray:
    """The window: in the middle, 70% of the screen."""
    return screenshot(display)[175:725, 211:1189]


def start(display, folder, *arguments):
    code = "import sys; from fer_live.__main__ import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], cwd=folder, stderr=subprocess.PIPE, text=True,
                            env={**os.environ, "DISPLAY": display, "PYTHONPATH": str(ROOT)})


def wait_for(condition, what, seconds=40.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s: {what}")


def key(display, *keys):
    window = subprocess.run(["xdotool", "search", "--name", "^fer_live$"], env={**os.environ, "DISPLAY": display},
                            capture_output=True, text=True, check=True).stdout.split()[0]
    for name in keys:
        subprocess.run(["xdotool", "key", "--window", window, name], env={**os.environ, "DISPLAY": display}, check=True)
        time.sleep(0.3)


def is_there(display) -> bool:
    """Whether the window exists; without a window manager, Qt sometimes paints it later."""
    command = ["xdotool", "search", "--name", "^fer_live$"]
    found = subprocess.run(command, env={**os.environ, "DISPLAY": display}, capture_output=True)
    return found.returncode == 0


def close_politely(display):
    """The message that a window manager sends when the close button is clicked."""
    from Xlib import X
    from Xlib.display import Display
    from Xlib.protocol.event import ClientMessage

    server = Display(display)
    for window in server.screen().root.query_tree().children:
        if window.get_wm_name() == "fer_live":
            protocols, delete = server.intern_atom("WM_PROTOCOLS"), server.intern_atom("WM_DELETE_WINDOW")
            message = ClientMessage(window=window, client_type=protocols, data=(32, [delete, X.CurrentTime, 0, 0, 0]))
            window.send_event(message, event_mask=0)
    server.sync()
    server.close()


def test_demo_in_a_window_with_keys(display, tmp_path, untrained):
    process = start(display, tmp_path, "--source", "demo", "--model", untrained)
    try:
        wait_for(lambda: screenshot(display).any(), "a window")
        wait_for(lambda: (inside(display).std(axis=2) > 20).mean() > 0.05, "an image in color")
        plain = inside(display)
        key(display, "h")  # a dark panel at the left
        wait_for(lambda: inside(display)[180:380, 20:160].mean() < 0.75 * plain[180:380, 20:160].mean(), "help")
        key(display, "h", "Left", "Up", "Right", "Next", "F1", "shift")  # their codes end in Q, R, S, V, ...
        assert process.poll() is None and not list(tmp_path.iterdir()), "only letters quit, record and save"
        key(display, "b", "m", "s", "r")
        wait_for(lambda: list(tmp_path.glob("*.mp4")), "a recording")
        time.sleep(1.0)
        key(display, "r", "q")
        output = process.communicate(timeout=20)[1]
    finally:
        process.kill()
    assert process.returncode == 0 and "Traceback" not in output
    (image,) = tmp_path.glob("*.png")
    assert cv2.imread(str(image)).shape == (720, 1280, 3), "in the size of the camera, not of the window"
    import av

    with av.open(str(next(tmp_path.glob("*.mp4")))) as container:
        assert sum(1 for _ in container.decode(video=0)) > 5


def test_closing_the_window_quits(display, tmp_path, untrained):
    process = start(display, tmp_path, "--source", "demo", "--model", untrained)
    try:
        wait_for(lambda: screenshot(display).any(), "a window")
        time.sleep(1)
        close_politely(display)
        output = process.communicate(timeout=20)[1]
    finally:
        process.kill()
    assert process.returncode == 0, output


@pytest.mark.slow
def test_unresponsive_display_is_reported_without_crashing(tmp_path, untrained):
    process = start(":4711", tmp_path, "--source", "demo", "--model", untrained, "--max-seconds", "1")
    output = process.communicate(timeout=60)[1]
    assert process.returncode == 0 and "without a window" in output


def test_video_plays_in_the_window_at_its_own_speed(display, tmp_path, untrained, make_clip):
    clip = make_clip(tmp_path / "clip.mp4", frames=60, sound=None)
    process = start(display, tmp_path, "--source", clip, "--model", untrained)
    try:
        wait_for(lambda: is_there(display), "a window")
        started = time.monotonic()
        output = process.communicate(timeout=40)[1]
    finally:
        process.kill()
    assert process.returncode == 0, output
    assert time.monotonic() - started > 1.0


@pytest.mark.slow
def test_images_in_the_window_end_after_max_seconds(display, tmp_path, untrained, portrait):
    """An image waits for a key and has no timestamp that could reach the limit."""
    for name in "ab":
        cv2.imwrite(str(tmp_path / f"{name}.png"), portrait)
    process = start(display, tmp_path, "--source", tmp_path, "--model", untrained, "--max-seconds", "1.5")
    try:
        wait_for(lambda: is_there(display), "a window")
        started = time.monotonic()
        output = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    assert process.returncode == 0 and "Traceback" not in output, output
    assert 0.5 < time.monotonic() - started < 50


@pytest.mark.slow
def test_keys_redraw_a_still_image(display, tmp_path, untrained, portrait):
    """Bars, help and mirroring take effect at once, without a new frame."""
    cv2.imwrite(str(tmp_path / "a.png"), cv2.resize(portrait[:288], (512, 288)))
    process = start(display, tmp_path, "--source", tmp_path / "a.png", "--model", untrained, "--max-seconds", "90")
    try:
        wait_for(lambda: (inside(display).std(axis=2) > 20).mean() > 0.05, "an image in color", 120)
        time.sleep(7)  # the initial hint has disappeared
        plain = inside(display)
        for name in "bhm":
            key(display, name)
            wait_for(lambda: (inside(display) != plain).any(axis=2).mean() > 0.05, f"{name} shows", 10)
            key(display, name)
            wait_for(lambda: (inside(display) == plain).all(), f"{name} goes again", 10)
        key(display, "s")
        wait_for(lambda: len(list(tmp_path.glob("*.png"))) == 2, "a photo", 10)
        wait_for(lambda: (inside(display)[-80:] != plain[-80:]).any(), "it is said", 10)
        key(display, "q")
        output = process.communicate(timeout=20)[1]
    finally:
        process.kill()
    assert process.returncode == 0 and "Traceback" not in output


@pytest.mark.parametrize("color, is_black", [(0, True), (0xFFFFFF, False)])
def test_window_that_stays_black_is_mapped_again(display, monkeypatch, color, is_black):
    from Xlib import X
    from Xlib.display import Display

    from fer_live.screen import window as module

    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.setattr(module, "SETTLE_S", 0.0)
    server = Display(display)
    try:
        window = server.screen().root.create_window(0, 0, 300, 200, 0, X.CopyFromParent, background_pixel=color,
                                                    event_mask=X.StructureNotifyMask)
        window.set_wm_name(module.TITLE)
        window.map()
        server.sync()
        check = module.PaintCheck()
        check.drawn(np.zeros((200, 300, 3), np.uint8))
        assert not check.poll(), "a black image looks the same"
        check.drawn(np.full((200, 300, 3), 255, np.uint8))
        assert check.poll() is is_black
        server.sync()
        events = [server.next_event().type for _ in range(server.pending_events())]
        assert events.count(X.MapNotify) == 1 + is_black and events.count(X.UnmapNotify) == is_black
        window.destroy()
        server.sync()
    finally:
        server.close()
