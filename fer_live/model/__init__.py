"""What training and the live app share: networks, preprocessing, checkpoints, the decision, face detectors, picture files."""

from pathlib import Path

_PACKAGED, _CHECKOUT = Path(__file__).parents[1] / "weights", Path(__file__).parents[2] / "models" / "weights"
WEIGHTS = _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT  # the wheel holds them inside the package
DEFAULT_WEIGHTS = WEIGHTS / "best_model.pt"
