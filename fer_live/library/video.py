"""Result of `Recognizer.video()`: all faces of a video file, without its images."""

from __future__ import annotations

import html
import json
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fer_live.library.results import target_of, to_table
from fer_live.report.session import summarize
from fer_live.report.totals import Session
from fer_live.report.write import write_report
from fer_live.sinks.log import entry
from fer_live.types import NO_IMAGE, Analysis, OutputError

if TYPE_CHECKING:
    import pandas


class Collected:
    """A sink that keeps the analyses without their images."""

    needs_image = False

    def __init__(self) -> None:
        self.analyses: list[Analysis] = []

    def write(self, image: np.ndarray, analysis: Analysis) -> None:
        self.analyses.append(Analysis(replace(analysis.frame, image=NO_IMAGE, decoded=None), analysis.faces))


class VideoResult:
    """All faces of a video file. `len()` is the number of frames.

    path: the video. output: the annotated video, or None. labels: the seven class names.
    damage: why the file could not be read to its end, or None.

    >>> session = fer_live.load(device="cpu").video("clip.mp4", progress=False)
    >>> print(session)
    clip.mp4: 24 frames, 0.8 s, 1 person: happy ...%
    >>> session.to_df()[["frame", "track_id", "label"]].head(2).values.tolist()
    [[0, 1, 'happy'], [1, 1, 'happy']]
    >>> session.report("session.html").name
    'session.html'
    """

    def __init__(self, path: Path, labels: tuple[str, ...], analyses: list[Analysis], output: Path | None, damage: str | None):
        self.path, self.labels, self.output, self.damage = path, labels, output, damage
        self._analyses = analyses

    @cached_property
    def summary(self) -> Session:
        """The report's statistics, such as seconds per label, people and gaps; see `fer_live.report.totals.Session`."""
        return summarize(entry(analysis, self.labels) for analysis in self._analyses)

    @property
    def seconds(self) -> dict[str, float]:
        """Label -> seconds it was shown, summed over faces, longest first."""
        return {self.summary.labels[number]: seconds for number, seconds in self.summary.seconds.most_common()}

    @property
    def people(self) -> int:
        """Number of tracked faces; a person who leaves and comes back counts again."""
        return len(self.summary.dwells_s)

    def __len__(self) -> int:
        return len(self._analyses)

    def __str__(self) -> str:
        whole, people = sum(self.seconds.values()), self.people
        shares = ", ".join(f"{label} {seconds / whole:.0%}" for label, seconds in self.seconds.items() if whole)
        who = f"{people} {'person' if people == 1 else 'people'}" if people else "no faces"
        return f"{self.path.name}: {len(self)} frames, {self.summary.span_s:.1f} s, {who}{': ' if shares else ''}{shares}"

    def __repr__(self) -> str:
        return f"<VideoResult {self}>"

    def _repr_html_(self) -> str:
        """Render the seconds per label for notebooks."""
        rows = "".join(f"<tr><td>{html.escape(label)}</td><td>{seconds:.1f} s</td></tr>"
                       for label, seconds in self.seconds.items())
        return f"<div><b>{html.escape(str(self))}</b><table>{rows}</table></div>"

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-compatible values: {"file", "frames"}, where each frame is its object of a JSONL log."""
        return {"file": str(self.path), "frames": [entry(analysis, self.labels) for analysis in self._analyses]}

    def to_json(self, indent: int | None = None) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=indent)

    def to_df(self) -> pandas.DataFrame:
        """Return a pandas DataFrame with one row per face and the columns of a CSV log; frames without faces have no row.

        Raises ImportError if pandas is not installed.
        """
        frames = ((one.frame.index, round(one.frame.time_s, 6), one.faces) for one in self._analyses)
        return to_table(frames, self.labels)

    def report(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write a self-contained HTML report with an image of each person, and return its path.

        Existing files get a numeric suffix unless `overwrite`. The images are read from the video, which must still exist.
        Raises OutputError or SourceError.
        """
        target = target_of(path, overwrite)
        if target.suffix.lower() not in (".html", ".htm"):
            raise OutputError(f"cannot write {target}: reports are .html files")
        _check_folder(target)
        write_report(self.summary, self.path, target, self.path)
        return target


def check_output(output: str | Path | None) -> Path | None:
    """Return the path for an annotated video. Raises OutputError up front if it cannot be written."""
    if output is None:
        return None
    target = target_of(output, overwrite=False)
    if target.suffix.lower() != ".mp4":
        raise OutputError(f"cannot write {target}: annotated videos are .mp4 files")
    _check_folder(target)
    return target


def _check_folder(target: Path) -> None:
    if not target.parent.is_dir():
        raise OutputError(f"cannot write {target}: the folder {target.parent} does not exist")
