"""JSONL and CSV logs with time stamps and track ids, flushed line by line."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import IO

import numpy as np

from fer_live.types import Analysis, OutputError


def entry(analysis: Analysis, labels: tuple[str, ...], start_s: float = 0.0) -> dict:
    """The object that stands for one frame: a line of a .jsonl log, an event of the web view.

    labels: class names in the order of the probabilities. start_s: the frame time from which times count.
    """
    made: dict = {"frame": analysis.frame.index, "time_s": _time_s(analysis, start_s), "faces": []}
    if analysis.frame.name:
        made["file"] = analysis.frame.name
    for face in analysis.faces:
        made["faces"].append({
            "track_id": face.track_id, "box": list(face.box), "label": face.label,
            "confidence": round(face.confidence, 4),
            "probs": {name: round(float(p), 4) for name, p in zip(labels, face.probs, strict=True)},
        })
    return made


def _time_s(analysis: Analysis, start_s: float) -> float:
    return round(analysis.frame.time_s - start_s, 6)


class Log:
    """A sink: .jsonl gets an object a frame, also where no face is; .csv a row a face.

    labels: class names in the order of the probabilities. live: times count from the first frame.
    The file is made at the first frame, so that a run that fails before it leaves none behind.
    """

    def __init__(self, path: Path, labels: tuple[str, ...], live: bool = False):
        self.path, self.labels, self.live = path, labels, live
        self.start_s = 0.0
        self.file: IO[str] | None = None

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *exception) -> None:
        if self.file is not None:
            self.file.close()

    def write(self, image: np.ndarray, analysis: Analysis) -> None:
        """Append one frame. Raises OutputError if it cannot be written."""
        try:
            if self.file is None:
                self._open(analysis)
            assert self.file is not None
            if self.path.suffix.lower() == ".csv":
                csv.writer(self.file, lineterminator="\n").writerows(self._rows(analysis))
            else:
                self.file.write(json.dumps(entry(analysis, self.labels, self.start_s)) + "\n")
            self.file.flush()
        except OSError as error:
            raise OutputError(f"cannot write to {self.path} ({error.strerror}); what was logged before is kept") from None

    def _open(self, analysis: Analysis) -> None:
        self.file = open(self.path, "w", newline="", encoding="utf-8")
        self.start_s = analysis.frame.time_s if self.live else 0.0
        if self.path.suffix.lower() == ".csv":
            fields = ["frame", "time_s", "track_id", "x1", "y1", "x2", "y2", "label", "confidence", *self.labels]
            csv.writer(self.file, lineterminator="\n").writerow(fields)

    def _rows(self, analysis: Analysis) -> list[list]:
        return [
            [analysis.frame.index, _time_s(analysis, self.start_s), face.track_id, *face.box, face.label,
             round(face.confidence, 4), *(round(float(p), 4) for p in face.probs)]
            for face in analysis.faces
        ]
