"""Real-time facial expression recognition.

    source ──Frame──> detector ──boxes──> tracker ──tracks──> crop_faces ──crops──> classifier ──probs──> smoother
           ──Analysis──> overlay ──image──> sinks (window, recorder, log)

`python -m fer_live --help` runs it; `fer_live.load()` is the library:

    fer = fer_live.load()
    for face in fer("party.jpg"):
        print(face.label, face.confidence, face.box)

`Analyzer` is the lower-level API, for your own frames and components. Importing this package imports neither torch nor OpenCV.
"""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for editors; at run time `__getattr__` imports names lazily
    from fer_live.analysis.analyzer import Analyzer
    from fer_live.library.recognizer import Recognizer, load
    from fer_live.library.results import FaceResult, Plot, Result
    from fer_live.library.video import VideoResult
    from fer_live.model.device import DeviceError
    from fer_live.model.spec import CheckpointError
    from fer_live.sources.open import open_source
    from fer_live.types import Analysis, Face, Frame, OutputError, SourceError

# A PNG of a few hundred bytes can declare gigabytes of pixels. OpenCV reads this limit once, when it is first imported.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", "64000000")
# OpenCV's own messages about damaged images name only its source lines; fer_live reports the file.
os.environ.setdefault("OPENCV_LOG_LEVEL", "FATAL")

__version__ = "0.9.0"
_HOMES = {
    "load": "library.recognizer", "Recognizer": "library.recognizer", "Result": "library.results",
    "FaceResult": "library.results", "VideoResult": "library.video", "Plot": "library.results",
    "Analyzer": "analysis.analyzer", "Analysis": "types", "Face": "types", "Frame": "types", "open_source": "sources.open",
    "SourceError": "types", "OutputError": "types", "CheckpointError": "model.spec", "DeviceError": "model.device",
}
__all__ = [
    "Analysis", "Analyzer", "CheckpointError", "DeviceError", "Face", "FaceResult", "Frame", "OutputError", "Plot", "Recognizer",
    "Result", "SourceError", "VideoResult", "load", "open_source",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fer_live' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"fer_live.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
