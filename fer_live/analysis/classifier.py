"""Crops -> probabilities: all faces of a frame in one batch, on the fastest installed runtime."""

from __future__ import annotations

import os
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from fer_live.model.checkpoint import check_model_file
from fer_live.model.decision import decide
from fer_live.model.device import VALID, DeviceError, check_device_name, has_cuda_driver
from fer_live.model.spec import ANSWERS, CheckpointError, Classifier, ModelSpec

if TYPE_CHECKING:
    from fer_live.analysis.runtimes.compiled_cache import CompiledCache

PACKAGES = {"onnx": "onnxruntime", "openvino": "openvino"}  # runtime -> package to install
RUNTIMES = ("auto", "torch", *PACKAGES)
INSTALL_TORCH = "pip install torch torchvision timm"


class Network(Protocol):
    """A network on one of the runtimes."""

    spec: ModelSpec  # with the requested head
    describe: str  # device, runtime and precision, for display

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """(N, S, S, C) uint8 from `crop_faces`, N >= 1 -> logits (N, H, 7) float32 of the heads, in the order of `spec.heads`."""
        ...


@runtime_checkable
class Storing(Protocol):
    """A network that can be stored compiled."""

    def store(self) -> None:
        """Store the compiled network in the cache."""
        ...


class EmotionClassifier:
    """A checkpoint or an exported .onnx file, ready for inference. `describe` gives device, precision and why they were chosen.

    cache: for networks compiled by OpenVINO, see `store`; None: the network is compiled. Thread-safe. Raises CheckpointError and
    DeviceError, which are ValueErrors, and TypeError.
    """

    def __init__(self, path: str | Path, device: str = "auto", head: str | None = None, runtime: str = "auto",
                 cache: CompiledCache | None = None):
        _check_arguments(path, device, head, runtime)
        self.network, why = open_network(Path(path), device, head, runtime, cache)
        self.spec = self.network.spec
        self.describe = f"{self.spec.arch} on {self.network.describe}: {why}"
        probs = self(np.zeros((2, self.spec.input_size, self.spec.input_size, self.spec.channels), np.uint8))  # warm-up
        if probs.shape != (2, len(self.spec.labels)) or not np.isfinite(probs).all():
            raise CheckpointError(f"{path}: the network does not return probabilities of {len(self.spec.labels)} classes; "
                                  "its weights are damaged: train, export or download it again")

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """(N, S, S, C) uint8 from `crop_faces` -> probabilities (N, 7) float32 in the order of `spec.labels`.

        Raises TypeError if `crops` is not an array, ValueError for a wrong shape or dtype.
        """
        wanted = self.spec.input_size, self.spec.input_size, self.spec.channels
        if not isinstance(crops, np.ndarray):
            raise TypeError(f"crops are a numpy array (N, {str(wanted)[1:]} uint8, from crop_faces; got {type(crops).__name__}")
        if crops.dtype != np.uint8 or crops.shape[1:] != wanted:
            raise ValueError(f"crops are a numpy array (N, {str(wanted)[1:]} uint8, from crop_faces; "
                             f"got {crops.dtype} of shape {crops.shape}")
        if not len(crops):
            return np.empty((0, len(self.spec.labels)), np.float32)
        logits = self.network(np.require(crops, requirements=("C", "W")))  # torch rejects negative strides and read-only arrays
        return decide({head: logits[:, i] for i, head in enumerate(self.spec.heads)}, self.spec)

    def store(self) -> None:
        """Store the compiled network in the cache for later starts, if the runtime can do that."""
        if isinstance(self.network, Storing):
            self.network.store()


def _check_arguments(path: object, device: object, head: object, runtime: object) -> None:
    if not isinstance(path, str | Path):
        raise TypeError(f"path names a best_model.pt or an .onnx file, as str or Path; got {type(path).__name__}")
    if not Path(path).name:
        raise CheckpointError(f"path is {str(path)!r}, which names no file; give a best_model.pt or an .onnx file")
    for name, value, takes in (("device", device, VALID), ("runtime", runtime, ", ".join(RUNTIMES)),
                               ("head", head, f"None, {', '.join(ANSWERS)}")):
        if not isinstance(value, str) and not (name == "head" and value is None):
            raise TypeError(f"{name} is one of {takes}; got {type(value).__name__}")


def classify_both_views(classify: Classifier, crops: np.ndarray) -> np.ndarray:
    """(N, S, S, C) uint8 from `crop_faces` -> probabilities (N, 7) float32: the mean of each crop and its mirror image, which is
    more accurate than either (see models/README.md). Both views are one batch."""
    probs = classify(np.concatenate([crops, crops[:, :, ::-1]]))
    mean: np.ndarray = probs.reshape(2, -1, probs.shape[1]).mean(0)
    return mean


