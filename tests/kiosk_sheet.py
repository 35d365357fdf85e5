"""Images of a kiosk in all its states, to look at: python -m tests.kiosk_sheet FOLDER [--language de]"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from fer_live.kiosk.game import ROUNDS, Game, Stage
from fer_live.kiosk.language import Language
from fer_live.kiosk.layout import Layout
from fer_live.kiosk.notice import Facts, Notice
from fer_live.model.spec import EMOTIONS
from fer_live.screen.words import LANGUAGES, read_words
from fer_live.types import UNSURE, Analysis, Face, Frame, View
from tests.conftest import ROOT

URL = "https://museum.example/privacy"
OPERATOR = "Museum für Gestaltung, Zürich"
SIZES = {"landscape": (1280, 720), "portrait": (720, 1280)}
FACE = (176, 70, 273, 167)  # of the portrait's face
# Positions by number of visitors: (x, y, side) of their faces as fractions of the height. Some sit, and children are small.
PLACES = {1: [(0.75, 0.22, 0.24)], 2: [(0.30, 0.20, 0.22), (1.15, 0.62, 0.20)],
          3: [(0.16, 0.18, 0.2), (0.78, 0.12, 0.2), (1.4, 0.55, 0.17)],
          5: [(0.05, 0.24, 0.16), (0.4, 0.08, 0.16), (0.74, 0.70, 0.16), (1.07, 0.2, 0.16), (1.5, 0.1, 0.16)]}
LABELS = "happy", "surprise", UNSURE, "sad", "fear"


@functools.cache
def room(people: int, size_wh: tuple[int, int] = (1280, 720)) -> tuple[np.ndarray, tuple[Face, ...]]:
    """An image (H, W, 3) uint8 BGR of a light room with visitors, and their faces."""
    portrait = cv2.imread(str(ROOT / "fer_live" / "assets" / "portrait.jpg"))
    w, h = size_wh
    image = np.repeat(np.linspace(150, 215, w, dtype=np.uint8)[None, :, None], h, axis=0).repeat(3, axis=2).copy()
    faces = []
    for i, (x, y, side) in enumerate(PLACES.get(people, [])):
        x, y, side = x * h * 9 / 16 * w / h, y * h, side * h  # of narrow images the same share of the width
        scale = side / (FACE[2] - FACE[0])
        head = portrait[20:330, 110:340] if i % 2 == 0 else portrait[20:330, 110:340][:, ::-1]
        head = cv2.resize(head, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        inner = (FACE[0] - 110 if i % 2 == 0 else 340 - FACE[2]), FACE[1] - 20
        left, top = round(x - inner[0] * scale), round(y - inner[1] * scale)
        x1, y1, x2, y2 = max(0, left), max(0, top), min(w, left + head.shape[1]), min(h, top + head.shape[0])
        image[y1:y2, x1:x2] = head[y1 - top : y2 - top, x1 - left : x2 - left]
        label = LABELS[i]
        probs = np.full(7, 0.05, np.float32)
        probs[EMOTIONS.index("neutral" if label == UNSURE else label)] = 0.55
        probs[EMOTIONS.index("angry")] += 0.13
        box = round(x), round(y), round(x + side), round(y + side)
        faces.append(Face(box, i + 1, probs / probs.sum(), label, float(probs.max() / probs.sum())))
    return image, tuple(faces)


class Stand:
    """A kiosk's screen and the time of its frames. image: shown instead of the room."""

    every_s = 1 / 15
    image: np.ndarray | None = None
    keeps_language = True

    def __init__(self, size_wh: tuple[int, int], language: str, facts: Facts | None = None, **options):
        others = [name for name in LANGUAGES if name != language]
        words = [read_words(name) for name in (language, others[0])]
        facts = facts or Facts(("consent",), False, OPERATOR, URL)
        self.view, self.is_idle, self.time_s = View(), True, 100.0
        self.layout = Layout(size_wh, EMOTIONS, Language(words), self.view, Notice(words, facts), lambda: self.is_idle, **options)

    def run(self, seconds: float, people: int, every_s: float = 0.0, change=lambda faces: faces, **frame) -> np.ndarray:
        """Show this many visitors for this long; returns the last image."""
        image, faces = room(people)
        end_s, every_s = self.time_s + seconds - 1e-6, min(seconds, every_s or self.every_s)
        while True:
            self.time_s += every_s
            self.is_idle = self.is_idle and not people
            self.faces = change(faces)
            self.layout.language.is_chosen = self.keeps_language
            shown = Frame(image if self.image is None else self.image, 0, self.time_s, **frame)
            screen = self.layout.draw(Analysis(shown, self.faces))
            if self.time_s >= end_s:
                return screen


