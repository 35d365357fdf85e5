"""Network cameras and streams, through PyAV."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterable, Iterator

import cv2  # noqa: F401  before av: otherwise its bundled libxcb makes OpenCV windows hang (PyAV issue 978)

# isort: split
import av

from fer_live.handoff import LatestItem
from fer_live.redact import redact_address
from fer_live.sources.container import declared_frames, frame_rate, open_video, packets_of, reason
from fer_live.sources.names import not_open
from fer_live.sources.shown import Shown
from fer_live.sources.timeline import timeline_of
from fer_live.types import Frame, SourceError

logger = logging.getLogger("fer_live")

ENDLESS = {"hls", "dash", "mpjpeg", "mjpeg"}  # formats that can be endless even if a size is known
LONGEST_WAIT_S = 5.0  # seconds between two frames of a video file; longer gaps are damaged timestamps
SHORTEST_S = 0.5  # seconds a video file is shown at least, since the tracker confirms a face after three detections
POLL_S = 0.5  # seconds between snapshot requests
SNAPSHOTS = {"image2", "image2pipe"}  # formats of single images, besides jpeg_pipe and similar
# Finds JPEGs regardless of the data between them. The short analysis avoids a two-second delay at the start.
BARE_JPEGS = {"format": "mjpeg", "options": {"analyzeduration": "1"}}
MAX_PACKETS = 600  # packets to queue without a key frame; 20 s at 30 fps


class Stream:
    """A network camera, or a video file served over HTTP (`ends` is True), which is paced by its timestamps.

    A URL that returns a single image is polled twice per second. Latency of cameras does not grow: received packets are
    decoded at once, and a decoder that falls behind skips to the newest key frame.
    open_s, read_s: timeouts in seconds for connecting and for reading.
    """

    is_live = True

    def __init__(self, address: str, open_s: float = 10.0, read_s: float = 5.0):
        self.address, self.open_s, self.read_s, self.fps, self.ends = address, open_s, read_s, 30.0, False
        self.name = redact_address(address)
        self.container: av.container.InputContainer | None = None
        self.track: av.VideoStream | None = None
        self.is_snapshot = False
        self._packets = self._declared = 0  # frames received, and frames declared by the file (0: unknown)
        self._closed = threading.Event()

    def __enter__(self) -> Stream:
        self._open()
        assert self.container is not None and self.track is not None
        kind = self.container.format.name
        is_avif = self.container.metadata.get("major_brand") == "avif"
        self.is_snapshot = kind in SNAPSHOTS or kind.endswith("_pipe") or is_avif
        self.fps = 1 / POLL_S if self.is_snapshot else frame_rate(self.track)
        # without range requests, some formats have no known duration, but the size in bytes is known
        is_whole = bool(self.container.duration) or (self.container.size > 0 and kind not in ENDLESS)
        self.ends = is_whole and not self.is_snapshot
        self._declared = declared_frames(self.container, self.track)
        return self

    def _open(self) -> None:
        options = {"rtsp_transport": "tcp"} if self.address.startswith("rtsp") else {}
        limits = {"timeout": (self.open_s, self.read_s)}
        advice = "check the URL and that the camera is streaming"
        self.container, self.track = open_video(self.address, advice, options=options, **limits)
        if self.container.format.name == "mpjpeg" and not self.track.codec_context.width:
            self._open_parts(limits)
        self.track.thread_type = "SLICE"  # frame threading would add latency
        self.shown = Shown(self.track)

    def _open_parts(self, limits: dict) -> None:
        """Reopen a multipart stream as bare JPEGs: FFmpeg otherwise accepts only parts of type image/jpeg."""
        assert self.container is not None
        self.container.close()
        self.container, self.track = open_video(self.address, "check that the camera is still streaming", **BARE_JPEGS, **limits)
        if not self.track.codec_context.width:
            self.container.close()
            raise SourceError(f"{self.name} sends a multipart stream without JPEG images; set the camera to MJPEG")

    def __exit__(self, *exception) -> None:
        self._closed.set()
        if self.container is not None:
            self.container.close()

    def __iter__(self) -> Iterator[Frame]:
        if self.container is None:
            raise not_open(self.name)
        in_bursts = self.container.format.name == "hls"  # it arrives in bursts of several seconds
        frames = self._polled() if self.is_snapshot else self._paced() if self.ends or in_bursts else self._newest()
        count = 0
        try:
            for frame, segment in frames:
                yield Frame(self.shown(frame), count, time.monotonic(), segment=segment)
                count += 1
        except (av.FFmpegError, OSError) as error:
            if not self._closed.is_set():
                raise SourceError(f"the stream {self.name} was interrupted ({reason(error)}); "
                                   "check that the camera is still streaming") from None
        if self._closed.is_set():
            return
        if not count:
            raise SourceError(f"{self.name} ended without a decodable image; check that the file is complete")
        if self.ends and self._packets < 0.98 * self._declared - 2:  # indexes can be off by a frame or two
            raise SourceError(f"{self.name} ends after {self._packets} of {self._declared} frames; check that "
                              "the file on the server is complete")

    def _polled(self) -> Iterator[tuple[av.VideoFrame, int]]:
        """Poll a URL that returns single images. All frames are in segment 0."""
        while not self._closed.is_set():
            assert self.container is not None and self.track is not None
            begun_s = time.monotonic()
            yield from ((frame, 0) for frame in self.container.decode(self.track))
            self.container.close()
            if self._closed.wait(max(0.0, begun_s + POLL_S - time.monotonic())):
                return
            try:
                self._open()
            except SourceError as error:
                raise SourceError(f"the snapshot URL {self.name} no longer responds: {error}") from None

    def _paced(self) -> Iterator[tuple[av.VideoFrame, int]]:
        """Yield every frame at its time, with the number of its segment."""
        assert self.container is not None
        timeline, first_at_s, begun_s = timeline_of(self.container, self.fps), None, time.monotonic()
        last: tuple[av.VideoFrame, int] | None = None
        for frame in self._decoded():
            time_s, segment = timeline.place(frame)
            now_s = time.monotonic()
            if first_at_s is None or first_at_s + time_s > now_s + LONGEST_WAIT_S:  # a jump in time: a damaged timestamp
                first_at_s = now_s - time_s
            if self._closed.wait(max(0.0, first_at_s + time_s - now_s)):
                return
            last = frame, segment
            yield last
        while last and self.ends and time.monotonic() < begun_s + SHORTEST_S and not self._closed.wait(1 / 30):
            yield last  # hold the last frame, as players do

    def _decoded(self) -> Iterator[av.VideoFrame]:
        """Yield all decodable frames, continuing after damaged parts, which are logged once."""
        assert self.container is not None and self.track is not None
        is_damaged = False
        for packet in packets_of(self.container, self.track):
            self._packets += bool(packet.size)
            try:
                yield from packet.decode()
            except av.FFmpegError as error:
                if not is_damaged:
                    logger.warning(f"{self.name} is damaged at frame {self._packets} ({reason(error)}); skipping such frames")
                is_damaged = True

    def _newest(self) -> Iterator[tuple[av.VideoFrame, int]]:
        """Yield the newest received frame, repeatedly. All frames are in segment 0."""
        assert self.container is not None and self.track is not None
        with Arrived(packets_of(self.container, self.track)) as arrived:
            for packets in arrived:
                frames: list[av.VideoFrame] = []
                for packet in packets:
                    with contextlib.suppress(av.FFmpegError):  # damaged in transit; the next one may be intact
                        frames = packet.decode() or frames
                yield from ((frame, 0) for frame in frames[-1:])  # earlier ones are decoded only as references


class Arrived:
    """Reads packets in its own thread, so that no upstream buffer fills, and yields all queued packets in order.

    A key frame discards the packets queued before it. Leaving the context waits for the thread, at most for the read
    timeout, since the container must not be closed while it is being read.
    """

    def __init__(self, packets: Iterable[av.Packet]):
        self.skipped = 0
        self._needs_key = False
        self._waiting = LatestItem(([packet] for packet in packets), merge=self._merge, join_s=None, name="packets")

    def __enter__(self) -> Arrived:
        self._waiting.start()
        return self

    def __exit__(self, *exception) -> None:
        self._waiting.__exit__(*exception)

    def _merge(self, waiting: list[av.Packet] | None, new: list[av.Packet]) -> list[av.Packet] | None:
        packets = waiting or []
        if new[0].is_keyframe or len(packets) >= MAX_PACKETS:
            self.skipped += len(packets)
            packets = []
            self._needs_key = not new[0].is_keyframe
        return (packets if self._needs_key else packets + new) or None

    def __iter__(self) -> Iterator[list[av.Packet]]:
        return iter(self._waiting)
