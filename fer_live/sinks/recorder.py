"""Writes annotated videos: H.264 MP4 with the source's timing and sound, playable after a power cut."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import cv2  # before av: otherwise its bundled libxcb makes OpenCV windows hang (PyAV issue 978)

# isort: split
import av
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import ColorPrimaries, ColorTrc

from fer_live.letterbox import letterbox
from fer_live.protocols import Microphone
from fer_live.sinks.disk import RecordingFile
from fer_live.sinks.planes import Planes
from fer_live.sinks.sound import MicrophoneTrack, SoundCopy, sound_beside
from fer_live.types import Analysis, Box, Decoded, Frame, OutputError, Segment

CLOCK = Fraction(1, 90_000)  # seconds; time base of live recordings, as in MPEG
KEY_S = 1.0  # seconds between key frames
FIRST_KEY_S = 0.2  # seconds; the first fragment is short, so that a new file is playable almost at once
# Fragments are self-contained, so everything written before a power cut is playable. Each key frame starts one. Video and
# sound wait for each other at most one second (given in microseconds).
FRAGMENTED = {"movflags": "frag_keyframe+delay_moov+default_base_moof", "flush_packets": "1", "max_interleave_delta": "1000000"}
# Without "zerolatency" the encoder buffers ten or more images, which a crash would lose: two seconds at 5 fps. It makes
# files a third larger at the same crf, with better quality; crf 21 offsets both.
H264 = {"preset": "veryfast", "tune": "zerolatency", "crf": "21", "g": "600", "forced-idr": "1"}
AT_ONCE = 3  # images of a file encoded at once, by one thread each; a crash loses them, but the source is still there


class VideoRecorder:
    """A sink that writes H.264 (yuv420p) MP4. The first image creates the file and sets its size.

    After a crash or power cut, the file is playable except for at most the last two seconds.

    path: the file; it gets a numeric suffix at the first image if the name is taken.
    fps: nominal rate; the actual timestamps come from the frames. time_base: unit of the written timestamps, in seconds.
    live: times count from the first image, and the last image lasts until the recording is closed.
    sound_from: video file whose sound is kept. segments: its timeline, if frame times differ from the file's own; see
    sources.timeline. shown: index of the video track that the frames come from; None: the first one.
    microphone: a Microphone to record.
    comment: goes into the file's metadata.
    drawn_on: returns boxes that contain all differences between an image and its frame's image, or None if unknown. Outside them,
    decoded frames are written as they are.
    """

    def __init__(self, path: Path, fps: float, time_base: Fraction = CLOCK, live: bool = False, sound_from: Path | None = None,
                 microphone: Microphone | None = None, comment: str = "", segments: Sequence[Segment] | None = None,
                 shown: int | None = None, drawn_on: Callable[[np.ndarray], Sequence[Box] | None] | None = None):
        self.path, self.fps, self.time_base, self.live = path, fps, time_base, live
        self.sound_from, self.microphone, self.comment, self.segments = sound_from, microphone, comment, segments
        self.shown, self.drawn_on = shown, drawn_on
        self.file: RecordingFile | None = None
        self.container: av.container.OutputContainer | None = None
        self.sound: SoundCopy | MicrophoneTrack | None = None
        self.lasting: deque[int] = deque()  # durations of the images in the encoder, in units of `time_base`
        self.end_s: float | None = None  # end time of a live recording; None: when it is closed
        self.has_file = False  # whether the file was created; it may be closed by now
        self.is_broken = False  # whether writing failed; finishing the file would fail again

    def __enter__(self) -> VideoRecorder:
        return self

    @property
    def summary(self) -> str:
        """What was written, for a message to the user; "" if nothing."""
        return str(self.path) if self.has_file else ""

    def write(self, image: np.ndarray, analysis: Analysis) -> None:
        """Append (H, W, 3) uint8 BGR at the time of its frame. Raises OutputError if it cannot be written."""
        time_s = analysis.frame.time_s
        try:
            if self.container is None:
                self._open(image, analysis.frame)
            self._encode(image, time_s, round(1 / self.fps / self.time_base), self._converted(image, analysis.frame))
        except (av.FFmpegError, OSError) as error:
            self.is_broken = True
            raise OutputError(f"cannot write to {self.path} ({error.strerror}); the recording up to here is kept") from None

    def _open(self, image: np.ndarray, frame: Frame) -> None:
        (height, width), time_s = image.shape[:2], frame.time_s
        self.planes = Planes(self._decoded(image, frame))
        self.size_hw = height + height % 2, width + width % 2  # yuv420p halves the color planes: sides must be even
        self.start_s, self.last_pts = (time_s if self.live else 0.0), -1
        self.next_key_s = time_s + FIRST_KEY_S
        self.file = RecordingFile(self.path)
        self.path, self.has_file = self.file.path, True
        self.container = av.open(self.file, "w", format="mp4", options=FRAGMENTED, buffer_size=1 << 18)
        if self.comment:
            self.container.metadata["comment"] = self.comment
        self.stream = self.container.add_stream("libx264", rate=Fraction(self.fps).limit_denominator(1001))
        self.stream.height, self.stream.width = self.size_hw
        self.stream.pix_fmt = "yuv420p"
        context = self.stream.codec_context
        context.time_base = self.time_base
        # tagged explicitly: players guess the matrix of untagged video by its size, and colors shift
        context.colorspace, context.color_range = self.planes.matrix, self.planes.range
        context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        set_up_encoder(self.stream, self.live)
        if self.sound_from:
            self.sound = sound_beside(self.sound_from, self.container, self.segments, self.shown)
        elif self.microphone:
            self.sound = MicrophoneTrack(self.microphone, self.container, time_s)

    def _decoded(self, image: np.ndarray, frame: Frame) -> Decoded | None:
        """Return the decoded frame that `image` was drawn on, if it is known and has the image's size."""
        decoded = frame.decoded if self.drawn_on else None
        return decoded if decoded and decoded.image is frame.image and image.shape == frame.image.shape else None

    def _converted(self, image: np.ndarray, frame: Frame) -> av.VideoFrame:
        decoded = self._decoded(image, frame) if image.shape[:2] == self.size_hw else None
        boxes = self.drawn_on(image) if self.drawn_on and decoded else None
        if decoded is None or boxes is None:
            return self.planes.whole(self._fit(image))
        return self.planes.drawn(image, decoded, boxes)

    def _encode(self, image: np.ndarray, time_s: float, lasting: int, frame: av.VideoFrame) -> None:
        """Encode one image, converted to `frame`. lasting: its duration if it is the last one, in units of `time_base`."""
        assert self.container is not None and self.file is not None
        self.last_image, self.last_time_s = image, time_s
        pts = round((time_s - self.start_s) / self.time_base)
        self.last_pts = frame.pts = max(pts, self.last_pts + 1)  # equal timestamps would be rejected
        frame.time_base = self.time_base
        if time_s >= self.next_key_s:  # by time, since a live stream's actual rate differs from the nominal one
            frame.pict_type, self.next_key_s = PictureType.I, time_s + KEY_S
        self.lasting.append(lasting)
        self._mux(self.stream.encode(frame))
        if self.sound:
            self.sound.copy_until(time_s)
        self.file.pass_on()

    def _mux(self, packets: Iterable[av.Packet]) -> None:
        assert self.container is not None
        for packet in packets:
            packet.duration = self.lasting.popleft()  # the encoder only knows the nominal rate
            self.container.mux(packet)

    def _fit(self, image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        if (height, width) == self.size_hw:
            return image
        if (height + height % 2, width + width % 2) == self.size_hw:
            return cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        boxed = np.empty((*self.size_hw, 3), np.uint8)  # the stream changed its size
        letterbox(image, boxed)
        return boxed

    def __exit__(self, *exception) -> None:
        if self.file is None:
            return
        try:
            if self.container is not None:
                if not self.is_broken:
                    self._finish()
                self.container.close()
            self.file.close()
        except (av.FFmpegError, OSError) as error:
            if not self.is_broken:  # else the first error is already being raised
                raise OutputError(f"cannot finish {self.path} ({error.strerror}); the recording up to here is kept") from None
        finally:
            self._release()

    def _release(self) -> None:
        file, self.file, self.container = self.file, None, None
        if self.sound:
            self.sound.close()
        if file is not None:
            with suppress(OSError):  # already reported
                file.close()

    def _finish(self) -> None:
        assert self.container is not None
        if self.live:  # the file lasts as long as the recording took
            end_s = time.monotonic() if self.end_s is None else self.end_s
            self._encode(self.last_image, max(end_s, self.last_time_s), 1, self.planes.whole(self._fit(self.last_image)))
        self._mux(self.stream.encode(None))
        if self.sound:
            self.sound.copy_rest(self.last_time_s + (0 if self.live else 1 / self.fps))


def set_up_encoder(stream: av.VideoStream, live: bool) -> None:
    """Set an H.264 stream's options. Live images leave the encoder at once, so its threads share each one in slices."""
    stream.options = {**H264} if live else {**H264, "threads": str(AT_ONCE)}
    stream.codec_context.thread_type = "SLICE" if live else "FRAME"
