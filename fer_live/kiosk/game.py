"""The game of `--challenge`: one to three visitors make six faces and see how each was classified. Draws and stores nothing.

`GOALS` gives the smoothed probability of the requested class that completes a round. Measured with the released weights on 405
posed faces of 48 people who are not in the training data, and on 719 faces of PublicTest that at least eight of ten FER+ voters
called neutral. "Others" are the posed faces of the five other classes.

| class | goal | posed faces that reach it | neutral | others |
|---|---|---|---|---|
| happy | 0.50 | 100% of 84 | 1.5% | 0% |
| surprise | 0.40 | 96% of 114 | 0.7% | 1% |
| sad | 0.40 | 86% of 42 | 7.5% | 4% |
| disgust | 0.30 | 81% of 72 | 0.1% | 2% |
| angry | 0.25 | 62% of 66 | 2.4% | 9% |
| fear | 0.20 | 41% of 27 | 0.1% | 0% |

So the rounds get harder. The other faces that reach angry are mostly disgust: 35% of 72.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np

from fer_live.types import UNCLEAR, Analysis, Box, Face

GOALS = {"happy": 0.50, "surprise": 0.40, "sad": 0.40, "disgust": 0.30, "angry": 0.25, "fear": 0.20}  # in the order of the rounds
ROUNDS = tuple(GOALS)
MOST = 3  # maximum number of players
GONE_S = 3.0  # seconds; the game ends after this long without a player


class Stage(Enum):
    """Stage of a game. COUNT, PLAY and SHOW are the three parts of a round."""

    WAIT, READY, COUNT, PLAY, SHOW, RESULT = range(6)


LASTS_S = {Stage.WAIT: 0.0, Stage.READY: 6.0, Stage.COUNT: 3.0, Stage.PLAY: 6.0, Stage.SHOW: 2.5, Stage.RESULT: 20.0}


@dataclass(frozen=True)
class Player:
    """One player.

    track_id: track of the face, 0 while it is lost. share: fill level of the ring, 0 to 1. read: result of each finished round, a
    class name or ""; "" means that the face was not seen or no class was clear.
    """

    track_id: int
    box: Box
    share: float = 0.0
    read: tuple[str, ...] = ()
    total: np.ndarray = field(default_factory=lambda: np.zeros(0))  # (C,) probabilities of this round, summed over frames

    @property
    def reached(self) -> bool:
        """Whether the requested class has been recognized in this round."""
        return self.share >= 1

    @property
    def points(self) -> int:
        """Number of rounds in which the requested class was recognized."""
        return sum(read == asked for read, asked in zip(self.read, ROUNDS, strict=False))


class Game:
    """A state machine driven by analyses and their times.

    labels: class names in the order of the probabilities; must include all of ROUNDS.

    A game begins when a face appears, with the largest faces, at most MOST. A player whose face is lost continues with the
    nearest new face. The game ends when no player has been seen for GONE_S, or when time goes back. Its state is deleted then and
    after each result.
    """

    def __init__(self, labels: tuple[str, ...]):
        self.labels = labels
        self.stage, self.round = Stage.WAIT, 0
        self.players: tuple[Player, ...] = ()
        self.now_s = self.began_s = self.seen_s = float("-inf")

    @property
    def asked(self) -> str:
        """The class requested in this round."""
        return ROUNDS[self.round]

    @property
    def left_s(self) -> float:
        """Seconds left in this stage."""
        return max(0.0, LASTS_S[self.stage] - (self.now_s - self.began_s))

    @property
    def is_on(self) -> bool:
        """Whether a game is being played or its result shown."""
        return self.stage is not Stage.WAIT

    def update(self, analysis: Analysis) -> None:
        """Update the game with a frame's faces."""
        time_s, faces = analysis.frame.time_s, analysis.faces
        if time_s < self.now_s or (self.is_on and time_s - max(self.seen_s, self.now_s) >= GONE_S):
            self._wait()
        self.now_s = time_s
        if faces:
            self.seen_s = time_s
        elif self.is_on and time_s - self.seen_s >= GONE_S:
            self._wait()
        if self.stage in (Stage.WAIT, Stage.READY):
            self._seat(faces)
        else:
            self.players = _followed(self.players, faces)
        if self.stage is Stage.PLAY:
            self.players = tuple(self._scored(player, faces) for player in self.players)
        self._advance()

    def _seat(self, faces: tuple[Face, ...]) -> None:
        """Until the first round, make those present the players, from left to right."""
        if faces:
            largest = sorted(faces, key=lambda face: face.box[0] - face.box[2])[:MOST]
            self.players = tuple(Player(face.track_id, face.box) for face in sorted(largest, key=lambda face: face.box[0]))
            if not self.is_on:
                self._enter(Stage.READY)

    def _scored(self, player: Player, faces: tuple[Face, ...]) -> Player:
        face = next((face for face in faces if face.track_id == player.track_id), None)
        if face is None or face.unsure_because not in ("", UNCLEAR):  # too small, dark, blurred or turned away
            return player
        share = min(1.0, float(face.probs[self.labels.index(self.asked)]) / GOALS[self.asked])
        total = player.total + face.probs if player.total.size else face.probs.astype(float)
        return replace(player, share=1.0 if player.reached else share, total=total)

    def _advance(self) -> None:
        """Enter the next stage when this one is over."""
        is_over = self.left_s <= 0 or (self.stage is Stage.PLAY and all(player.reached for player in self.players))
        if not self.is_on or not is_over:
            return
        if self.stage is Stage.PLAY:
            self.players = tuple(replace(player, read=(*player.read, self._read(player))) for player in self.players)
        if self.stage is Stage.RESULT:
            self._wait()
        elif self.stage is Stage.SHOW and self.round == len(ROUNDS) - 1:
            self._enter(Stage.RESULT)
        elif self.stage is Stage.SHOW:
            self.round += 1
            self._enter(Stage.COUNT)
        else:
            self._enter({Stage.READY: Stage.COUNT, Stage.COUNT: Stage.PLAY, Stage.PLAY: Stage.SHOW}[self.stage])

    def _read(self, player: Player) -> str:
        """Return the result of a player's finished round: the requested class, or the strongest other class."""
        if player.reached:
            return self.asked
        if not player.total.size:
            return ""
        strongest = self.labels[int(player.total.argmax())]
        return "" if strongest == self.asked else strongest  # the strongest class, but below its goal

    def _enter(self, stage: Stage) -> None:
        self.stage, self.began_s = stage, self.now_s
        if stage is Stage.COUNT:
            self.players = tuple(Player(player.track_id, player.box, read=player.read) for player in self.players)

    def _wait(self) -> None:
        """Reset the game."""
        self.stage, self.round, self.players = Stage.WAIT, 0, ()


def _followed(players: tuple[Player, ...], faces: tuple[Face, ...]) -> tuple[Player, ...]:
    """Update the players' faces. A player whose face is lost gets the nearest face of no other player."""
    here = {face.track_id: face for face in faces}
    free = [face for face in faces if face.track_id not in {player.track_id for player in players}]
    found = []
    for player in players:
        if player.track_id in here:
            found.append(replace(player, box=here[player.track_id].box))
        elif free:
            nearest = min(free, key=lambda face: _distance(face.box, player.box))
            free.remove(nearest)
            found.append(replace(player, track_id=nearest.track_id, box=nearest.box))
        else:
            found.append(replace(player, track_id=0))
    return tuple(found)


def _distance(a: Box, b: Box) -> float:
    return float(np.hypot(a[0] + a[2] - b[0] - b[2], a[1] + a[3] - b[1] - b[3]))
