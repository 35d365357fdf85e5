"""Records a microphone and aligns its samples with time.monotonic(), the clock of live frames."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import cv2  # noqa: F401, before av; see sinks/recorder.py

# isort: split
import av
import av.filter
import numpy as np
from av.device import enumerate_input_devices

from fer_live.model.paths import is_file
from fer_live.redact import redact, redact_address
from fer_live.sinks.sound import RATE
from fer_live.types import MOST_PIXELS, SourceError

logger = logging.getLogger("fer_live")

FORMATS = {"linux": "alsa", "darwin": "avfoundation", "win32": "dshow"}  # FFmpeg's input formats for microphones
KEEP_S = 30.0  # seconds of sound to keep
WARM_UP_S = 0.5  # seconds; devices first deliver bursts whose timing means nothing
STEADY_S = 2.0  # seconds; window in which the earliest arrival defines the clock offset
# A microphone's clock drifts from the computer's by a few parts in 10,000. From 10 ms on, the sound is stretched by at most
# half a percent, which is inaudible; from 100 ms on, it is cut or padded with silence.
KEEP_TIME = "async=240:min_comp=0.01:min_hard_comp=0.1:flags=res"
ALSA_FOLDERS = {"ALSA_CONFIG_DIR": ("/usr/share/alsa",),
                "ALSA_PLUGIN_DIR": (f"/usr/lib/{os.uname().machine}-linux-gnu/alsa-lib" if hasattr(os, "uname") else "",
                                    "/usr/lib64/alsa-lib", "/usr/lib/alsa-lib")}


class Microphone:
    """A context manager whose thread records and keeps the last 30 seconds, with samples numbered on time.monotonic().

    device: system name ("hw:1,0"; "Headset Microphone"), "" for the default device, or a sound file that replaces the
    microphone. format: FFmpeg input format, if not the system's default. Raises SourceError on entering.
    `lost` is called with a one-line message when the microphone is lost; recordings then continue with silence.
    """

    def __init__(self, device: str = "", format: str | None = None):
        self.device, self.format, self.is_file = device, format, format is None and _is_file(device)
        self.layout, self.start_s = "mono", 0.0  # start_s: time of sample 0
        self.lost = lambda text: logger.warning(f"microphone lost: {text}")
        self._chunks: deque[tuple[int, np.ndarray]] = deque()  # number of the first sample, (channels, samples) float32
        self._end = 0  # number after the newest sample
        self._heard = threading.Condition()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="microphone", daemon=True)

    def __enter__(self) -> Microphone:
        self.container = self._open()
        stream = self.container.streams.audio[0]
        self.rate = stream.codec_context.sample_rate
        self.layout = "mono" if stream.codec_context.layout.nb_channels == 1 else "stereo"
        self.start_s = time.monotonic() - 10.0  # the first samples may be older than their arrival
        self._thread.start()
        return self

    def __exit__(self, *exception) -> None:
        self._closed.set()
        self._thread.join(timeout=2.0)
        if not self._thread.is_alive():  # a hung driver must not block the program
            self.container.close()

    def _open(self) -> av.container.InputContainer:
        kind = None if self.is_file else self.format or FORMATS.get(sys.platform)
        with _quiet():
            name = str(Path(self.device).absolute()) if self.is_file else self.device  # FFmpeg would take "a:b.wav" for a URL
            name = name if self.is_file or self.format else _full_name(kind, self.device)
            try:
                container = av.open(name, format=kind, options={"max_pixels": str(MOST_PIXELS)} if self.is_file else {})
                if container.streams.audio:
                    return container
                container.close()
                reason = "it has no sound"
            except (av.FFmpegError, OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or str(error)
            there = ", ".join(_names(kind)) or "none"
        name = f"microphone {self.device}" if self.device else "microphone"
        raise SourceError(f"no {name} ({reason}); available: {there}; choose another, or leave out --audio")

    def _listen(self) -> None:
        text = "it ended"
        try:
            for chunk_start, samples in self._on_time():
                with self._heard:
                    self._chunks.append((chunk_start, samples))
                    self._end = chunk_start + samples.shape[1]
                    while self._end - self._chunks[0][0] > KEEP_S * RATE:
                        self._chunks.popleft()
                    self._heard.notify_all()
        except Exception as error:  # any error: otherwise the thread would end silently
            text = getattr(error, "strerror", None) or str(error) or type(error).__name__
        if not self._closed.is_set():
            name = redact_address(self.device) or "the microphone"
            self.lost(f"{name}: {redact(text)}; recordings continue with silence")

    def _on_time(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (number of the first sample, samples (channels, n) float32), gapless, aligned with time.monotonic()."""
        clock, graph = ArrivalClock(self.rate), None
        begun_s = time.monotonic()
        for frame in self.container.decode(audio=0):
            if self.is_file:
                self._closed.wait(max(0.0, begun_s + (clock.count + frame.samples) / self.rate - time.monotonic()))
            if self._closed.is_set():
                return
            began_s = clock.began_s(frame.samples, time.monotonic())
            if time.monotonic() - begun_s < WARM_UP_S:
                continue
            graph = graph or self._graph(frame)
            frame.pts, frame.time_base = round((began_s - self.start_s) * self.rate), Fraction(1, self.rate)
            graph.push(frame)
            while True:
                try:
                    ready = graph.pull()
                except (av.BlockingIOError, av.EOFError):
                    break
                assert ready.pts is not None and ready.time_base is not None  # the graph counts samples
                yield round(ready.pts * ready.time_base * RATE), ready.to_ndarray()

    def _graph(self, frame: av.AudioFrame) -> av.filter.Graph:
        graph = av.filter.Graph()
        source = graph.add_abuffer(sample_rate=frame.sample_rate, format=frame.format.name, layout=frame.layout.name,
                                   time_base=Fraction(1, frame.sample_rate))
        keep_time = graph.add("aresample", f"{RATE}:{KEEP_TIME}")
        planes = graph.add("aformat", f"sample_fmts=fltp:channel_layouts={self.layout}:sample_rates={RATE}")
        sink = graph.add("abuffersink")
        graph.link_nodes(source, keep_time, planes, sink).configure()
        return graph

    def number(self, time_s: float) -> int:
        """Return the number of the sample at this time of time.monotonic()."""
        return round((time_s - self.start_s) * RATE)

    def until(self, number: int, timeout_s: float) -> int:
        """Wait until samples before `number` exist, or `timeout_s`; returns the number after the newest sample."""
        with self._heard:
            self._heard.wait_for(lambda: self._end >= number or not self._thread.is_alive(), timeout_s)
            return self._end

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return samples `start` to `stop` (exclusive) as (channels, stop - start) float32; missing samples are silence."""
        samples = np.zeros((1 if self.layout == "mono" else 2, stop - start), np.float32)
        with self._heard:
            for begin, chunk in self._chunks:
                a, b = max(start, begin), min(stop, begin + chunk.shape[1])
                if a < b:
                    samples[:, a - start : b - start] = chunk[:, a - begin : b - begin]
        return samples


class ArrivalClock:
    """Estimates when sound was captured from when it arrived, which can be late but never early. rate: samples per second."""

    def __init__(self, rate: int):
        self.rate, self.count = rate, 0
        self._offsets: deque[tuple[float, float]] = deque()

    def began_s(self, samples: int, now_s: float) -> float:
        """Return the capture time of the first of the next `samples`, which arrived at `now_s`."""
        self.count += samples
        self._offsets.append((now_s, now_s - self.count / self.rate))
        while now_s - self._offsets[0][0] > STEADY_S:
            self._offsets.popleft()
        return min(offset for _, offset in self._offsets) + (self.count - samples) / self.rate


def _is_file(device: str) -> bool:
    """Whether `device` is an existing file rather than a microphone's name."""
    try:
        return bool(device) and is_file(device)
    except OSError:
        return False


def _full_name(kind: str | None, device: str) -> str:
    """Return FFmpeg's name for a microphone."""
    if kind == "avfoundation":
        return f":{device or 'default'}"
    if kind == "dshow":
        return f"audio={device or next(iter(_names(kind)), '')}"
    return device or "default"


def _names(kind: str | None) -> list[str]:
    try:
        devices = enumerate_input_devices(kind) if kind else []
    except (av.FFmpegError, OSError, ValueError):
        return []
    return [device.name for device in devices if device.name != "null" and "audio" in (device.media_types or ["audio"])]


@contextmanager
def _quiet() -> Iterator[None]:
    """Point ALSA at this system's configuration, not the build machine's, and hide its error output."""
    if not sys.platform.startswith("linux"):
        yield
        return
    for name, folders in ALSA_FOLDERS.items():
        there = [folder for folder in folders if os.path.isdir(folder)]
        if there:
            os.environ.setdefault(name, there[0])
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
