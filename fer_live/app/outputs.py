"""The recorders, logs and streams of a run, and how their failures are handled."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from fer_live.app.config import Config, OutputConfig
from fer_live.app.outgoing_sink import add_outgoing_sink
from fer_live.app.output_checks import writes_folder
from fer_live.kiosk.notify import Heartbeat
from fer_live.outgoing.sink import Outgoing
from fer_live.protocols import EventLog, FileSink, Recorder, Sink, Source
from fer_live.redact import redact
from fer_live.screen.words import phrase
from fer_live.sinks.disk import unused
from fer_live.sinks.image_writer import ImageWriter
from fer_live.sinks.log import Log
from fer_live.sinks.microphone import Microphone
from fer_live.sinks.recorder import VideoRecorder
from fer_live.sinks.segments import OWN, Quota, SegmentedRecorder
from fer_live.sources.images import ImageFiles
from fer_live.sources.video_file import VideoFile
from fer_live.types import Analysis, Box, OutputError, View

logger = logging.getLogger("fer_live")

TOAST_S = 3.0  # seconds
SEGMENT_MINUTES = 10.0  # minutes; segment length if only a quota is set, since the quota never deletes the file being written


class Outputs:
    """The sinks of a run, which can be added and removed while it runs. It is itself a sink that keeps the last image.

    open_recorder: makes a recorder for a path; None: the recording key does nothing. words: on-screen texts.
    draw: annotates an analysis for snapshots, if the sinks' image differs from the displayed one or is not drawn; may be set
    later. When the recorder or the log fails in a live run, it is closed, the failure is shown on screen, on stderr and in the
    log, and the run goes on.
    """

    needs_image = False  # snapshots are drawn on demand

    def __init__(self, view: View, open_recorder: Callable[[Path], Recorder] | None = None,
                 words: dict[str, str] | None = None):
        self.view, self.open_recorder, self.words = view, open_recorder, words or {}
        self.draw: Callable[[Analysis], np.ndarray] | None = None
        self.recording_since_s = 0.0
        self.sinks: list[Sink] = [self]
        self.recorder: Recorder | None = None
        self.log: EventLog | None = None
        self.last: tuple[np.ndarray, Analysis] | None = None
        self._events: list[tuple[str, str, float]] = []

    def __enter__(self) -> Outputs:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop_record()
        self._log_events()
        self._close_log()

    def write(self, image: np.ndarray, analysis: Analysis) -> None:
        """Keep the displayed image for snapshots, and log the events since the last call."""
        self.last = image, analysis
        self._log_events()

    def _log_events(self) -> None:
        while self._events:
            event = self._events.pop(0)
            if self.log is not None:
                try:
                    self.log.event(*event)
                except OutputError as error:
                    self.failed(self.log, error)

    def add_log(self, log: EventLog) -> None:
        """Enter `log`, a Log of a live run, and write to it until the end or a failure."""
        self.log = log.__enter__()
        self.sinks.append(self.log)

    def failed(self, sink: Sink, error: OutputError) -> None:
        """Close a recorder or log that failed, report it, and let the run go on. Errors of other sinks are raised."""
        if sink is self.recorder:
            self.stop_record()
            self.tell("recording stopped", str(error))
        elif sink is self.log:
            self._close_log()
            self.tell("log stopped", str(error))
        else:
            raise error

    def tell(self, event: str, text: str) -> None:
        """Show a persistent line on screen, print it to stderr and add it to the log. Callable from any thread.

        event: a short description. text: the details.
        """
        text = redact(text)
        self.view.notice = f"{event}: {text}"
        self._events.append((event, text, time.monotonic()))
        logger.warning(f"{event}: {text}")

    def say(self, key: str, detail: str = "") -> None:
        """Show a temporary line in the window. key: a phrase's key."""
        words = phrase(self.words, key)
        self.view.toast, self.view.toast_until_s = f"{words}: {detail}" if detail else words, time.monotonic() + TOAST_S

    def displayed_image(self) -> np.ndarray | None:
        """Return the displayed image, annotated, at the frame's size, or None before the first one."""
        if self.last is None:
            return None
        image, analysis = self.last
        return self.draw(analysis) if self.draw else image if image.size else None

    def record(self, path: Path) -> None:
        """Start recording to `path`. The displayed image, if any, becomes the first frame."""
        assert self.open_recorder is not None
        recorder = self.recorder = self.open_recorder(path).__enter__()
        self.sinks.append(recorder)
        self.view.recording, self.view.notice = True, ""
        self.recording_since_s = time.monotonic()
        self.say("recording_started")
        image = self.displayed_image()
        if self.last is not None and image is not None:
            analysis = self.last[1]
            now = replace(analysis, frame=replace(analysis.frame, time_s=time.monotonic()))
            try:
                recorder.write(image, now)
            except OutputError as error:
                self.failed(recorder, error)

    def stop_record(self) -> Path | None:
        """Finish the recording, if one is running, and return its path."""
        if self.recorder is None:
            return None
        recorder, self.recorder = self.recorder, None
        self.view.recording = False
        self.say("recording_stopped", length(time.monotonic() - self.recording_since_s))
        self._close(recorder, "recording stopped")
        return recorder.path

    def _close_log(self) -> None:
        if self.log is not None:
            log, self.log = self.log, None
            self._close(log, "log stopped")

    def _close(self, sink: Sink, event: str) -> None:
        self.sinks.remove(sink)
        try:
            sink.__exit__(None, None, None)
        except OutputError as error:
            self.tell(event, str(error))


