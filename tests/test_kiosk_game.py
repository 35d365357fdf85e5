"""The game: its rounds, players and scores, and that it keeps nothing."""

import numpy as np
import pytest

from fer_live.app.config import KioskConfig
from fer_live.app.kiosk import make_game
from fer_live.kiosk.game import GOALS, LASTS_S, ROUNDS, Game, Player, Stage
from fer_live.model.spec import EMOTIONS
from fer_live.types import UNCLEAR, UNSURE, Analysis, Face, Frame, OutputError
from tests.test_app import refused


class Play:
    """A game with simulated frames."""

    def __init__(self):
        self.game, self.time_s = Game(EMOTIONS), 10.0

    def run(self, seconds, faces, every_s=0.1, because="", is_slate=False):
        """faces: (track id, place, class shown, its probability) of each."""
        end_s = self.time_s + seconds - 1e-6
        while self.time_s < end_s:
            self.time_s += every_s
            made = tuple(self.face(*face, because=because) for face in faces)
            self.game.update(Analysis(Frame(np.zeros((2, 2, 3), np.uint8), 0, self.time_s, is_slate=is_slate), made))
        return self.game

    def to(self, stage, faces, most_s=30.0, **options):
        """Run until the game reaches this stage."""
        end_s = self.time_s + most_s
        while self.run(0.1, faces, **options).stage is not stage:
            assert self.time_s < end_s, (stage, self.game.stage)
        return self.game

    @staticmethod
    def face(track_id, place, shown="neutral", share=0.6, because=""):
        probs = np.full(7, (1 - share) / 6, np.float32)
        probs[EMOTIONS.index(shown)] = share
        side = 120 - track_id
        return Face((300 * place, 50, 300 * place + side, 50 + side), track_id, probs, UNSURE if because else shown, share,
                    unsure_because=because)


def test_whole_game_with_one_player():
    play, asked = Play(), []
    assert not play.game.is_on and not play.run(1, []).is_on
    assert play.run(0.1, [(7, 0)]).stage is Stage.READY
    for number, wanted in enumerate(ROUNDS):
        play.to(Stage.COUNT, [(7, 0)])
        began_s = play.time_s
        assert play.game.round == number and play.game.left_s == pytest.approx(3.0)
        play.to(Stage.PLAY, [(7, 0)])
        assert play.time_s - began_s == pytest.approx(LASTS_S[Stage.COUNT], abs=0.11)
        asked.append(play.game.asked)
        assert play.game.players[0].share < 0.5
        if number % 2 == 0:
            play.run(0.1, [(7, 0, wanted, 0.9)])
            assert play.game.stage is Stage.SHOW, "recognized: the round ends before its six seconds"
            assert play.game.players[0].reached and play.game.players[0].read[-1] == wanted
        else:
            began_s = play.time_s
            play.to(Stage.SHOW, [(7, 0, "neutral", 0.8)])
            assert play.time_s - began_s == pytest.approx(LASTS_S[Stage.PLAY], abs=0.11)
            assert not play.game.players[0].reached and play.game.players[0].read[-1] == "neutral"
    assert tuple(asked) == ROUNDS and set(ROUNDS) == set(EMOTIONS) - {"neutral"}
    play.to(Stage.RESULT, [(7, 0)])
    assert play.game.players[0].points == 3
    began_s = play.time_s
    play.to(Stage.WAIT, [(7, 0)])
    assert play.time_s - began_s == pytest.approx(LASTS_S[Stage.RESULT], abs=0.11)
    assert play.game.players == () and play.game.round == 0, "nothing is kept"
    assert play.run(0.1, [(7, 0)]).stage is Stage.READY, "the next game starts"


@pytest.mark.parametrize("asked", ROUNDS)
def test_each_class_has_its_goal(asked):
    for share, reached in ((GOALS[asked] - 0.01, False), (GOALS[asked] + 0.001, True)):
        play = Play()
        play.to(Stage.PLAY, [(1, 0)])
        play.game.round = ROUNDS.index(asked)
        play.run(0.1, [(1, 0, asked, share)])
        assert play.game.players[0].reached == reached
        assert play.game.players[0].share == pytest.approx(min(1.0, share / GOALS[asked]), abs=1e-3)


