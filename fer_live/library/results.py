"""Results of a Recognizer: the faces of an image, to print, index, draw, save and tabulate."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import cv2
import numpy as np

from fer_live.model.paths import is_folder, shortened, why
from fer_live.screen.overlay import Overlay
from fer_live.sinks.disk import unused
from fer_live.sinks.image_writer import write_image
from fer_live.sinks.log import FACE_FIELDS, FILE_FIELD, entry
from fer_live.types import UNSURE, Analysis, Box, Face, OutputError, View, Visibility

if TYPE_CHECKING:
    import pandas

SHOWN = 1280  # pixels; longer side of images in notebooks
THUMBNAIL = 96  # pixels; side of a face thumbnail


@dataclass(frozen=True, eq=False)
class FaceResult:
    """One face of a `Result`.

    label: a class name, or "unsure" if no class reaches about 40% or the face is too hard to see.
    confidence: 0..1, the probability of the label, or of the strongest class if unsure.
    emotions: class name -> probability 0..1; the seven sum to 1.
    box: (x1, y1, x2, y2) int pixels of the image, x2 and y2 exclusive.
    track_id: identifies the same face across a stream; for a single image, counts its faces from 1.
    visibility: image quality of the face: `size`, `sharpness`, `darkness`, `yaw` and `score`. None if the face was not
    detected in this frame and its track was only continued.
    unsure_because: "small", "dark", "blurred", "turned" or "unclear" if unsure, else "".

    >>> face = fer_live.load(device="cpu")("party.jpg")[0]
    >>> print(face)
    happy ...%
    >>> face.label, face.emotions["happy"] > 0.9, face.emotions["sad"] < 0.1
    ('happy', True, True)
    >>> x1, y1, x2, y2 = face.box
    >>> face.crop.shape == (y2 - y1, x2 - x1, 3)
    True
    """

    label: str
    confidence: float
    emotions: dict[str, float]
    box: Box
    track_id: int
    image: np.ndarray = field(repr=False)  # (H, W, 3) uint8 BGR, the whole image
    visibility: Visibility | None = None
    unsure_because: str = ""

    @property
    def crop(self) -> np.ndarray:
        """A copy of the image inside the box, clipped to the image: (h, w, 3) uint8 BGR."""
        height, width = self.image.shape[:2]
        x1, y1, x2, y2 = self.box
        return self.image[max(0, y1) : max(0, min(y2, height)), max(0, x1) : max(0, min(x2, width))].copy()

    def __str__(self) -> str:
        if self.label != UNSURE:
            return f"{self.label} {self.confidence:.0%}"
        return f"{UNSURE} ({max(self.emotions, key=self.emotions.__getitem__)} {self.confidence:.0%})"

    def __repr__(self) -> str:
        return f"<FaceResult {self} at {self.box}>"

    def _repr_html_(self) -> str:
        """Render the face and one bar per class for notebooks."""
        rows = "".join(f"<tr><td>{html.escape(name)}</td><td><progress max=1 value={share:.3f}></progress></td>"
                       f"<td>{share:.0%}</td></tr>" for name, share in self.emotions.items())
        crop = self.crop
        thumbnail = ""
        if crop.size:
            small = cv2.resize(crop, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
            thumbnail = f'<img alt="" src="data:image/png;base64,{base64.b64encode(_png(small)).decode()}">'
        return f"<div>{thumbnail}<b>{html.escape(str(self))}</b><table>{rows}</table></div>"


class Result:
    """The faces of one image or frame. Supports iteration, indexing, `len()` and `print`; false if there are no faces.

    image: (H, W, 3) uint8 BGR, upright. path: the file's path, or in a stream over a folder its name there; else None.
    frame, time_s: frame number and time in seconds. Live times count from the first frame. For single images, the position
    in the list or folder, and 0.

    >>> result = fer_live.load(device="cpu")("party.jpg")
    >>> print(result)
    1 face: happy ...%
    >>> [(face.label, face.box) for face in result] == [(result[0].label, result[0].box)]
    True
    >>> result.plot().save("annotated.png").name
    'annotated.png'
    >>> sorted(result.to_dict())
    ['faces', 'file', 'frame', 'time_s']
    >>> result.to_df()[["label", "track_id"]].values.tolist()
    [['happy', 1]]
    """

    def __init__(self, analysis: Analysis, labels: tuple[str, ...], path: str | None = None, start_s: float = 0.0):
        self.image: np.ndarray = analysis.frame.image
        self.path, self.frame = path or analysis.frame.name or None, analysis.frame.index
        self.time_s = round(analysis.frame.time_s - start_s, 6)
        self.labels = labels  # the seven class names, in the order of `emotions`
        self._analysis, self._start_s = analysis, start_s

    @cached_property
    def faces(self) -> tuple[FaceResult, ...]:
        """The faces as a tuple."""
        return tuple(_face(face, self.labels, self.image) for face in self._analysis.faces)

    def __len__(self) -> int:
        return len(self._analysis.faces)

    @overload
    def __getitem__(self, index: int) -> FaceResult: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[FaceResult, ...]: ...
    def __getitem__(self, index):
        try:
            return self.faces[index]
        except IndexError:
            raise IndexError(f"no face {index}: {self}") from None

    def __iter__(self) -> Iterator[FaceResult]:
        return iter(self.faces)

    def __str__(self) -> str:
        if not self:
            return "no faces"
        return f"{len(self)} face{'s' if len(self) > 1 else ''}: {', '.join(map(str, self))}"

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        return f"<Result {f'{self.path} ' if self.path else ''}{width}x{height}: {self}>"

    def _repr_png_(self) -> bytes:
        return self.plot()._repr_png_()

    def plot(self, bars: bool = False) -> Plot:
        """Draw the faces and labels on the image. bars: also the three strongest classes as bars, where no
        face is.

        >>> fer_live.load(device="cpu")("party.jpg").plot(bars=True).image.shape
        (512, 512, 3)
        """
        return Plot(Overlay(self.labels, View(bars=bars)).draw(self._analysis))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-compatible values: this frame's object of a JSONL log, plus the path as "file"."""
        made = entry(self._analysis, self.labels, self._start_s)
        if self.path:
            made[FILE_FIELD] = self.path
        return made

    def to_json(self, indent: int | None = None) -> str:
        """Return `to_dict()` as JSON text."""
        return json.dumps(self.to_dict(), indent=indent)

    def to_df(self) -> pandas.DataFrame:
        """Return a pandas DataFrame with one row per face and the columns of a CSV log, plus "file" if the image has a path.

        Raises ImportError if pandas is not installed.
        """
        table = to_table([(self.frame, self.time_s, self._analysis.faces)], self.labels)
        return table.assign(**{FILE_FIELD: self.path}) if self.path else table


