"""Real-time facial expression recognition.

    source ──Frame──> detector ──boxes──> tracker ──tracks──> crop_faces ──crops──> classifier ──probs──> smoother
           ──Analysis──> overlay ──image──> sinks (window, recorder, log)

`python -m fer_live --help` runs it; `Analyzer.from_checkpoint()(image_bgr)` is the library. One analyzer serves pictures from
many threads; each video that is followed at the same time has its own, made by `analyzer.new_stream()`. Importing this
package imports neither torch nor timm.
"""

import os
from typing import Any

# A few hundred bytes of PNG can claim gigabytes of pixels; OpenCV reads this once, when it is first imported.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", "64000000")
# What it prints of a damaged picture names lines of its own source; the program says in a line which file cannot be read.
os.environ.setdefault("OPENCV_LOG_LEVEL", "FATAL")

__version__ = "0.9.0"
__all__ = ["Analysis", "Analyzer", "Face", "Frame", "SourceError", "open_source"]
_HOMES = {"Analyzer": "analysis.analyzer", "open_source": "sources.open"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'fer_live' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"fer_live.{_HOMES.get(name, 'types')}"), name)
