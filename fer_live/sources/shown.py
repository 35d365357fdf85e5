"""Brings a decoded picture to what a player shows: pixel shape, turn and mirror, color matrix and range, transfer curve."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import cast

import cv2  # before av, whose own copy of libxcb otherwise makes OpenCV's windows hang (PyAV issue 978)

# isort: split
import av
import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import SideData, Type
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter

from fer_live.types import MOST_PIXELS

MOST_ASPECT = 10  # of a pixel; beyond it the header is damaged
HDR = {ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67}  # PQ (HDR10) and HLG
MATRICES = {Colorspace.BT2020: "bt2020nc", Colorspace.ITU709: "bt709", 10: "bt2020c"}


def _unnamed(cls: type[Type], value: int) -> Type:
    """A member for side data of a kind that FFmpeg has and PyAV's list lacks. One such item, as the EXIF of a JPEG, otherwise
    makes all side data of its frame unreadable, the display matrix too."""
    member = object.__new__(cls)
    member._name_, member._value_ = f"UNKNOWN_{value}", value  # type: ignore[assignment]  # an int, as of all members
    return member


Type._missing_ = classmethod(_unnamed)  # type: ignore[method-assign, assignment]


class Shown:
    """Maps the frames of one video track to pictures. One thread at a time.

    stream: the track, whose container may know the shape of a pixel better than the frames do.
    """

    def __init__(self, stream: av.VideoStream):
        self.stream = stream
        self.stored, self.coded = stream.sample_aspect_ratio, stream.codec_context.sample_aspect_ratio
        self.reformatter = VideoReformatter()  # one for all frames: to set one up costs a third of a conversion
        self.graph: Graph | None = None
        self.layout: tuple = ()

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        """The picture (H, W, 3) uint8 BGR, contiguous, with square pixels. Raises av.FFmpegError."""
        if frame.color_trc in HDR or frame.color_primaries == ColorPrimaries.BT2020:
            image = self._toned(frame)
        else:
            # one thread: the others decode and encode at the same time
            image = self.reformatter.reformat(frame, format="bgr24", src_colorspace=_matrix(frame), threads=1).to_ndarray()
        return upright(_square(image, self._aspect()), matrix_of(frame))

    def _aspect(self) -> float:
        """Width of a pixel divided by its height. The container's word counts; without one the track's may change on the way."""
        now = self.stream.codec_context.sample_aspect_ratio
        chosen = now if now and self.stored == self.coded else self.stored
        return float(chosen) if chosen else 1.0

    def _toned(self, frame: av.VideoFrame) -> np.ndarray:
        """A picture of high dynamic range or wide gamut in sRGB: swscale maps it. The first one takes a second or so."""
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


def _matrix(frame: av.VideoFrame) -> int:
    """What made YUV of RGB. Players take untagged pictures of HD size for BT.709, smaller ones for BT.601."""
    if frame.colorspace in (2, 3):  # unspecified, reserved
        return Colorspace.ITU709 if frame.width >= 1280 or frame.height > 576 else Colorspace.ITU601
    return frame.colorspace


def _square(image: np.ndarray, aspect: float) -> np.ndarray:
    """The picture with square pixels: one side grows, so that no detail is lost."""
    height, width = image.shape[:2]
    size_wh = (round(width * aspect), height) if aspect >= 1 else (width, round(height / aspect))
    if size_wh == (width, height) or not 1 / MOST_ASPECT <= aspect <= MOST_ASPECT or math.prod(size_wh) > MOST_PIXELS:
        return image
    return cv2.resize(image, size_wh, interpolation=cv2.INTER_LINEAR)


def matrix_of(frame: av.VideoFrame) -> np.ndarray | None:
    """The 2x2 part of the frame's display matrix; None if it has none. A stored (x, y) is shown at (x, y) @ matrix."""
    for data in cast(Iterable[SideData], frame.side_data):  # its stubs say that it yields keys
        if data.type == Type.DISPLAYMATRIX:
            whole = np.frombuffer(bytes(data), np.int32, 9).reshape(3, 3)
            return whole[:2, :2] / 65536
    return None


def upright(image: np.ndarray, matrix: np.ndarray | None) -> np.ndarray:
    """The picture turned and mirrored as a display matrix (2, 2) says; its scale is left out, as players do."""
    lengths = np.linalg.norm(matrix, axis=1) if matrix is not None else np.zeros(2)
    if matrix is None or not (lengths > 1e-6).all():
        return np.ascontiguousarray(image)
    matrix = matrix / lengths[:, None]
    if abs(np.linalg.det(matrix)) < 0.5:  # damaged: it would lay the picture flat
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
    """Turned by a multiple of 90 degrees, mirrored or not."""
    if matrix[0, 0] == 0:
        image, matrix = image.transpose(1, 0, 2), matrix[::-1]
    return np.ascontiguousarray(image[:: int(matrix[1, 1]), :: int(matrix[0, 0])])
