"""Checks of the doctor that need only the standard library: packages, display, disk and the model file.

A check is a function that yields findings. `answer` runs checks in the subprocess that `fer_live.doctor` started.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from fer_live.model import WEIGHTS

OK, WARNING, FAILURE = LEVELS = ("ok", "warning", "failure")  # the program runs; runs with limitations; does not run
ROOT = Path(__file__).resolve().parent.parent.parent
NEEDED = ("opencv-contrib-python", "numpy", "openvino", "av", "tqdm", "aiohttp", "pillow")
OPENCVS = ("opencv-contrib-python", "opencv-python", "opencv-python-headless", "opencv-contrib-python-headless")
RAISED = 3  # exit status of a check that raised an error, which is then the last line on stderr
SMALL_GB, FULL_GB = 2.0, 0.1


class Finding(NamedTuple):
    """Result of a check: its name, one of LEVELS, a line of text, and a line with the fix (empty: none).

    seconds: time since the check's start, including its imports.
    """

    name: str
    level: str
    text: str
    todo: str = ""
    seconds: float = 0.0


Check = Callable[[], Iterator[Finding]]


def answer(checks: dict[str, Check], arguments: list[str]) -> int:
    """Run the named checks, and append each finding to a file as a line of JSON at once; "end" follows the last one of a check.

    arguments: the file, then the names.
    """
    path, *names = arguments
    with open(path, "a", encoding="utf-8") as file:
        for name in names:
            started_s = time.monotonic()
            try:
                for finding in checks[name]():
                    file.write(json.dumps(finding._replace(seconds=round(time.monotonic() - started_s, 2))) + "\n")
                    file.flush()  # the next step can kill the process
            except BaseException as error:  # a broken package can raise anything, including SystemExit; the error is reported
                place = error.filename if isinstance(error, SyntaxError) else \
                    traceback.extract_tb(error.__traceback__)[-1].filename
                print(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}, raised in {place}", file=sys.stderr)
                return RAISED
            file.write("end\n")
            file.flush()
    return 0


def pins(name: str = "requirements.txt") -> dict[str, str]:
    """Return package -> version as pinned in a requirements file of the program; empty if the file is missing."""
    try:
        text = (ROOT / name).read_text(encoding="utf-8")
    except OSError:
        return {}
    return dict(re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;#]+)", text, re.MULTILINE))


def with_pins(todo: str) -> str:
    """Replace each {package} in the text with package==version."""
    known = {**pins("requirements-dev.txt"), **pins()}
    return re.sub(r"\{([\w.-]+)\}", lambda m: f"{m[1]}=={known[m[1]]}" if m[1] in known else m[1], todo)


def installed(name: str) -> str | None:
    """Return the installed version according to pip's metadata; "?" if that is damaged, None if not installed."""
    try:
        return metadata.version(name) or "?"
    except metadata.PackageNotFoundError:
        return None
    except Exception:  # damaged metadata raises KeyError, TypeError or UnicodeDecodeError, depending on the damage
        return "?"


def python() -> Iterator[Finding]:
    text = f"{platform.python_version()} ({sys.executable}) on {platform.platform()}, {os.cpu_count()} processors"
    if sys.version_info < (3, 11) or sys.maxsize < 1 << 32:
        yield Finding("python", FAILURE, text, "create a virtual environment with a 64-bit Python 3.11 or newer")
    else:
        yield Finding("python", OK, text)


def packages() -> Iterator[Finding]:
    wanted = pins() or dict.fromkeys(NEEDED, "")
    found = {name: installed(name) for name in {**dict.fromkeys(NEEDED, ""), **wanted}}
    yield Finding("packages", OK, ", ".join(f"{name} {version}" for name, version in found.items() if version) or "none")
    others = [name for name in OPENCVS[1:] if installed(name)]
    for name, version in found.items():
        pin = wanted.get(name, "")
        if version is None and not (name == OPENCVS[0] and others):
            level = FAILURE if name in NEEDED else WARNING
            yield Finding("packages", level, f"{name} is not installed", with_pins(f"pip install {{{name}}}"))
        elif version and pin and version.split("+")[0] != pin.split("+")[0]:
            yield Finding("packages", WARNING, f"{name} is {version}, but {pin} was tested", with_pins(f"pip install {{{name}}}"))
    yield from _opencvs(found[OPENCVS[0]], others)
    yield from _torch_pair()
    tested = {name: pin for name, pin in pins("requirements-dev.txt").items() if name not in found}
    optional = {name: installed(name) for name in tested}
    for name, version in optional.items():
        if version and version.split("+")[0] != (pin := tested[name]):
            yield Finding("packages", WARNING, f"{name} is {version}, but {pin} was tested", with_pins(f"pip install {{{name}}}"))
    missing = [name for name, version in optional.items() if version is None]
    text = ", ".join(f"{name} {version}" for name, version in optional.items() if version) or "none"
    yield Finding("optional packages", OK, text + (f"; not installed: {', '.join(missing)}" if missing else ""))


