"""Measures how well a face is visible, and whether that is enough to classify it.

The limits were measured on degraded images of PublicTest (1,124 faces; ground truth: the FER+ majority). Each limit is the point
at which the mean recall of the seven classes falls to half of its undisturbed value, from 0.81 to 0.41. Accuracy would mislead: a
network that sees nothing answers neutral for every face, which is correct for 38% of these faces.

| disturbance | recall | limit |
|---|---|---|
| size in pixels | 24: 0.73, 18: 0.62, 14: 0.49, 12: 0.42, 10: 0.33 | 12 pixels |
| Gaussian blur, sigma in pixels of 48 | 1: 0.74, 1.5: 0.61, 2: 0.49, 2.5: 0.34, 3: 0.24 | sharpness 0.31 |
| motion, pixels of 48 | 7: 0.45, 11: 0.32, 15: 0.27 | the same |
| light, with noise of 2 gray levels | 25%: 0.72, 15%: 0.63, 10%: 0.49, 7%: 0.39, 5%: 0.27 | darkness 0.945 |

None of PublicTest's 3,372 original faces exceeds any of these limits. The yaw limit cannot be measured this way: on 2,953 faces
with landmarks, the accuracy is 0.85 up to 30 degrees, 0.73 up to 40 (70 faces) and 0.70 up to 50 (27), and one face is beyond 55.
The accuracy beyond that is unknown, so the limit is 55.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from fer_live.model.detections import Detections
from fer_live.model.preprocess import resize_face
from fer_live.types import Visibility

SMALL, BLURRED, DARK, TURNED = "small", "blurred", "dark", "turned"
REASONS = (SMALL, DARK, BLURRED, TURNED)  # in order of priority: small faces are also blurred, and dark ones noisy and so sharp
SMALLEST = 12  # pixels of the frame; side
LEAST_SHARPNESS = 0.31
MOST_DARKNESS = 0.945
MOST_YAW = 55.0  # degrees
SIDE = 48  # pixels; crops are assessed at FER2013's size
SHARP = 0.128  # median of `_detail` over PublicTest
SECOND = np.array([[1, -2, 1]], np.float32)
STEADY_S = 0.2  # seconds; time constant of the smoothed values, so that one blurred frame does not make a face unsure
SLACK = 0.1  # fraction by which a face must exceed the limits to be classified again
MEMORY_S = 2.0


def see(crop: np.ndarray, box: np.ndarray | tuple[int, ...], yaw: float = np.nan, score: float = np.nan) -> Visibility:
    """Return the visibility of the face in `box` (4,) xyxy. crop: (S, S, C) uint8, the network's input. yaw, in degrees, and
    score are NaN if unknown."""
    gray = crop[:, :, 0] if crop.shape[2] == 1 else cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)
    gray = resize_face(np.ascontiguousarray(gray), SIDE)
    brightest = np.partition(gray, -(gray.size // 10), axis=None)[-(gray.size // 10)]  # 90th percentile
    known = [None if np.isnan(value) else round(float(value), digits) for value, digits in ((yaw, 1), (score, 3))]
    return Visibility(int(max(box[2] - box[0], box[3] - box[1])), round(_detail(gray) / SHARP, 3),
                      round(1 - float(brightest) / 255, 3), *known)


def see_all(crops: np.ndarray, boxes: np.ndarray, found: Detections) -> tuple[Visibility, ...]:
    """Return the visibility of each face. crops (M, S, S, C) uint8, boxes (M, 4) and `found`, M detections, correspond."""
    return tuple(map(see, crops, boxes, found.yaws, found.scores))


def _detail(gray: np.ndarray) -> float:
    """Return the fine detail of (48, 48) uint8 relative to its contrast, in the direction that has less: motion blurs only one.

    The image is smoothed first to reduce the effect of camera noise.
    """
    smooth = cv2.GaussianBlur(gray.astype(np.float32), (0, 0), 1.0)
    least = min(_contrast(cv2.filter2D(smooth, -1, kernel)) for kernel in (SECOND, SECOND.T))
    return least / max(1.0, _contrast(gray))


def _contrast(gray: np.ndarray) -> float:
    """Return the standard deviation of (H, W), faster than NumPy."""
    return float(cv2.meanStdDev(gray)[1][0, 0])


def why_unreadable(size: float, sharpness: float, darkness: float, yaw: float, slack: float = 0.0) -> str:
    """Return the first of REASONS that applies, or "" if the face can be classified. yaw: degrees to either side, at least 0.

    slack: fraction by which the face must exceed the limits.
    """
    holds = {
        SMALL: size < SMALLEST * (1 + slack),
        DARK: 1 - darkness < (1 - MOST_DARKNESS) * (1 + slack),
        BLURRED: sharpness < LEAST_SHARPNESS * (1 + slack),
        TURNED: yaw > MOST_YAW * (1 - slack),
    }
    return next((reason for reason in REASONS if holds[reason]), "")


@dataclass(slots=True)
class Seen:
    """State of one track."""

    mean: np.ndarray  # (4,) size, sharpness, darkness, absolute yaw
    time_s: float
    because: str
    view: Visibility  # the latest


class Readability:
    """Why each face cannot be classified, smoothed over time. Time is measured in seconds."""

    def __init__(self) -> None:
        self.states: dict[int, Seen] = {}

    def update(self, track_id: int, visibility: Visibility | None, time_s: float) -> tuple[str, bool]:
        """Add the visibility of a track at `time_s`, or None if it was not found in this frame.

        Return one of REASONS, or "" if the face can be classified, and whether it has just become classifiable again, so that
        earlier results should be discarded.
        """
        state = self.states.get(track_id)
        if visibility is None:
            return (state.because if state else ""), False
        # no yaw: detected by the cascade, which finds only frontal faces
        values = np.array([visibility.size, visibility.sharpness, visibility.darkness, abs(visibility.yaw or 0.0)])
        if state is None:
            state = self.states[track_id] = Seen(values, time_s, "", visibility)
        share = 1 - np.exp(-max(time_s - state.time_s, 0.0) / STEADY_S)
        before, state.mean, state.time_s = state.because, state.mean + share * (values - state.mean), time_s
        state.view = visibility
        size, sharpness, darkness, yaw = state.mean.tolist()
        state.because = why_unreadable(size, sharpness, darkness, yaw, SLACK if before else 0.0)
        return state.because, bool(before) and not state.because

    def last_view(self, track_id: int, box: tuple[int, int, int, int]) -> Visibility | None:
        """Return the visibility at the last classification of a face now in `box`, or None if there was none."""
        state = self.states.get(track_id)
        return replace(state.view, size=max(box[2] - box[0], box[3] - box[1])) if state else None

    def expire(self, time_s: float) -> None:
        """Drop tracks not seen for MEMORY_S."""
        self.states = {key: state for key, state in self.states.items() if time_s - state.time_s <= MEMORY_S}
