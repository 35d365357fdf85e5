"""Converts the command line to a Config, with all checks that need no camera, file or network."""

from __future__ import annotations

import argparse
import logging
import os
import re
from functools import partial
from pathlib import Path

from fer_live.analysis.baseline import DEFAULT_S, checked_s
from fer_live.analysis.classifier import RUNTIMES
from fer_live.app.config import AnalysisConfig, Config, OutputConfig, ScreenConfig, SourceConfig, WebConfig
from fer_live.app.kiosk_options import add_kiosk, add_privacy, add_words, check_conflicts, kiosk_config, positive
from fer_live.app.outgoing_options import add_outgoing, outgoing_config
from fer_live.model import DEFAULT_WEIGHTS
from fer_live.model.detections import DEFAULT_DETECTOR, DETECTORS
from fer_live.model.device import check_device_name
from fer_live.model.paths import named_path
from fer_live.model.spec import ANSWERS
from fer_live.model.suggest import did_you_mean, suggest_names
from fer_live.redact import redact_errors
from fer_live.types import OutputError

SHOW = ("fps", "bars", "help")
LONGEST_SILENCE_S = 3600.0
EXAMPLES = """examples:
  python -m fer_live                                        the webcam in a window
  python -m fer_live clip.mp4 --output out.mp4 --log out.jsonl --no-window
  python -m fer_live image.jpg --output annotated.png
  python -m fer_live 'photos/*.jpg' --output annotated/
  python -m fer_live demo --max-seconds 20
  python -m fer_live --serve 8080 --no-window               a page at http://127.0.0.1:8080/
keys in the window: q or Esc quits, r records, s saves an image, n calibrates, b shows bars, m mirrors,
f toggles full screen, h shows help"""


def parse(arguments: list[str] | None) -> Config:
    """Parse the options. Exits with status 2 on invalid values, as argparse does.

    Raises OutputError for options that cannot be combined or cannot take effect, DeviceError for an unknown device.
    """
    parser = make_parser()
    args = parser.parse_intermixed_args(arguments)  # sources may come before, between and after options
    if args.sources and args.source:
        raise OutputError(f"the source is given twice: {args.sources[0]}, and --source {args.source[0]}; leave one out")
    if args.list_cameras:
        _check_alone(parser, args)
    check_device_name(args.device)
    check_conflicts(args)
    return Config(
        source=SourceConfig(tuple(args.sources or args.source or ()), args.max_seconds, args.wait_for_camera, args.silent_seconds,
                            args.frozen_seconds, args.on_camera_lost, args.on_camera_found),
        output=_output_config(args),
        analysis=AnalysisConfig(args.model or DEFAULT_WEIGHTS, args.head, args.device, args.runtime, args.detector,
                                args.calibrate, args.min_face, args.target_fps, args.label_set, args.mask),
        screen=ScreenConfig(not args.no_window, args.mirror, frozenset(args.show), tuple(args.language), args.labels),
        outgoing=outgoing_config(args), web=_web_config(args), kiosk=kiosk_config(args), list_cameras=args.list_cameras,
        log_level=args.log_level)


