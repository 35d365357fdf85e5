"""One palette: every view of a face shows its label in the same color."""

import re

from fer_live.screen.palette import COLORS, WEB_DARK, WEB_LIGHT, as_hex
from tests.conftest import ROOT

WEB = ROOT / "fer_live" / "assets" / "web"


def test_the_web_view_has_the_palettes_colors():
    light, dark = (WEB / "style.css").read_text().split("@media (prefers-color-scheme: dark)")[:2]
    given = [dict(re.findall(r"--(\w+): (#\w+);", part.split("* {")[0])) for part in (light, dark)]
    wanted = {name: as_hex(color) for name, color in COLORS.items()}
    shown = {"light": given[0], "dark": given[0] | given[1]}
    for scheme, own in (("light", WEB_LIGHT), ("dark", WEB_DARK)):
        assert {name: shown[scheme][name] for name in wanted} == {**wanted, **own}, scheme
    assert not {shown["light"]["other"], shown["dark"]["other"]} & set(wanted.values()), "an unknown label looks like no other"
    assert f'stroke="{as_hex(COLORS["happy"])}"' in (WEB / "icon.svg").read_text()


def test_no_other_module_has_colors_of_labels():
    """A color that is written down twice is soon two colors."""
    numbers = [f"({b}, {g}, {r})" for b, g, r in COLORS.values() if len({b, g, r}) > 1]
    texts = numbers + [as_hex(color) for color in COLORS.values()]
    for path in (ROOT / "fer_live").rglob("*.py"):
        found = [text for text in texts if text in path.read_text().lower()]
        assert not found or path.name == "palette.py", path
