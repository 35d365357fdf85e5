"""The sound beside recorded pictures: a video file's own, copied."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2  # noqa: F401, before av; see fer_live/recorder.py

# isort: split
import av

MP4_SOUND = {"aac", "mp3", "ac3", "eac3", "opus", "flac", "alac"}  # codecs that MP4 carries and players know


class SoundCopy:
    """Copies the first sound track of a file into an open MP4, packet by packet; other codecs are encoded as AAC."""

    def __init__(self, path: Path, output: av.container.OutputContainer):
        self.input = av.open(str(path))
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
