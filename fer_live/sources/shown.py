"""Converts decoded frames to what players show: pixel aspect, rotation, mirroring, color matrix, range and transfer curve."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import cast

import cv2  # before av: otherwise its bundled libxcb makes OpenCV windows hang (PyAV issue 978)

# isort: split
import av
import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import SideData, Type
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter

from fer_live.types import MOST_PIXELS, Decoded

MAX_ASPECT = 10  # pixel aspect ratio; higher values mean a damaged header
HDR = {ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67}  # PQ (HDR10) and HLG
PLANAR = "yuv420p", "yuvj420p"
MATRICES = {Colorspace.BT2020: "bt2020nc", Colorspace.ITU709: "bt709", 10: "bt2020c"}


def _unnamed(cls: type[Type], value: int) -> Type:
    """Create an enum member for a type of side data that PyAV does not know. Otherwise one such item, such as the EXIF of a
    JPEG, makes all side data of a frame unreadable, including the display matrix."""
    member = object.__new__(cls)
    member._name_, member._value_ = f"UNKNOWN_{value}", value  # type: ignore[assignment]  # an int, like those of all members
    return member


Type._missing_ = classmethod(_unnamed)  # type: ignore[method-assign, assignment]


class Shown:
    """Converts the frames of one video track to images. Not thread-safe.

    stream: the track; its container can declare a pixel aspect ratio that overrides the frames'.
    """

    def __init__(self, stream: av.VideoStream):
        self.stream = stream
        self.stored, self.coded = stream.sample_aspect_ratio, stream.codec_context.sample_aspect_ratio
        self.reformatter = VideoReformatter()  # one for all frames: creating one costs a third of a conversion
        self.graph: Graph | None = None
        self.layout: tuple = ()

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        """Return the image (H, W, 3) uint8 BGR, contiguous, with square pixels. Raises av.FFmpegError."""
        if frame.color_trc in HDR or frame.color_primaries == ColorPrimaries.BT2020:
            image = self._toned(frame)
        else:
            # one thread: other threads decode and encode at the same time
            image = _array(self.reformatter.reformat(frame, format="bgr24", src_colorspace=_matrix(frame), threads=1))
        return upright(_square(image, self._aspect()), matrix_of(frame))

    def decoded(self, frame: av.VideoFrame, image: np.ndarray) -> Decoded | None:
        """Return the decoded frame of `image`, or None if it differs in more than its color format."""
        is_toned = frame.color_trc in HDR or frame.color_primaries == ColorPrimaries.BT2020
        is_same = (frame.height, frame.width) == image.shape[:2] and matrix_of(frame) is None and not is_toned
        matrix, is_even = _matrix(frame), frame.width % 2 == frame.height % 2 == 0
        if not (is_same and is_even and frame.format.name in PLANAR and matrix in (1, 5, 6)):
            return None
        is_full = frame.format.name == "yuvj420p" or frame.color_range == ColorRange.JPEG
        return Decoded(image, frame, matrix, is_full)

    def _aspect(self) -> float:
        """Return pixel width / height: the container's value, or else the track's, which can change midway."""
        now = self.stream.codec_context.sample_aspect_ratio
        chosen = now if now and self.stored == self.coded else self.stored
        return float(chosen) if chosen else 1.0

    def _toned(self, frame: av.VideoFrame) -> np.ndarray:
        """Tone-map an HDR or wide-gamut frame to sRGB with swscale. The first call takes about a second."""
        layout = frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_range
        if layout != self.layout:
            self.graph, self.layout = _tone_mapper(*layout), layout
        assert self.graph is not None
        self.graph.push(frame)
        return cast(av.VideoFrame, self.graph.pull()).to_ndarray(format="bgr24")


def _tone_mapper(width: int, height: int, pixels: str, colorspace: int, color_range: int) -> Graph:
    graph = Graph()
    colors = f":colorspace={MATRICES.get(colorspace, 'bt2020nc')}:range={'pc' if color_range == ColorRange.JPEG else 'tv'}"
    is_rgb = "rgb" in pixels or "bgr" in pixels or "gbr" in pixels
    source = graph.add("buffer", f"video_size={width}x{height}:pix_fmt={pixels}:time_base=1/1000" + ("" if is_rgb else colors))
    scale = graph.add("scale", "out_transfer=iec61966-2-1:out_primaries=bt709:intent=relative_colorimetric")
    steps = [source, scale, graph.add("format", "bgr24"), graph.add("buffersink")]
    for before, after in pairwise(steps):
        before.link_to(after)
    graph.configure()
    return graph


def _array(frame: av.VideoFrame) -> np.ndarray:
    """Return the pixels of a BGR frame (H, W, 3); a copy only if its rows are padded."""
    plane = frame.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8)[: frame.height * plane.line_size].reshape(frame.height, plane.line_size)
    return np.ascontiguousarray(rows[:, : 3 * frame.width]).reshape(frame.height, frame.width, 3)


def _matrix(frame: av.VideoFrame) -> int:
    """Return the YUV matrix. Players assume BT.709 for untagged video in HD size, and BT.601 for smaller sizes."""
    if frame.colorspace in (2, 3):  # unspecified, reserved
        return Colorspace.ITU709 if frame.width >= 1280 or frame.height > 576 else Colorspace.ITU601
    return frame.colorspace


def _square(image: np.ndarray, aspect: float) -> np.ndarray:
    """Resample to square pixels by enlarging one side, so that no detail is lost."""
    height, width = image.shape[:2]
    size_wh = (round(width * aspect), height) if aspect >= 1 else (width, round(height / aspect))
    if size_wh == (width, height) or not 1 / MAX_ASPECT <= aspect <= MAX_ASPECT or math.prod(size_wh) > MOST_PIXELS:
        return image
    return cv2.resize(image, size_wh, interpolation=cv2.INTER_LINEAR)


def matrix_of(frame: av.VideoFrame) -> np.ndarray | None:
    """Return the 2x2 part of the frame's display matrix, or None. A stored (x, y) is displayed at (x, y) @ matrix."""
    for data in cast(Iterable[SideData], frame.side_data):  # the stubs wrongly say that it yields keys
        if data.type == Type.DISPLAYMATRIX:
            whole = np.frombuffer(bytes(data), np.int32, 9).reshape(3, 3)
            return whole[:2, :2] / 65536
    return None


