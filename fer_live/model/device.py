"""Which device to compute on."""

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
    """There is no such device. The text lists the valid ones.

    >>> fer_live.load(device="gpu")
    Traceback (most recent call last):
    fer_live.model.device.DeviceError: no device is called 'gpu'; there are: auto, cpu, cuda, cuda:0, cuda:1, ...
    """


def check_device_name(text: str) -> str:
    """`text` if it can name a device at all; needs no torch. Raises DeviceError."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", text):
        raise DeviceError(f"no device is called {text!r}{did_you_mean(text, ('auto', 'cpu', 'cuda'))}; there are: {VALID}")
    return text


def has_cuda_driver() -> bool:
    """Whether NVIDIA's driver is here and sees a GPU; asked of the driver itself, since importing torch takes seconds."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        count = ctypes.c_int(0)
        return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
    except (OSError, AttributeError):
        return False


def choose_device(text: str) -> tuple[torch.device, str]:
    """The device of this name, and the reason for it in words. "auto" takes CUDA where there is one."""
    import torch

    count = torch.cuda.device_count()
    if check_device_name(text) == "auto":
        return (torch.device("cuda:0"), "a CUDA GPU was found") if count else (torch.device("cpu"), "no CUDA GPU was found")
    valid = ["auto", "cpu"] + (["cuda"] if count else []) + [f"cuda:{i}" for i in range(count)]
    if text not in valid:
        raise DeviceError(f"no device {text!r} on this machine; there are: {', '.join(valid)}")
    return torch.device(text), "as asked"
