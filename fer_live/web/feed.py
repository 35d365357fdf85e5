"""Data of the web view, produced once for all viewers: the newest image as JPEG, log entries and statistics.

`put` is called by the live run's thread and never blocks; everything else runs in the thread of the web view's event loop.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np

from fer_live.pipeline import RateMeter
from fer_live.screen.smoothing import DisplayedFace, DisplaySmoother
from fer_live.sinks.log import entry
from fer_live.types import Analysis
from fer_live.web.history import History

LONGEST_SIDE, QUALITY, IMAGES_PER_S = 960, 75, 15.0  # of the images sent, about 40 KB each
SHOWN = ("track_id", "number", "label", "word", "figure")  # fields of displayed faces that are sent
STALE_S = 5.0  # seconds without a frame after which the camera counts as lost, unless the run allows more


@dataclass(frozen=True, slots=True)
class Figures:
    """Statistics of a live run at its newest frame."""

    frames: int = 0  # frames shown so far
    dropped: int = 0  # frames captured but never shown
    faces: int = 0
    fps: float = 0.0
    latency_s: float = 0.0  # time from capture to `put`
    shown_s: float = float("-inf")  # time.monotonic() of the newest frame


class Channel:
    """The newest item for any number of readers. Slow readers skip items and delay nobody."""

    def __init__(self) -> None:
        self.item, self.number, self.readers = b"", 0, 0
        self._changed = asyncio.Event()

    def publish(self, item: bytes) -> None:
        """Publish `item` to all waiting readers."""
        self.item, self.number = item, self.number + 1
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def after(self, number: int) -> tuple[int, bytes]:
        """Wait for an item newer than `number`. Returns the newest number and item."""
        while self.number <= number:
            await self._changed.wait()
        return self.number, self.item


class Feed:
    """Shares the newest frame with all viewers.

    smoother, camera_is_up, stale_s: as in `WebView`. is_recording: whether a recording is running.
    """

    def __init__(self, smoother: DisplaySmoother, camera_is_up: Callable[[], bool] = lambda: True, stale_s: float = 0.0,
                 history: History | None = None, is_recording: Callable[[], bool] = lambda: False):
        self.smoother, self.camera_is_up, self.stale_s, self.is_recording = smoother, camera_is_up, stale_s, is_recording
        self.history = history or History(smoother.labels)
        self.meter = RateMeter()
        self.figures = Figures()
        self.newest: tuple[np.ndarray, Analysis] | None = None
        self.said: tuple[Analysis, list[DisplayedFace]] | None = None  # for the readers of events
        self.start_s, self.index = 0.0, -1
        self.loop: asyncio.AbstractEventLoop | None = None
        self.images, self.entries = Channel(), Channel()
        self.snapshots = 0  # requests waiting for an image
        self._is_called = False  # a call of `_take` is pending
        self._fresh = asyncio.Event()

    def put(self, image: np.ndarray, analysis: Analysis) -> None:
        """Pass on the newest image (H, W, 3) uint8 BGR and its analysis. Takes microseconds; never blocks."""
        now_s, frame, old = time.monotonic(), analysis.frame, self.figures
        if self.newest is None:
            self.start_s = frame.time_s
        gap = max(0, frame.index - self.index - 1)
        self.index = frame.index
        self.figures = Figures(old.frames + 1, old.dropped + gap, len(analysis.faces), self.meter.tick(now_s),
                               max(0.0, now_s - frame.time_s), now_s)
        self.newest = image, analysis
        self.history.add(analysis, frame.time_s - self.start_s)
        if self.entries.readers:
            self.said = analysis, self.smoother(analysis)
        if self.loop is not None and self.is_watched and not self._is_called:
            self._is_called = True
            self.loop.call_soon_threadsafe(self._take)

    @property
    def is_watched(self) -> bool:
        """Whether there is any viewer."""
        return self.needs_image or bool(self.entries.readers)

    @property
    def needs_image(self) -> bool:
        """Whether any viewer needs images, not only statistics."""
        return bool(self.images.readers or self.snapshots)

    def _take(self) -> None:
        self._is_called = False
        if self.said is not None:
            analysis, faces = self.said
            logged = json.dumps(entry(analysis, self.smoother.labels, self.start_s))
            shown = json.dumps([{name: getattr(face, name) for name in SHOWN} for face in faces])
            self.entries.publish(f"data: {logged}\n\nevent: shown\ndata: {shown}\n\n".encode())
            self.said = None
        self._fresh.set()

    async def encode(self) -> None:
        """Encode the newest image for all viewers in a worker thread, at a limited rate. Runs forever."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, "web-jpeg") as pool:
            while True:
                await self._fresh.wait()
                self._fresh.clear()
                # without viewers no image is drawn, so a new viewer waits for the next one
                if self.newest is None or not self.newest[0].size or not self.needs_image:
                    continue
                due_s = loop.time() + 1.0 / IMAGES_PER_S
                self.images.publish(await loop.run_in_executor(pool, encode_jpeg, self.newest[0]))
                await asyncio.sleep(due_s - loop.time())

    def camera(self) -> str:
        """Return the camera's state: "starting", "ok" or "lost"."""
        if not self.figures.frames:
            return "starting"
        return "ok" if time.monotonic() - self.figures.shown_s < max(STALE_S, self.stale_s) and self.camera_is_up() else "lost"

    def state(self) -> dict:
        """Return the statistics as a dict; fps is 0 while the camera is lost."""
        camera, now = self.camera(), self.figures
        is_up = camera == "ok"
        return {"camera": camera, "fps": round(now.fps, 1) if is_up else 0.0, "faces": now.faces if is_up else 0,
                "latency_s": round(now.latency_s, 4), "frames": now.frames, "dropped": now.dropped,
                "viewers": self.images.readers, "recording": self.is_recording()}

    def now_s(self) -> float:
        """Return the seconds since the first frame, as in the log; 0 before it."""
        return time.monotonic() - self.start_s if self.figures.frames else 0.0

    def past(self) -> dict:
        """Return the last three minutes by second, as a dict; see `History.seconds`."""
        now_s = self.now_s()
        return {"now_s": round(now_s, 3), "labels": list(self.smoother.labels), "seconds": self.history.seconds(now_s)}


