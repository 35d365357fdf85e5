"""Soak test: runs the whole live program over 500,000 generated frames at full speed and measures its resources.

    python -m tests.soak [--frames 500000] [--csv FILE] [--plot FILE.png]

`fer_live.app.live.run_live_source` assembles the program as for a camera: threads, released weights on the CPU, overlay,
segmented recordings with a quota, JSONL log, keys, web view. Three parts are simulated. The source generates small images with up
to three faces that come and go, and slates of a lost camera, one at a time so that none is dropped. The screen presses keys and
measures at 1,000 points. The clock of frames, recordings and keys advances by STEP_S per frame, so 500,000 frames are 24 hours;
waits for threads, disks and sockets use real time.

The exit status is 1 if anything grows after the first twentieth; see `judge`.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import gc
import math
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import cv2  # before av, which fer_live.app.live imports
import numpy as np
import psutil

from fer_live.app import live, outputs, web_view
from fer_live.app.messages import shown
from fer_live.app.options import parse
from fer_live.bench.scenes import PORTRAIT
from fer_live.sinks import recorder, segments
from fer_live.sources.slate import draw_slate
from fer_live.types import Analysis, Frame, Rates

STEP_S = 86_400 / 500_000  # seconds of simulated time per frame
POINTS = 1000  # number of measurements
LARGEST_BATCH = 8  # crops: four people, in both views
WARM_UP = 0.05  # fraction of the run that is not judged
WIDTH, HEIGHT = 160, 120
VISIT, AWAY = 20, 300  # mean number of frames that each of three visitors is present and absent; 0.2 faces per frame
LOST_EVERY, LOST_AT, LOST = 3000, 400, 40  # frames: interval, offset and duration of camera losses
OPTIONS = ["--output", "fer_live.mp4", "--log", "day.jsonl", "--segment-minutes", "1", "--keep-gb", "0.001",
           "--serve", "127.0.0.1:0", "--device", "cpu", "--runtime", "onnx"]
KEYS = (("b", 400, 100), ("m", 700, 200), ("h", 900, 300), ("s", 2500, 200), ("r", 5000, 320), ("r", 5000, 360))  # key, every, at
# Measures, and their maximum increase over the run.
TOLERANCES = {"rss_mb": 10.0, "threads": 4.0, "handles": 4.0, "python_blocks": 5000.0, "tracks": 0.5, "states": 0.5, "known": 0.5,
              "events": 0.5, "sinks": 0.5, "recordings_mb": 2.0}


class Clock:
    """Replaces the module `time` where simulated time is used; everything else is passed through."""

    def __init__(self):
        self.now_s = self.start_s = time.monotonic()
        self.began_s = time.time()

    def __getattr__(self, name):
        return getattr(time, name)

    def monotonic(self) -> float:
        return self.now_s

    def strftime(self, text: str) -> str:
        """Simulated local time, so that files have distinct names."""
        return time.strftime(text, time.localtime(self.began_s + self.now_s - self.start_s))


class Day:
    """A source with three positions where visitors come and go, and a camera that is lost at times."""

    is_live, fps = True, 1 / STEP_S

    def __init__(self, frames: int, clock: Clock):
        self.frames, self.clock, self.is_lost = frames, clock, False
        self.asked = threading.Semaphore(1)
        self.rng = np.random.default_rng(5)
        head = cv2.imread(str(PORTRAIT))[42:192, 150:300]
        sizes = [cv2.resize(head, (side, side), interpolation=cv2.INTER_AREA) for side in (46, 49, 52)]
        self.heads = [cv2.convertScaleAbs(size, alpha=gain, beta=lift) for size in sizes for gain, lift in ((1, 0), (0.8, 20))]
        noise = np.random.default_rng(0).integers(80, 100, (HEIGHT // 8, WIDTH // 8, 3), np.uint8)
        self.room = cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
        self.visitors: list[tuple[int, int] | None] = [None] * 3  # for each position, a head and its height
        self.left = [1, 60, 150]  # frames until each comes or goes
        self.visits = self.slates = self.faces = 0

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self.frames):
            if not self.asked.acquire(timeout=60.0):
                raise RuntimeError(f"frame {index - 1} was not shown within a minute")
            self.clock.now_s += STEP_S
            since = index % LOST_EVERY - LOST_AT
            self.is_lost = 0 <= since < LOST
            image = draw_slate((HEIGHT, WIDTH), f"{since} s") if self.is_lost else self._image(index)
            self.slates += self.is_lost
            yield Frame(image, index, self.clock.now_s, is_slate=self.is_lost)

    def _image(self, index: int) -> np.ndarray:
        image = self.room.copy()
        for i in range(3):
            self.left[i] -= 1
            if self.left[i] <= 0:
                self._come_or_go(i)
            if self.visitors[i] is not None:
                number, top = self.visitors[i]
                head = self.heads[number]
                x, y = 53 * i + index // 4 % 2, top + round(6 * math.sin(index / 5))
                part = image[y : y + head.shape[0], x : x + head.shape[1]]
                part[:] = head[: part.shape[0], : part.shape[1]]
                self.faces += 1
        return image

    def _come_or_go(self, i: int) -> None:
        comes = self.visitors[i] is None
        self.visitors[i] = (int(self.rng.integers(len(self.heads))), int(self.rng.integers(8, 58))) if comes else None
        self.left[i] = 2 + round(self.rng.exponential(VISIT if comes else AWAY))
        self.visits += comes


class Screen:
    """Replaces the window: measures, presses keys, starts and stops a viewer, and requests the next frame from the source.

    parts: objects created by `run_live_source`, by name. rows: list that receives the measures. report: callback for each row.
    """

    def __init__(self, day: Day, parts: dict, keys: dict, rows: np.ndarray, report):
        self.day, self.parts, self.keys, self.rows, self.report = day, parts, keys, rows, report
        self.shown = self.measured = self.dropped = self.cut = 0
        self.process, self.started_s = psutil.Process(), time.monotonic()
        self.viewer = Viewer()

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *exception) -> None:
        self.viewer.leave()

    def show(self, image: np.ndarray, analysis: Analysis, rates: Rates) -> None:
        self.shown, self.dropped = self.shown + 1, rates.dropped
        self._act(self.shown)
        if self.shown * len(self.rows) // self.day.frames > self.measured:
            row = self._measure()
            self.rows[self.measured] = row
            self.measured += 1
            self.report(row)
        self.day.asked.release()

    def poll(self) -> None:
        """Do nothing: keys are pressed in `show`."""

    def _act(self, n: int) -> None:
        for key, every, at in KEYS:
            if n % every == at:
                self.keys[key]()
        outputs = self.parts["Outputs"]
        if n % 1500 == 250:
            outputs.tell("soak", "a line on the image")
        if n % 1500 == 300:
            outputs.view.notice = ""
        if n % 10_000 == 600:  # somebody deletes what is being written: the recording ends with a notice
            outputs.recorder.current.path.unlink()
        if n % 10_000 == 660 and outputs.recorder is None:
            self.cut += 1
            self.keys["r"]()
        if n % 2000 == 150:
            self.viewer.come(self.parts["WebView"].endpoint.bound[1], n // 2000)
        if n % 2000 == 900:
            self.viewer.leave()

    def _measure(self) -> tuple[float, ...]:
        if not gc.get_freeze_count():
            gc.freeze()  # exclude everything loaded so far; otherwise each collection would scan all modules
        gc.collect()  # uncollected garbage is not a leak, and its amount grows with the number of loaded objects
        analyzer, outputs = self.parts["open_analyzer"], self.parts["Outputs"]
        state = analyzer.state
        recorded = sum(entry.stat().st_size for entry in os.scandir() if entry.name.endswith(".mp4"))
        values = (
            self.process.memory_info().rss / 1e6, self.process.num_threads(), _handles(self.process), sys.getallocatedblocks(),
            len(state.tracker.tracks), len(state.smoother.states), len(analyzer.detector.known), len(outputs._events),
            len(outputs.sinks), recorded / 1e6)
        return (self.shown, time.monotonic() - self.started_s, *values)


def _handles(process: psutil.Process) -> int:
    return process.num_fds() if hasattr(process, "num_fds") else process.num_handles()


class Viewer:
    """Simulates browsers: reads images, events, or pages in sequence; some disconnect abruptly."""

    PATHS = ("/stream.mjpg", "/events", "/healthz", "/snapshot.jpg", "/metrics", "/")

    def __init__(self):
        self.thread: threading.Thread | None = None
        self.gone = threading.Event()
        self.taken = 0

    def come(self, port: int, turn: int) -> None:
        self.gone.clear()
        self.thread = threading.Thread(target=self._look, args=(port, turn), daemon=True)
        self.thread.start()

    def leave(self) -> None:
        self.gone.set()
        if self.thread is not None:
            self.thread.join(timeout=10.0)

    def _look(self, port: int, turn: int) -> None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.5) as client:
            client.sendall(f"GET {self.PATHS[turn % len(self.PATHS)]} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            while not self.gone.is_set():
                with contextlib.suppress(TimeoutError):
                    got = client.recv(65_536)
                    if not got:
                        return
                    self.taken += len(got)
                time.sleep(0.02)


def judge(rows: np.ndarray) -> list[str]:
    """Return a description of what grew; empty if everything is flat.

    rows: (points, 2 + measures): frames, seconds, and the measures in the order of TOLERANCES. After the first twentieth of the
    run, neither the least-squares line nor the mean of the last tenth, compared with the first, may rise by more than the
    measure's tolerance. Decreases are fine.
    """
    judged = rows[math.ceil(WARM_UP * len(rows)) :]
    tenth = max(1, len(judged) // 10)
    grown = []
    for i, (name, tolerance) in enumerate(TOLERANCES.items(), start=2):
        rise, step = growth(judged[:, 0], judged[:, i]), judged[-tenth:, i].mean() - judged[:tenth, i].mean()
        if rise > tolerance or step > tolerance:
            grown.append(f"{name} grew: by {rise:.2f} along the line, by {step:.2f} from first to last tenth; "
                         f"allowed {tolerance:g}")
    return grown


def growth(x: np.ndarray, y: np.ndarray) -> float:
    """Return the rise of the least-squares line from the first x to the last."""
    return float(np.polyfit(x - x[0], y, 1)[0] * (x[-1] - x[0]))


def run(frames: int, points: int, report=lambda row: None) -> tuple[np.ndarray, dict]:
    """Run the soak test in a temporary folder; returns the rows for `judge`, and figures of the run.

    report: callback for each row as soon as it is measured.
    """
    rows, parts, clock = np.zeros((points, 2 + len(TOLERANCES))), {}, Clock()
    day = Day(frames, clock)

    def kept(module, name):
        make = getattr(module, name)

        def call(*given, **named):
            parts[name] = make(*given, **named)
            if name == "open_analyzer":  # the runtime keeps the memory of its largest batch, which comes late in a short run
                spec = parts[name].classifier.spec
                parts[name].classifier(np.zeros((LARGEST_BATCH, spec.input_size, spec.input_size, spec.channels), np.uint8))
            return parts[name]

        return patch.object(module, name, call)

    def window(keys, quit, canvas):
        parts["screen"] = Screen(day, parts, keys, rows, report)
        return parts["screen"]

    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.chdir(stack.enter_context(tempfile.TemporaryDirectory())))
        for module in (outputs, recorder, segments):
            stack.enter_context(patch.object(module, "time", clock))
        for module, name in ((live, "open_analyzer"), (live, "Outputs"), (web_view, "WebView")):
            stack.enter_context(kept(module, name))
        stack.enter_context(patch.object(live, "Window", window))
        stack.enter_context(patch.object(live, "wants_window", lambda config: True))
        with contextlib.ExitStack() as opened:
            config = parse(OPTIONS)
            live.run_live_source(config, day, False, live.ClassifierLoader(config.analysis), threading.Event(), opened)
        return rows, _figures(day, parts, clock)


def _figures(day: Day, parts: dict, clock: Clock) -> dict:
    screen = parts["screen"]
    with open("day.jsonl", "rb") as log:
        events = frames = 0
        for line in log:
            is_event = line.startswith(b'{"event"')
            events, frames = events + is_event, frames + (not is_event)
    return {"hours": (clock.now_s - clock.start_s) / 3600, "shown": screen.shown, "dropped": screen.dropped, "logged": frames,
            "events": events, "visits": day.visits, "faces": day.faces, "slates": day.slates,
            "tracks": parts["open_analyzer"].state.tracker.next_id - 1, "cut": screen.cut, "viewed_mb": screen.viewer.taken / 1e6,
            "images": sum(name.endswith(".png") for name in os.listdir())}


@shown()
def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=500_000)
    parser.add_argument("--csv", type=Path, help="write the measurements to this CSV file")
    parser.add_argument("--plot", type=Path, help="write their plot to this image file")
    args = parser.parse_args(arguments)
    if args.frames < 100:
        parser.error("--frames: from 100 on there is something to judge")
    points = min(POINTS, args.frames)
    with contextlib.ExitStack() as stack:
        table = csv.writer(stack.enter_context(open(args.csv, "w", buffering=1, newline=""))) if args.csv else None
        if table:
            table.writerow(["frames", "seconds", *TOLERANCES])

        def report(row):
            if table:
                table.writerow([round(float(value), 3) for value in row])
            if round(row[0] * points / args.frames) % max(1, points // 100) == 0:
                print(f"{row[0]:7.0f} frames, {row[0] / row[1]:4.0f} a second, {row[2]:6.1f} MB, {row[3]:.0f} threads, "
                      f"{row[4]:.0f} handles", flush=True)

        rows, figures = run(args.frames, points, report)
    print(", ".join(f"{name} {value:g}" for name, value in figures.items()))
    if args.plot:
        plot(rows, args.plot)
    grown = judge(rows)
    print("\n".join(grown) if grown else "flat: " + summary(rows))
    return 1 if grown else 0


def summary(rows: np.ndarray) -> str:
    """Mean and growth of each measure over the judged part."""
    judged = rows[math.ceil(WARM_UP * len(rows)) :]
    return ", ".join(f"{name} {judged[:, i].mean():.1f} ({growth(judged[:, 0], judged[:, i]):+.2f})"
                     for i, name in enumerate(TOLERANCES, start=2))


def plot(rows: np.ndarray, path: Path) -> None:
    """Plot each measure over the frames; the part that is not judged is shaded."""
    from matplotlib.figure import Figure

    figure = Figure((10, 1.6 * len(TOLERANCES)), layout="constrained")
    axes = figure.subplots(len(TOLERANCES), 1, sharex=True)
    for i, (name, axis) in enumerate(zip(TOLERANCES, axes, strict=True), start=2):
        axis.plot(rows[:, 0], rows[:, i], linewidth=0.8)
        axis.axvspan(0, rows[-1, 0] * WARM_UP, color="0.9")
        axis.set_ylabel(name)
        axis.set_ylim(0, 1.2 * max(1.0, rows[:, i].max()))
    axes[-1].set_xlabel("frames")
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    sys.exit(main())