def upright(image: np.ndarray, matrix: np.ndarray | None) -> np.ndarray:
    """Rotate and mirror the image by a display matrix (2, 2), ignoring its scale as players do."""
    lengths = np.linalg.norm(matrix, axis=1) if matrix is not None else np.zeros(2)
    if matrix is None or not (lengths > 1e-6).all():
        return np.ascontiguousarray(image)
    matrix = matrix / lengths[:, None]
    if abs(np.linalg.det(matrix)) < 0.5:  # damaged: not a rotation or reflection
        return np.ascontiguousarray(image)
    nearest = np.round(matrix)
    if np.abs(matrix - nearest).max() < 0.01:
        return _quarters(image, nearest)
    height, width = image.shape[:2]
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]]) @ matrix
    low, size = corners.min(0), np.ceil(np.ptp(corners, axis=0)).astype(int)
    if math.prod(size) > MOST_PIXELS:
        return np.ascontiguousarray(image)
    return cv2.warpAffine(image, np.column_stack([matrix.T, -low]), tuple(int(side) for side in size))


def _quarters(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Apply a rotation by a multiple of 90 degrees, with or without mirroring."""
    if matrix[0, 0] == 0:
        image, matrix = image.transpose(1, 0, 2), matrix[::-1]
    return np.ascontiguousarray(image[:: int(matrix[1, 1]), :: int(matrix[0, 0])])
