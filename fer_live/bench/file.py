"""File benchmark: H.264 to annotated H.264 and to a log, compared with the floor: decoding and encoding only."""

from __future__ import annotations

import io
import json
import logging
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, redirect_stderr
from pathlib import Path
from typing import Any, cast

import cv2  # noqa: F401  before av, whose bundled libxcb otherwise makes OpenCV windows hang (PyAV issue 978)

# isort: split
import av
import numpy as np
from av.video.frame import PictureType

from fer_live.app.files import run_files
from fer_live.app.loader import ClassifierLoader
from fer_live.app.options import parse
from fer_live.bench.measure import median_of
from fer_live.bench.scenes import Loop, Scene, count_true, write_clip
from fer_live.bench.settings import Settings
from fer_live.handoff import Prefetch
from fer_live.model.detections import DEFAULT_DETECTOR, DETECTORS
from fer_live.pipeline import run_file
from fer_live.sinks.recorder import FRAGMENTED, VideoRecorder, set_up_encoder
from fer_live.sources.container import open_video, packets_of
from fer_live.sources.video_file import VideoFile
from fer_live.types import Analysis, Frame

logger = logging.getLogger("fer_live")

CLIP_FPS = 30


class Clocked:
    """A source that records the time of the first request, when the network has been loaded; loading is measured separately."""

    def __init__(self, source: VideoFile):
        self._source, self.started_s = source, 0.0

    def __iter__(self) -> Iterator[Frame]:
        self.started_s = time.monotonic()
        return iter(self._source)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)


def measure(model: Path, device: str, settings: Settings) -> list[dict]:
    """Return a row for each of `settings.file_sizes` with one face, and for the first size also with each other detector.

    The transcode, floor, annotated and log-only runs alternate.
    """
    rows = []
    cases = [(size_wh, DEFAULT_DETECTOR) for size_wh in settings.file_sizes]
    cases += [(settings.file_sizes[0], name) for name in DETECTORS if name != DEFAULT_DETECTOR]
    for size_wh, detector in cases:
        with tempfile.TemporaryDirectory() as folder:
            scene = Scene(1, size_wh)
            clip = make_clip(Path(folder), scene, settings.file_frames)
            floor_s(clip, Path(folder) / "warm.mp4")
            runs = []
            for repeat in range(settings.repeats):
                logger.info(f"file {size_wh[0]}x{size_wh[1]} with {detector}, run {repeat + 1} of {settings.repeats}")
                runs.append(_run(clip, Path(folder) / str(repeat), scene, model, device, settings.file_frames, detector))
        names = [name for name in runs[0] if name != "true_faces"]
        rows.append({"size_wh": list(size_wh), "detector": detector, "frames": settings.file_frames, "clip_fps": CLIP_FPS,
                     **median_of(runs, *names), "true_faces": min(run["true_faces"] for run in runs), "runs": runs})
    return rows


def make_clip(folder: Path, scene: Scene, frames: int) -> Path:
    """Write a clip of the scene into `folder`."""
    clip = folder / "clip.mp4"
    write_clip(clip, Loop(scene), frames, CLIP_FPS)
    return clip


def _run(clip: Path, folder: Path, scene: Scene, model: Path, device: str, frames: int, detector: str) -> dict:
    folder.mkdir()
    transcode = frames / transcode_s(clip, folder / "transcode.mp4")
    floor = frames / floor_s(clip, folder / "floor.mp4")
    annotated = frames / run_s(clip, model, device, "--output", folder / "out.mp4", "--detector", detector)
    log_only = frames / log_only_s(clip, folder / "out.jsonl", model, device, detector)
    return {
        "transcode_per_s": transcode, "floor_per_s": floor,
        "annotated_per_s": annotated, "log_only_per_s": log_only, "ratio_to_floor": annotated / floor,
        "times_real_time": annotated / CLIP_FPS, "log_only_times_real_time": log_only / CLIP_FPS,
        "true_faces": true_in_log(folder / "out.jsonl", scene),
    }


def transcode_s(clip: Path, output: Path) -> float:
    """Return the seconds to decode the clip and encode the frames without any conversion.

    No program that does both can be faster.
    """
    source, track = open_video(str(clip))
    with source, av.open(str(output), "w", format="mp4", options=FRAGMENTED) as target:
        track.thread_type = "AUTO"
        made = target.add_stream("libx264", rate=CLIP_FPS)
        made.width, made.height, made.pix_fmt = track.width, track.height, "yuv420p"
        set_up_encoder(made, live=False)
        started_s = time.monotonic()
        with Prefetch(frame for packet in packets_of(source, track) for frame in packet.decode()) as frames:
            for frame in frames:
                frame.pict_type = PictureType.NONE  # let the encoder choose its own key frames
                target.mux(made.encode(frame))
        target.mux(made.encode(None))
    return time.monotonic() - started_s


def floor_s(clip: Path, output: Path) -> float:
    """Return the seconds to decode and encode the clip as the program does, in the same threads, without analysis or drawing."""
    with VideoFile(clip) as source, redirect_stderr(io.StringIO()):
        started_s = time.monotonic()
        with VideoRecorder(output, source.fps, source.time_base) as recorder:
            run_file(source, _without_faces, _as_it_is, [recorder], threading.Event())
        return time.monotonic() - started_s


def _without_faces(frames: Iterable[Frame]) -> Iterator[Analysis]:
    return (Analysis(frame, ()) for frame in frames)


def _as_it_is(analysis: Analysis) -> np.ndarray:
    return analysis.frame.image


def log_only_s(clip: Path, log: Path, model: Path, device: str, detector: str = DEFAULT_DETECTOR) -> float:
    """Return the seconds of a log-only run."""
    return run_s(clip, model, device, "--log", log, "--detector", detector)


def run_s(clip: Path, model: Path, device: str, *options) -> float:
    """Return the seconds that the program takes with these options, from the first frame to the finished file."""
    config = parse(["--source", str(clip), "--no-window", "--model", str(model), "--device", device, *map(str, options)])
    with ExitStack() as stack, redirect_stderr(io.StringIO()):  # hide the progress bar
        source = Clocked(stack.enter_context(VideoFile(clip)))
        run_files(config, cast(VideoFile, source), ClassifierLoader(config.analysis), threading.Event(), stack)
        return time.monotonic() - source.started_s


def true_in_log(log: Path, scene: Scene) -> int:
    """Return how many of the scene's faces are in the log at the correct position."""
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return true_faces({entry["frame"]: [face["box"] for face in entry["faces"]] for entry in entries}, scene)


def true_faces(found: dict[int, list], scene: Scene) -> int:
    """Return how many of the scene's faces are in `found`, boxes xyxy by frame, at the correct position."""
    return sum(count_true(np.array(boxes, float).reshape(-1, 4), scene.boxes(index / CLIP_FPS)) for index, boxes in found.items())
