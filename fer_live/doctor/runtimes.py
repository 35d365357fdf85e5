"""Checks of the doctor that import the inference packages and compute with them.

`fer_live.doctor` runs each in a subprocess, since a broken package can abort or hang the process that imports it.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from fer_live.doctor.machine import FAILURE, OK, WARNING, Check, Finding, answer, with_pins


def _missing(package: str, what_for: str) -> Finding | None:
    """Return a finding if an optional package is not installed."""
    return Finding(package, OK, f"not installed; only {what_for}") if importlib.util.find_spec(package) is None else None


def torch() -> Iterator[Finding]:
    """Check that torch computes on the CPU and on each GPU."""
    if missing := _missing("torch", "NVIDIA GPUs, training and .pt models without an export need it"):
        yield missing
        return
    import torch as t

    t.ones(64, 64) @ t.ones(64, 64)
    yield Finding("torch", OK, f"{t.__version__}, {t.get_num_threads()} threads, built for "
                  + (f"CUDA {t.version.cuda}, cuDNN {t.backends.cudnn.version()}" if t.version.cuda else "the CPU"))
    for i in range(t.cuda.device_count()):
        about = t.cuda.get_device_properties(i)
        text = f"cuda:{i} {about.name}, {about.total_memory / 2**30:.0f} GiB, compute capability {about.major}.{about.minor}"
        try:
            sums = (t.ones(64, 64, device=f"cuda:{i}") @ t.ones(64, 64, device=f"cuda:{i}")).sum().item()
        except RuntimeError as error:  # a GPU that this build does not support, or one without free memory
            yield Finding("cuda", FAILURE, f"{text}; cannot compute: {str(error).splitlines()[0]}",
                          "free its memory, or install a torch built for it (pytorch.org); until then: --device cpu")
            continue
        yield Finding("cuda", OK if sums == 64**3 else FAILURE, f"{text}; computes", "" if sums == 64**3 else "--device cpu")
    if not t.cuda.device_count():
        yield _no_cuda(t.version.cuda)


def _no_cuda(build: str | None) -> Finding:
    driver = Path("/proc/driver/nvidia/version")
    if not driver.exists() and not shutil.which("nvidia-smi"):
        return Finding("cuda", OK, "no NVIDIA GPU: the program computes on the CPU")
    if build:
        return Finding("cuda", WARNING, f"there is an NVIDIA driver, but torch for CUDA {build} finds no GPU with it",
                       "look at nvidia-smi; update the driver, or give the container its GPU (--gpus all)")
    return Finding("cuda", WARNING, "there is an NVIDIA driver, but this torch is built for the CPU",
                   with_pins("pip install --force-reinstall {torch} {torchvision}"))


def torchvision() -> Iterator[Finding]:
    """Check that the compiled part matches torch: a mismatch appears at the first operator."""
    if missing := _missing("torchvision", "timm needs it"):
        yield missing
        return
    import torch as t
    import torchvision as v

    kept = v.ops.nms(t.tensor([[0.0, 0, 9, 9], [0, 0, 9, 8]]), t.tensor([0.9, 0.8]), 0.5).tolist()
    yield Finding("torchvision", OK if kept == [0] else FAILURE, f"{v.__version__}, with torch {t.__version__}",
                  "" if kept == [0] else with_pins("pip install --force-reinstall {torch} {torchvision}"))


def timm() -> Iterator[Finding]:
    if missing := _missing("timm", "NVIDIA GPUs, training and .pt models without an export need it"):
        yield missing
        return
    import timm as m

    yield Finding("timm", OK, m.__version__)


def openvino() -> Iterator[Finding]:
    """Check that OpenVINO finds a CPU."""
    import openvino as o

    devices = o.Core().available_devices
    yield Finding("openvino", OK if "CPU" in devices else FAILURE, f"{o.__version__.split('-')[0]}, devices {', '.join(devices)}",
                  "" if "CPU" in devices else with_pins("pip install --force-reinstall {openvino}"))


def onnx() -> Iterator[Finding]:
    if missing := _missing("onnxruntime", "a CPU without OpenVINO needs it"):
        yield missing
        return
    import onnxruntime

    yield Finding("onnxruntime", OK, f"{onnxruntime.__version__}, providers {', '.join(onnxruntime.get_available_providers())}")


ALL = (openvino, torch, torchvision, timm, onnx)
CHECKS: dict[str, Check] = {check.__name__: check for check in ALL}

if __name__ == "__main__":
    sys.exit(answer(CHECKS, sys.argv[1:]))
