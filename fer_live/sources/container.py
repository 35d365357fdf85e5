"""Opens video files and network streams with PyAV, and chooses the video track."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import cv2  # noqa: F401  before av: otherwise its bundled libxcb makes OpenCV windows hang (PyAV issue 978)

# isort: split
import av
from av.stream import Disposition

from fer_live.redact import redact_address
from fer_live.types import MOST_PIXELS, SourceError

TEXT = ("tty", "bin", "xbin", "adf", "idf")  # text formats, which FFmpeg would render as images
NOT_PLAYABLE = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.dependent


def open_video(
    name: str, advice: str = "check that it is a complete video file", **options
) -> tuple[av.container.InputContainer, av.VideoStream]:
    """Open a path or URL; returns the container and the video track that players show.

    advice: end of the error message. Raises SourceError.
    """
    options["options"] = options.get("options", {}) | {"max_pixels": str(MOST_PIXELS)}  # limit while probing ...
    try:
        container = av.open(name, metadata_errors="replace", **options)
    except (av.FFmpegError, OSError) as error:
        name = redact_address(name)
        advice = "check its permissions" if isinstance(error, PermissionError) else advice
        raise SourceError(f"{name} cannot be opened as video ({reason(error)}); {advice}") from None
    if container.format.name in TEXT:
        container.close()
        raise SourceError(f"{redact_address(name)} is a text file; give a video file")
    stream = video_track(container)
    if stream is None:
        what = "only a cover image" if container.streams.video else "give a file with a video track"
        container.close()
        raise SourceError(f"{redact_address(name)} has no video; {what}")
    if stream.codec_context is None:
        container.close()
        raise SourceError(f"{redact_address(name)} uses a video codec that cannot be decoded here; convert it to H.264")
    stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}  # ... and while decoding
    return container, stream


def packets_of(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.Packet]:
    """Yield the stream's packets in order."""
    with contextlib.suppress(IndexError):  # raised by PyAV at the end if streams appeared midway
        yield from container.demux(stream)


def frame_rate(stream: av.VideoStream) -> float:
    """Return the nominal frames per second; 30 if unknown."""
    return float(stream.average_rate or stream.guessed_rate or 30.0)


def declared_frames(container: av.container.InputContainer, stream: av.VideoStream) -> int:
    """Return the number of frames declared in the file; 0 if unknown."""
    if "mp4" in container.format.name:  # the count includes frames hidden by edit lists; the index does not
        return min(stream.frames, len(stream.index_entries))
    return stream.frames


def video_track(container: av.container.InputContainer) -> av.VideoStream | None:
    """Return the video track that players show: the default one, else the first. None if there are only cover images,
    thumbnails or tiles."""
    tracks = playable_tracks(container)
    # an animated AVIF stores its first image as a separate track
    return max(tracks, key=lambda track: (bool(track.disposition & Disposition.default), track.frames != 1), default=None)


def playable_tracks(container: av.container.InputContainer) -> list[av.VideoStream]:
    """Return the video tracks other than cover images, thumbnails and tiles."""
    return [track for track in container.streams.video if not track.disposition & NOT_PLAYABLE]


def reason(error: Exception) -> str:
    """Return FFmpeg's error text as one line."""
    return str(getattr(error, "strerror", "") or error).splitlines()[0]
