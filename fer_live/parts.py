"""What live runs and runs over files are both made of."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fer_live import text
from fer_live.labels import Reduction, read_words
from fer_live.pipeline import Analyzer
from fer_live.privacy import MEMORY_S, Mask
from fer_live.recorder import unused, write_picture
from fer_live.tracker import Smoother
from fer_live.types import Analysis, Frame, OutputError, View
from fer_live.window import missing_display


def load(args: argparse.Namespace, model: Path) -> Analyzer:
    """The analyzer; says once where it computes."""
    analyzer = Analyzer.from_checkpoint(model, args.device, args.head, args.min_face)
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


class Chain:
    """Frame -> Analysis: all that a frame goes through before anything is drawn, shown, written or sent.

    The analyzer, then the smaller set of classes, then the covering of faces, as the options ask: nothing that comes after
    sees other classes or an uncovered face. labels: the class names of what comes out. stills: every picture stands alone.
    """

    def __init__(self, args: argparse.Namespace, analyzer: Analyzer, stills: bool = False):
        self.analyzer, self.stills = analyzer, stills
        self.labels: tuple[str, ...] = analyzer.classifier.spec.labels
        self.steps: list[Callable[[Analysis], Analysis]] = []
        self.reduction, self.mask = None, None
        if args.label_set != "full":
            self.reduction = Reduction(args.label_set, self.labels, lambda labels: Smoother(labels, time_constant_s=0), stills)
            self.labels = self.reduction.labels
            self.steps.append(self.reduction)
        if args.mask:
            self.mask = Mask(args.mask, 0.0 if stills else MEMORY_S)
            self.steps.append(self.mask)

    def __call__(self, frame: Frame) -> Analysis:
        analysis = self.analyzer.analyze_still(frame) if self.stills else self.analyzer(frame)
        for step in self.steps:
            analysis = step(analysis)
        return analysis

    def forget(self) -> None:
        """Forget everyone who was there. For the thread that analyses."""
        self.analyzer.forget()
        for part in (self.reduction, self.mask):
            if part is not None:
                part.forget()


def screen_words(args: argparse.Namespace) -> dict[str, str]:
    """What classes and phrases are called on the screen. Raises OutputError where they cannot be read or written."""
    words = read_words(args.language[0], args.labels)
    text.check(words.values())
    return words


DEAD_WITHOUT_STORE = "rs"  # keys that write


def live_keys(args: argparse.Namespace, keys: dict[str, Callable[[], None]]) -> dict[str, Callable[[], None]]:
    """The keys that do something in this run."""
    return {key: act for key, act in keys.items() if not (args.no_store and key in DEAD_WITHOUT_STORE)}


def dead_keys(args: argparse.Namespace) -> str:
    """The keys that do nothing in this run."""
    return DEAD_WITHOUT_STORE if args.no_store else ""


def save_picture(path: Path, image: np.ndarray) -> Path:
    """Write a picture under a name that is free; returns it."""
    path = unused(path)
    write_picture(path, image)
    return path


def make_view(args: argparse.Namespace, mirror: bool, badge: str) -> View:
    """The view that the options ask for."""
    return View(mirror=mirror, badge=badge, **{name: name in args.show for name in ("fps", "bars", "help")})
