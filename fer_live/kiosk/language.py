"""Selects the language of the kiosk's screen."""

from __future__ import annotations

TURN_S = 8.0  # seconds; each language is shown this long


class Language:
    """Languages that take turns until a visitor chooses one. words: for each language, the texts of `read_words`."""

    def __init__(self, words: list[dict[str, str]]):
        self.all = words
        self.number = 0  # index of the current language
        self.began_s: float | None = None  # start of its turn; None: set by the next frame
        self.is_chosen = False

    @property
    def words(self) -> dict[str, str]:
        """The screen's texts in the current language."""
        return self.all[self.number]

    @property
    def next_name(self) -> str:
        """The next language's own name."""
        return self.all[(self.number + 1) % len(self.all)]["language"]

    def turn(self, time_s: float, is_held: bool = False) -> None:
        """Advance to the next language if the turn is over, given a frame's time. is_held: keep the current language for now."""
        if self.began_s is None or time_s < self.began_s or is_held:
            self.began_s = time_s
        elif not self.is_chosen and time_s - self.began_s >= TURN_S:
            self.number, self.began_s = (self.number + 1) % len(self.all), time_s

    def choose_next(self) -> None:
        """Select the next language at a visitor's request; it stays until the visitor leaves."""
        self.number, self.began_s, self.is_chosen = (self.number + 1) % len(self.all), None, len(self.all) > 1

    def forget(self) -> None:
        """Resume taking turns after the visitor has left."""
        self.is_chosen = False
