"""Draws text of any script on images; OpenCV's own fonts are ASCII only.

The bundled font covers Latin, Turkish, kana and common kanji; for other characters, a system font is used. Texts known at startup
are checked then (`check`). Later texts, such as a disk's name in an error, are always drawn, with a replacement for characters
that no font has. Each string is rendered once by Pillow and cached, so drawing it again takes a few microseconds per thousand
pixels.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from collections.abc import Iterable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fer_live.screen.palette import Color
from fer_live.types import OutputError

BUNDLED = Path(__file__).parents[1] / "assets" / "mplus1-bold-subset.otf"
CHARACTERS = BUNDLED.with_suffix(".txt")  # all characters of the font; reading them with fontTools takes 0.2 s
# Names tried if fontconfig does not respond: fonts that ship with Windows and macOS.
NAMES = ("YuGothB.ttc", "meiryob.ttc", "msgothic.ttc", "malgunbd.ttf", "msyhbd.ttc", "arialbd.ttf", "Hiragino Sans GB.ttc",
         "Arial Unicode.ttf", "DejaVuSans-Bold.ttf")
REPLACEMENTS = "\ufffd?"  # the first of these in the font replaces missing characters
ASKED_S = 5.0  # seconds; timeout for fontconfig
KEPT = 600  # maximum number of cached strings; most take a few kilobytes, the kiosk's largest half a megabyte


def check(texts: Iterable[str]) -> None:
    """Raise OutputError if no font on this machine has all characters of one of the texts."""
    for text in texts:
        font_file(text)


def width(text: str, px: int) -> int:
    """Return the width of `text` in pixels at `px` pixels per em."""
    file, drawn = _drawable(text)
    return round(_font(file, px).getlength(drawn))


def cap_height(px: int) -> int:
    """Return the height in pixels of a capital letter of the bundled font."""
    return round(0.73 * px)


def fit(text: str, px: int, most: int) -> int:
    """Return the largest size up to `px` at which `text` is at most `most` pixels wide."""
    wide = width(text, px)
    return px if wide <= most else max(6, px * most // wide)


def write(image: np.ndarray, text: str, x: int, y: int, px: int, color: Color) -> None:
    """Write into (H, W, 3) uint8 BGR with the left end of the baseline at (x, y), clipped to the image."""
    if not text.strip():
        return
    left, top, keep, ink = _drawn(text, px, color)
    x, y = x + left, y + top
    height, wide = image.shape[:2]
    x1, y1, x2, y2 = max(0, x), max(0, y), min(wide, x + ink.shape[1]), min(height, y + ink.shape[0])
    if x1 >= x2 or y1 >= y2:
        return
    inner = slice(y1 - y, y2 - y), slice(x1 - x, x2 - x)
    part = image[y1:y2, x1:x2]
    part[:] = cv2.add(cv2.multiply(part, keep[inner], scale=1 / 255), ink[inner])


def wrap(text: str, px: int, most: int) -> list[str]:
    """Wrap to lines of at most `most` pixels. Breaks at spaces, or within a word that is too long, such as Japanese text."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        joined = f"{line} {word}" if line else word
        if width(joined, px) <= most:
            line = joined
            continue
        if line:
            lines.append(line)
        line = word
        while width(line, px) > most and len(line) > 1:
            cut = next(n for n in range(len(line) - 1, 0, -1) if n == 1 or width(line[:n], px) <= most)
            if line[cut] in "、。，．！？」）ー" and cut > 1:  # these must not begin a line
                cut -= 1
            lines.append(line[:cut])
            line = line[cut:]
    return [*lines, line] if line else lines