def timestamped(suffix: str) -> Path:
    """Return a name for a file that starts now, in the current folder."""
    return Path(time.strftime(f"fer_live-%Y%m%d-%H%M%S{suffix}"))


def length(seconds: float) -> str:
    """Format seconds as 0:07 or 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def add_sinks(config: Config, source: Source, outputs: Outputs, labels: tuple[str, ...], stack: ExitStack) -> Outgoing | None:
    """Add the sinks of a live run other than screen and web page: recording, log, other programs and the systemd watchdog.

    Return the outputs to other programs, if any.
    """
    if config.output.path and not config.records_on_consent:
        outputs.record(config.output.path)
    if config.output.log:
        outputs.add_log(Log(unused(config.output.log), labels, live=True))
    outgoing = add_outgoing_sink(config, source, outputs.sinks, labels, lambda: outputs.view.recording, stack)
    outputs.sinks.append(stack.enter_context(Heartbeat()))
    return outgoing


def make_recorder(config: OutputConfig, path: Path, fps: float, microphone: Microphone | None,
                  tell: Callable[[str, str], None]) -> Recorder:
    """Return a live recorder for `path`: one file, or segments if configured."""
    is_limited = config.keep_gb is not None or config.keep_days is not None
    segment_minutes = config.segment_minutes or (SEGMENT_MINUTES if is_limited else None)

    def open_file(path: Path) -> VideoRecorder:
        recorder = VideoRecorder(unused(path), fps, live=True, microphone=microphone, comment=OWN if segment_minutes else "")
        logger.info(f"recording to {recorder.path}")
        return recorder

    if segment_minutes is None:
        return open_file(path)
    keep_bytes, keep_s = (config.keep_gb or float("inf")) * 1e9, (config.keep_days or float("inf")) * 86_400
    quota = Quota(path, keep_bytes, keep_s, lambda text: tell("old recordings", text))
    return SegmentedRecorder(path, open_file, segment_minutes * 60, quota.clear_soon if is_limited else None)


def file_sinks(config: OutputConfig, source: VideoFile | ImageFiles, labels: tuple[str, ...], is_still: bool,
               drawn_on: Callable[[np.ndarray], Sequence[Box] | None] | None = None) -> list[FileSink]:
    """Return the sinks for a file's results. is_still: write images, not a video. drawn_on: as for VideoRecorder."""
    sinks: list[FileSink] = []
    if config.path and is_still:
        sinks.append(ImageWriter(config.path, writes_folder(config, source.frames)))
    elif config.path and not isinstance(source, ImageFiles):
        if drawn_on:
            source.keep_decoded()
        sinks.append(VideoRecorder(unused(config.path), source.fps, source.time_base,
                                   sound_from=source.path if source.has_audio else None,
                                   segments=source.timeline.segments, shown=source.track.index, drawn_on=drawn_on))
    if config.log:
        sinks.append(Log(unused(config.log), labels))
    return sinks
