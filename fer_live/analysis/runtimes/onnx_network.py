"""Runs a network exported by `python -m training.export` on ONNX Runtime."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path

import numpy as np

from fer_live.model.paths import is_file, one_line
from fer_live.model.spec import CheckpointError, ModelSpec, parse_spec


class OnnxNetwork:
    """An exported network. threads: maximum number of CPU threads. Raises CheckpointError."""

    def __init__(self, path: Path, head: str | None, threads: int):
        import onnxruntime

        self.spec = read_spec(path).for_head(head)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # leave the other cores to the camera
        options.log_severity_level = 3  # errors only; hides warnings about dynamic shapes
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            self(np.zeros((1, self.spec.input_size, self.spec.input_size, self.spec.channels), np.uint8))  # spec check
        except Exception as error:  # ONNX Runtime's exceptions have no common base class
            reason = str(error).splitlines()[0]
            raise CheckpointError(f"{path} cannot be run by ONNX Runtime ({reason}); export it again") from None
        self.describe = f"cpu (ONNX Runtime {onnxruntime.__version__}, {threads} threads), 32 bits"

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """(N, S, S, C) uint8, N >= 1 -> logits (N, H, 7) float32 of the heads, in the order of `spec.heads`."""
        return np.stack(self.session.run(list(self.spec.heads), {"crops": crops}), axis=1)


def read_spec(path: Path) -> ModelSpec:
    """Read the spec that `training.export` wrote to x.onnx.json beside the network. Raises CheckpointError."""
    note = _note(path)
    if note["export_sha256"] not in (None, sha256(path)):
        raise CheckpointError(f"{path} is not the file that {path.name}.json describes; export it again")
    return parse_spec(note["spec"])


def source_head(path: Path) -> str | None:
    """Return the default head of the exported weights, or None if the file does not say. Raises CheckpointError."""
    return _note(path)["source_head"]


def is_export_of(export: Path, weights: Path) -> bool:
    """Whether `export` exists and was made from exactly the file `weights`."""
    try:
        note = _note(export)
        is_own_file = note["export_sha256"] in (None, sha256(export))  # missing in files of older versions
        return is_own_file and note["source_sha256"] == sha256(weights)
    except CheckpointError:
        return False


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal. Raises CheckpointError."""
    try:
        status = path.stat()
        return _digest(path, status.st_ino, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise CheckpointError(f"the model {one_line(error)}") from None


@lru_cache(4)
def _digest(path: Path, inode: int, size: int, mtime_ns: int) -> str:
    """Return the SHA-256 of a file, computed once for each version of it: the start asks twice."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _note(path: Path) -> dict:
    beside = path.with_name(path.name + ".json")
    try:
        missing = next((there for there in (path, beside) if not is_file(there)), None)
        if missing is not None:
            raise CheckpointError(f"no file at {missing}; an exported network is x.onnx and, beside it, x.onnx.json; "
                                  "export it with python -m training.export")
        note = json.loads(beside.read_text(encoding="utf-8"))
        return {"spec": note["spec"], "source_sha256": note["source_sha256"], "source_head": note.get("source_head"),
                "export_sha256": note.get("export_sha256")}
    except OSError as error:
        raise CheckpointError(f"the model {one_line(error)}") from None
    except CheckpointError:  # is a ValueError too
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise CheckpointError(f"{beside} does not describe an exported network; export it again") from None
