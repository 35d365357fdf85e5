"""Rejects outputs that cannot be written, before anything is opened or loaded."""

from __future__ import annotations

import tempfile
from pathlib import Path

from fer_live.app.config import RECORDING, Config, Kind, OutputConfig, option
from fer_live.app.outgoing_options import check_outgoing
from fer_live.model.paths import common_folder, exists, is_file, is_folder, shortened, why
from fer_live.model.suffixes import IMAGES_WRITTEN
from fer_live.types import OutputError


def check_outputs(config: Config, kind: Kind, source_paths: list[Path]) -> None:
    """Raise OutputError for outputs that do not fit the source or cannot be written."""
    check_outgoing(config.outgoing, kind)
    output = config.output
    if output.log and output.log.suffix.lower() not in (".jsonl", ".csv"):
        raise OutputError(f"--log {output.log}: logs are .jsonl or .csv")
    if kind == "images" and config.analysis.calibrate_s:
        raise OutputError("--calibrate is for cameras and videos; leave it out for images")
    if output.path and kind != "images" and (output.path.suffix.lower() != ".mp4" or output.is_folder):
        raise OutputError(f"--output {output.path}{'/' * output.is_folder}: recordings are .mp4 files")
    if kind != "live":
        _check_live_options(config)
    path = output.path
    try:
        is_to_folder = kind == "images" and writes_folder(output, len(source_paths))
        if kind == "images" and output.path and not is_to_folder:
            _check_image(output.path, len(source_paths))
        for path in filter(None, (output.path, output.log)):
            _check_place(path, source_paths, is_to_folder and path is output.path)
    except OSError as error:  # the folder is not accessible, or the name is too long
        raise OutputError(f"cannot write {shortened(path or '')} ({why(error)}); choose another path") from None


def _check_live_options(config: Config) -> None:
    """Raise OutputError for options that would have no effect on a file."""
    if config.analysis.target_fps:
        raise OutputError("--target-fps is for live sources: a camera, a stream or the demo; a file is analyzed frame by frame")
    for name, is_given in (("--serve", config.web), ("--show fps", "fps" in config.screen.show)):
        if is_given:
            raise OutputError(f"{name} is for live sources: a camera, a stream or the demo; leave it out for files")
    for field in RECORDING:
        if getattr(config.output, field) is not None:
            raise OutputError(f"{option(field)} is for cameras; a file's recording is one file with its own sound")


def writes_folder(output: OutputConfig, images: int) -> bool:
    """Whether `output.path` is a folder for several images rather than one image file. Raises OSError if the file system
    cannot be read.
    """
    path = output.path
    if path is None:
        return False
    if output.is_folder or is_folder(path):
        return True
    return not path.suffix and not (images == 1 and is_file(path))


def _check_image(output: Path, images: int) -> None:
    if output.suffix.lower() not in IMAGES_WRITTEN:
        raise OutputError(f"--output {output}: images are {' '.join(IMAGES_WRITTEN)}, or give a folder, with / at its end")
    if images > 1:
        raise OutputError(f"--output {output}: {images} images need a folder; put / at its end")


def _check_place(path: Path, source_paths: list[Path], is_to_folder: bool) -> None:
    """Raise OutputError if `path` cannot be created or is the source, OSError if the file system cannot be read."""
    if exists(path):
        taken = [*source_paths, common_folder(source_paths)] if source_paths else []
        if any(exists(source) and path.samefile(source) for source in taken):
            raise OutputError(f"{path} would overwrite the source; choose another path")
        if is_folder(path) != is_to_folder:
            raise OutputError(f"cannot write {path}: it is a {'file' if is_to_folder else 'folder'}")
    folder = path if is_to_folder else path.parent
    existing = folder
    while not exists(existing):
        existing = existing.parent
    if folder != existing and not is_to_folder:
        raise OutputError(f"cannot write {path}: the folder {folder} does not exist")
    try:
        with tempfile.TemporaryFile(dir=existing):  # checking permissions is not enough: root passes every check
            pass
    except OSError as error:
        raise OutputError(f"cannot write {path}: no file can be created in {existing} ({why(error)})") from None
