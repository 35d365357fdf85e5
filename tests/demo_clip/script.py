"""The demo's people and script: expressions, head poses and positions over time. The clip loops seamlessly."""

from __future__ import annotations

import math

import numpy as np

from tests.demo_clip.people import smooth
from tests.demo_clip.person import Looks

DURATION_S = 20.0
CAST = {
    "Ada": Looks({"macrodetails/caucasian-female-young": 0.8, "macrodetails/asian-female-young": 0.2,
                  "macrodetails/universal-female-young-averagemuscle-averageweight": 1.0},
                 skin=(0.40, 0.215, 0.15), lips=(0.34, 0.105, 0.09), iris=(0.05, 0.065, 0.05), hair=(0.075, 0.036, 0.016),
                 shirt=(0.03, 0.085, 0.10), style="bob", brow=0.6),
    "Ben": Looks({"macrodetails/african-male-young": 0.5, "macrodetails/caucasian-male-young": 0.5,
                  "macrodetails/universal-male-young-averagemuscle-averageweight": 1.0},
                 skin=(0.22, 0.11, 0.066), lips=(0.19, 0.07, 0.06), iris=(0.05, 0.025, 0.012), hair=(0.014, 0.011, 0.010),
                 shirt=(0.26, 0.23, 0.19), style="short", beard=0.9, brow=1.0),
}
Units = dict[str, float]
NEUTRAL: Units = {"mouthPress*": 0.4, "browDown*": 0.4, "eyeSquint*": 0.3, "mouthClose": 0.05}
SURPRISED: Units = {"browInnerUp": 0.9, "browOuterUp*": 0.9, "eyeWide*": 0.8, "jawOpen": 0.5, "mouthFunnel": 0.3}
ADA_HAPPY: Units = {"mouthSmile*": 1.34, "jawOpen": 0.15}
ADA_SAD: Units = {"browInnerUp": 1.7, "mouthFrown*": 1.3, "mouthShrugLower": 1.27, "eyeSquint*": 0.5, "browDown*": 1.03,
                  "mouthRollLower": 0.59, "mouthStretch*": 1.02}
BEN_HAPPY: Units = {"mouthSmile*": 1.34, "cheekSquint*": 0.46, "jawOpen": 0.29, "mouthUpperUp*": 0.89, "browDown*": 0.5}
BEN_ANGRY: Units = {"browDown*": 1.7, "noseSneer*": 1.24, "mouthPress*": 0.6, "mouthFrown*": 1.33, "jawOpen": 0.66,
                    "mouthUpperUp*": 0.43, "mouthShrugUpper": 0.13, "eyeSquint*": 0.38}

