"""Fine-tunes networks on facial expressions and saves `best_model.pt`.

    data -> augment -> train -> evaluate -> report

`python -m training --help` trains; `python -m training.evaluate --help` measures a checkpoint.
This package imports `fer_live.model` and nothing else of `fer_live`.
"""

import os
import sys
from importlib.util import find_spec

if find_spec("torch") is None or find_spec("timm") is None:
    print("error: training needs PyTorch and timm; pip install -r requirements-dev.txt", file=sys.stderr)
    sys.exit(2)

# A PNG of a few hundred bytes can declare gigabytes of pixels. OpenCV reads this limit once, when it is first imported.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", "64000000")
