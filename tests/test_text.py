"""Text on images: any external text is drawable during a run."""

import subprocess
import sys

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTFont

from fer_live.screen import text
from fer_live.screen.overlay import Overlay
from fer_live.types import Analysis, Frame, OutputError, Rates, View

NO_FONT = "\U0001fae0\U000f1234"  # an emoji of 2021, and a character for private use


@pytest.fixture
def no_other_fonts(monkeypatch):
    """A machine with only the bundled font."""
    monkeypatch.setattr(text, "_others", lambda characters: ())
    forget()
    yield
    forget()


def forget():
    for kept in (text.font_file, text._drawable, text._drawn, text._absent, text._characters):
        kept.cache_clear()


def written(words):
    image = np.zeros((60, 1200, 3), np.uint8)
    text.write(image, words, 5, 40, 20, (255, 255, 255))
    return image


@pytest.mark.parametrize("words", [f"/media/{NO_FONT}", "日本語 и русский", "disk\udcff", "two\nlines\tand\x07bell", NO_FONT,
                                   "\udcff", "\U0001f468\u200d\U0001f469"])
def test_every_text_is_measured_and_drawn(no_other_fonts, words):
    assert text.width(words, 20) > 0 and written(words).any()
    assert text.fit(words, 20, 10) >= 6
    assert "".join(text.wrap(words, 20, 40)).replace(" ", "") == "".join(words.split())


def test_missing_glyphs_are_replaced(no_other_fonts):
    file, drawn = text._drawable(f"disk {NO_FONT} full")
    assert file == str(text.BUNDLED) and drawn in ("disk \ufffd\ufffd full", "disk ?? full")
    assert np.array_equal(written(f"disk {NO_FONT}"), written(drawn[:7]))
    assert not np.array_equal(written(f"disk {NO_FONT}"), written("disk"))


def test_notice_with_an_emoji_is_drawn(no_other_fonts):
    view = View(notice=f"recording stopped: cannot write to /media/{NO_FONT}/o.mp4 (No space left on device)")
    frame = Frame(np.full((480, 640, 3), 90, np.uint8), 0, 0.0)
    image = Overlay(("happy",), view).draw(Analysis(frame, ()), Rates())
    assert (image[400:] != 90).any(axis=2).mean() > 0.1, "a dark plate at the bottom"


def test_rejects_undrawable_custom_labels(no_other_fonts):
    with pytest.raises(OutputError, match="no font here has"):
        text.check([f"happy {NO_FONT}"])


@pytest.mark.parametrize("answer", [b"/fonts/caf\xe9.ttf\n", None])
def test_unreadable_font_list_is_ignored(monkeypatch, answer):
    def run(command, **options):
        if answer is None:
            raise subprocess.TimeoutExpired(command, 5)
        return subprocess.CompletedProcess(command, 0, answer, b"")

    monkeypatch.setattr(text.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(text.subprocess, "run", run)
    text._others.cache_clear()
    forget()
    try:
        assert text.width(f"disk {NO_FONT}", 20) > 0
    finally:
        text._others.cache_clear()
        forget()


def test_bundled_character_list_matches_the_font():
    has = {chr(code) for code, glyph in TTFont(text.BUNDLED).getBestCmap().items() if glyph != ".notdef"}
    assert text._characters(str(text.BUNDLED)) == {c for c in has if not c.isspace()}


def test_bundled_font_text_does_not_load_fonttools():
    code = ("import sys; from fer_live.screen import text, words;"
            "[text.check(words.read_words(name).values()) for name in words.LANGUAGES]; print('fontTools' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


@pytest.fixture
def odd_font(tmp_path):
    """A font whose \u0394 looks like a missing glyph, and whose \u0395 is one."""
    pen = TTGlyphPen(None)
    for draw, corner in zip((pen.moveTo, pen.lineTo, pen.lineTo), ((0, 0), (500, 0), (500, 700)), strict=True):
        draw(corner)
    pen.closePath()
    font, names = FontBuilder(1000), [".notdef", "Delta", "question"]
    font.setupGlyphOrder(names)
    font.setupCharacterMap({0x394: "Delta", 0x395: ".notdef", ord("?"): "question"})
    font.setupGlyf(dict.fromkeys(names, pen.glyph()))
    font.setupHorizontalMetrics(dict.fromkeys(names, (600, 0)))
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": "Odd", "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    font.save(tmp_path / "odd.ttf")
    return str(tmp_path / "odd.ttf")


def test_glyph_coverage_comes_from_the_cmap(odd_font, no_other_fonts, monkeypatch):
    monkeypatch.setattr(text, "_others", lambda characters: (odd_font,))
    assert text.font_file("\u0394") == odd_font
    with pytest.raises(OutputError, match="no font here has \u0395"):
        text.check(["\u0395"])
    assert text._drawable("\u0394\u0395") == (odd_font, "\u0394?")


def test_damaged_font_is_skipped(odd_font, no_other_fonts, monkeypatch, tmp_path, capfd):
    content = open(odd_font, "rb").read()
    damaged = []
    for number, cut in enumerate((0, 40, len(content) // 2, len(content) - 9)):
        damaged.append(str(tmp_path / f"{number}.ttf"))
        with open(damaged[-1], "wb") as file:
            file.write(content[:cut])
    monkeypatch.setattr(text, "_others", lambda characters: (*damaged, "nowhere.ttf", odd_font))
    assert text.width("disk \u0394", 20) > 0 and written("\u0394").any()
    assert capfd.readouterr().err == ""
