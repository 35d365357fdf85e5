"""The color of each label: one hue for each in the window, the kiosk, the web view and the report.

Each label has a color for dark backgrounds and one for light backgrounds. All of them have a contrast of at least 3:1 (WCAG 2.2,
1.4.11) on backgrounds no lighter than LIGHTEST_DARK or no darker than DARKEST_LIGHT, respectively. Two labels of one set differ
by at least 0.09 in OKLab, also with simulated protanopia, deuteranopia and tritanopia (Machado et al. 2009). Both properties are
tested in tests/test_palette.py.
"""

from __future__ import annotations

from fer_live.types import UNSURE

Color = tuple[int, int, int]  # BGR, 0..255

EMOTION_COLORS: dict[str, Color] = {  # on dark backgrounds
    "angry": (28, 74, 224), "disgust": (104, 196, 132), "fear": (230, 133, 211), "happy": (28, 223, 255),
    "neutral": (246, 246, 246), "sad": (251, 108, 106), "surprise": (252, 220, 112), UNSURE: (142, 142, 142),
}
EMOTION_COLORS_ON_LIGHT: dict[str, Color] = {
    "angry": (12, 0, 176), "disgust": (58, 96, 10), "fear": (129, 9, 104), "happy": (8, 112, 178),
    "neutral": (29, 29, 29), "sad": (224, 82, 26), "surprise": (194, 137, 0), UNSURE: (128, 128, 128),
}
SAME = {"positive": "happy", "negative": "angry", "surprised": "surprise"}  # the three-class set; never mixed with the others
COLORS: dict[str, Color] = {**EMOTION_COLORS, **{name: EMOTION_COLORS[like] for name, like in SAME.items()}}
COLORS_ON_LIGHT: dict[str, Color] = {
    **EMOTION_COLORS_ON_LIGHT, **{name: EMOTION_COLORS_ON_LIGHT[like] for name, like in SAME.items()}}
LIGHTEST_DARK: Color = (51, 51, 51)  # the lightest background for COLORS
DARKEST_LIGHT: Color = (226, 230, 230)  # the darkest background for COLORS_ON_LIGHT
PLATE: Color = (24, 24, 24)  # background of text on an image
WHITE: Color = (255, 255, 255)


def as_hex(color: Color) -> str:
    """Format the color as #rrggbb."""
    blue, green, red = color
    return f"#{red:02x}{green:02x}{blue:02x}"


def luminance(color: Color) -> float:
    """Return the relative luminance as defined by WCAG 2.2, 0..1."""
    blue, green, red = (v / 3294.6 if v <= 10 else ((v / 255 + 0.055) / 1.055) ** 2.4 for v in color)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(a: Color, b: Color) -> float:
    """Return the contrast ratio of two colors as defined by WCAG 2.2, 1..21."""
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)
