"""Chooses the compute device."""

from __future__ import annotations

import ctypes
import re
import sys
from typing import TYPE_CHECKING

from fer_live.model.suggest import did_you_mean

if TYPE_CHECKING:
    import torch

VALID = "auto, cpu, cuda, cuda:0, cuda:1, ..."


class DeviceError(ValueError):
    """The device does not exist. The message lists the valid ones.

    >>> fer_live.load(device="gpu")
    Traceback (most recent call last):
    fer_live.model.device.DeviceError: unknown device 'gpu'; choose from: auto, cpu, cuda, cuda:0, cuda:1, ...
    """


def check_device_name(text: str) -> str:
    """Return `text` if it is a valid device name, without importing torch. Raises DeviceError."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", text):
        raise DeviceError(f"unknown device {text!r}{did_you_mean(text, ('auto', 'cpu', 'cuda'))}; choose from: {VALID}")
    return text


def has_cuda_driver() -> bool:
    """Whether the NVIDIA driver finds a GPU. Queries the driver directly, since importing torch takes seconds."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        count = ctypes.c_int(0)
        return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
    except (OSError, AttributeError):
        return False


def choose_device(text: str) -> tuple[torch.device, str]:
    """Return the device and the reason for the choice. "auto" prefers CUDA."""
    import torch

    count = torch.cuda.device_count()
    if check_device_name(text) == "auto":
        return (torch.device("cuda:0"), "a CUDA GPU was found") if count else (torch.device("cpu"), "no CUDA GPU was found")
    valid = ["auto", "cpu"] + (["cuda"] if count else []) + [f"cuda:{i}" for i in range(count)]
    if text not in valid:
        raise DeviceError(f"no device {text!r} on this machine; choose from: {', '.join(valid)}")
    return torch.device(text), "as requested"