class Plot:
    """An annotated image, displayed automatically in notebooks. image: (H, W, 3) uint8 BGR.

    >>> fer_live.load(device="cpu")("party.jpg").plot().save("drawn.jpg").exists()
    True
    """

    def __init__(self, image: np.ndarray):
        self.image = image

    def save(self, path: str | Path, overwrite: bool = False) -> Path:
        """Save in the format of the file extension and return the path. Existing files get a numeric suffix unless `overwrite`.

        Raises OutputError.
        """
        target = target_of(path, overwrite)
        written = write_image(target, self.image)
        if overwrite and written != target:  # the old file stays until the new one is complete
            try:
                return written.replace(target)
            except OSError as error:
                raise OutputError(f"cannot overwrite {target} ({why(error)}); the image was saved as {written}") from None
        return written

    def to_pil(self) -> Any:
        """Convert to a PIL image."""
        from PIL import Image

        return Image.fromarray(cv2.cvtColor(self.image, cv2.COLOR_BGR2RGB))

    def __repr__(self) -> str:
        return f"<Plot {self.image.shape[1]}x{self.image.shape[0]}>"

    def _repr_png_(self) -> bytes:
        height, width = self.image.shape[:2]
        scale = SHOWN / max(height, width)
        if scale >= 1:
            return _png(self.image)
        size_wh = max(1, round(width * scale)), max(1, round(height * scale))
        return _png(cv2.resize(self.image, size_wh, interpolation=cv2.INTER_AREA))


def _png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


def _face(face: Face, labels: tuple[str, ...], image: np.ndarray) -> FaceResult:
    emotions = {name: float(share) for name, share in zip(labels, face.probs, strict=True)}
    return FaceResult(face.label, float(face.confidence), emotions, face.box, face.track_id, image, face.visibility,
                      face.unsure_because)


def target_of(path: str | Path, overwrite: bool) -> Path:
    """Return `path`, with a numeric suffix if it exists and not `overwrite`. Raises OutputError if no file can be there."""
    if not isinstance(path, str | Path):
        raise TypeError(f"an output path must be a str or Path; got {type(path).__name__}")
    target = Path(path)
    try:
        if is_folder(target):
            raise OutputError(f"cannot write {target}: it is a folder")
    except OSError as error:
        raise OutputError(f"cannot write {shortened(target)} ({why(error)}); choose another path") from None
    return target if overwrite else unused(target)


def to_table(frames: Iterable[tuple[int, float, tuple[Face, ...]]], labels: tuple[str, ...]) -> pandas.DataFrame:
    """Build a DataFrame with one row per face, with fixed column types even without rows. frames: (index, time_s, faces)."""
    try:
        import pandas
    except ImportError:
        raise ImportError("to_df needs pandas: pip install pandas, or use to_dict or to_json") from None
    rows = [(index, time_s, face.track_id, *face.box, face.label, float(face.confidence), *map(float, face.probs))
            for index, time_s, faces in frames for face in faces]
    table = pandas.DataFrame(rows, columns=[*FACE_FIELDS, *labels])
    whole = dict.fromkeys(("frame", "track_id", "x1", "y1", "x2", "y2"), "int64")
    return table.astype(whole | dict.fromkeys(("time_s", "confidence", *labels), "float64"))
