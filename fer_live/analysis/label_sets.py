"""Smaller label sets, which sum the probabilities of several of the model's classes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fer_live.analysis.smoothing import Smoother
from fer_live.types import UNCLEAR, UNSURE, Analysis, Face, OutputError

# class of the smaller set -> the model's classes summed for it
LABEL_SETS = {
    "basic": {"positive": ("happy",), "neutral": ("neutral",), "negative": ("angry", "disgust", "fear", "sad"),
              "surprised": ("surprise",)},
}


class Reduction:
    """Analysis -> the same Analysis in a smaller set of classes; later stages see only those.

    labels: the model's class names, in the order of the probabilities. Raises OutputError if the model's classes do not match.
    """

    def __init__(self, name: str, labels: tuple[str, ...]):
        groups = LABEL_SETS[name]
        if sorted(label for members in groups.values() for label in members) != sorted(labels):
            raise OutputError(f"--label-set {name} is not for a model with the classes {', '.join(labels)}")
        self.labels = tuple(groups)
        self.matrix = np.array([[label in members for members in groups.values()] for label in labels], np.float32)  # (7, G)
        self.forget()

    def __call__(self, analysis: Analysis) -> Analysis:
        """Return `analysis` with probabilities (G,), label and confidence in the smaller set."""
        time_s = analysis.frame.time_s
        faces = tuple(self._reduced(face, time_s) for face in analysis.faces)
        self.smoother.expire(time_s)
        return replace(analysis, faces=faces)

    def forget(self) -> None:
        """Forget the labels of all tracks."""
        # stabilizes the label only: sums of smoothed probabilities are already smooth
        self.smoother = Smoother(self.labels, time_constant_s=0)

    def _reduced(self, face: Face, time_s: float) -> Face:
        probs, label, confidence = self.smoother.update(face.track_id, face.probs @ self.matrix, time_s)
        because = face.unsure_because if face.unsure_because != UNCLEAR else ""  # the summed class may be clear
        if because or label == UNSURE:
            label, because = UNSURE, because or UNCLEAR
        return replace(face, probs=probs, label=label, confidence=confidence, unsure_because=because)
