"""Extracts images of faces from a video as small JPEGs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2  # before av: otherwise its bundled libxcb makes OpenCV windows hang (PyAV issue 978)

# isort: split
import av
import numpy as np

from fer_live.sources.container import frame_rate, open_video, packets_of
from fer_live.sources.shown import Shown
from fer_live.sources.timeline import timeline_of
from fer_live.types import SourceError

SIDE = 128  # pixels
MARGIN = 0.2  # margin around the box, relative to its side
NEAR_S = 4.0  # seconds; up to this distance, decoding is cheaper than seeking to the previous key frame
Moment = tuple[float, tuple[float, float, float, float]]  # time_s since the video's first frame, box xyxy in its pixels


def thumbnails(video: Path, moments: Sequence[Moment]) -> list[bytes | None]:
    """Return a JPEG of SIDE by SIDE pixels for each moment; None if the video lacks that time or position, or is damaged there.

    Raises SourceError if the file cannot be opened as video.
    """
    jpegs: list[bytes | None] = [None] * len(moments)
    order = sorted(range(len(moments)), key=lambda i: moments[i][0])
    try:
        container, stream = open_video(str(video.absolute()), "give the video that the log was made from")
        with container:
            stream.thread_type = "AUTO"
            images = _images(container, stream, [moments[i][0] for i in order])
            for i, image in zip(order, images, strict=False):  # fewer images than moments: the video is shorter
                jpegs[i] = _cut(image, moments[i][1])
    except (av.FFmpegError, OSError) as error:
        if not any(jpegs):
            reason = getattr(error, "strerror", "") or error
            raise SourceError(f"{video} cannot be opened as video ({reason}); check that it is a complete video file") from None
    return jpegs


def _images(container: av.container.InputContainer, stream, times_s: list[float]) -> Iterator[np.ndarray]:
    """Yield the images (H, W, 3) BGR, as a player shows them, at ascending times since the first frame, until the video ends."""
    shown, timeline = Shown(stream), timeline_of(container, frame_rate(stream))
    half_s, has_jumped_ahead = float(timeline.frame_s) / 2, False
    frames = _frames(container, stream)
    frame = next(frames, None)
    if frame is None:
        return
    last_s, _ = timeline.place(frame)
    first_s = timeline.segments[0].source_s
    for time_s in times_s:
        if time_s > last_s + NEAR_S and not timeline.may_jump:  # seeking is unreliable if timestamps jump
            container.seek(round((time_s + float(first_s)) / stream.time_base), stream=stream)
            frames, has_jumped_ahead, last_s = _frames(container, stream), True, float("-inf")
        while last_s < time_s - half_s:
            frame = next(frames, None)
            if frame is None:
                return
            if not has_jumped_ahead:
                last_s, _ = timeline.place(frame)
            elif frame.time is not None:
                last_s = frame.time - float(first_s)
        yield shown(frame)


def _frames(container: av.container.InputContainer, stream) -> Iterator[av.VideoFrame]:
    return (frame for packet in packets_of(container, stream) for frame in packet.decode())


def _cut(image: np.ndarray, box: tuple[float, float, float, float]) -> bytes | None:
    """Crop the square around a box with MARGIN as JPEG; None if less than half of the box is inside the image."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = box
    inside = max(0.0, min(x2, width) - max(x1, 0)) * max(0.0, min(y2, height) - max(y1, 0))
    if inside < 0.5 * (x2 - x1) * (y2 - y1):
        return None
    side = max(x2 - x1, y2 - y1) * (1 + 2 * MARGIN)
    left, top = round((x1 + x2 - side) / 2), round((y1 + y2 - side) / 2)
    crop = image[max(0, top) : top + round(side), max(0, left) : left + round(side)]
    if not crop.size:
        return None
    scale = SIDE / max(crop.shape[:2])
    size_wh = max(1, round(crop.shape[1] * scale)), max(1, round(crop.shape[0] * scale))
    small = cv2.resize(crop, size_wh, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
