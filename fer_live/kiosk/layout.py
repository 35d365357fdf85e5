"""The kiosk's screen, readable from a distance: a full-size mirror, cards, the notice, buttons and the attract loop.

ISO 9241-303 asks for letters of 16 arc minutes, 14 mm at three meters. On a screen 30 cm high (24 inch), the capitals of a chip's
label are 8 to 20 mm high; on one 53 cm high (43 inch), 14 to 35 mm.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from fer_live.kiosk.attract import draw_attract
from fer_live.kiosk.canvas import GRAY, Canvas
from fer_live.kiosk.cards import BADGE, draw_cards, draw_chip, draw_outline, face_color, face_words, meet
from fer_live.kiosk.game import Game, Stage
from fer_live.kiosk.game_view import AROUND, draw_game, draw_result
from fer_live.kiosk.language import Language
from fer_live.kiosk.mirror import Mirror
from fer_live.kiosk.notice import Notice
from fer_live.kiosk.visitors import Arrivals, Seats
from fer_live.screen import text
from fer_live.screen.palette import PLATE, WHITE, Color
from fer_live.types import Analysis, Box, Face, Rates, View

RED: Color = (40, 40, 200)
FOOTER = 0.12  # height of the footer, relative to the screen's
MARGIN = 0.15  # free margin around a face, in sides of the face
CODE = 76  # side of the QR code in pixels if the screen's shorter side is 720; a tenth of that is 72
LARGE_CODE = 150  # the same while the notice is enlarged
RECORD, LANGUAGE = "record", "language"  # buttons


class Layout:
    """Draws the kiosk's screen of `size_wh`, in landscape or portrait format.

    language: the screen's texts; labels without one are shown as they are. is_idle: whether there has been nobody for a while.
    may_record: whether the record button can be pressed; None omits the button. game: the game to play, if any.
    """

    def __init__(self, size_wh: tuple[int, int], labels: tuple[str, ...], language: Language, view: View,
                 notice: Notice | None = None, is_idle: Callable[[], bool] = lambda: False,
                 may_record: Callable[[], bool] | None = None, game: Game | None = None):
        self.w, self.h = size_wh
        self.labels, self.language, self.view, self.notice = labels, language, view, notice
        self.is_idle, self.may_record, self.game = is_idle, may_record, game
        self.blank = Canvas(np.full((self.h, self.w, 3), PLATE, np.uint8))
        self.seats, self.arrivals = Seats(), Arrivals()
        self.buttons: dict[str, Box] = {}  # touch areas of the buttons shown now
        self.panels: dict[tuple[int, bool], tuple[np.ndarray, Box | None]] = {}  # notices, by language and whether enlarged
        self._place()
        self.mirror = Mirror((self.w, self.area[3]))

    def _place(self) -> None:
        """Compute the positions."""
        px, m = self.blank.px, self.blank.px(16)
        footer = self.h - round(FOOTER * self.h) if self.notice else self.h
        right = self.w - m
        side = self.notice.code_side(px(CODE)) if self.notice else 0
        if side > self.h - footer:  # the code extends above the footer
            right -= side + m
        is_wide = self.w >= self.h
        dock = footer - m - (px(176) if is_wide else px(214))
        self.area = 0, 0, self.w, footer  # of the mirror
        self.dock = m, dock, right, footer - m
        self.top = px(72)  # buttons and badges are above
        if self.may_record is None:
            self.records = []
        elif is_wide:
            top, wide = dock + px(48), px(270)
            self.records = [(right - wide, top, right, footer - m), (m, top, m + wide, footer - m)]
        else:
            self.records = [(m, dock - m - px(88), self.w - m, dock - m)]
        self.foot = min([dock, *(box[1] for box in self.records)]) - px(8)  # faces are above this line, if they fit
        self.enlarged = 0, self.foot if is_wide else min(self.foot, round(0.6 * self.h)), self.w, self.h

    def draw(self, analysis: Analysis, rates: Rates | None = None) -> np.ndarray:
        """Return the whole screen as (H, W, 3) uint8 BGR."""
        time_s = analysis.frame.time_s
        self.buttons = {}
        if self.game:
            self.game.update(analysis)
        self.language.turn(time_s, is_held=self.game is not None and self.game.is_on)
        is_busy = self.view.recording or (self.game is not None and self.game.stage not in (Stage.WAIT, Stage.READY))
        rise = self.arrivals.rise(analysis, not is_busy)
        if analysis.frame.is_slate:
            return self.no_image()
        if self.is_idle() and not analysis.faces:
            self.language.forget()
            return self.idle_screen(time_s)
        canvas = Canvas(self.blank.image.copy())
        if self.game and self.game.stage is Stage.RESULT:
            foot = self.foot if self.records else self.area[3]
            draw_result(canvas, self.game, self.language.words, (0, self.top, self.w, foot))
            if self.records and (analysis.faces or self.view.recording):
                self._record_button(canvas, len(analysis.faces), [])
        else:
            self._mirror(canvas, analysis, rise)
        self._corners(canvas)
        self._notice(canvas, rise)
        return canvas.image

    def idle_screen(self, time_s: float) -> np.ndarray:
        """Return the screen without visitors, which contains no image of the room."""
        canvas = Canvas(self.blank.image.copy())
        draw_attract(canvas, (0, self.top, self.w, self.area[3]), self.language.words, time_s)
        self._corners(canvas)
        self._notice(canvas, 0.0)
        return canvas.image

    def no_image(self) -> np.ndarray:
        """Return the screen while the camera delivers no frames."""
        canvas = Canvas(self.blank.image.copy())
        box = canvas.px(60), self.top, self.w - canvas.px(60), self.area[3]
        canvas.middle(self.language.words["no_image"], box, canvas.px(56), most=3)
        self._corners(canvas)
        self._notice(canvas, 0.0)
        return canvas.image

    def _mirror(self, canvas: Canvas, analysis: Analysis, rise: float) -> None:
        """Draw the image with its faces, and the cards or the game."""
        image, faces = analysis.frame.image, self.seats.take(analysis.faces)
        is_playing = self.game is not None and self.game.is_on
        banner = self._banner() if is_playing else None
        area = 0, banner[3] if banner else self.top, self.w, self.area[3]
        free = *area[:3], self.area[3] if banner and self.may_record is None else self.foot
        place = self.mirror.follow((image.shape[1], image.shape[0]), [face.box for face in analysis.faces],
                                   AROUND if banner else MARGIN, free, analysis.frame.time_s)
        self.mirror.paint(canvas.image, image)
        if not analysis.faces and not is_playing:
            self._band(canvas, place.box((0, 0, image.shape[1], image.shape[0])))
        if banner and self.game and rise == 0:
            draw_game(canvas, self.game, self.language.words, place, banner, area)
        boxes = [place.box(face.box) for face in analysis.faces]
        dock = self.dock
        if self.records and (boxes or self.view.recording) and rise == 0:
            button, m = self._record_button(canvas, len(boxes), boxes), canvas.px(16)
            if meet(button, dock):  # the cards get the wider side of the button
                dock = max((dock[0], dock[1], button[0] - m, dock[3]), (button[2] + m, dock[1], dock[2], dock[3]),
                           key=lambda box: box[2] - box[0])
        if faces and not is_playing:
            if rise == 0:
                boxes += draw_cards(canvas, dock, faces, self.labels, self.language.words, boxes)
            self._faces(canvas, analysis.faces, faces, boxes, (*area[:3], self.enlarged[1] if rise else area[3]))

    def _banner(self) -> Box:
        px = self.blank.px
        if self.w >= self.h:
            return px(230), px(12), self.w - px(230), px(132)
        return px(16), self.top, self.w - px(16), self.top + px(124)

    def _faces(self, canvas: Canvas, faces: tuple[Face, ...], seated: list[tuple[int, Face]], taken: list[Box],
               area: Box) -> None:
        boxes = {face.track_id: self.mirror.place.box(face.box) for face in faces}
        numbers = {face.track_id: number for number, face in seated} if len(seated) > 1 else {}
        for face in faces:
            draw_outline(canvas, boxes[face.track_id], face_color(face))
        for face in sorted(faces, key=lambda face: face.box[0] - face.box[2]):
            draw_chip(canvas, face_words(face, self.language.words), boxes[face.track_id], face_color(face), taken, area)
            if face.track_id in numbers:
                x1, y1, _, y2 = boxes[face.track_id]
                center = max(canvas.px(BADGE + 4), x1), (y1 + y2) // 2
                canvas.number(numbers[face.track_id], center, canvas.px(BADGE), face_color(face))

    def _band(self, canvas: Canvas, image: Box) -> None:
        """Draw marks that show where a face must be, for visitors who are tall, short or seated, and the invitation."""
        m = canvas.px(14)
        inset = canvas.px(150) if self.w >= self.h else m  # keep clear of the code and the language button
        x1, x2 = max(inset, image[0] + m), min(self.w - inset, image[2] - m)
        y1, y2 = image[1] + m, min(image[3], self.area[3]) - m
        reach = (x2 - x1) // 9
        for line, color in ((canvas.px(14), PLATE), (canvas.px(7), WHITE)):
            for y, way in ((y1, 1), (y2, -1)):
                for a, b in ((x1, x1 + reach), (x2, x2 - reach)):
                    cv2.line(canvas.image, (a, y), (b, y), color, line, cv2.LINE_AA)
                    cv2.line(canvas.image, (a, y), (a, y + way * reach // 2), color, line, cv2.LINE_AA)
        words = self.language.words
        wide, high = min(self.w - 4 * m, canvas.px(900)), canvas.px(150)
        left = (self.w - wide) // 2
        top = self.area[3] - 3 * m - high if self.w >= self.h else min(y2 + 3 * m, self.area[3] - m - high)
        canvas.plate((left, top, left + wide, top + high))
        x1, x2 = left + 2 * m, left + wide - 2 * m
        canvas.middle(words["invite"], (x1, top, x2, top + high * 3 // 5), canvas.px(60), most=1)
        canvas.middle(words["hint"], (x1, top + high * 11 // 20, x2, top + high - m // 2), canvas.px(36), GRAY, most=1)

    def _corners(self, canvas: Canvas) -> None:
        """Draw a badge and the recording mark on the left, and the language button on the right."""
        x, y, high = canvas.px(16), canvas.px(16), canvas.px(50)
        px = max(canvas.least, canvas.px(26))
        if self.view.badge:
            wide = text.width(self.view.badge, px) + canvas.px(32)
            canvas.plate((x, y, x + wide, y + high))
            canvas.write(self.view.badge, x + canvas.px(16), y + high // 2, px)
            x += wide + canvas.px(10)
        if self.view.recording:
            wide = text.width("REC", px) + canvas.px(66)
            canvas.plate((x, y, x + wide, y + high))
            cv2.circle(canvas.image, (x + canvas.px(28), y + high // 2), canvas.px(12), RED, cv2.FILLED, cv2.LINE_AA)
            canvas.write("REC", x + canvas.px(50), y + high // 2, px)
        if len(self.language.all) > 1:
            name = self.language.next_name
            wide = text.width(name, px) + canvas.px(36)
            box = self.w - canvas.px(16) - wide, y, self.w - canvas.px(16), y + high
            canvas.plate(box, WHITE, high // 2)
            canvas.write(name, box[0] + canvas.px(18), y + high // 2, px, PLATE)
            self.buttons[LANGUAGE] = box

    def _record_button(self, canvas: Canvas, people: int, faces: list[Box]) -> Box:
        """Draw the record button where it covers no face, if possible; gray if it cannot be pressed. Returns its box."""
        box = next((box for box in self.records if not any(meet(box, face) for face in faces)), self.records[0])
        is_ready = self.view.recording or (self.may_record is not None and self.may_record())
        if is_ready:
            self.buttons[RECORD] = box
        canvas.plate(box, RED if is_ready else PLATE)
        words = self.language.words["stop" if self.view.recording else "record" if people < 2 else "record_all"]
        m = canvas.px(16)
        canvas.middle(words, (box[0] + m, box[1] + m, box[2] - m, box[3] - m), canvas.px(46), WHITE if is_ready else GRAY)
        return box

    def _notice(self, canvas: Canvas, rise: float) -> None:
        """Draw the footer, and above it the enlarged notice, slid in by the share `rise`."""
        if self.notice is None:
            return
        panel, code = self._panel(is_large=False)
        canvas.image[self.area[3] :] = panel[self.area[3] :]
        if code:  # it can extend above the footer
            x1, y1, x2, y2 = code
            canvas.image[y1:y2, x1:x2] = panel[y1:y2, x1:x2]
        if rise:
            panel, _ = self._panel(is_large=True)
            top = self.h - round(rise * (self.h - self.enlarged[1]))
            canvas.image[top:] = panel[self.enlarged[1] :][: self.h - top]

    def _panel(self, is_large: bool) -> tuple[np.ndarray, Box | None]:
        """Return the notice as an image of the screen's size, cached by language, and the box of its QR code."""
        key = self.language.number, is_large
        if self.notice is not None and key not in self.panels:
            box = self.enlarged if is_large else (0, self.area[3], self.w, self.h)
            side = self.notice.code_side(self.blank.px(LARGE_CODE if is_large else CODE))
            sheet = self.blank.image.copy()
            code = self.notice.draw(sheet, box, self.language.number, self.blank.px(44 if is_large else 27), side)
            self.panels[key] = sheet, code
        return self.panels[key]
