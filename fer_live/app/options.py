"""The command line, and the checks that need neither a camera nor the network: they answer in under a second."""

from __future__ import annotations

import argparse
import os
import re
import tempfile
from pathlib import Path

from fer_live.analysis.baseline import DEFAULT_S, checked_s
from fer_live.app.kiosk_options import add_kiosk, add_privacy, add_words, positive
from fer_live.model.detections import DETECTORS
from fer_live.model.paths import common_folder, exists, is_file, is_folder, named_path, shortened, why
from fer_live.model.spec import ANSWERS
from fer_live.redact import redact_errors
from fer_live.types import OutputError

RUNTIMES = ("auto", "torch", "onnx", "openvino")
SHOW = ("fps", "bars", "help")
PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
LONGEST_SILENCE_S = 3600.0
EXAMPLES = """examples:
  python -m fer_live                                        the webcam in a window
  python -m fer_live --source clip.mp4 --output out.mp4 --log out.jsonl --no-window
  python -m fer_live --source picture.jpg --output annotated.png
  python -m fer_live --source 'photos/*.jpg' --output annotated/
  python -m fer_live --source demo --max-seconds 20
  python -m fer_live --serve 8080 --no-window               a page at http://127.0.0.1:8080/
keys in the window: q or Esc quits, r records, s saves a picture, n calibrates, b bars, m mirror,
f full screen, h help"""


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options; a wrong one ends the program with status 2, as argparse does."""
    args = make_parser().parse_args(arguments)
    args.to_folder = bool(args.output) and args.output.endswith(("/", os.sep))  # a Path does not keep it
    args.output = Path(args.output) if args.output else None
    return args


def make_parser() -> argparse.ArgumentParser:
    """All options, in groups."""
    parser = redact_errors(argparse.ArgumentParser(
        prog="python -m fer_live", description="Finds faces in video and names their expressions, in real time.",
        epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
    ))
    parser.register("type", Path, named_path)
    _add_source(parser.add_argument_group("source"))
    _add_supervision(parser.add_argument_group("when the camera is lost"))
    _add_results(parser.add_argument_group("results"))
    _add_recording(parser.add_argument_group("live recordings"))
    _add_model(parser.add_argument_group("faces and expressions"))
    _add_view(parser.add_argument_group("view"))
    _add_web(parser.add_argument_group("web view"))
    add_words(parser.add_argument_group("words"))
    add_privacy(parser.add_argument_group("privacy"))
    add_kiosk(parser.add_argument_group("kiosk"))
    return parser


def _add_source(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--source", action="append", type=_not_empty, help="camera number, name or /dev path, video file, picture, folder or "
        "glob of pictures, rtsp:// or http:// address, or demo (default: camera 0, or the demo where there is none); may be "
        "given several times: live ones are shown side by side")
    add("--list-cameras", action="store_true", help="say which cameras there are, with their modes, and end")
    add("--max-seconds", type=positive, metavar="S", help="stop after this long")


def _add_supervision(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--wait-for-camera", action="store_true", help="where there is no camera at the start, wait for it instead of ending")
    add("--silent-seconds", type=_silence, metavar="S", help="no picture for this long is a fault; give more than a slow camera "
        "takes from one picture to the next (default: 4)")
    add("--frozen-seconds", type=_not_negative, metavar="S", help="the same picture for this long is a fault; 0: it never is "
        "(default: 4, or --silent-seconds where that is more)")
    add("--on-camera-lost", metavar="CMD", help="a shell command to run when the camera is lost; it finds FER_LIVE_CAMERA and "
        "FER_LIVE_REASON in its environment")
    add("--on-camera-found", metavar="CMD", help="a shell command to run when it is back")


def _add_results(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--output", type=_not_empty, metavar="PATH", help="annotated .mp4 of a video or live source; picture or folder of "
        "pictures")
    add("--log", type=Path, metavar="FILE", help=".jsonl: an object a frame; .csv: a row a face")


def _add_recording(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--audio", nargs="?", const="", metavar="DEVICE", help="record the microphone too: its name (default: the system's), "
        "or a sound file in its place")
    add("--segment-minutes", type=positive, metavar="M", help="begin a new file every M minutes; the time stands in "
        "its name")
    add("--keep-gb", type=positive, metavar="G", help="delete the oldest of these files beyond G gigabytes")
    add("--keep-days", type=positive, metavar="D", help="delete those older than D days (with either, M is 10 if not given)")


def _add_model(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--model", type=Path, metavar="FILE", help="a best_model.pt (default: the shipped one)")
    add("--head", choices=ANSWERS, help="shown: both heads, adjusted so that rare expressions are named; fer2013 (dataset "
        "labels) or ferplus (crowd votes): one head, as it was trained (default: the model's own)")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    add("--runtime", default="auto", choices=RUNTIMES, help="what computes the expressions on the CPU (default: the fastest that "
        "is installed)")
    add("--detector", default="haar", choices=DETECTORS, help="how faces are found: haar (upright, from the front), yunet (also "
        "turned, tilted and dim ones) or both (default: haar)")
    add("--calibrate", nargs="?", const=DEFAULT_S, type=_rest_s, metavar="SECONDS", help="ask every new face to look neutral "
        "for so long (default: 3), then take its resting expression out of its answers; in a video, the faces it begins with. "
        "Kept in memory only, while the face is followed")
    add("--min-face", type=positive, metavar="SIZE", help="smallest face: pixels, or below 1 a share of the shorter side of "
        "each camera's picture (default: 0.14, pictures 0.06)")
    add("--target-fps", type=positive, metavar="N", help="hold this rate by searching for faces less often and less finely")


def _add_view(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--no-window", action="store_true", help="run without a window")
    add("--mirror", action=argparse.BooleanOptionalAction, help="flip left and right (default: cameras yes, files no)")
    add("--show", type=_shown, default={"fps"}, metavar="A,B", help=f"what to draw besides faces: {', '.join(SHOW)} or none "
        "(default: fps)")


def _add_web(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--serve", type=_address, metavar="[HOST:]PORT", help="show a live run to browsers (default host: 127.0.0.1); "
        "also /snapshot.jpg, /events, /healthz, /metrics. Plain HTTP: for a network you trust")
    add("--token", help="what viewers must know, 12 characters or more; also the variable FER_LIVE_TOKEN "
        "(default: made and printed for any host but 127.0.0.1)")


def _address(text: str) -> tuple[str, int]:
    found = re.fullmatch(r"(?:(?:\[([^][]+)\]|([^][:]+)):)?([0-9]{1,5})", text)  # an IPv6 address stands in brackets
    if not found or int(found[3]) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no PORT, HOST:PORT or [IPV6]:PORT with a port up to 65535")
    return found[1] or found[2] or "127.0.0.1", int(found[3])


def _rest_s(text: str) -> float:
    try:
        return checked_s(positive(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _not_empty(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("the name is empty; give one, or leave the option out")
    return text


def _not_negative(text: str) -> float:
    return 0.0 if text.strip() in ("0", "0.0") else positive(text)


def _silence(text: str) -> float:
    value = positive(text)
    if value > LONGEST_SILENCE_S:
        raise argparse.ArgumentTypeError(f"{text} is more than {LONGEST_SILENCE_S:g}, an hour")
    return value


def _shown(text: str) -> set[str]:
    names = {name.strip() for name in text.split(",") if name.strip()} - {"none"}
    if names - set(SHOW):
        wrong = ", ".join(sorted(names - set(SHOW)))
        raise argparse.ArgumentTypeError(f"cannot show {wrong}; there are: {', '.join(SHOW)}, none")
    return names


def check_outputs(args: argparse.Namespace, kind: str, source_paths: list[Path]) -> None:
    """Refuse what could not be written, before anything is opened or loaded. kind: "live", "video" or "pictures"."""
    if args.log and args.log.suffix.lower() not in (".jsonl", ".csv"):
        raise OutputError(f"--log {args.log}: logs are .jsonl or .csv")
    if kind == "pictures" and args.calibrate:
        raise OutputError("--calibrate is for cameras and videos; a picture has no time to look neutral in")
    if args.output and kind != "pictures" and (args.output.suffix.lower() != ".mp4" or args.to_folder):
        raise OutputError(f"--output {args.output}{'/' * args.to_folder}: recordings are .mp4 files")
    if kind != "live":
        for name in ("audio", "segment_minutes", "keep_gb", "keep_days"):
            if getattr(args, name) is not None:
                raise OutputError(f"--{name.replace('_', '-')} is for cameras; a file is written in one piece with its own sound")
    path = args.output
    try:
        is_to_folder = kind == "pictures" and args.output is not None and output_is_folder(args, len(source_paths))
        if kind == "pictures" and args.output and not is_to_folder:
            _check_picture(args.output, len(source_paths))
        for path in filter(None, (args.output, args.log)):
            _check_place(path, source_paths, is_to_folder and path is args.output)
    except OSError as error:  # in a folder that may not be entered, or of a name that is too long
        raise OutputError(f"cannot write {shortened(path)} ({why(error)}); choose another name or place") from None


def output_is_folder(args: argparse.Namespace, pictures: int) -> bool:
    """Whether pictures are written into `args.output`, rather than one to it. Raises OSError if that cannot be told."""
    output = args.output
    if args.to_folder or is_folder(output):
        return True
    return not output.suffix and not (pictures == 1 and is_file(output))


def _check_picture(output: Path, pictures: int) -> None:
    if output.suffix.lower() not in PICTURE_ENDINGS:
        raise OutputError(f"--output {output}: pictures are {' '.join(PICTURE_ENDINGS)}, or give a folder, with / at its end")
    if pictures > 1:
        raise OutputError(f"--output {output}: {pictures} pictures need a folder; put / at its end")


def _check_place(path: Path, source_paths: list[Path], is_to_folder: bool) -> None:
    """Raises OutputError if `path` cannot be made, or is the source; OSError if that cannot be told."""
    if exists(path):
        taken = [*source_paths, common_folder(source_paths)] if source_paths else []
        if any(exists(source) and path.samefile(source) for source in taken):
            raise OutputError(f"{path} would overwrite the source; choose another place")
        if is_folder(path) != is_to_folder:
            raise OutputError(f"cannot write {path}: it is a {'file' if is_to_folder else 'folder'}")
    folder = path if is_to_folder else path.parent
    existing = folder
    while not exists(existing):
        existing = existing.parent
    if folder != existing and not is_to_folder:
        raise OutputError(f"cannot write {path}: the folder {folder} does not exist")
    try:
        with tempfile.TemporaryFile(dir=existing):  # permissions alone do not tell: the superuser has all of them
            pass
    except OSError as error:
        raise OutputError(f"cannot write {path}: {existing} takes no files ({why(error)})") from None
