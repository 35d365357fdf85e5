"""Draws the game of `game.py` on the mirror, and its result."""

from __future__ import annotations

import math

import cv2

from fer_live.kiosk.canvas import BLACK, GRAY, Canvas, ink_on
from fer_live.kiosk.cards import BADGE, draw_chip
from fer_live.kiosk.game import LASTS_S, ROUNDS, Game, Player, Stage
from fer_live.kiosk.mirror import Place
from fer_live.screen import text
from fer_live.screen.palette import COLORS, PLATE, WHITE
from fer_live.types import Box

RING, AROUND = 0.72, 0.34  # radius of a ring, and margin around a face, in sides of the face


def draw_game(canvas: Canvas, game: Game, words: dict[str, str], place: Place, banner: Box, area: Box) -> None:
    """Draw a game except its result: the request, countdown and progress in the banner, and the players' rings."""
    if game.stage is not Stage.READY:
        taken = [banner, *(place.box(player.box) for player in game.players if player.track_id)]
        for number, player in enumerate(game.players, 1):
            if player.track_id:
                _ring(canvas, game, player, number, words, place, taken, area)
    canvas.plate(banner)
    x1, y1, x2, y2 = _inner(canvas, banner)
    foot, end = y2 - canvas.px(42), x2 - canvas.px(90)
    ask = words["challenge"] if game.stage is Stage.READY else words[f"ask_{game.asked}"]
    canvas.middle(ask, (x1, y1, end, foot), canvas.px(60), most=1)
    if game.stage in (Stage.READY, Stage.COUNT):
        canvas.middle(str(max(1, math.ceil(game.left_s))), (end, y1, x2, foot), canvas.px(84))
    if game.stage is Stage.READY:
        canvas.middle(words["ready"], (x1, foot, end, y2), canvas.px(32), GRAY, most=1)
    else:
        _progress(canvas, game, (x1, foot, x2, y2))


def _ring(canvas: Canvas, game: Game, player: Player, number: int, words: dict[str, str], place: Place, taken: list[Box],
          area: Box) -> None:
    face = place.box(player.box)
    center = (face[0] + face[2]) // 2, (face[1] + face[3]) // 2
    radius, line = round(RING * (face[2] - face[0])), max(canvas.px(10), (face[2] - face[0]) // 12)
    cv2.circle(canvas.image, center, radius, PLATE, line + canvas.px(8), cv2.LINE_AA)
    if game.stage in (Stage.PLAY, Stage.SHOW) and player.share > 0.01:
        end = -90 + 360 * player.share
        cv2.ellipse(canvas.image, center, (radius, radius), 0, -90, end, COLORS[game.asked], line, cv2.LINE_AA)
    if len(game.players) > 1:
        reach = round(radius * 0.71)
        canvas.number(number, (center[0] - reach, center[1] - reach), canvas.px(BADGE), WHITE)
    if game.stage is Stage.SHOW or player.reached:
        read = "" if player.reached else player.read[-1]
        missed = words["missed"].replace("{label}", words[read]) if read else words["missed_all"]
        said = words["reached"] if player.reached else missed
        color = COLORS[game.asked] if player.reached else PLATE
        whole = center[0] - radius, center[1] - radius - line // 2, center[0] + radius, center[1] + radius + line // 2
        draw_chip(canvas, said, whole, color, taken, area, most=44)


def _progress(canvas: Canvas, game: Game, box: Box) -> None:
    """Draw a disk for each round and a bar for the time left in this round."""
    radius, y = canvas.px(13), (box[1] + box[3]) // 2
    for i, asked in enumerate(ROUNDS):
        center = box[0] + radius + i * canvas.px(38), y
        is_read = any(player.read[i : i + 1] == (asked,) for player in game.players)
        is_now = i == game.round
        cv2.circle(canvas.image, center, radius, COLORS[asked] if is_read else WHITE if is_now else GRAY,
                   cv2.FILLED if is_read or is_now else canvas.px(3), cv2.LINE_AA)
        if is_read:
            canvas.tick(center, canvas.px(17), ink_on(COLORS[asked]))
    x1 = box[0] + len(ROUNDS) * canvas.px(38) + canvas.px(10)
    share = {Stage.COUNT: 1.0, Stage.PLAY: game.left_s / LASTS_S[Stage.PLAY]}.get(game.stage, 0.0)
    canvas.plate((x1, y - canvas.px(6), box[2], y + canvas.px(6)), BLACK)
    canvas.plate((x1, y - canvas.px(6), x1 + round(share * (box[2] - x1)), y + canvas.px(6)), WHITE)


def draw_result(canvas: Canvas, game: Game, words: dict[str, str], box: Box) -> None:
    """Draw the requested and the recognized class for each round and player, and an explanation."""
    x1, y1, x2, y2 = _inner(canvas, box)
    wide = min(x2 - x1, canvas.px(560 + 240 * len(game.players)))
    x1, x2 = (x1 + x2 - wide) // 2, (x1 + x2 + wide) // 2
    is_alone = len(game.players) == 1
    first = 2 if is_alone else 3  # row of the first round; the title, numbers and points are above
    high = (y2 - y1) / (first + len(ROUNDS) + 1)

    def row(number: int) -> tuple[int, int]:
        return y1 + round(number * high), y1 + round((number + 1) * high)

    canvas.middle(words["wrong"], (x1, y1, x2, row(0)[1]), canvas.px(54), most=1)
    names = x1 + round(0.36 * wide)
    cell = (x2 - names) // len(game.players)
    for i, player in enumerate(game.players):
        left, right = names + i * cell, names + (i + 1) * cell
        if not is_alone:
            canvas.number(i + 1, ((left + right) // 2, sum(row(1)) // 2), canvas.px(BADGE), WHITE)
        points = left, row(first - 1)[0], right, row(first - 1)[1]
        canvas.middle(f"{player.points}/{len(ROUNDS)}", points, canvas.px(46), most=1)
        for number, (asked, read) in enumerate(zip(ROUNDS, player.read, strict=True), first):
            _cell(canvas, read, asked, words, (left, row(number)[0], right, row(number)[1]))
    for number, asked in enumerate(ROUNDS, first):
        dot, middle = canvas.px(14), sum(row(number)) // 2
        cv2.circle(canvas.image, (x1 + dot, middle), dot, COLORS[asked], cv2.FILLED, cv2.LINE_AA)
        px = max(canvas.least, text.fit(words[asked], canvas.px(36), names - x1 - 4 * dot))
        canvas.write(words[asked], x1 + 3 * dot, middle, px)
    canvas.middle(words["not_feelings"], (x1, y2 - round(high), x2, y2), canvas.px(38), most=2)


def _cell(canvas: Canvas, read: str, asked: str, words: dict[str, str], box: Box) -> None:
    """Draw a check mark if the requested class was recognized, otherwise the word for the recognized class."""
    center = (box[0] + box[2]) // 2, (box[1] + box[3]) // 2
    if read == asked:
        canvas.tick(center, canvas.px(34), COLORS[asked])
    else:
        canvas.middle(words[read] if read else "–", (box[0] + canvas.px(6), box[1], box[2] - canvas.px(6), box[3]), canvas.px(32),
                      GRAY, most=1)


def _inner(canvas: Canvas, box: Box) -> Box:
    return box[0] + canvas.px(20), box[1] + canvas.px(8), box[2] - canvas.px(20), box[3] - canvas.px(8)
