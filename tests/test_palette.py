"""One palette: labels have the same, distinguishable colors in every view."""

import itertools
import re

import cv2
import numpy as np
import pytest

from fer_live.model.spec import EMOTIONS
from fer_live.screen.palette import COLORS, COLORS_ON_LIGHT, DARKEST_LIGHT, LIGHTEST_DARK, PLATE, WHITE, as_hex, contrast
from fer_live.types import UNSURE
from fer_live.web import PageConfig, bind_endpoint
from fer_live.web.pages import Pages
from tests.conftest import ROOT

WEB = ROOT / "fer_live" / "assets" / "web"
# Simulated color vision deficiency in linear sRGB: Machado, Oliveira and Fernandes 2009, severity 1.0.
SIGHT = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
LEAST = 0.09  # in OKLab; differences of about 0.02 are barely visible


def oklab(bgr, sight):
    """Ottosson 2020."""
    srgb = np.array(bgr[::-1]) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(SIGHT[sight]) @ linear, 0, 1)
    cones = np.array([[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
                      [0.0883024619, 0.2817188376, 0.6299787005]]) @ seen
    return np.array([[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
                     [0.0259040371, 0.7827717662, -0.8086757660]]) @ np.cbrt(cones)


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("colors", [COLORS, COLORS_ON_LIGHT], ids=["on dark", "on light"])
def test_label_colors_are_distinguishable(colors, sight):
    for a, b in itertools.combinations((*EMOTIONS, UNSURE), 2):
        assert np.linalg.norm(oklab(colors[a], sight) - oklab(colors[b], sight)) >= LEAST, (a, b)


def test_contrast_matches_wcag():
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((119, 119, 119), (255, 255, 255)) == pytest.approx(4.48, abs=0.01)


def test_colors_have_3_to_1_contrast():
    for name in COLORS:
        for ground in ((0, 0, 0), PLATE, LIGHTEST_DARK):
            assert contrast(COLORS[name], ground) >= 3, name
        for ground in (DARKEST_LIGHT, WHITE):
            assert contrast(COLORS_ON_LIGHT[name], ground) >= 3, name


def test_label_has_the_same_hue_on_every_background():
    def hue(color):
        return cv2.cvtColor(np.uint8([[color]]), cv2.COLOR_BGR2HSV)[0, 0, 0] * 2.0

    for name in set(EMOTIONS) - {"neutral"}:
        apart = abs(hue(COLORS[name]) - hue(COLORS_ON_LIGHT[name]))
        assert min(apart, 360 - apart) < 60, name


def test_web_pages_use_the_palette():
    endpoint = bind_endpoint("127.0.0.1", 0)
    with endpoint.socket:
        css = Pages(PageConfig(), endpoint).files["colors.css"][0].decode()
    blocks = [dict(re.findall(r"--(\w+): (#\w+);", block)) for block in re.findall(r"\{([^{}]+)\}", css)]
    for shown, colors in zip(blocks, (COLORS_ON_LIGHT, COLORS, COLORS), strict=True):  # light, dark, over images
        wanted = {name: as_hex(color) for name, color in colors.items()}
        assert {name: shown[name] for name in wanted} == wanted
        assert shown["other"] not in wanted.values(), "an unknown label has its own color"
    for path in WEB.glob("*.css"):
        assert not any(color in path.read_text() for block in blocks for color in block.values()), path
    assert f'stroke="{as_hex(COLORS["happy"])}"' in (WEB / "icon.svg").read_text()


def test_page_backgrounds_are_allowed_by_the_palette():
    light, dark = (WEB / "style.css").read_text().split("@media (prefers-color-scheme: dark)")[:2]
    for part, colors in ((light, COLORS_ON_LIGHT), (dark.split("* {")[0], COLORS)):
        given = dict(re.findall(r"--(\w+): (#\w{6});", part))
        for ground in ("card", "track"):
            bgr = tuple(bytes.fromhex(given[ground][1:])[::-1])
            assert min(contrast(color, bgr) for color in colors.values()) >= 3, ground


def test_only_the_palette_defines_label_colors():
    """Duplicated colors diverge over time."""
    colors = [*COLORS.values(), *COLORS_ON_LIGHT.values()]
    numbers = [f"({b}, {g}, {r})" for b, g, r in colors if len({b, g, r}) > 1]
    texts = numbers + [as_hex(color) for color in colors]
    for path in (ROOT / "fer_live").rglob("*.py"):
        found = [text for text in texts if text in path.read_text().lower()]
        assert not found or path.name == "palette.py", path