# When: face units; pitch, yaw and roll in degrees; x, y and z of the eyes in decimeters; gaze to the right and up in degrees.
Key = tuple[float, Units, tuple[float, float, float], tuple[float, float, float], tuple[float, float]]
ADA: tuple[Key, ...] = (
    (0.0, ADA_HAPPY, (0, 0, 0), (-1.0, 7.0, 1.3), (0, 0)),
    (2.2, ADA_HAPPY, (0, 0, 0), (-1.0, 7.0, 1.3), (0, 0)),
    (2.7, NEUTRAL, (0, 8, 0), (-1.3, 7.0, 1.3), (14, 0)),
    (3.2, SURPRISED, (-3, 6, 0), (-1.6, 7.0, 1.3), (8, 0)),
    (5.2, SURPRISED, (-2, 4, 0), (-1.7, 7.0, 1.3), (4, 0)),
    (5.7, ADA_HAPPY, (0, 4, 3), (-1.7, 7.0, 1.3), (3, 0)),
    (8.4, ADA_HAPPY, (1, 2, 2), (-1.7, 7.0, 1.3), (0, 0)),
    (9.0, ADA_SAD, (2, -2, -2), (-1.7, 6.97, 1.3), (0, -3)),
    (11.6, ADA_SAD, (2, -4, -2), (-1.7, 6.97, 1.3), (0, -3)),
    (12.4, NEUTRAL, (2, -62, 0), (-1.75, 7.0, 1.3), (-8, 0)),
    (13.4, NEUTRAL, (2, -64, 0), (-1.75, 7.0, 1.3), (-8, 0)),
    (14.2, NEUTRAL, (0, 0, 0), (-1.7, 7.0, 1.3), (0, 0)),
    (16.4, NEUTRAL, (0, 2, 0), (-1.7, 7.0, 1.3), (4, 0)),
    (18.3, NEUTRAL, (0, 5, 0), (-1.5, 7.0, 1.3), (8, 0)),
    (18.9, ADA_HAPPY, (0, 2, 0), (-1.2, 7.0, 1.3), (3, 0)),
    (20.0, ADA_HAPPY, (0, 0, 0), (-1.0, 7.0, 1.3), (0, 0)),
)
BEN: tuple[Key, ...] = (
    (2.4, NEUTRAL, (0, -14, 0), (6.6, 7.2, 1.3), (-6, 0)),
    (4.0, NEUTRAL, (0, -4, 0), (1.75, 7.2, 1.3), (-3, 0)),
    (5.6, NEUTRAL, (0, -2, 0), (1.7, 7.2, 1.3), (0, 0)),
    (6.1, BEN_HAPPY, (-1, -3, -2), (1.7, 7.2, 1.3), (0, 0)),
    (8.2, BEN_HAPPY, (-1, -2, -2), (1.7, 7.2, 1.3), (0, 0)),
    (8.7, BEN_ANGRY, (4, 0, 0), (1.7, 7.15, 1.4), (0, 0)),
    (11.4, BEN_ANGRY, (4, 0, 1), (1.7, 7.15, 1.4), (0, 0)),
    (12.0, NEUTRAL, (0, -3, 0), (1.7, 7.2, 1.3), (-4, 0)),
    (16.3, NEUTRAL, (0, 0, 0), (1.7, 7.2, 1.3), (0, 0)),
    (16.6, SURPRISED, (-3, 0, 0), (1.7, 7.2, 1.3), (0, 0)),
    (17.9, SURPRISED, (-2, 0, 0), (1.7, 7.2, 1.3), (0, 0)),
    (18.3, NEUTRAL, (0, 12, 0), (2.3, 7.2, 1.3), (8, 0)),
    (19.6, NEUTRAL, (0, 20, 0), (6.8, 7.2, 1.3), (8, 0)),
)
KEYS = {"Ada": ADA, "Ben": BEN}
BLINKS_S = {"Ada": (1.3, 7.2, 11.8, 14.0, 17.4), "Ben": (4.5, 7.6, 12.3, 13.7, 18.2)}
DARK_S = 14.6, 15.0, 16.2, 16.5  # the light begins to fade, is out, comes back, is there


def light(time_s: float) -> float:
    """The share of the room's light, linear."""
    out = smooth(DARK_S[0], DARK_S[1], time_s) * (1 - smooth(DARK_S[2], DARK_S[3], time_s))
    return float(0.01 ** out)


def moment(name: str, time_s: float) -> tuple[Units, tuple, tuple, tuple] | None:
    """Face units, angles, position and gaze of a person; None while out of view."""
    keys = KEYS[name]
    if not keys[0][0] <= time_s <= keys[-1][0]:
        return None
    after = next(i for i in range(1, len(keys)) if time_s <= keys[i][0])
    before, key = keys[after - 1], keys[after]
    share = float(smooth(before[0], key[0], time_s))
    units = {unit: (1 - share) * before[1].get(unit, 0.0) + share * key[1].get(unit, 0.0) for unit in {**before[1], **key[1]}}
    angles, place, gaze = (np.array(a) + share * (np.array(b) - a) for a, b in zip(before[2:], key[2:], strict=True))
    lid = max(math.exp(-(((time_s - at) / 0.06) ** 4)) for at in BLINKS_S[name])
    units["eyeBlink*"] = units.get("eyeBlink*", 0.0) * (1 - lid) + lid
    phase, start = 2 * math.pi * time_s / DURATION_S, 1.0 if name == "Ada" else 2.5
    angles += np.array([1.2 * math.sin(5 * phase + start), 2.0 * math.sin(3 * phase + start), math.sin(4 * phase + 2 * start)])
    place += np.array([0.05 * math.sin(3 * phase + start), 0.03 * math.sin(6 * phase + start), 0.0])
    return units, tuple(angles), tuple(place), tuple(gaze)
