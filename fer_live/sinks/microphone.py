"""The sound of a live recording: what a microphone hears, put on the clock of the pictures."""

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

FORMATS = {"linux": "alsa", "darwin": "avfoundation", "win32": "dshow"}  # FFmpeg's names of the systems' microphones
KEEP_S = 30.0  # how long sound waits for pictures
WARM_UP_S = 0.5  # what a device sends first comes in bursts, from which nothing can be timed
STEADY_S = 2.0  # arrivals are judged over this long: the earliest is the one that was not held up
# A microphone's clock and the computer's differ by a few parts in 10,000. Beyond 10 ms the sound is stretched by at most
# half a per cent, which nobody hears; beyond 100 ms it is cut or filled with silence.
KEEP_TIME = "async=240:min_comp=0.01:min_hard_comp=0.1:flags=res"
ALSA_FOLDERS = {"ALSA_CONFIG_DIR": ("/usr/share/alsa",),
                "ALSA_PLUGIN_DIR": (f"/usr/lib/{os.uname().machine}-linux-gnu/alsa-lib" if hasattr(os, "uname") else "",
                                    "/usr/lib64/alsa-lib", "/usr/lib/alsa-lib")}


class Microphone:
    """A thread that listens from entering to leaving and keeps the last half minute, sample by sample on time.monotonic().

    device: its name as the system has it ("hw:1,0"; "Headset Microphone"); "" is the system's choice; a sound file is
    played in place of a microphone. format: FFmpeg's name of the input, if not the system's own. Raises SourceError on entering.
    `lost` is called with a line when the microphone is gone; recordings then go on in silence.
    """

    def __init__(self, device: str = "", format: str | None = None):
        self.device, self.format, self.is_file = device, format, format is None and _is_file(device)
        self.layout, self.start_s = "mono", 0.0  # start_s: the time of sample 0
        self.lost = lambda text: logger.warning(f"microphone lost: {text}")
        self._chunks: deque[tuple[int, np.ndarray]] = deque()  # number of the first sample, (channels, samples) float32
        self._end = 0  # the sample after the newest
        self._heard = threading.Condition()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="microphone", daemon=True)

    def __enter__(self) -> Microphone:
        self.container = self._open()
        stream = self.container.streams.audio[0]
        self.rate = stream.codec_context.sample_rate
        self.layout = "mono" if stream.codec_context.layout.nb_channels == 1 else "stereo"
        self.start_s = time.monotonic() - 10.0  # what comes first may have sounded a while ago
        self._thread.start()
        return self

    def __exit__(self, *exception) -> None:
        self._closed.set()
        self._thread.join(timeout=2.0)
        if not self._thread.is_alive():  # a driver that hangs must not keep the program
            self.container.close()

    def _open(self) -> av.container.InputContainer:
        kind = None if self.is_file else self.format or FORMATS.get(sys.platform)
        with _quiet():
            name = str(Path(self.device).absolute()) if self.is_file else self.device  # "a:b.wav" would be taken for a protocol
            name = name if self.is_file or self.format else _full_name(kind, self.device)
            try:
                container = av.open(name, format=kind, options={"max_pixels": str(MOST_PIXELS)} if self.is_file else {})
                if container.streams.audio:
                    return container
                container.close()
                reason = "there is no sound in it"
            except (av.FFmpegError, OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or str(error)
            there = ", ".join(_names(kind)) or "none"
        name = f"microphone {self.device}" if self.device else "microphone"
        raise SourceError(f"no {name} ({reason}); those here: {there}; name another, or leave out --audio")

    def _listen(self) -> None:
        text = "it has ended"
        try:
            for chunk_start, samples in self._on_time():
                with self._heard:
                    self._chunks.append((chunk_start, samples))
                    self._end = chunk_start + samples.shape[1]
                    while self._end - self._chunks[0][0] > KEEP_S * RATE:
                        self._chunks.popleft()
                    self._heard.notify_all()
        except Exception as error:  # whatever it is: nobody else would say that the microphone is gone
            text = getattr(error, "strerror", None) or str(error) or type(error).__name__
        if not self._closed.is_set():
            name = redact_address(self.device) or "the microphone"
            self.lost(f"{name}: {redact(text)}; recordings go on in silence")

    def _on_time(self) -> Iterator[tuple[int, np.ndarray]]:
        """Number of the first sample and samples (channels, n) float32, without gaps, at the times at which they sounded."""
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
        """The sample that sounds at this time of time.monotonic()."""
        return round((time_s - self.start_s) * RATE)

    def until(self, number: int, timeout_s: float) -> int:
        """The sample after the newest, as soon as that is `number` or more, or after `timeout_s`."""
        with self._heard:
            self._heard.wait_for(lambda: self._end >= number or not self._thread.is_alive(), timeout_s)
            return self._end

    def read(self, start: int, stop: int) -> np.ndarray:
        """The samples from number `start` to before `stop` as (channels, stop - start) float32; silence where none is."""
        samples = np.zeros((1 if self.layout == "mono" else 2, stop - start), np.float32)
        with self._heard:
            for begin, chunk in self._chunks:
                a, b = max(start, begin), min(stop, begin + chunk.shape[1])
                if a < b:
                    samples[:, a - start : b - start] = chunk[:, a - begin : b - begin]
        return samples


class ArrivalClock:
    """When sound began, from when it arrived: sound is late as often as not, but never early. rate: samples a second."""

    def __init__(self, rate: int):
        self.rate, self.count = rate, 0
        self._offsets: deque[tuple[float, float]] = deque()

    def began_s(self, samples: int, now_s: float) -> float:
        """The time at which the first of the next `samples` sounded, which have arrived at `now_s`."""
        self.count += samples
        self._offsets.append((now_s, now_s - self.count / self.rate))
        while now_s - self._offsets[0][0] > STEADY_S:
            self._offsets.popleft()
        return min(offset for _, offset in self._offsets) + (self.count - samples) / self.rate


def _is_file(device: str) -> bool:
    """Whether it is a sound file that can be looked at; else it may be a microphone's name."""
    try:
        return bool(device) and is_file(device)
    except OSError:
        return False


def _full_name(kind: str | None, device: str) -> str:
    """The name by which FFmpeg knows a microphone of this system."""
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
    """Lets ALSA find this system's settings rather than its builder's, and keeps its pages of complaint from the screen."""
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