def _check_alone(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Raise OutputError if --list-cameras is combined with options that it would ignore."""
    for action in parser._actions:
        is_given = getattr(args, action.dest, action.default) not in (action.default, [])
        if is_given and action.dest not in ("list_cameras", "log_level"):
            name = action.option_strings[0] if action.option_strings else "a source"
            raise OutputError(f"--list-cameras lists the cameras and exits, so {name} has no effect; leave it out")


def _output_config(args: argparse.Namespace) -> OutputConfig:
    is_folder = bool(args.output) and args.output.endswith(("/", os.sep))  # a Path drops the trailing separator
    return OutputConfig(Path(args.output) if args.output else None, is_folder, args.log, args.audio, args.segment_minutes,
                        args.keep_gb, args.keep_days, can_write=not args.no_store)


def _web_config(args: argparse.Namespace) -> WebConfig | None:
    if args.serve is None:
        for option, is_given in (("--token", args.token), ("--web-controls", args.web_controls)):
            if is_given:
                raise OutputError(f"{option} is for --serve [HOST:]PORT; give both")
        return None
    host, port = args.serve
    return WebConfig(host, port, args.token, args.web_controls)


def make_parser() -> argparse.ArgumentParser:
    """Build the parser with all options, in groups."""
    parser: argparse.ArgumentParser = redact_errors(suggest_names(argparse.ArgumentParser(
        prog="python -m fer_live", description="Real-time facial expression recognition for webcams, files and streams.",
        epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
    )))
    parser.register("type", Path, named_path)
    _add_source(parser.add_argument_group("source"))
    _add_supervision(parser.add_argument_group("when the camera is lost"))
    _add_results(parser.add_argument_group("results"))
    _add_recording(parser.add_argument_group("live recordings"))
    _add_model(parser.add_argument_group("faces and expressions"))
    _add_view(parser.add_argument_group("view"))
    _add_web(parser.add_argument_group("web view"))
    add_outgoing(parser.add_argument_group("outputs to other programs"))
    add_words(parser.add_argument_group("words"))
    add_privacy(parser.add_argument_group("privacy"))
    add_kiosk(parser.add_argument_group("kiosk"))
    _add_messages(parser.add_argument_group("messages"))
    return parser


def _add_source(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("sources", nargs="*", type=_not_empty, metavar="SOURCE", help="camera number, name or /dev path, video file, image, "
        "folder or glob of images, rtsp:// or http:// URL, or demo (default: camera 0, or the demo if there is no camera); "
        "several live ones are shown side by side")
    add("--source", action="append", type=_not_empty, metavar="SOURCE", help="the same as an option, which may be given several "
        "times")
    add("--list-cameras", action="store_true", help="list cameras and their modes, then exit")
    add("--max-seconds", type=positive, metavar="S", help="stop after S seconds")


def _add_supervision(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--wait-for-camera", action="store_true", help="if no camera is found at the start, wait for one instead of exiting")
    add("--silent-seconds", type=_silence, metavar="S", help="reconnect if no image arrives for S seconds; for a slow "
        "camera, give more than its interval between images (default: 4)")
    add("--frozen-seconds", type=_not_negative, metavar="S", help="reconnect if the image does not change for S seconds; 0 "
        "disables this check (default: 4, or --silent-seconds if that is more)")
    add("--on-camera-lost", metavar="CMD", help="shell command to run when the camera is lost; its environment has "
        "FER_LIVE_CAMERA and FER_LIVE_REASON")
    add("--on-camera-found", metavar="CMD", help="shell command to run when the camera is back")


def _add_results(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--output", type=_not_empty, metavar="PATH", help="annotated .mp4 of a video or live source, or annotated "
        "image or folder of images. Existing files are never overwritten; the name gets a numeric suffix")
    add("--log", type=Path, metavar="FILE", help=".jsonl: one object per frame; .csv: one row per face")


def _add_recording(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--audio", nargs="?", const="", metavar="DEVICE", help="also record a microphone, by name (default: the system's), "
        "or a sound file instead")
    add("--segment-minutes", type=positive, metavar="M", help="start a new file every M minutes, with the time in "
        "its name")
    add("--keep-gb", type=positive, metavar="G", help="delete the oldest of these files when they exceed G gigabytes")
    add("--keep-days", type=positive, metavar="D", help="delete these files after D days (with either option, M defaults "
        "to 10)")


def _add_model(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--model", type=Path, metavar="FILE", help="best_model.pt or .onnx file (default: the released model)")
    add("--head", choices=ANSWERS, help="classifier head: fer2013 (dataset labels), ferplus (crowd votes), or shown: both, "
        "adjusted so that rare expressions are recognized (default: the model's own)")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    add("--runtime", default="auto", choices=RUNTIMES, help="inference runtime on the CPU (default: the fastest that is "
        "installed)")
    add("--detector", default=DEFAULT_DETECTOR, choices=DETECTORS, help="face detector: haar (upright frontal faces), yunet "
        "(also turned, tilted and dim faces) or both (default: %(default)s)")
    add("--calibrate", nargs="?", const=DEFAULT_S, type=_rest_s, metavar="SECONDS", help="ask every new face to look neutral "
        "for this long (default: 3), then subtract its resting expression from its results; in a video, only the faces at its "
        "start. Nothing is stored")
    add("--min-face", type=positive, metavar="SIZE", help="smallest face to detect: in pixels, or below 1 as a share of the "
        "shorter side of each camera's image (default: 0.14, for images 0.06)")
    add("--target-fps", type=positive, metavar="N", help="maintain N frames a second by detecting faces less often and less "
        "finely")


def _add_view(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--no-window", action="store_true", help="run without a window")
    add("--mirror", action=argparse.BooleanOptionalAction, help="flip left and right (default: cameras yes, files no)")
    add("--show", type=_shown, default=frozenset(), metavar="A,B", help=f"what to draw besides faces: {', '.join(SHOW)} or none "
        "(default: none)")


def _add_web(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--serve", type=_address, metavar="[HOST:]PORT", help="serve a web page of a live run (default host: 127.0.0.1), "
        "with /api for programs. Plain HTTP: use it on a trusted network only")
    add("--token", help="password for viewers, 12 characters or more; also read from FER_LIVE_TOKEN "
        "(default: generated and printed for any host but 127.0.0.1, and for --web-controls)")
    add("--web-controls", action="store_true", help="let viewers, who need the token, save images, start and stop recordings "
        "and download the log; the files stay on this computer")


def _add_messages(group: argparse._ArgumentGroup) -> None:
    levels = group.add_mutually_exclusive_group()
    add = partial(levels.add_argument, action="store_const", dest="log_level", default=logging.INFO)
    add("--quiet", const=logging.WARNING, help="show only warnings and errors: no other messages, progress or status lines")
    add("--verbose", const=logging.DEBUG, help="also show versions, rates and times of loading")


def _address(text: str) -> tuple[str, int]:
    found = re.fullmatch(r"(?:(?:\[([^][]+)\]|([^][:]+)):)?([0-9]{1,5})", text)  # IPv6 addresses need brackets
    if not found or int(found[3]) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not PORT, HOST:PORT or [IPV6]:PORT with a port up to 65535")
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
        wrong = ", ".join(name + did_you_mean(name, SHOW) for name in sorted(names - set(SHOW)))
        raise argparse.ArgumentTypeError(f"cannot show {wrong}; choose from: {', '.join(SHOW)}, none")
    return names
