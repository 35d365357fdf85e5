"""How PyAV opens video, from a file or the network, and which of its tracks is shown."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import cv2  # noqa: F401  before av, whose own copy of libxcb otherwise makes OpenCV's windows hang (PyAV issue 978)

# isort: split
import av
from av.stream import Disposition

from fer_live.redact import redact_address
from fer_live.types import MOST_PIXELS, SourceError

TEXT = ("tty", "bin", "xbin", "adf", "idf")  # which FFmpeg draws as pictures of letters
NO_FILM = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.dependent


def open_video(
    name: str, advice: str = "check that it is a complete video file", **options
) -> tuple[av.container.InputContainer, av.VideoStream]:
    """The container at a path or address and the video track that players show. Raises SourceError, which ends with the
    advice."""
    options["options"] = options.get("options", {}) | {"max_pixels": str(MOST_PIXELS)}  # while it looks what is in it ...
    try:
        container = av.open(name, metadata_errors="replace", **options)
    except (av.FFmpegError, OSError) as error:
        name = redact_address(name)
        advice = "check its permissions" if isinstance(error, PermissionError) else advice
        raise SourceError(f"{name} cannot be opened as video ({reason(error)}); {advice}") from None
    if container.format.name in TEXT:
        container.close()
        raise SourceError(f"{redact_address(name)} is a text, which holds no video; give a file with pictures in it")
    stream = video_track(container)
    if stream is None:
        what = "only a cover picture" if container.streams.video else "give a file with pictures in it"
        container.close()
        raise SourceError(f"{redact_address(name)} holds no video; {what}")
    if stream.codec_context is None:
        container.close()
        raise SourceError(f"{redact_address(name)} has pictures of a kind that nothing here can decode; convert it to H.264")
    stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}  # ... and when it is decoded
    return container, stream


def packets_of(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.Packet]:
    """The stream's packets, in order."""
    with contextlib.suppress(IndexError):  # PyAV's at the end, where other streams have appeared on the way
        yield from container.demux(stream)


def frame_rate(stream: av.VideoStream) -> float:
    """Nominal frames a second; 30 where nothing is said of it."""
    return float(stream.average_rate or stream.guessed_rate or 30.0)


def declared_frames(container: av.container.InputContainer, stream: av.VideoStream) -> int:
    """How many frames the file says it has; 0 if it does not say."""
    if "mp4" in container.format.name:  # its index tells what is shown; the number counts what an edit list cuts away
        return min(stream.frames, len(stream.index_entries))
    return stream.frames


def video_track(container: av.container.InputContainer) -> av.VideoStream | None:
    """The video track that players show: the default one, else the first. None where there are only cover pictures, thumbnails
    or tiles."""
    tracks = film_tracks(container)
    # an animated AVIF has its first picture as a track of its own
    return max(tracks, key=lambda track: (bool(track.disposition & Disposition.default), track.frames != 1), default=None)


def film_tracks(container: av.container.InputContainer) -> list[av.VideoStream]:
    """The tracks that are films: no cover pictures, thumbnails or tiles."""
    return [track for track in container.streams.video if not track.disposition & NO_FILM]


def reason(error: Exception) -> str:
    """What FFmpeg says went wrong, in one line."""
    return str(getattr(error, "strerror", "") or error).splitlines()[0]
