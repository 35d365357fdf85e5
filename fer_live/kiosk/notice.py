"""What the people in front of a kiosk are told, as the EU AI Act's article 50(3) asks of who deploys such a system.

Regulation (EU) 2024/1689; the duty applies from 2 August 2026.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from fer_live.screen import text
from fer_live.screen.qr_code import qr_code
from fer_live.types import OutputError

INK, PAPER = (30, 30, 30), (255, 255, 255)
LEADING = 1.3  # height of a line in sizes of its letters


@dataclass(frozen=True, slots=True)
class Facts:
    """What is true of this run.

    stored: any of "values" (the results), "consent" (video after a press of the button), "video" (all the time), and "sound"
    beside either; empty if nothing is stored. sent: whether picture and results leave the device. shared: "picture" (with the
    results) or "results", handed to other programs, on this device or another; empty if nothing is.
    """

    stored: tuple[str, ...] = ()
    masked: bool = False
    operator: str = ""  # who is responsible
    policy_url: str = ""
    sent: bool = False
    shared: str = ""


class Notice:
    """The notice in one or more languages, which take turns. words: for each language, the texts of `words.read_words`.

    Raises OutputError where the address is too long for a code or a text cannot be written.
    """

    def __init__(self, words: list[dict[str, str]], facts: Facts, turn_s: float = 8.0):
        self.sentences = [say(w, facts) for w in words]
        self.turn_s = turn_s
        try:
            self.code = qr_code(facts.policy_url) if facts.policy_url else None
        except ValueError as error:
            raise OutputError(f"--policy-url: {error}") from None
        text.check(self.sentences)

    def turn(self, time_s: float) -> int:
        """Which of the languages has its turn."""
        return int(time_s / self.turn_s) % len(self.sentences)

    def draw(self, image: np.ndarray, box: tuple[int, int, int, int], turn: int, px: int) -> None:
        """Write language number `turn` into the box xyxy on (H, W, 3) uint8 BGR, in letters of `px` or as large as fit."""
        x1, y1, x2, y2 = box
        image[y1:y2, x1:x2] = PAPER
        gap = max(4, (y2 - y1) // 14)
        if self.code is not None:
            side = min(y2 - y1 - gap, (x2 - x1) // 3)
            modules = self.code.shape[0]
            whole = max(1, side // modules) * modules  # modules of whole pixels read best
            top = (y1 + y2 - whole) // 2
            image[top : top + whole, x2 - gap // 2 - whole : x2 - gap // 2] = cv2.resize(
                self.code, (whole, whole), interpolation=cv2.INTER_NEAREST)[..., None]
            x2 -= whole + gap // 2
        self._write(image, (x1 + gap, y1 + gap, x2 - gap, y2 - gap), self.sentences[turn], px)

    def _write(self, image: np.ndarray, box: tuple[int, int, int, int], sentence: str, px: int) -> None:
        x1, y1, x2, y2 = box
        while True:
            lines = text.wrap(sentence, px, x2 - x1)
            if px <= 8 or len(lines) * LEADING * px <= y2 - y1:
                break
            px -= 1
        top = (y1 + y2 - len(lines) * LEADING * px) / 2
        for i, line in enumerate(lines):
            text.write(image, line, x1, round(top + (i + 0.82) * LEADING * px), px, INK)


def say(words: dict[str, str], facts: Facts) -> str:
    """The notice in the language of `words`."""
    shared = {"": "notice", "picture": "notice_shared", "results": "notice_shared_results"}[facts.shared]
    parts = [words["notice_sent" if facts.sent else shared]]
    if facts.masked:
        parts.append(words["masked"])
    video = next((what for what in ("consent", "video") if what in facts.stored), "")
    if "values" in facts.stored:
        parts.append(words["stored_values_too" if video else "stored_values"])  # the latter says that pictures are not stored
    if video:
        parts.append(words[f"stored_{video}" + ("_sound" if "sound" in facts.stored else "")])
    if not facts.stored:
        parts.append(words["stored_nothing_here" if facts.sent or facts.shared else "stored_nothing"])
    if facts.operator:
        parts.append(words["operator"].replace("{operator}", facts.operator))
    if facts.policy_url:
        parts.append(words["policy"])
    return " ".join(parts)
