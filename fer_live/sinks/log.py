"""JSONL and CSV logs with timestamps and track ids, flushed line by line. `log_reader.py` reads them back."""

from __future__ import annotations

import csv
import io
import json
import time
from pathlib import Path

import numpy as np

from fer_live.redact import redact
from fer_live.sinks.disk import check_still_there, make_new
from fer_live.types import Analysis, Face, OutputError

FACE_FIELDS = ("frame", "time_s", "track_id", "x1", "y1", "x2", "y2", "label", "confidence")
FILE_FIELD = "file"
VISIBILITY_FIELDS = ("size", "sharpness", "darkness", "yaw", "score")  # per face; empty if unknown
LAST_FIELDS = (*VISIBILITY_FIELDS, "unsure_because")


def entry(analysis: Analysis, labels: tuple[str, ...], start_s: float = 0.0) -> dict:
    """Return the JSON object of one frame: a line of a .jsonl log, or an event of the web view.

    labels: class names in the order of the probabilities. start_s: frame time that becomes time 0.
    """
    result: dict = {"frame": analysis.frame.index, "time_s": _time_s(analysis, start_s), "faces": []}
    if analysis.frame.is_slate:
        result["camera_lost"] = True  # distinguishes "not analyzed" from "no faces"
    if analysis.frame.name:
        result["file"] = analysis.frame.name
    for face in analysis.faces:
        result["faces"].append({
            "track_id": face.track_id, "box": list(face.box), "label": face.label,
            "confidence": round(face.confidence, 4),
            "probs": {name: round(float(p), 4) for name, p in zip(labels, face.probs, strict=True)},
        })
        if face.calibration_s is not None:
            result["faces"][-1]["calibration_s"] = round(face.calibration_s, 2)
        if face.visibility is not None:  # detected in this frame, not only tracked
            result["faces"][-1]["visibility"] = {name: getattr(face.visibility, name) for name in VISIBILITY_FIELDS}
        if face.unsure_because:
            result["faces"][-1]["unsure_because"] = face.unsure_because
    if analysis.ended:
        result["ended"] = [{"track_id": one.track_id, "because": one.because, "seen_s": round(one.seen_s - start_s, 6)}
                         for one in analysis.ended]
    return result


def _time_s(analysis: Analysis, start_s: float) -> float:
    return round(analysis.frame.time_s - start_s, 6)


class Log:
    """A sink for logs. A .jsonl log has one object per frame, with or without faces; a .csv log has one row per face.

    A CSV log of images has their names in the column `file`. Columns added since the first version come last.
    labels: class names in the order of the probabilities. live: times count from the first frame.
    The file is created at the first frame, so a run that fails earlier leaves no file. It gets a numeric suffix if the name
    was taken meanwhile.
    """

    needs_image = False

    def __init__(self, path: Path, labels: tuple[str, ...], live: bool = False):
        self.path, self.labels, self.live = path, labels, live
        self.start_s, self.checked_s = 0.0, 0.0
        self.file: io.FileIO | None = None
        self.has_names = False

    @property
    def summary(self) -> str:
        """What was written, for a message to the user; "" if nothing."""
        return str(self.path) if self.file is not None else ""

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *exception) -> None:
        if self.file is not None:
            try:
                self.file.close()
            except OSError as error:  # network drives can report failed writes only on close
                raise OutputError(f"cannot finish {self.path} ({error.strerror}); its last lines may be missing") from None

    def write(self, image: np.ndarray, analysis: Analysis) -> None:
        """Append one frame. Raises OutputError if it cannot be written."""
        try:
            if self.file is None:
                self._open(analysis)
            if self.path.suffix.lower() == ".csv":
                self._append(_csv(self._rows(analysis)))
            else:
                self._append(json.dumps(entry(analysis, self.labels, self.start_s)) + "\n")
            self._check()
        except OSError as error:
            raise OutputError(f"cannot write to {self.path} ({error.strerror}); earlier lines are kept") from None

    def event(self, name: str, text: str, time_s: float) -> None:
        """Append an event that concerns no face: {"event": name, "time_s": ..., "text": text}. CSV logs have no events.

        time_s: on the clock of the frames. Does nothing before the first frame. Raises OutputError.
        """
        if self.file is None or self.path.suffix.lower() == ".csv":
            return
        try:
            self._append(json.dumps({"event": name, "time_s": round(time_s - self.start_s, 6), "text": redact(text)}) + "\n")
        except OSError as error:
            raise OutputError(f"cannot write to {self.path} ({error.strerror}); earlier lines are kept") from None

    def _open(self, analysis: Analysis) -> None:
        self.path, self.file = make_new(self.path)
        self.start_s = analysis.frame.time_s if self.live else 0.0
        if self.path.suffix.lower() == ".csv":
            self.has_names = bool(analysis.frame.name)
            self._append(_csv([[*FACE_FIELDS, *self.labels, *[FILE_FIELD] * self.has_names, *LAST_FIELDS]]))

    def _append(self, text: str) -> None:
        """Write whole lines unbuffered, so that they survive if the program is killed."""
        assert self.file is not None
        rest = memoryview(text.encode(errors="backslashreplace"))  # file names can be invalid Unicode
        while rest:
            rest = rest[self.file.write(rest) :]

    def _check(self) -> None:
        """Check once per second that the file still exists; the system accepts writes to deleted files without an error."""
        if time.monotonic() - self.checked_s > 1.0:
            self.checked_s = time.monotonic()
            assert self.file is not None  # opened for the first frame
            check_still_there(self.path, self.file)

    def _rows(self, analysis: Analysis) -> list[list]:
        return [
            [analysis.frame.index, _time_s(analysis, self.start_s), face.track_id, *face.box, face.label,
             round(face.confidence, 4), *(round(float(p), 4) for p in face.probs), *[analysis.frame.name] * self.has_names,
             *_last_cells(face)]
            for face in analysis.faces
        ]


def _last_cells(face: Face) -> list:
    return [*(getattr(face.visibility, name, None) for name in VISIBILITY_FIELDS), face.unsure_because]


def _csv(rows: list[list]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
