"""Reads the program's own logs again, also those that a power cut or a full disk broke off."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import IO, Any

from fer_live.log import FACE_FIELDS
from fer_live.types import SourceError

LONGEST_LINE = 4 << 20  # bytes; a frame with a thousand faces takes a quarter of a megabyte


def read_log(path: Path, events: bool = False) -> Iterator[dict]:
    """The entries of a .jsonl or .csv log, in order and one at a time, as `Log` writes them to JSONL.

    {"frame": int, "time_s": float, "faces": [{"track_id": int, "box": [x1, y1, x2, y2], "label": str, "confidence": float,
    "probs": {name: float}}]}, and "file" where the log is of pictures. A CSV log has no frames without faces and no file names.
    events: also yield the objects {"event": ..., "time_s": ..., "text": ...} that stand between them.
    A last line that was not finished is left out. Raises SourceError, on reading, where the file is missing, not a log, or
    damaged.
    """
    read = {".jsonl": _read_jsonl, ".csv": _read_csv}.get(path.suffix.lower())
    if read is None:
        raise SourceError(f"{path}: logs are .jsonl or .csv files that --log wrote")
    try:
        with open(path, "rb") as file:
            for entry in read(path, file):
                if events or "event" not in entry:
                    yield entry
    except OSError as error:
        raise SourceError(f"cannot read the log {path} ({error.strerror}); give a .jsonl or .csv file that --log wrote") from None


def _read_jsonl(path: Path, file: IO[bytes]) -> Iterator[dict]:
    for number, line, is_whole in _lines(path, file, '{"frame":'):
        try:
            entry = json.loads(line)
            _check(entry)
        except (ValueError, RecursionError, KeyError, TypeError):
            if not is_whole:
                return
            raise _damaged(path, number) from None
        yield entry


def _read_csv(path: Path, file: IO[bytes]) -> Iterator[dict]:
    # what ends without a line break may be cut within a number
    lines = ((number, line) for number, line, is_whole in _lines(path, file, ",".join(FACE_FIELDS)) if is_whole)
    _, header = next(lines, (1, None))
    if header is None:
        return
    names = _cells(path, 1, header)
    labels = names[len(FACE_FIELDS) :]
    if tuple(names[: len(FACE_FIELDS)]) != FACE_FIELDS or not labels:
        raise _damaged(path, 1)
    rows = (_row(path, number, line, labels) for number, line in lines)
    for (frame, time_s), faces in groupby(rows, key=lambda row: row[0]):
        yield {"frame": frame, "time_s": time_s, "faces": [face for _, face in faces]}


def _row(path: Path, number: int, line: str, labels: list[str]) -> tuple[tuple[int, float], dict]:
    cells = _cells(path, number, line)
    try:
        frame, time_s, track_id, x1, y1, x2, y2, label, confidence, *probs = cells
        face = {"track_id": int(track_id), "box": [int(x1), int(y1), int(x2), int(y2)], "label": label,
                "confidence": float(confidence), "probs": dict(zip(labels, map(float, probs), strict=True))}
        entry = {"frame": int(frame), "time_s": float(time_s), "faces": [face]}
        _check(entry)
    except (ValueError, TypeError):
        raise _damaged(path, number) from None
    return (entry["frame"], entry["time_s"]), face


def _cells(path: Path, number: int, line: str) -> list[str]:
    try:
        return next(csv.reader([line]))
    except csv.Error:
        raise _damaged(path, number) from None


def _lines(path: Path, file: IO[bytes], start: str) -> Iterator[tuple[int, str, bool]]:
    """Number from 1, text, and whether the line ends as lines do. start: how the first begins."""
    number = 0
    while line := file.readline(LONGEST_LINE):
        number += 1
        is_whole = line.endswith(b"\n")
        text = line.strip(b"\0\r\n ").decode(errors="replace")  # a power cut can leave zeros where the end should be
        is_ours = number > 1 or text.startswith(start) or (not is_whole and start.startswith(text))
        if not is_ours or (len(line) == LONGEST_LINE and not is_whole):
            raise _damaged(path, number)
        if text:
            yield number, text, is_whole


def _damaged(path: Path, number: int) -> SourceError:
    if number == 1:
        return SourceError(f"{path} is not a log of this program; give a .jsonl or .csv file that --log wrote")
    return SourceError(f"{path} is damaged in line {number}; what stands before it can be read")


def _check(entry: Any) -> None:
    """Raise ValueError, KeyError or TypeError unless this is an entry or an event as `Log` writes them."""
    _must(isinstance(entry, dict))
    if "event" in entry:
        _must(isinstance(entry["event"], str) and _is_number(entry["time_s"]) and isinstance(entry["text"], str))
        return
    _must(_is_whole_number(entry["frame"]) and _is_number(entry["time_s"]) and isinstance(entry["faces"], list))
    _must(isinstance(entry.get("file", ""), str))
    for face in entry["faces"]:
        _must(_is_whole_number(face["track_id"]) and isinstance(face["label"], str) and _is_number(face["confidence"]))
        _must(isinstance(face["box"], list) and len(face["box"]) == 4 and _all(_is_whole_number, face["box"]))
        _must(isinstance(face["probs"], dict) and _all(_is_number, face["probs"].values()))


def _must(holds: bool) -> None:
    if not holds:
        raise ValueError


def _all(holds: Callable[[Any], bool], values: Any) -> bool:
    return all(holds(value) for value in values)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e15 and math.isfinite(value)


def _is_whole_number(value: Any) -> bool:
    return isinstance(value, int) and _is_number(value)