@lru_cache(KEPT)
def _drawn(text: str, px: int, color: Color) -> tuple[int, int, np.ndarray, np.ndarray]:
    """Return the offset from the baseline's left end, and two images (h, w, 3): the background's weight and the ink to add."""
    file, text = _drawable(text)
    font = _font(file, px)
    left, top, right, bottom = (int(v) for v in font.getbbox(text, anchor="ls"))
    sheet = Image.new("L", (max(1, right - left), max(1, bottom - top)))
    ImageDraw.Draw(sheet).text((-left, -top), text, fill=255, font=font, anchor="ls")
    alpha = np.asarray(sheet)[..., None]
    ink = (alpha * (np.array(color, np.float32) / 255)).round().astype(np.uint8)
    return left, top, np.ascontiguousarray(np.repeat(255 - alpha, 3, axis=2)), ink


@lru_cache(64)
def _font(file: str, px: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(file, px)


@lru_cache(KEPT)
def _drawable(text: str) -> tuple[str, str]:
    """Return the font that lacks the fewest characters, and the text as one line with missing characters replaced."""
    text = "".join(" " if c.isspace() else "\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)
    try:
        return font_file(text), text
    except OutputError:
        files = (str(BUNDLED), *_others("".join(sorted(set(text) - {" "}))))
    file = min(files, key=lambda file: len(_absent(file, text)))
    spare = next((c for c in REPLACEMENTS if not _absent(file, c)), "")
    absent = _absent(file, text)
    return file, "".join(spare if c in absent else c for c in text)


@lru_cache(KEPT)
def font_file(text: str) -> str:
    """Return the font for `text`. Raises OutputError if there is none."""
    absent = _absent(str(BUNDLED), text)
    if not absent:
        return str(BUNDLED)
    for file in _others("".join(sorted(set(text) - {" "}))):
        if not _absent(file, text):
            return file
    raise OutputError(f"no font here has {' '.join(sorted(absent)[:8])}; install one that does "
                      "(Debian, Ubuntu: apt install fonts-noto-cjk fonts-noto-core)")


@lru_cache(KEPT)
def _others(characters: str) -> tuple[str, ...]:
    """Return candidate fonts for these characters, best first."""
    found = []
    spec = find_spec("matplotlib")  # not imported, only searched for its DejaVu Sans, which has Greek, Cyrillic and more
    if spec and spec.origin:
        found.append(str(Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans-Bold.ttf"))
    if shutil.which("fc-list"):
        codes = " ".join(f"{ord(c):x}" for c in characters)
        command = ["fc-list", "--format=%{file}\n", f":charset={codes}"]
        try:
            listed = os.fsdecode(subprocess.run(command, capture_output=True, check=False, timeout=ASKED_S).stdout)
        except (OSError, subprocess.TimeoutExpired):  # fall back to NAMES
            listed = ""
        files = [file for file in listed.splitlines() if file.endswith((".ttf", ".otf", ".ttc"))]
        found += sorted(files, key=lambda file: ("Sans" not in file and "othic" not in file, "Bold" not in file, file))
    return tuple(file for file in (*found, *NAMES))


@lru_cache(KEPT)
def _absent(file: str, text: str) -> frozenset[str]:
    """Return the characters of `text` that the font lacks; all of them if it cannot be read."""
    return frozenset(c for c in text if not c.isspace()) - _characters(file)


@lru_cache(8)
def _characters(file: str) -> frozenset[str]:
    """Return all characters of a font; none if it cannot be read. file: a path, or one of NAMES."""
    if file == str(BUNDLED):
        return frozenset(CHARACTERS.read_text(encoding="utf-8").strip())
    from fontTools.ttLib import TTFont  # imported only when needed: see CHARACTERS

    logging.getLogger("fontTools").addHandler(logging.NullHandler())  # keep warnings about odd tables off stderr
    try:
        path = _font(file, 24).path  # must be a font that Pillow finds and draws; of a collection, the first font
        with TTFont(path, fontNumber=0, lazy=True) as font:
            return frozenset(chr(code) for code, glyph in (font.getBestCmap() or {}).items() if glyph != ".notdef")
    except Exception:  # a damaged font can raise anything
        return frozenset()
