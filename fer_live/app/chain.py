"""All that a frame goes through before anything is drawn, shown, written or sent."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator

from fer_live.analysis.analyzer import STILL_MIN_FACE, Analyzer
from fer_live.analysis.label_sets import Reduction
from fer_live.analysis.load_governor import Governor
from fer_live.model.haar import MIN_FACE
from fer_live.privacy.masks import MEMORY_S, Mask
from fer_live.types import Analysis, Frame, View


class Chain:
    """The analyzer, then the smaller set of classes, then the covering of faces, as the options ask: nothing that comes after
    sees other classes or an uncovered face.

    labels: the class names of what comes out. stills: every picture stands alone. view: is told what is given up for a rate.
    """

    def __init__(self, args: argparse.Namespace, analyzer: Analyzer, view: View | None = None, stills: bool = False):
        self.analyzer, self.view, self.stills = analyzer, view, stills
        self.labels: tuple[str, ...] = analyzer.classifier.spec.labels
        self.steps: list[Callable[[Analysis], Analysis]] = []
        self.reduction, self.mask, self.governor = None, None, None
        if args.label_set != "full":
            self.reduction = Reduction(args.label_set, self.labels, stills)
            self.labels = self.reduction.labels
            self.steps.append(self.reduction)
        if args.mask:
            smallest = args.min_face or (STILL_MIN_FACE if stills else MIN_FACE)
            self.mask = Mask(args.mask, 0.0 if stills else MEMORY_S, min_face=smallest)
            self.steps.append(self.mask)
        if args.target_fps and view is not None:
            self.governor = Governor(self._through, analyzer.detector, args.target_fps)

    def __call__(self, frame: Frame) -> Analysis:
        """The analysis of the next frame of a live source."""
        if self.governor is None:
            return self._through(frame)
        analysis = self.governor(frame)
        self.view.quality = self.governor.note
        return analysis

    def all(self, frames: Iterable[Frame]) -> Iterator[Analysis]:
        """The analyses of a file's frames, in order."""
        for analysis in map(self.analyzer.analyze_still, frames) if self.stills else self.analyzer.analyze_all(frames):
            yield self._finish(analysis)

    def _through(self, frame: Frame) -> Analysis:
        return self._finish(self.analyzer(frame))

    def _finish(self, analysis: Analysis) -> Analysis:
        for step in self.steps:
            analysis = step(analysis)
        return analysis

    def forget(self) -> None:
        """Forget everyone who was there. For the thread that analyses."""
        self.analyzer.forget()
        for part in (self.reduction, self.mask):
            if part is not None:
                part.forget()
