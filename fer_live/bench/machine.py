"""Describes the hardware and versions of the benchmark. Omits user and host names, so that the results can be shared."""

from __future__ import annotations

import importlib.util
import os
import platform
import subprocess
import sys
from importlib import metadata

PACKAGES = ("torch", "timm", "opencv-contrib-python", "numpy", "av", "onnxruntime", "openvino")


def describe() -> dict:
    """Return the hardware, versions, and the CPU load of other programs before the benchmark."""
    import cv2
    import psutil

    torch = importlib.import_module("torch") if importlib.util.find_spec("torch") else None
    busy = psutil.cpu_percent(interval=1.0)
    return {
        "processor": _processor(), "cores": psutil.cpu_count(logical=False), "threads": os.cpu_count(),
        "threads_allowed": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1), "busy_before_percent": busy,
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch else [],
        "system": platform.platform(), "python": platform.python_version(),
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
        "torch_cuda": torch.version.cuda if torch else None, "torch_threads": torch.get_num_threads() if torch else None,
        "opencv_threads": cv2.getNumThreads(),
        "settings": {name: os.environ[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY")
                     if name in os.environ},
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    """Return the processor's marketing name."""
    if sys.platform.startswith("linux"):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith(("model name", "Model"))]
        if names:
            return names[0]
    if sys.platform == "darwin":
        asked = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=False)
        if asked.stdout.strip():
            return asked.stdout.strip()
    return platform.processor() or platform.machine()