def encode_jpeg(image: np.ndarray) -> bytes:
    """Encode (H, W, 3) uint8 BGR as JPEG, scaled down to LONGEST_SIDE if larger."""
    scale = LONGEST_SIDE / max(image.shape[:2])
    if scale < 1.0:
        way = cv2.INTER_LINEAR if scale >= 0.5 else cv2.INTER_AREA  # equal quality down to 0.5, and ten times as fast at 0.75
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=way)
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()


METRICS = (  # name, type, help text, key of Feed.state()
    ("fer_live_fps", "gauge", "Frames shown per second.", "fps"),
    ("fer_live_faces", "gauge", "Faces in the newest frame.", "faces"),
    ("fer_live_latency_seconds", "gauge", "Time from the capture of the newest frame to its display.", "latency_s"),
    ("fer_live_frames_total", "counter", "Frames shown.", "frames"),
    ("fer_live_dropped_frames_total", "counter", "Frames captured, but dropped for newer ones.", "dropped"),
    ("fer_live_viewers", "gauge", "Clients that watch the live image.", "viewers"),
)


def metrics_text(state: dict, event_readers: int, refused: Counter[str]) -> str:
    """Format the state in the Prometheus text format, version 0.0.4."""
    lines = []
    for name, kind, text, key in METRICS:
        lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}", f"{name} {state[key]}"]
    lines += ["# HELP fer_live_camera_state 1 for the state the camera is in.", "# TYPE fer_live_camera_state gauge"]
    lines += [f'fer_live_camera_state{{state="{s}"}} {int(state["camera"] == s)}' for s in ("starting", "ok", "lost")]
    lines += ["# HELP fer_live_event_readers Clients that read the events.", "# TYPE fer_live_event_readers gauge",
              f"fer_live_event_readers {event_readers}",
              "# HELP fer_live_web_refused_total Connections and requests refused, by reason.",
              "# TYPE fer_live_web_refused_total counter"]
    lines += [f'fer_live_web_refused_total{{reason="{why}"}} {count}' for why, count in sorted(refused.items())]
    return "\n".join(lines) + "\n"
