"""The kiosk's screen, made to be read from afar: picture, a card for each visitor, the notice, the button, the idle screen.

ISO 9241-303 asks for letters of 16 minutes of arc, 14 mm at three meters. On a screen 30 cm high (24 inch) the capitals of a
card's word are 16 mm high with three visitors and 29 mm with one, those of its bars 10 to 12 mm, those of the notice 7 to
9 mm, on the idle screen 12 mm; on one 53 cm high (43 inch) all are 1.8 times as high.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np

from fer_live.kiosk.notice import Notice
from fer_live.screen import text
from fer_live.screen.palette import COLORS, WHITE, Color
from fer_live.screen.steady import LOOK_NEUTRAL
from fer_live.types import Analysis, Face, Rates, View

GROUND, CARD, GRAY, RED = (24, 24, 24), (48, 48, 48), (150, 150, 150), (40, 40, 220)
Box = tuple[int, int, int, int]  # xyxy
MOST = 3  # cards
BARS = {1: 7, 2: 3, 3: 2}  # visitors -> bars on a card


class Layout:
    """Draws the kiosk's screen of `size_wh`, wide or tall.

    words: what classes and phrases are called; the idle screen's phrases in each language of the notice, all else in the
    first. is_idle: tells whether nobody has been there for a while. may_record: tells whether the button that records can be
    pressed; without it there is no button.
    """

    def __init__(self, size_wh: tuple[int, int], labels: tuple[str, ...], words: list[dict[str, str]], view: View,
                 notice: Notice | None = None, is_idle: Callable[[], bool] = lambda: False,
                 may_record: Callable[[], bool] | None = None):
        self.labels, self.words, self.languages, self.view, self.notice = labels, words[0], words, view, notice
        self.is_idle, self.may_record = is_idle, may_record
        self.w, self.h = size_wh
        self.unit = min(self.w, self.h) / 720
        self.grounds: dict[tuple[bool, int], np.ndarray] = {}
        self.slots: list[int] = []  # track ids by card; 0 is free
        self.button: Box | None = None  # where to press, while it is shown
        self._place()

    def _place(self) -> None:
        m = self.px(24)
        if self.w >= self.h:
            middle = round(0.58 * self.w)
            high = min(round((middle - m) * 9 / 16), round(0.62 * self.h))
            self.picture = m, m, middle, m + high
            self.panel = m, 2 * m + high, middle, self.h - m
            self.cards = middle + m, m, self.w - m, self.h - m
        else:
            high = round((self.w - 2 * m) * 9 / 16)
            self.picture = m, m, self.w - m, m + high
            self.panel = m, self.h - m - self.px(250), self.w - m, self.h - m
            self.cards = m, 2 * m + high, self.w - m, self.h - 2 * m - self.px(250)

    def px(self, size: float) -> int:
        """Pixels of a length that is given for a screen with a shorter side of 720."""
        return round(size * self.unit)

    def draw(self, analysis: Analysis, rates: Rates | None = None) -> np.ndarray:
        """The whole screen (H, W, 3) uint8 BGR."""
        faces = self._seated(analysis.faces)
        self.button = None
        if self.is_idle() and not analysis.faces:
            return self.idle_screen(analysis.frame.time_s)
        screen = self._ground(False, analysis.frame.time_s).copy()
        self._picture(screen, analysis, faces)
        box = self.cards
        if self.may_record is not None and (faces or self.view.recording):
            box = self._button(screen, box, len(analysis.faces))
        if faces:
            self._cards(screen, box, faces)
        else:
            self._middle(screen, box, self.words["invite"], 64)
        return screen

    def idle_screen(self, time_s: float) -> np.ndarray:
        """What is shown when nobody is there: no picture of the room, the notice in large letters."""
        return self._ground(True, time_s).copy()

    def _ground(self, idle: bool, time_s: float) -> np.ndarray:
        """What does not move, drawn once for each language."""
        turn = self.notice.turn(time_s) if self.notice else 0
        if (idle, turn) not in self.grounds:
            screen = np.full((self.h, self.w, 3), GROUND, np.uint8)
            m = self.px(24)
            if idle:
                half = self.h // 2 if self.notice else self.h
                self._middle(screen, (m, m, self.w - m, round(half * 0.62)), self.languages[turn]["title"], 84)
                self._middle(screen, (m, round(half * 0.62), self.w - m, half), self.languages[turn]["invite"], 52, GRAY)
                if self.notice:
                    self.notice.draw(screen, (m, half, self.w - m, self.h - m), turn, self.px(46))
            elif self.notice:
                self.notice.draw(screen, self.panel, turn, self.px(34))
            self.grounds[idle, turn] = screen
        return self.grounds[idle, turn]

    def _seated(self, faces: tuple[Face, ...]) -> list[tuple[int, Face]]:
        """(number, face) of the visitors who have a card, the largest faces; a visitor keeps the number that he or she has."""
        largest = sorted(faces, key=lambda face: face.box[0] - face.box[2])[:MOST]
        here = {face.track_id: face for face in largest}
        self.slots = [slot if slot in here else 0 for slot in self.slots]
        for face in sorted(largest, key=lambda face: face.box[0]):
            if face.track_id not in self.slots:
                if 0 not in self.slots:
                    self.slots.append(0)
                self.slots[self.slots.index(0)] = face.track_id
        while self.slots and not self.slots[-1]:
            self.slots.pop()
        return [(number, here[slot]) for number, slot in enumerate(self.slots, 1) if slot]

    def _picture(self, screen: np.ndarray, analysis: Analysis, faces: list[tuple[int, Face]]) -> None:
        x1, y1, x2, y2 = self.picture
        image = analysis.frame.image
        scale = min((x2 - x1) / image.shape[1], (y2 - y1) / image.shape[0])
        w, h = round(image.shape[1] * scale), round(image.shape[0] * scale)
        left, top = x1 + (x2 - x1 - w) // 2, y1 + (y2 - y1 - h) // 2
        part = screen[top : top + h, left : left + w]
        part[:] = cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA if scale < 0.5 else cv2.INTER_LINEAR)
        line = max(2, self.px(5))
        for face in analysis.faces:
            a, b, c, d = (round(v * scale) for v in face.box)
            cv2.rectangle(part, (a, b), (c, d), GROUND, 2 * line, cv2.LINE_AA)
            cv2.rectangle(part, (a, b), (c, d), COLORS.get(face.label, WHITE), line, cv2.LINE_AA)
        for number, face in faces:
            if len(faces) > 1:
                corner = round(face.box[0] * scale), round(face.box[1] * scale)
                self._number(part, corner, number, COLORS.get(face.label, WHITE))
        if self.view.badge:
            text.write(part, self.view.badge, self.px(12), self.px(38), self.px(30), WHITE)
        if self.view.recording:
            right = w - self.px(24) - text.width("REC", self.px(34))
            cv2.rectangle(part, (right - self.px(48), self.px(10)), (w - self.px(10), self.px(56)), GROUND, cv2.FILLED)
            cv2.circle(part, (right - self.px(22), self.px(33)), self.px(13), RED, cv2.FILLED, cv2.LINE_AA)
            text.write(part, "REC", right, self.px(45), self.px(34), WHITE)

    def _number(self, image: np.ndarray, center: tuple[int, int], number: int, color: Color) -> None:
        radius, px = self.px(24), self.px(34)
        cv2.circle(image, center, radius + self.px(3), GROUND, cv2.FILLED, cv2.LINE_AA)
        cv2.circle(image, center, radius, color, cv2.FILLED, cv2.LINE_AA)
        name = str(number)
        x, y = center[0] - text.width(name, px) // 2, center[1] + text.cap_height(px) // 2
        text.write(image, name, x, y, px, GROUND if sum(color) > 300 else WHITE)

    def _cards(self, screen: np.ndarray, box: Box, faces: list[tuple[int, Face]]) -> None:
        x1, y1, x2, y2 = box
        gap = self.px(16)
        high = (y2 - y1 - gap * (len(faces) - 1)) // len(faces)
        for i, (number, face) in enumerate(faces):
            top = y1 + i * (high + gap)
            self._card(screen, (x1, top, x2, top + high), face, number if len(faces) > 1 else 0, BARS[len(faces)])

    def _card(self, screen: np.ndarray, box: Box, face: Face, number: int, bars: int) -> None:
        x1, y1, x2, y2 = box
        color, m = COLORS.get(face.label, WHITE), self.px(20)
        cv2.rectangle(screen, (x1, y1), (x2 - 1, y2 - 1), CARD, cv2.FILLED)
        cv2.rectangle(screen, (x1, y1), (x1 + self.px(14), y2 - 1), color, cv2.FILLED)
        left, right = x1 + self.px(14) + m, x2 - m
        order = range(len(self.labels)) if bars >= len(self.labels) else np.argsort(-face.probs)[:bars]
        word = self.words.get(face.label, face.label)
        if face.calibration_s:
            word, color = f"{self.words[LOOK_NEUTRAL]} {math.ceil(face.calibration_s)}", WHITE
        head = round((y2 - y1) * (0.24 if len(order) > 3 else 0.42))
        start = left + (self.px(62) if number else 0)
        if number:
            self._number(screen, (left + self.px(26), y1 + head // 2 + self.px(6)), number, color)
        px = text.fit(word, min(self.px(96), round(head * 0.72)), right - start)
        text.write(screen, word, start, y1 + head // 2 + self.px(6) + text.cap_height(px) // 2, px, WHITE)
        rows = y1 + head, y2 - self.px(10)
        step = min((rows[1] - rows[0]) / len(order), self.px(70))
        for i, index in enumerate(order):
            top = rows[0] + i * step
            self._bar(screen, (left, round(top), right, round(top + step)), self.labels[index], float(face.probs[index]))

    def _bar(self, screen: np.ndarray, box: Box, label: str, prob: float) -> None:
        x1, y1, x2, y2 = box
        names = round((x2 - x1) * 0.52)
        px = min(self.px(40), round((y2 - y1) * 0.78))
        px = min(text.fit(self.words.get(name, name), px, names - self.px(14)) for name in self.labels)
        text.write(screen, self.words.get(label, label), x1, (y1 + y2 + text.cap_height(px)) // 2, px, WHITE)
        left, pad = x1 + names, max(2, round((y2 - y1) * 0.22))
        cv2.rectangle(screen, (left, y1 + pad), (x2, y2 - pad), GROUND, cv2.FILLED)
        end = left + max(self.px(4), round(prob * (x2 - left)))
        cv2.rectangle(screen, (left, y1 + pad), (end, y2 - pad), COLORS.get(label, WHITE), cv2.FILLED)

    def _button(self, screen: np.ndarray, box: Box, people: int) -> Box:
        """Draws the button at the foot of the box, gray while it cannot be pressed; returns what is left of the box."""
        x1, y1, x2, y2 = box
        high = self.px(104)
        place = x1, y2 - high, x2, y2
        is_ready = self.view.recording or (self.may_record is not None and self.may_record())
        self.button = place if is_ready else None
        cv2.rectangle(screen, (x1, y2 - high), (x2 - 1, y2 - 1), RED if is_ready else CARD, cv2.FILLED)
        words = self.words["stop" if self.view.recording else "record" if people < 2 else "record_all"]
        px = text.fit(words, self.px(48), x2 - x1 - self.px(32)) / self.unit
        self._middle(screen, place, words, px, WHITE if is_ready else GRAY)
        return x1, y1, x2, y2 - high - self.px(16)

    def _middle(self, screen: np.ndarray, box: Box, words: str, size: float, color: Color = WHITE) -> None:
        """Words in the middle of a box, in two lines where they do not fit into one."""
        x1, y1, x2, y2 = box
        px = self.px(size)
        lines = [words] if text.width(words, px) <= x2 - x1 - self.px(24) else text.wrap(words, px, x2 - x1 - self.px(24))
        top = (y1 + y2) // 2 - round(1.2 * px * len(lines) / 2)
        for i, line in enumerate(lines):
            wide = text.width(line, px)
            baseline = top + round(1.2 * px * (i + 0.5)) + text.cap_height(px) // 2
            text.write(screen, line, x1 + (x2 - x1 - wide) // 2, baseline, px, color)
