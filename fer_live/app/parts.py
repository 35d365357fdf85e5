"""What live runs and runs over files are both made of."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from fer_live.analysis.analyzer import Analyzer
from fer_live.analysis.baseline import RestingBaseline
from fer_live.screen import text
from fer_live.screen.display import missing_display
from fer_live.screen.words import read_words
from fer_live.types import OutputError, View


def load(args: argparse.Namespace, model: Path, is_live: bool = True) -> Analyzer:
    """The analyzer; says once where it computes."""
    analyzer = Analyzer.from_checkpoint(model, args.device, args.head, args.min_face, args.runtime, detector=args.detector)
    if args.calibrate:
        analyzer.baseline = RestingBaseline(analyzer.classifier.spec.labels, args.calibrate if is_live else 0.0)
        if not is_live:
            analyzer.calibrate(args.calibrate)
    print(analyzer.classifier.describe, file=sys.stderr)
    return analyzer


def wants_window(args: argparse.Namespace) -> bool:
    """Whether to open a window; says so in a line where there should be one and cannot."""
    missing = None if args.no_window else missing_display()
    if missing and args.kiosk:
        raise OutputError(f"{missing}: a kiosk needs one; start it in the desktop session, or leave out --kiosk")
    if missing:
        print(f"{missing}: running without a window", file=sys.stderr)
    return not (args.no_window or missing)


def screen_words(args: argparse.Namespace) -> dict[str, str]:
    """What classes and phrases are called on the screen. Raises OutputError where they cannot be read or written."""
    words = read_words(args.language[0], args.labels)
    text.check(words.values())
    return words


DEAD_WITHOUT_STORE = "rs"  # keys that write


def live_keys(args: argparse.Namespace, keys: dict[str, Callable[[], None]]) -> dict[str, Callable[[], None]]:
    """The keys that do something in this run."""
    return {key: act for key, act in keys.items() if not (args.no_store and key in DEAD_WITHOUT_STORE)}


def dead_keys(args: argparse.Namespace, stills: bool = False) -> str:
    """The keys that do nothing in this run."""
    return (DEAD_WITHOUT_STORE if args.no_store else "") + ("n" if stills else "")


def make_view(args: argparse.Namespace, mirror: bool, badge: str) -> View:
    """The view that the options ask for."""
    return View(mirror=mirror, badge=badge, **{name: name in args.show for name in ("fps", "bars", "help")})