def asked(layout: Layout, share: float):
    """Return a function that changes faces so that they fill the game's rings by this share, later players by less."""
    def change(faces):
        made = []
        for i, face in enumerate(faces):
            probs = np.full(7, 0.02, np.float32)
            probs[EMOTIONS.index("neutral")] = 0.5
            probs[EMOTIONS.index(layout.game.asked)] = share * (1 - 0.4 * i)
            made.append(replace(face, probs=probs / max(1.0, probs.sum())))
        return tuple(made)
    return change


def states(size_wh: tuple[int, int], language: str, rounds: bool = True) -> Iterator[tuple[str, np.ndarray, Stand]]:
    """(name, screen, stand) of every state that a visitor can see. rounds: number of the game's rounds to show."""
    stand = Stand(size_wh, language)
    yield "idle", stand.run(3.0, 0), stand
    for people in (1, 2, 3, 5):
        stand = Stand(size_wh, language)
        yield f"arrival {people}", stand.run(1.5, people), stand
        yield f"visitors {people}", stand.run(4.0, people), stand
    yield "nobody found", stand.run(3.0, 0), stand
    yield "camera lost", stand.run(1.0, 0, is_slate=True), stand
    stand = Stand(size_wh, language, may_record=lambda: stand.is_ready)
    stand.is_ready = False
    yield "consent, not yet", stand.run(4.5, 2), stand
    stand.is_ready = True
    yield "consent", stand.run(1.0, 2), stand
    stand.view.recording, stand.view.badge = True, "DEMO"
    yield "recording", stand.run(1.0, 2), stand
    yield from game_states(size_wh, language, rounds=len(ROUNDS) if rounds else 1)


def until(stand: Stand, people: int, stage: Stage, share: float = 0.0) -> None:
    """Play until the game leaves this stage, without drawing."""
    image, faces = room(people)
    while stand.layout.game.stage is stage:
        stand.time_s += 0.2
        analysis = Analysis(Frame(image, 0, stand.time_s), asked(stand.layout, share)(faces))
        stand.layout.game.update(analysis)
        stand.layout.arrivals.rise(analysis, may_begin=False)


def game_states(size_wh: tuple[int, int], language: str, most: int = 3, rounds: int = len(ROUNDS),
                **options) -> Iterator[tuple[str, np.ndarray, Stand]]:
    """The states of a game for one to `most` players, in its first `rounds` rounds."""
    for people in range(1, most + 1):
        game = Game(EMOTIONS)
        stand = Stand(size_wh, language, game=game, **options)
        yield f"challenge {people}", stand.run(5.0, people), stand
        until(stand, people, Stage.READY)
        for number in range(len(ROUNDS)):
            if number < rounds:
                yield f"countdown {people} {number}", stand.run(1.0, people), stand
            until(stand, people, Stage.COUNT)
            if number < rounds:
                yield f"round {people} {number}", stand.run(1.0, people, change=asked(stand.layout, 0.16)), stand
            until(stand, people, Stage.PLAY, (1.1, 0.15)[number % 2])
            if number < rounds:
                yield f"answer {people} {number}", stand.run(1.0, people), stand
            until(stand, people, Stage.SHOW)
        yield f"result {people}", stand.run(1.0, people), stand


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--language", choices=LANGUAGES, default="en")
    args = parser.parse_args(argv)
    args.folder.mkdir(parents=True, exist_ok=True)
    for shape, size_wh in SIZES.items():
        for name, screen, _ in states(size_wh, args.language):
            cv2.imwrite(str(args.folder / f"{shape} {name}.png".replace(" ", "-")), screen)
    return 0


if __name__ == "__main__":
    sys.exit(main())
