"""Optional packages, imported only by the outputs that need them."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from fer_live.types import OutputError

PACKAGES = {  # option -> module, package, fer-live extra
    "--osc": ("pythonosc", "python-osc", "osc"), "--mqtt": ("paho.mqtt", "paho-mqtt", "mqtt"), "--lsl": ("pylsl", "pylsl", "lsl"),
    "--virtual-camera": ("pyvirtualcam", "pyvirtualcam", "virtual-camera"),
}


def optional(option: str, part: str = "") -> ModuleType:
    """Import the module that `option` needs, or its submodule `part`. Raises OutputError with what to install."""
    module, package, extra = PACKAGES[option]
    try:
        return import_module(f"{module}.{part}" if part else module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise OutputError(f"{option}: the package {package} cannot be loaded ({error})") from None
        raise OutputError(f"{option} needs the package {package}: pip install 'fer-live[{extra}]'") from None
    except (ImportError, OSError, RuntimeError) as error:  # a native library is missing or broken
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise OutputError(f"{option}: the package {package} cannot be loaded ({first})") from None
