"""Code shared by training and the live app: networks, preprocessing, checkpoints, decision, face detectors, image files."""

from pathlib import Path

_PACKAGED, _CHECKOUT = Path(__file__).parents[1] / "weights", Path(__file__).parents[2] / "models" / "weights"
WEIGHTS = _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT  # in an installed wheel, inside the package
DEFAULT_WEIGHTS = WEIGHTS / "best_model.pt"
