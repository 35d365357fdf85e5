"""Tells images from videos by their content."""

from __future__ import annotations

from pathlib import Path

from fer_live.model.images import PILLOW

TGA = {".tga", ".icb", ".vda", ".vst"}
HEAD = 1 << 16  # bytes
LONGEST_JPEG = 64 << 20  # bytes searched for the end of the first JPEG of raw motion JPEG
IMAGE_BRANDS = (b"avif", b"heic", b"heix", b"heim", b"heis", b"mif1", b"miaf", b"jxl ")
VIDEO_BRANDS = (b"avis", b"msf1", b"hevc", b"hevx")
JXL = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")


def kind_of(path: Path) -> str:
    """Return "image", "video" (including animations), or "" if neither. Raises OSError if the file cannot be read."""
    with open(path, "rb") as file:
        head = file.read(HEAD)
    if not head:
        return ""
    if head[4:8] == b"ftyp":
        if head[8:12] in VIDEO_BRANDS:
            return "video"
        return "image" if head[8:12] in IMAGE_BRANDS else "video"
    if _is_video(head):
        return "video"
    if head.startswith(JXL):
        return "image"
    if head.startswith(b"\xff\xd8\xff"):
        return "video" if _is_row_of_jpegs(path, head) else "image"
    return _asked_of_pillow(path)


def _is_video(head: bytes) -> bool:
    return (
        head.startswith((b"\x1aE\xdf\xa3", b"FLV\x01", b"OggS", b"\0\0\x01\xba", b"\0\0\x01\xb3", b".RMF",
                         b"0&\xb2u\x8ef\xcf\x11"))
        or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")
        or (head[:1] == b"G" and head[188:189] == b"G" and head[376:377] == b"G")  # MPEG-TS
        or (head[4:5] == b"G" and head[196:197] == b"G" and head[388:389] == b"G")  # MPEG-TS with time codes (camcorders)
        or head[4:8] in (b"moov", b"mdat", b"wide", b"free")
    )


def _is_row_of_jpegs(path: Path, head: bytes) -> bool:
    """Whether a second JPEG follows the first: motion JPEG without a container. Cameras also append images to a photo, but
    declare them in its header, as MPF."""
    if b"MPF\0" in head:
        return False
    with open(path, "rb") as file:
        content = file.read(LONGEST_JPEG)
    scan = content.find(b"\xff\xda")
    end = content.find(b"\xff\xd9", scan)
    return 0 <= scan < end and content[end + 2 : end + 8].lstrip(b"\0\r\n").startswith(b"\xff\xd8\xff")


def _asked_of_pillow(path: Path) -> str:
    from PIL import Image

    formats = [name for name in PILLOW if name != "TGA" or path.suffix.lower() in TGA]
    try:
        with Image.open(path, formats=formats) as opened:
            is_video = opened.format in ("GIF", "PNG", "WEBP") and getattr(opened, "is_animated", False)
    except OSError as error:
        if error.errno is not None:  # without errno: not an image
            raise
        return ""
    except Exception as error:  # decoders raise anything for damaged files
        return "image" if isinstance(error, Image.DecompressionBombError) else ""
    return "video" if is_video else "image"


def is_webp(path: Path) -> bool:
    """Whether it is a WebP file, still or animated. Raises OSError if the file cannot be read."""
    with open(path, "rb") as file:
        head = file.read(12)
    return head[:4] == b"RIFF" and head[8:] == b"WEBP"


def pages_of(path: Path) -> int:
    """Return the number of pages of a TIFF file; 1 for other formats and unreadable files."""
    from PIL import Image

    try:
        with Image.open(path, formats=["TIFF"]) as opened:
            return int(getattr(opened, "n_frames", 1))
    except Exception:  # decoders raise anything for damaged files
        return 1