def test_missed_round_shows_the_strongest_other_class():
    for shown, share, read in (("surprise", 0.7, "surprise"), ("happy", 0.49, "")):  # below its goal
        play = Play()
        play.to(Stage.SHOW, [(1, 0, shown, share)])
        assert play.game.players[0].read == (read,)
    unseen = Play()
    unseen.to(Stage.PLAY, [(1, 0)])
    unseen.to(Stage.SHOW, [(1, 0, "happy", 0.9)], because="turned")
    assert unseen.game.players[0].read == ("",), "a face that cannot be classified does not count"
    unclear = Play()
    unclear.to(Stage.PLAY, [(1, 0)])
    unclear.run(0.1, [(1, 0, "happy", 0.9)], because=UNCLEAR)
    assert unclear.game.players[0].reached


def test_three_players_have_separate_rings():
    play, four = Play(), [(1, 3), (2, 0), (3, 2), (4, 1)]
    play.run(1, four)
    assert [player.track_id for player in play.game.players] == [2, 3, 1], "the three largest, from left to right"
    play.run(2, four[:2])
    assert [player.track_id for player in play.game.players] == [2, 1], "a visitor who leaves early does not play"
    play.to(Stage.PLAY, four[:2])
    play.run(0.1, [(1, 3, "happy", 0.9), (2, 0), (3, 2, "happy", 0.9)])
    assert play.game.stage is Stage.PLAY and [player.reached for player in play.game.players] == [False, True]
    play.run(0.1, [(1, 3), (2, 0)])
    assert [player.reached for player in play.game.players] == [False, True], "it stays full"
    play.run(0.1, [(1, 3), (2, 0, "happy", 0.9)])
    assert play.game.stage is Stage.SHOW and [player.points for player in play.game.players] == [1, 1]


def test_lost_player_continues_with_a_new_track():
    play = Play()
    play.to(Stage.PLAY, [(1, 0), (2, 2)])
    play.run(0.5, [(1, 0)])
    assert [player.track_id for player in play.game.players] == [1, 0]
    play.run(0.1, [(1, 0), (9, 2, "happy", 0.9)])
    assert [player.track_id for player in play.game.players] == [1, 9] and play.game.players[1].reached
    play.run(0.1, [(9, 2), (1, 0), (8, 1)])
    assert [player.track_id for player in play.game.players] == [1, 9], "a visitor who joins later does not play"
    play.run(0.1, [(5, 2), (6, 0)])
    assert [player.track_id for player in play.game.players] == [6, 5], "the nearest"


def test_game_ends_when_everybody_has_left():
    for stage in (Stage.READY, Stage.COUNT, Stage.PLAY, Stage.SHOW):
        play = Play()
        play.to(stage, [(1, 0)])
        play.run(2.5, [], is_slate=True)
        assert play.game.is_on, "a moment"
        play.run(0.6, [])
        assert not play.game.is_on and play.game.players == (), stage
    gap = Play()
    gap.to(Stage.PLAY, [(1, 0)])
    gap.run(5.0, [(2, 0)], every_s=5.0)
    assert gap.game.stage is Stage.READY, "no image for so long: somebody else"
    back = Play()
    back.to(Stage.PLAY, [(1, 0)])
    back.time_s = 0.0
    assert back.run(0.1, [(1, 0)]).stage is Stage.READY


def test_player_who_was_never_seen_has_no_points():
    assert Player(1, (0, 0, 1, 1)).points == 0 and Player(1, (0, 0, 1, 1), read=("", "surprise", "happy")).points == 1


def test_game_options(capsys):
    from fer_live.app.options import parse

    assert parse(["--kiosk", "--challenge"]).kiosk == KioskConfig(challenge=True) and not parse(["--kiosk"]).kiosk.challenge
    for arguments, words in (
        (["--challenge"], "--challenge is for a kiosk; add --kiosk, or leave it out"),
        (["--kiosk", "--challenge", "--label-set", "basic"], "--label-set basic has fewer"),
        (["--kiosk", "--challenge", "--calibrate"], "--challenge and --calibrate cannot be combined"),
    ):
        assert words in refused(capsys, "--source", "demo", *arguments), arguments
    with pytest.raises(OutputError, match="--challenge asks for fear, which this model lacks"):
        make_game(tuple(name for name in EMOTIONS if name != "fear"))
