"""What classes are called on the screen, in six languages or in your own words, and smaller sets of classes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fer_live.types import UNCLEAR, UNSURE, Analysis, Face, OutputError

LANGUAGES = ("en", "de", "fr", "es", "tr", "ja")
ASSET = Path(__file__).parents[1] / "assets" / "languages.json"
LONGEST = 200  # characters of one text
# class of the smaller set -> the classes whose probabilities are summed for it
LABEL_SETS = {
    "basic": {"positive": ("happy",), "neutral": ("neutral",), "negative": ("angry", "disgust", "fear", "sad"),
              "surprised": ("surprise",)},
}


def read_words(language: str, own: Path | None = None) -> dict[str, str]:
    """The texts of the screen: class name, or name of a phrase -> words in `language`, replaced by those of the file `own`.

    own: UTF-8, a JSON object with any of the keys of `assets/languages.json`. Raises OutputError if it is not.
    """
    words = json.loads(ASSET.read_text(encoding="utf-8"))[language]
    return {**words, **_read_own(own, set(words))} if own else words


def _read_own(path: Path, known: set[str]) -> dict[str, str]:
    try:
        given = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise OutputError(f"--labels {path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise OutputError(f"--labels {path}: is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    except json.JSONDecodeError as error:
        raise OutputError(f"--labels {path}: is no JSON (line {error.lineno}: {error.msg})") from None
    except RecursionError:
        raise OutputError(f"--labels {path}: is no object of texts, such as {{\"happy\": \"joyful\"}}") from None
    if not isinstance(given, dict) or not given:
        raise OutputError(f"--labels {path}: is no object of texts, such as {{\"happy\": \"joyful\"}}")
    unknown = sorted(set(given) - known)
    if unknown:
        raise OutputError(f"--labels {path}: nothing is called {', '.join(unknown[:5])}; there are: {', '.join(sorted(known))}")
    for key, text in given.items():
        if not isinstance(text, str) or not text.strip() or len(text) > LONGEST or not text.isprintable():
            raise OutputError(f"--labels {path}: {key} must be a line of text of at most {LONGEST} characters")
    return given


class Reduction:
    """Analysis -> the same Analysis in a smaller set of classes: everything that comes after it knows no others.

    labels: the model's class names, in the order of the probabilities. steady: makes what steadies the label of a track, with
    `update(track_id, probs, time_s) -> probs, label, confidence` and `forget(time_s)`, as `smoothing.Smoother` does; given
    as a Smoother that does not smooth, since the probabilities are smooth already and summing keeps them so.
    stills: every picture stands alone. Raises OutputError for a model with other classes.
    """

    def __init__(self, name: str, labels: tuple[str, ...], steady: Callable[[tuple[str, ...]], Any], stills: bool = False):
        groups = LABEL_SETS[name]
        if sorted(label for members in groups.values() for label in members) != sorted(labels):
            raise OutputError(f"--label-set {name} is not for a model with the classes {', '.join(labels)}")
        self.labels = tuple(groups)
        self.matrix = np.array([[label in members for members in groups.values()] for label in labels], np.float32)  # (7, G)
        self.make, self.stills = steady, stills
        self.steady = steady(self.labels)

    def __call__(self, analysis: Analysis) -> Analysis:
        """The faces of `analysis` with (G,) probabilities, label and confidence of the smaller set."""
        if self.stills:
            self.forget()
        time_s = analysis.frame.time_s
        faces = tuple(self._reduced(face, time_s) for face in analysis.faces)
        self.steady.forget(time_s)
        return replace(analysis, faces=faces)

    def forget(self) -> None:
        """Forget everyone's label."""
        self.steady = self.make(self.labels)

    def _reduced(self, face: Face, time_s: float) -> Face:
        probs, label, confidence = self.steady.update(face.track_id, face.probs @ self.matrix, time_s)
        because = face.unsure_because if face.unsure_because != UNCLEAR else ""  # summed up, it may be clear
        if because or label == UNSURE:
            label, because = UNSURE, because or UNCLEAR
        return replace(face, probs=probs, label=label, confidence=confidence, unsure_because=because)
