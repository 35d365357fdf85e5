"""Builds the analyzer from the configuration, with face masking as its last step."""

from __future__ import annotations

import logging

from fer_live.analysis.analyzer import Analyzer
from fer_live.analysis.detection import ScheduledDetector
from fer_live.app.config import AnalysisConfig, Kind
from fer_live.app.loader import ClassifierLoader
from fer_live.model.both import face_detectors
from fer_live.model.haar import MIN_FACE, STILL_MIN_FACE
from fer_live.privacy.masks import MEMORY_S, Mask

logger = logging.getLogger("fer_live")


def open_analyzer(config: AnalysisConfig, kind: Kind, load: ClassifierLoader) -> Analyzer:
    """Return the analyzer, and log its device and runtime. Raises CheckpointError, DeviceError, OutputError."""
    searcher, still_detector = face_detectors(config.detector, config.min_face)  # while the classifier is still loading
    classifier = load()
    analyzer = Analyzer(classifier, ScheduledDetector(searcher), still_detector, config.label_set)
    if config.calibrate_s:
        if kind == "live":
            analyzer.state.baseline.each_s = config.calibrate_s
        else:
            analyzer.calibrate(config.calibrate_s)
    if config.mask:
        analyzer.steps.append(make_mask(config, config.mask, is_still=kind == "images"))
    logger.info(classifier.describe)
    logger.debug(f"{config.model} loaded in {load.took_s:.1f} s")
    return analyzer


def make_mask(config: AnalysisConfig, kind: str, is_still: bool) -> Mask:
    """Return a mask for faces down to the smallest size that is classified. kind: blur, pixelate or emoji."""
    smallest = config.min_face or (STILL_MIN_FACE if is_still else MIN_FACE)
    return Mask(kind, 0.0 if is_still else MEMORY_S, min_face=smallest)
