"""Options for the kiosk, privacy and on-screen text, and checks for conflicts between them."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from urllib.parse import urlsplit

from fer_live.analysis.label_sets import LABEL_SETS
from fer_live.app.config import RECORDING, KioskConfig, option
from fer_live.model.suggest import did_you_mean
from fer_live.screen.words import LANGUAGES
from fer_live.types import OutputError

LONGEST_OPERATOR, LONGEST_URL = 80, 200  # characters; longer texts would make the notice or its QR code too small to read
SECRET_KEY = re.compile(r"(^|[&;])[^=&;]*(pass|pwd|secret|token|auth)[^=&;]*=", re.IGNORECASE)


def add_words(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--language", type=_languages, default=["en"], metavar="L,M", help=f"language of the labels: {', '.join(LANGUAGES)}; "
        "a kiosk switches between all that are given (default: en)")
    add("--labels", type=Path, metavar="FILE", help='JSON file (UTF-8) with your own texts for the screen: '
        '{"happy": "joyful", ...}')
    add("--label-set", choices=("full", *LABEL_SETS), default="full", help="basic: positive, neutral, negative, surprised "
        "(default: full, the model's seven)")


def add_kiosk(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--kiosk", action="store_true", help="full screen for visitors: no window frame, pointer or keys; large text and a "
        "notice")
    add("--exit-chord", type=_chord, metavar="KEYS", help="letters and digits that exit the kiosk when typed "
        "within two seconds (default: qqq)")
    add("--idle-seconds", type=positive, metavar="S", help="after S seconds without a face, show the idle screen "
        "and forget the last visitor (default: 8)")
    add("--notice", action=argparse.BooleanOptionalAction, help="show visitors a privacy notice "
        "(default: yes)")
    add("--operator", type=_operator, metavar="NAME", help="name of the responsible operator in the notice")
    add("--policy-url", type=_url, metavar="URL", help="URL of the privacy policy, shown as a QR code in the notice")
    add("--record-on-consent", action="store_true", help="record only after a visitor presses the button on the screen (click, "
        "touch, Enter or space); --output names the first recording")
    add("--consent-seconds", type=positive, metavar="S", help="maximum length of such a recording (default: 30)")
    add("--challenge", action="store_true", help="a game for one to three visitors, who make six faces and see how each is "
        "classified")


def add_privacy(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--no-store", action="store_true", help="never open a file for writing")
    masks = group.add_mutually_exclusive_group()
    masks.add_argument("--blur-faces", dest="mask", action="store_const", const="blur", help="blur faces in everything that is "
                       "shown, recorded, saved or sent")
    masks.add_argument("--mask", choices=("emoji", "pixelate"), help="cover faces with emoji, or pixelate them")


def check_conflicts(args: argparse.Namespace) -> None:
    """Raise OutputError if options conflict."""
    writers = {"--output": args.output, "--log": args.log, "--record-on-consent": args.record_on_consent,
               "--web-controls": args.web_controls}
    given = [name for name, value in writers.items() if value]
    if args.no_store and given:
        raise OutputError(f"--no-store and {given[0]} cannot be combined; leave one out")
    _check_recording(args)
    if args.kiosk and args.web_controls:  # in a kiosk only visitors record, with --record-on-consent
        raise OutputError("--kiosk and --web-controls cannot be combined; leave one out")
    if "help" in args.show and args.no_window:
        raise OutputError("--show help is for the window; leave it or --no-window out")
    if args.kiosk and args.show:
        raise OutputError("--show is for the window, and a kiosk has a screen of its own; leave one out")
    if args.kiosk and args.no_window:
        raise OutputError("--kiosk and --no-window cannot be combined; leave one out")
    for name in ("record_on_consent", "operator", "policy_url", "exit_chord", "idle_seconds", "notice", "consent_seconds",
                 "challenge"):
        if getattr(args, name) not in (None, False) and not args.kiosk:
            raise OutputError(f"{option(name)} is for a kiosk; add --kiosk, or leave it out")
    if args.notice is False and not args.kiosk:
        raise OutputError("--no-notice is for a kiosk; add --kiosk, or leave it out")
    if len(args.language) > 1 and not args.kiosk:
        raise OutputError("several languages are for a kiosk, which switches between them; add --kiosk, or give one --language")
    if args.consent_seconds is not None and not args.record_on_consent:
        raise OutputError("--consent-seconds is for --record-on-consent; give both")
    if args.challenge and args.label_set != "full":
        raise OutputError(f"--challenge needs the model's classes, and --label-set {args.label_set} has fewer; leave one out")
    if args.challenge and args.calibrate is not None:
        raise OutputError("--challenge and --calibrate cannot be combined: both ask visitors to make a face; leave one out")


def kiosk_config(args: argparse.Namespace) -> KioskConfig | None:
    """Convert the kiosk options, or return None without --kiosk."""
    if not args.kiosk:
        return None
    default = KioskConfig()
    return KioskConfig(
        args.exit_chord or default.exit_chord, args.idle_seconds or default.idle_s, args.notice is not False,
        args.operator or "", args.policy_url or "", args.record_on_consent, args.consent_seconds or default.consent_s,
        args.challenge)


def _check_recording(args: argparse.Namespace) -> None:
    """Raise OutputError for recording options in a run that cannot record."""
    for name in RECORDING:
        if getattr(args, name) is None:
            continue
        if args.no_store:
            raise OutputError(f"--no-store and {option(name)} cannot be combined; leave one out")
        if not args.output and args.kiosk and not args.record_on_consent:
            raise OutputError(f"{option(name)} is for recordings, and this kiosk makes none; add --record-on-consent or "
                              "--output, or leave it out")
        if not args.output and args.no_window and not args.kiosk and not args.web_controls:
            raise OutputError(f"{option(name)} is for recordings, and without a window no key starts one; give --output or "
                              "--web-controls")


def _languages(text: str) -> list[str]:
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    wrong = [name for name in names if name not in LANGUAGES]
    named = ", ".join(name + did_you_mean(name, LANGUAGES) for name in wrong)
    if wrong or not names:
        raise argparse.ArgumentTypeError(f"unknown language {named or repr(text)}; choose from: {', '.join(LANGUAGES)}")
    return list(dict.fromkeys(names))


def _chord(text: str) -> str:
    if not (2 <= len(text) <= 20 and text.isascii() and text.isalnum()):
        raise argparse.ArgumentTypeError(f"{text!r} is not 2 to 20 letters and digits")
    return text.lower()


def positive(text: str) -> float:
    """Parse a number above 0, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def _operator(text: str) -> str:
    if not text.strip() or not text.isprintable() or len(text) > LONGEST_OPERATOR:
        raise argparse.ArgumentTypeError(f"give a name of at most {LONGEST_OPERATOR} characters, in one line")
    return text.strip()


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.netloc or not text.isascii() or not text.isprintable() or " " in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not an http:// or https:// URL")
    if "@" in parts.netloc or SECRET_KEY.search(parts.query):
        raise argparse.ArgumentTypeError("the URL contains a password, which the QR code would show; remove it")
    if len(text) > LONGEST_URL:
        raise argparse.ArgumentTypeError(f"the URL has over {LONGEST_URL} characters; give a shorter one")
    return text