def _opencvs(contrib: str | None, others: list[str]) -> Iterator[Finding]:
    """Report conflicts: all OpenCV packages write the same folder cv2, so two of them conflict, and one can lack windows."""
    todo = with_pins(f"pip uninstall -y {' '.join(others)} {OPENCVS[0]} && pip install {{{OPENCVS[0]}}}")
    if others and contrib:
        yield Finding("packages", WARNING, f"{' and '.join(others)} beside opencv-contrib-python: the one installed last has "
                      "overwritten the folder cv2", todo)
    elif others:
        yield Finding("packages", WARNING, f"{' and '.join(others)} instead of opencv-contrib-python", todo)


def _torch_pair() -> Iterator[Finding]:
    """Report a mismatch: torchvision is compiled for one version of torch, which its metadata names."""
    torch, vision = installed("torch"), installed("torchvision")
    if not torch or not vision or "?" in (torch, vision):
        return
    needs = [m[1] for line in metadata.requires("torchvision") or [] if (m := re.match(r"torch\s*\(?==\s*([\w.]+)", line))]
    if needs and needs[0] != torch.split("+")[0]:
        yield Finding("packages", FAILURE, f"torchvision {vision} was made for torch {needs[0]}, but torch {torch} is installed",
                      with_pins("pip install {torch} {torchvision}"))


def display() -> Iterator[Finding]:
    """Report whether a display is configured; the check `window` tries it."""
    x, wayland = os.environ.get("DISPLAY"), os.environ.get("WAYLAND_DISPLAY")
    if not sys.platform.startswith("linux"):
        yield Finding("display", OK, f"{platform.system()} windows")
    elif x:
        yield Finding("display", OK, f"DISPLAY is {x}" + (f", beside Wayland {wayland}" if wayland else ""))
    elif wayland:
        yield Finding("display", WARNING, f"Wayland ({wayland}) without DISPLAY; OpenCV's windows need X",
                      "install and start Xwayland")
    else:
        yield Finding("display", WARNING, "no display (DISPLAY is not set): the program prints one line per second instead",
                      "start it in a desktop session, or give --output or --log with --no-window")


def disk() -> Iterator[Finding]:
    for what, folder in (("recordings", Path.cwd()), ("temporary files", Path(tempfile.gettempdir()))):
        free_gb = shutil.disk_usage(folder).free / 1e9
        level = FAILURE if free_gb < FULL_GB else WARNING if free_gb < SMALL_GB else OK
        yield Finding("disk", level, f"{free_gb:.1f} GB free for {what} in {folder}", "" if level == OK else "free some space")
        try:
            with tempfile.TemporaryFile(dir=folder):  # permission bits are not enough: root ignores them
                pass
        except OSError as error:
            yield Finding("disk", WARNING, f"no file can be created in {folder} ({error.strerror})",
                          "start the program in a folder of yours, or give --output and --log elsewhere")


def model_file() -> Iterator[Finding]:
    path, card = WEIGHTS / "best_model.pt", WEIGHTS / "best_model.json"
    if not path.is_file():
        yield Finding("model file", FAILURE, f"{path} is missing", "install the program again, or give --model FILE")
        return
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    text = f"{path} ({path.stat().st_size:,} bytes), SHA-256 {digest}"
    try:
        wanted = json.loads(card.read_text(encoding="utf-8"))["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        yield Finding("model file", WARNING, f"{text}; {card.name}, which has the expected one, cannot be read",
                      f"install {card.name} again")
        return
    if digest == wanted:
        yield Finding("model file", OK, f"{text}, as {card.name} says")
    else:
        yield Finding("model file", FAILURE, f"{text}, but {card.name} says {wanted}",
                      "the file is damaged or another one: install it again")


CHECKS: dict[str, Check] = {c.__name__: c for c in (python, packages, display, disk, model_file)}

if __name__ == "__main__":
    sys.exit(answer(CHECKS, sys.argv[1:]))
