"""Synthetic scenes of moving faces, rendered from one portrait, and a camera that delivers them in real time.

The portrait is NASA's photograph of the astronaut Eileen Collins, in the public domain (from scikit-image's data).
"""

from __future__ import annotations

import functools
import math
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from fer_live.model.detections import iou
from fer_live.sinks.recorder import VideoRecorder
from fer_live.types import Analysis, Frame, SourceError

PORTRAIT = Path(__file__).parents[1] / "assets" / "portrait.jpg"
FACE_XY, FACE_SIDE = (222, 118), 95  # center and side of the portrait's face box in pixels
HEAD = (slice(0, 232), slice(118, 326))  # rows and columns of the portrait that contain the head
GRIDS = {1: (1, 1), 4: (2, 2), 16: (4, 4)}  # number of faces -> columns and rows
SIDES = {1: 0.40, 4: 0.26, 16: 0.165}  # side of a face's box relative to the image height; Haar finds 0.14 and more
PERIOD_S = 4.0  # seconds; motion is symmetric in time: the second half is the first one reversed
LOOP_FPS = 60


@dataclass(frozen=True)
class Scene:
    """A number of faces (0, 1, 4 or 16) before a soft backdrop; each sways, nods and approaches in its own grid cell."""

    faces: int
    size_wh: tuple[int, int] = (1280, 720)

    def poses(self, time_s: float) -> np.ndarray:
        """Return (N, 4): center x, center y and side of the face's box in pixels, and tilt in radians."""
        width, height = self.size_wh
        columns, rows = GRIDS.get(self.faces, (1, 1))
        side = SIDES.get(self.faces, 0.0) * height
        sway = min(0.2 * width, 0.5 * (width / columns - 1.6 * side))  # faces stay in their cells
        sway, nod = max(0.0, sway), 0.06 * side
        phase, poses = 2 * math.pi * time_s / PERIOD_S, []
        for i in range(self.faces):
            sign = 1 if i % 2 else -1
            x = width * (i % columns + 0.5) / columns + sign * sway * math.cos(phase)
            y = height * (i // columns + 0.5) / rows + sign * nod * math.cos(3 * phase)
            size = side * (1 + 0.06 * math.cos(2 * phase + math.pi * (i % 3 == 0)))
            poses.append((x, y, size, sign * math.radians(4) * math.cos(phase)))
        return np.array(poses).reshape(-1, 4)

    def boxes(self, time_s: float) -> np.ndarray:
        """Return the true boxes, (N, 4) float xyxy."""
        x, y, side = self.poses(time_s)[:, :3].T
        return np.stack([x - side / 2, y - side / 2, x + side / 2, y + side / 2], axis=1)

    def render(self, time_s: float) -> np.ndarray:
        """Return the scene at `time_s`, (H, W, 3) uint8 BGR."""
        portrait = _portrait()
        tiny = cv2.resize(portrait[:200], (8, 5), interpolation=cv2.INTER_AREA)
        image = (cv2.resize(tiny, self.size_wh, interpolation=cv2.INTER_CUBIC) * 0.45).astype(np.uint8)
        head = portrait[HEAD]
        for i, pose in enumerate(self.poses(time_s)):
            _paste(image, head[:, ::-1] if i % 2 else head, pose, mirrored=bool(i % 2))
        return image


@functools.cache
def _portrait() -> np.ndarray:
    portrait = cv2.imread(str(PORTRAIT))
    if portrait is None:
        raise SourceError(f"the portrait {PORTRAIT} cannot be read; install the program again")
    return portrait


def _paste(image: np.ndarray, head: np.ndarray, pose: np.ndarray, mirrored: bool) -> None:
    """Draw the head at its pose into `image`, with a soft edge."""
    x, y, side, tilt = pose
    rows, columns = head.shape[:2]
    face_x, face_y = FACE_XY[0] - HEAD[1].start, FACE_XY[1] - HEAD[0].start
    if mirrored:
        face_x = columns - face_x
    mask = np.zeros((rows, columns), np.float32)
    cv2.ellipse(mask, (columns // 2, rows // 2 - 6), (columns // 2 - 24, rows // 2 - 24), 0, 0, 360, 1.0, -1)
    soft = cv2.GaussianBlur(mask, (0, 0), 7)
    scale = side / FACE_SIDE
    reach = math.ceil(max(rows, columns) * scale * 0.6)
    left, top = max(0, round(x) - reach), max(0, round(y) - reach)
    part = image[top : round(y) + reach, left : round(x) + reach]
    cos, sin = scale * math.cos(tilt), scale * math.sin(tilt)
    matrix = np.array([[cos, -sin, x - left - cos * face_x + sin * face_y], [sin, cos, y - top - sin * face_x - cos * face_y]])
    size_wh = part.shape[1::-1]
    share = cv2.warpAffine(soft, matrix, size_wh)[..., None]
    drawn = cv2.warpAffine(np.ascontiguousarray(head), matrix, size_wh, borderMode=cv2.BORDER_REPLICATE)
    part[:] = np.rint(part + share * (drawn.astype(np.float32) - part))


class Loop:
    """A scene whose images are rendered once and cached: half a period, played back and forth."""

    def __init__(self, scene: Scene):
        self.scene = scene
        self.images: dict[int, np.ndarray] = {}

    def image(self, time_s: float) -> np.ndarray:
        """Return the scene at `time_s`, rounded to 1/60 s: (H, W, 3) uint8 BGR, read-only."""
        period = round(PERIOD_S * LOOP_FPS)
        position = round(time_s * LOOP_FPS) % period
        position = min(position, period - position)
        if position not in self.images:
            self.images[position] = self.scene.render(position / LOOP_FPS)
        return self.images[position]


class SyntheticCamera:
    """A live source that delivers `frames` images of a loop in real time, in separate buffers like a camera.

    Images are rendered on entering, outside the measurement. A frame's timestamp is the time at which it was due, so delays by
    the program count against it. Images not fetched before the next one are lost, and leave a gap in the indices.
    """

    is_live = True

    def __init__(self, loop: Loop, fps: float, frames: int):
        self.loop, self.fps, self.frames = loop, fps, frames
        self._closed = threading.Event()

    def __enter__(self) -> SyntheticCamera:
        for index in range(self.frames):
            self.loop.image(index / self.fps)
        return self

    def __exit__(self, *exception) -> None:
        self._closed.set()

    def __iter__(self) -> Iterator[Frame]:
        started_s, index = time.monotonic(), 0
        while index < self.frames:
            due_s = started_s + index / self.fps
            if self._closed.wait(max(0.0, due_s - time.monotonic())):
                return
            yield Frame(self.loop.image(index / self.fps).copy(), index, due_s)
            index = max(index + 1, int((time.monotonic() - started_s) * self.fps))


def write_clip(path: Path, loop: Loop, frames: int, fps: int = 30) -> None:
    """Write an H.264 clip of the loop with the recorder's codec settings."""
    with VideoRecorder(path, fps) as recorder:
        for i in range(frames):
            frame = Frame(loop.image(i / fps), i, i / fps)
            recorder.write(frame.image, Analysis(frame, ()))


def count_true(found: np.ndarray, truth: np.ndarray) -> int:
    """Return how many true boxes (M, 4) match a box in `found` (N, 4) with an IoU of at least 0.5; each box matches once."""
    free, hits = list(range(len(found))), 0
    for box in truth:
        best = max(free, key=lambda i: iou(found[i], box), default=None)
        if best is not None and iou(found[best], box) >= 0.5:
            free.remove(best)
            hits += 1
    return hits
