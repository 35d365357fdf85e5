"""The color of each label, the same in the window, the kiosk, the web view and the report: Okabe and Ito's palette, told apart
with any common color blindness (jfly.uni-koeln.de/color)."""

from __future__ import annotations

from fer_live.types import UNSURE

Color = tuple[int, int, int]  # BGR, 0..255

EMOTION_COLORS: dict[str, Color] = {
    "angry": (0, 94, 213), "disgust": (115, 158, 0), "fear": (167, 121, 204), "happy": (66, 228, 240),
    "neutral": (235, 235, 235), "sad": (178, 114, 0), "surprise": (233, 180, 86), UNSURE: (105, 105, 105),
}
SAME = {"positive": "happy", "negative": "angry", "surprised": "surprise"}  # the smaller set of classes, never beside those
COLORS: dict[str, Color] = {**EMOTION_COLORS, **{name: EMOTION_COLORS[like] for name, like in SAME.items()}}
PLATE: Color = (24, 24, 24)  # behind text on a picture
WHITE: Color = (255, 255, 255)
# In the web view, by its color scheme: what would be hard to see on the page's ground there. #rrggbb
WEB_LIGHT = {"neutral": "#c4c4c4"}
WEB_DARK = {UNSURE: "#9a9a9a"}


def as_hex(color: Color) -> str:
    """The color as #rrggbb."""
    blue, green, red = color
    return f"#{red:02x}{green:02x}{blue:02x}"
