"""The sound beside recorded pictures: a video file's own, copied, or what a microphone hears."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2  # noqa: F401, before av; see sinks/recorder.py

# isort: split
import av
import numpy as np

RATE = 48_000  # samples a second of what a microphone hears
PATIENCE_S = 1.0  # how long pictures wait for its sound; then there is silence
MP4_SOUND = {"aac", "mp3", "ac3", "eac3", "opus", "flac", "alac"}  # codecs that MP4 carries and players know


class SoundCopy:
    """Copies the first sound track of a file into an open MP4, packet by packet; other codecs are encoded as AAC."""

    def __init__(self, path: Path, output: av.container.OutputContainer):
        self.input = av.open(str(path), metadata_errors="replace")
        self.output = output
        self.ahead: av.Packet | None = None
        video = self.input.streams.video[0]
        self.video_s = float(video.duration * video.time_base) if video.duration else 0.0
        tracks = self.input.streams.audio
        self.packets: Iterator[av.Packet] = iter(())
        if tracks and tracks[0].codec_context.name in MP4_SOUND:
            self.packets = self._copied(tracks[0])
        elif tracks:
            self.packets = self._encoded(tracks[0])

    def _copied(self, track) -> Iterator[av.Packet]:
        stream = self.output.add_stream_from_template(track)
        return self._repacked(track, stream)

    def _repacked(self, track, stream) -> Iterator[av.Packet]:
        for packet in self.input.demux(track):
            if packet.dts is not None:  # the last, empty packet only flushes
                packet.stream = stream
                yield packet

    def _encoded(self, track) -> Iterator[av.Packet]:
        context = track.codec_context
        layout = "mono" if context.layout.nb_channels == 1 else "stereo"  # raw sound often names no layout
        stream = self.output.add_stream("aac", rate=context.sample_rate, layout=layout)
        return self._transcoded(track, stream, av.AudioResampler("fltp", layout, context.sample_rate))

    def _transcoded(self, track, stream, resampler: av.AudioResampler) -> Iterator[av.Packet]:
        for frame in self.input.decode(track):
            for converted in resampler.resample(frame):  # the encoder takes floating-point planes only
                yield from stream.encode(converted)
        yield from stream.encode(None)

    def copy_until(self, time_s: float) -> None:
        """Mux the packets that begin up to `time_s`."""
        while True:
            packet = self.ahead or next(self.packets, None)
            self.ahead = packet
            if packet is None or (packet.pts or 0) * packet.time_base > time_s:
                return
            self.ahead = None
            self.output.mux(packet)

    def copy_rest(self, last_s: float) -> None:
        """Mux what is left: all of it if the pictures went to their end, else only what sounds beside them."""
        self.copy_until(float("inf") if last_s + 1.0 >= self.video_s else last_s)

    def close(self) -> None:
        self.input.close()


class MicrophoneTrack:
    """Encodes what a Microphone hears as AAC into an open MP4 that begins at `start_s` of time.monotonic()."""

    def __init__(self, microphone: Any, output: av.container.OutputContainer, start_s: float):
        self.microphone, self.output = microphone, output
        self.first = self.next = microphone.number(start_s)
        self.stream = output.add_stream("aac", rate=RATE, layout=microphone.layout)
        self.stream.bit_rate = 128_000

    def copy_until(self, time_s: float) -> None:
        """Write what has been heard up to `time_s`; silence for what should have been heard a second ago and was not."""
        wanted = self.microphone.number(time_s)
        known = self.microphone.until(wanted, timeout_s=0.0)
        stop = min(wanted, max(known, wanted - round(PATIENCE_S * RATE)))
        size = self.stream.codec_context.frame_size or 1024
        while stop - self.next >= size:
            self._encode(size)

    def copy_rest(self, last_s: float) -> None:
        """Write everything up to `last_s`, waiting a moment for what is still on its way."""
        wanted = self.microphone.number(last_s)
        self.microphone.until(wanted, timeout_s=0.3)
        size = self.stream.codec_context.frame_size or 1024
        while self.next < wanted:
            self._encode(min(size, wanted - self.next))
        self._mux(None)

    def _encode(self, samples: int) -> None:
        block = self.microphone.read(self.next, self.next + samples)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format="fltp", layout=self.microphone.layout)
        frame.sample_rate, frame.pts, frame.time_base = RATE, self.next - self.first, Fraction(1, RATE)
        self.next += samples
        self._mux(frame)

    def _mux(self, frame: av.AudioFrame | None) -> None:
        for packet in self.stream.encode(frame):
            self.output.mux(packet)

    def close(self) -> None:
        """The microphone goes on listening."""
