"""The notice shown to visitors, as article 50(3) of the EU AI Act requires of deployers.

Regulation (EU) 2024/1689; applicable from 2 August 2026.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from fer_live.kiosk.canvas import LEADING, fitted
from fer_live.screen import text
from fer_live.screen.qr_code import QUIET, qr_code
from fer_live.types import Box, OutputError

INK, PAPER = (235, 235, 235), (24, 24, 24)


@dataclass(frozen=True, slots=True)
class Facts:
    """Properties of this run that the notice states.

    stored: any of "values" (results), "consent" (video after a press of the button), "video" (continuous), and "sound" with
    either kind of video; empty if nothing is stored. sent: whether the image and results leave the device. shared: "image"
    (with results) or "results" if handed to other programs on this device or another; otherwise empty.
    """

    stored: tuple[str, ...] = ()
    masked: bool = False
    operator: str = ""  # the responsible person or organization
    policy_url: str = ""
    sent: bool = False
    shared: str = ""


class Notice:
    """The notice in one or more languages. words: for each language, the texts of `words.read_words`.

    Raises OutputError if the URL is too long for a QR code or a text cannot be drawn.
    """

    def __init__(self, words: list[dict[str, str]], facts: Facts):
        self.sentences = [say(w, facts) for w in words]
        try:
            self.code = qr_code(facts.policy_url) if facts.policy_url else None
        except ValueError as error:
            raise OutputError(f"--policy-url: {error}") from None
        text.check(self.sentences)

    def code_side(self, least: int) -> int:
        """Return the side in pixels of the QR code with its quiet zone, for a code of at least `least` pixels; 0 without a code.

        The code can be larger, since each module takes a whole number of pixels, at least two.
        """
        if self.code is None:
            return 0
        modules = self.code.shape[0]
        return modules * max(2, math.ceil(least / (modules - 2 * QUIET)))

    def draw(self, image: np.ndarray, box: Box, number: int, px: int, side: int) -> Box | None:
        """Write the notice in language `number` into the box xyxy on (H, W, 3) uint8 BGR. Returns the box of the QR code.

        px: maximum font size. side: side of the QR code in pixels; it is beside the text and can extend above the box.
        """
        x1, y1, x2, y2 = box
        image[y1:y2, x1:x2] = PAPER
        gap = max(6, min((y2 - y1) // 12, (x2 - x1) // 48))
        place = None
        if self.code is not None:
            corner = max(0, min((y2 - y1 - side) // 2, 2 * gap))
            place = x2 - corner - side, y2 - corner - side, x2 - corner, y2 - corner
            image[place[1] : place[3], place[0] : place[2]] = cv2.resize(
                self.code, (side, side), interpolation=cv2.INTER_NEAREST)[..., None]
            x2 = place[0]
        self._write(image, (x1 + 2 * gap, y1 + gap, x2 - 2 * gap, y2 - gap), self.sentences[number], px)
        return place

    def _write(self, image: np.ndarray, box: Box, sentence: str, px: int) -> None:
        x1, y1, x2, y2 = box
        px, lines = fitted(sentence, x2 - x1, y2 - y1, px)
        top = (y1 + y2 - len(lines) * LEADING * px) / 2
        for i, line in enumerate(lines):
            text.write(image, line, x1, round(top + (i + 0.82) * LEADING * px), px, INK)


def say(words: dict[str, str], facts: Facts) -> str:
    """Return the notice in the language of `words`."""
    shared = {"": "notice", "image": "notice_shared", "results": "notice_shared_results"}[facts.shared]
    parts = [words["notice_sent" if facts.sent else shared]]
    if facts.masked:
        parts.append(words["masked"])
    video = next((what for what in ("consent", "video") if what in facts.stored), "")
    if "values" in facts.stored:
        parts.append(words["stored_values_too" if video else "stored_values"])  # the latter says that images are not stored
    if video:
        parts.append(words[f"stored_{video}" + ("_sound" if "sound" in facts.stored else "")])
    if not facts.stored:
        parts.append(words["stored_nothing_here" if facts.sent or facts.shared else "stored_nothing"])
    if facts.operator:
        parts.append(words["operator"].replace("{operator}", facts.operator))
    if facts.policy_url:
        parts.append(words["policy"])
    return " ".join(parts)