def open_network(path: Path, device: str, head: str | None, runtime: str, cache: CompiledCache | None = None
                 ) -> tuple[Network, str]:
    """Open the network on the best runtime. Return it and the reason in words. Raises CheckpointError, DeviceError.

    auto: CUDA if there is a GPU; on the CPU, OpenVINO or ONNX Runtime if one is installed and the checkpoint's export is in the
    same folder, else torch. Torch is imported only if needed, since it takes longer to load than everything else.
    An export replaces a checkpoint only if it was made from exactly that file.
    """
    check_device_name(device)
    if runtime not in RUNTIMES:
        raise CheckpointError(f"unknown runtime {runtime!r}; choose from: {', '.join(RUNTIMES)}")
    cores = os.cpu_count() or 2
    is_export = path.suffix.lower() == ".onnx"
    if device.startswith("cuda") and (is_export or runtime in PACKAGES):
        what = "an .onnx model" if is_export else f"--runtime {runtime}"
        raise DeviceError(f"{what} runs on the CPU, not on {device}; give a best_model.pt without --runtime, or --device cpu")
    if is_export:
        if runtime == "torch":
            raise CheckpointError(f"{path} is an export, which torch does not run; give a best_model.pt, or --runtime onnx")
        package = runtime if runtime in PACKAGES else _installed() or "onnx"
        return _open_export(path, head, package, cores, cache), "an .onnx model"
    if not path.name:  # "." and "/"
        check_model_file(path)
    beside = path.with_suffix(".onnx")
    if runtime in PACKAGES:
        _check_installed(runtime, beside)
        _check_export_of(beside, path)
        return _open_export(beside, _own_head(beside) if head is None else head, runtime, cores, cache), "as requested"
    found = _installed()
    if runtime == "auto" and not _wants_cuda(device) and found and _is_export_of(beside, path):
        network = _open_export(beside, _own_head(beside) if head is None else head, found, cores, cache)
        return network, "as requested" if device == "cpu" else _why_cpu()
    _check_torch(path, device)
    from fer_live.analysis.runtimes.torch_network import TorchNetwork

    # Torch's threads busy-wait: with one core taken by another program, two threads needed 0.66 s for a face and one a few
    # hundredths of a second. The runtimes for exports do not spin, or are configured not to.
    network = TorchNetwork(path, device, head, max(1, cores // 2))
    return network, network.why


def uses_openvino(path: Path, device: str, runtime: str) -> bool:
    """Whether `open_network` will probably run the network with OpenVINO: only the export's hash is not checked."""
    if runtime not in ("auto", "openvino") or _wants_cuda(device) or find_spec("openvino") is None:
        return False
    with suppress(OSError):
        return path.with_suffix(".onnx").is_file()
    return False


def _wants_cuda(device: str) -> bool:
    return device.startswith("cuda") or (device == "auto" and has_cuda_driver() and find_spec("torch") is not None)


def _why_cpu() -> str:
    return f"a CUDA GPU was found, but not PyTorch; {INSTALL_TORCH}" if has_cuda_driver() else "no CUDA GPU was found"


def _check_torch(path: Path, device: str) -> None:
    """Raise DeviceError or CheckpointError if PyTorch is needed but not installed."""
    if find_spec("torch") is not None:
        return
    if device.startswith("cuda"):
        raise DeviceError(f"--device {device} needs PyTorch; {INSTALL_TORCH}")
    if path.is_file():
        raise CheckpointError(f"{path} needs PyTorch, since no export of it lies beside it that an installed runtime can run; "
                              f"{INSTALL_TORCH}")
    raise CheckpointError(f"no model file at {path}; give one with --model, or train one with python -m training")


def _installed() -> str | None:
    """Return the fastest installed runtime for exports, or None."""
    return next((name for name in ("openvino", "onnx") if find_spec(PACKAGES[name])), None)


def _is_export_of(export: Path, weights: Path) -> bool:
    from fer_live.analysis.runtimes.onnx_network import is_export_of

    return is_export_of(export, weights)


def _check_export_of(export: Path, weights: Path) -> None:
    """Raise CheckpointError if the export was made from other weights, since its results would be attributed to `weights`."""
    from fer_live.analysis.runtimes.onnx_network import read_spec

    check_model_file(weights)
    read_spec(export)  # reports a missing export
    if not _is_export_of(export, weights):
        raise CheckpointError(f"{export} was not made from {weights}; export it again with python -m training.export, "
                              "or run the weights with --runtime torch")


def _own_head(export: Path) -> str | None:
    from fer_live.analysis.runtimes.onnx_network import source_head

    return source_head(export)


def _check_installed(runtime: str, path: Path) -> None:
    if find_spec(PACKAGES[runtime]) is None:
        raise CheckpointError(f"{path} needs {PACKAGES[runtime]}; pip install {PACKAGES[runtime]}, or give a best_model.pt")


def _open_export(path: Path, head: str | None, runtime: str, threads: int, cache: CompiledCache | None) -> Network:
    _check_installed(runtime, path)
    if runtime == "openvino":
        from fer_live.analysis.runtimes.openvino_network import OpenVinoNetwork

        return OpenVinoNetwork(path, head, threads, cache)
    from fer_live.analysis.runtimes.onnx_network import OnnxNetwork

    return OnnxNetwork(path, head, threads)
