"""Reads the JSONL and CSV logs written by log.py as one kind of object."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Iterator
from pathlib import Path

from fer_live.sinks.log import FACE_FIELDS, FILE_FIELD, LAST_FIELDS, VISIBILITY_FIELDS
from fer_live.types import SourceError

logger = logging.getLogger("fer_live")

MAX_LINE = 1 << 20  # bytes per line; a frame with a hundred faces takes about 25,000


def read_log(path: Path) -> Iterator[dict]:
    """Yield the objects of a log in order: frames {"frame", "time_s", "faces"} or events {"event", "time_s", ...}.

    Frames of image logs also have "file", and frames where tracks end have "ended". Rows of a CSV log are grouped by frame
    into the same objects. A truncated last line is ignored silently; other damaged lines are skipped, and their number is
    logged at the end. The objects' values are not validated.
    Raises SourceError if the file cannot be read, is not a log, or has no complete line.
    """
    check_kind(path)
    try:
        yield from _read_csv(path) if path.suffix.lower() == ".csv" else _read_jsonl(path)
    except FileNotFoundError:
        raise SourceError(f"no log at {path}; write one with python -m fer_live --log {path.name}") from None
    except OSError as error:
        raise SourceError(f"the log {path} cannot be read ({error.strerror}); check the path and its permissions") from None


def check_kind(path: Path) -> None:
    """Raise SourceError unless the name ends in .jsonl or .csv."""
    if path.suffix.lower() not in (".jsonl", ".csv"):
        raise SourceError(f"{path} is not a log; logs are .jsonl or .csv files written with --log")


def _read_jsonl(path: Path) -> Iterator[dict]:
    whole = broken = 0
    torn = False
    with open(path, "rb") as file:
        for line in _lines(file):
            broken += torn  # the damaged line was not the last one
            torn = False
            if not line.strip(b"\0 \t\r\n"):  # a power cut can leave zeros at the end of a file
                continue
            try:
                entry = json.loads(line.decode("utf-8-sig" if not whole else "utf-8"))
                torn = not isinstance(entry, dict)
            except (ValueError, RecursionError):
                torn = True
            if not torn:
                whole += 1
                yield entry
    _finish(path, whole, broken, "one object per line")


def _lines(file) -> Iterator[bytes]:
    """Yield the lines of a binary file; lines longer than MAX_LINE become b"?", to bound memory."""
    while line := file.readline(MAX_LINE):
        if len(line) == MAX_LINE and not line.endswith(b"\n"):
            while (line := file.readline(MAX_LINE)) and not line.endswith(b"\n"):
                pass
            line = b"?\n"
        yield line


def _read_csv(path: Path) -> Iterator[dict]:
    whole = broken = 0
    torn = False
    entry: dict | None = None
    with open(path, "rb") as file:
        rows = csv.reader(line.decode("utf-8-sig", "replace").replace("\0", "") for line in _lines(file))
        head = _next_row(rows) or []
        if tuple(head[: len(FACE_FIELDS)]) != FACE_FIELDS:
            raise SourceError(f"{path} is not a log of fer_live: its first line is not {','.join(FACE_FIELDS)},...")
        labels = [name for name in head[len(FACE_FIELDS) :] if name not in (FILE_FIELD, *LAST_FIELDS)]
        while (row := _next_row(rows)) is not None:
            if not any(row):
                continue
            broken += torn
            try:
                frame, time_s, face = int(row[0]), float(row[1]), _face(row, head, labels)
                torn = False
            except (ValueError, IndexError):
                torn = True
                continue
            whole += 1
            if entry is not None and (entry["frame"], entry["time_s"]) == (frame, time_s):
                entry["faces"].append(face)
                continue
            if entry is not None:
                yield entry
            entry = {"frame": frame, "time_s": time_s, "faces": [face]}
            if FILE_FIELD in head:  # only in logs of images
                entry["file"] = row[head.index(FILE_FIELD)]
    if entry is not None:
        yield entry
    if whole or broken or torn:  # a header without rows is a valid log of a run without faces
        _finish(path, whole, broken, "one row per face")


def _next_row(rows) -> list[str] | None:
    """Return the next row, ["?"] for one that the csv module rejects, or None at the end."""
    try:
        return next(rows, None)
    except csv.Error:
        return ["?"]


def _face(row: list[str], head: list[str], labels: list[str]) -> dict:
    if len(row) != len(head):
        raise ValueError("the number of cells differs from the number of columns")
    probs = {name: float(cell) for name, cell in zip(labels, row[len(FACE_FIELDS) :], strict=False)}
    face = {"track_id": int(row[2]), "box": [int(cell) for cell in row[3:7]], "label": row[7], "confidence": float(row[8]),
            "probs": probs}
    cells = dict(zip(head, row, strict=True))
    if cells.get(VISIBILITY_FIELDS[0]):  # logs of earlier versions lack these columns
        face["visibility"] = {name: float(cells[name]) if cells[name] else None for name in VISIBILITY_FIELDS}
    if cells.get("unsure_because"):
        face["unsure_because"] = cells["unsure_because"]
    return face


def _finish(path: Path, whole: int, broken: int, what: str) -> None:
    if not whole:
        raise SourceError(f"{path} has no readable line; a log has {what}")
    if broken:
        logger.warning(f"{path}: skipped {broken:,} damaged lines of {whole + broken:,}")
