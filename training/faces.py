"""Sets of labeled faces for evaluation, in one .npz file: X (N, S, S) uint8 gray crops and Y (N,) class names."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from fer_live.model.preprocess import resize_face
from fer_live.model.spec import EMOTIONS
from training.data import DataError

OTHER_NAMES = {"anger": "angry", "disgusted": "disgust", "fearful": "fear", "happiness": "happy", "sadness": "sad",
               "surprised": "surprise"}


def read_faces(path: Path, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images (N, size, size) uint8 and classes (N,) int64, indices into EMOTIONS. Raises DataError."""
    if not path.is_file():
        raise DataError(f"no faces at {path}; give an .npz file with X, gray images, and Y, their class names")
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in ("X", "Y") if name not in file]
            images, names = (None, None) if missing else (file["X"], file["Y"])
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"{path} cannot be read as an .npz file ({str(error).splitlines()[0]}); save it again with numpy.savez")
    if images is None or names is None:
        raise DataError(f"{path} has no array {' and '.join(missing)}; it needs X, gray images, and Y, their class names")
    if images.ndim != 3 or images.dtype != np.uint8 or not images.size:
        raise DataError(f"{path}: X is {images.dtype} {images.shape}, not uint8 (N, S, S) gray images")
    if names.shape != (len(images),) or names.dtype.kind != "U":
        raise DataError(f"{path}: Y is {names.dtype} {names.shape}, not {len(images)} class names")
    plain = [OTHER_NAMES.get(str(name).lower(), str(name).lower()) for name in names]
    if unknown := sorted(set(plain) - set(EMOTIONS)):
        raise DataError(f"{path}: Y has {', '.join(unknown[:5])}; classes are {', '.join(EMOTIONS)}")
    return np.stack([resize_face(image, size) for image in images]), np.array([EMOTIONS.index(name) for name in plain])
