"""Which of a kiosk's languages all of its screen is in."""

from __future__ import annotations

TURN_S = 8.0  # a language is shown for so long


class Language:
    """The languages take turns until a visitor chooses one. words: for each, the texts of `read_words`."""

    def __init__(self, words: list[dict[str, str]]):
        self.all = words
        self.number = 0  # of the language that is shown
        self.began_s: float | None = None  # since when; None: to be set by the next picture
        self.is_chosen = False

    @property
    def words(self) -> dict[str, str]:
        """The texts of the screen, in the language that is shown."""
        return self.all[self.number]

    @property
    def next_name(self) -> str:
        """What the language that comes next calls itself."""
        return self.all[(self.number + 1) % len(self.all)]["language"]

    def turn(self, time_s: float, is_held: bool = False) -> None:
        """Note the time of a picture, and go on when a language has had its turn. is_held: keep this one for now."""
        if self.began_s is None or time_s < self.began_s or is_held:
            self.began_s = time_s
        elif not self.is_chosen and time_s - self.began_s >= TURN_S:
            self.number, self.began_s = (self.number + 1) % len(self.all), time_s

    def choose_next(self) -> None:
        """A visitor asks for the next language; it stays until the visitor has left."""
        self.number, self.began_s, self.is_chosen = (self.number + 1) % len(self.all), None, len(self.all) > 1

    def forget(self) -> None:
        """The visitor has left: take turns again."""
        self.is_chosen = False
