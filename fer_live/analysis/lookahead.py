"""Optimizations for files, whose later frames are available: batching across frames, and showing faces from their first frame."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain

import numpy as np

from fer_live.analysis.classifier import classify_both_views
from fer_live.analysis.located import MOST_BUFFER_BYTES, Located
from fer_live.analysis.visibility import see_all
from fer_live.handoff import HeldError, Prefetch, grouped
from fer_live.model.preprocess import crop_faces
from fer_live.model.spec import Classifier, ModelSpec
from fer_live.types import Analysis, Frame

# A batch is complete with so many crops, or frames. 8 images in one batch take half the time of 8 separate batches.
CROPS_A_BATCH, FRAMES_A_BATCH = 8, 16
FEWEST = 3  # frames; shorter videos are analyzed as independent images


def analyze_all(
    frames: Iterable[Frame], locate_all: Callable[[Iterable[Frame]], Iterable[Located]], classify: Classifier,
    name: Callable[[Located, np.ndarray], Analysis], analyze_still: Callable[[Frame], Analysis],
) -> Iterator[Analysis]:
    """Analyze the frames of a video in order. The arguments are the stages of an Analyzer; `locate_all` runs in its own thread, a
    few frames ahead of `name`. A video of less than FEWEST frames is analyzed as independent images."""
    groups = grouped(frames, FEWEST)
    first = next(groups, [])
    if len(first) < FEWEST:  # too short for tracking; includes frames before an error
        yield from map(analyze_still, first)
        next(groups, None)  # raises the error, if any
        return
    size = max(1, min(FRAMES_A_BATCH, MOST_BUFFER_BYTES // max(1, first[0].image.nbytes)))
    located = locate_all(chain(first, chain.from_iterable(groups)))
    with Prefetch(batched(with_beginnings(located, classify.spec, size), size), 2) as batches:
        for group in batches:
            probs = classify_both_views(classify, np.concatenate([one.crops for one in group]))  # (M of all frames, 7)
            ends = np.cumsum([len(one.crops) for one in group])[:-1]
            for one, own in zip(group, np.split(probs, ends), strict=True):
                yield name(one, own)


def batched(stream: Iterable[Located], most: int) -> Iterator[list[Located]]:
    """Yield the stream in lists of up to `most` frames whose crops make a batch. An error is raised after the items before it."""
    batch: list[Located] = []
    located = HeldError(stream)
    for one in located:
        batch.append(one)
        if len(batch) >= most or sum(len(each.crops) for each in batch) >= CROPS_A_BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
    located.raise_error()


def with_beginnings(stream: Iterable[Located], spec: ModelSpec, most: int) -> Iterator[Located]:
    """Yield the stream, delayed by up to `most` frames, and add tracks to the earlier frames in which they were tentative."""
    held: deque[Located] = deque()
    located = HeldError(stream)
    for one in located:
        if one.is_new_video:  # new timestamps could equal those of held frames
            yield from held
            held.clear()
        for i, old in enumerate(held):
            for track_id, time_s, box, roll, row in one.begun:
                if old.frame.time_s == time_s:
                    crop = crop_faces(old.frame.image, np.array([box], np.int32), spec, np.array([roll]))
                    places, crops = (*old.places, (track_id, box, True)), np.concatenate([old.crops, crop])
                    views = (*old.views, *see_all(crop, np.array([box]), old.found[[row]]))
                    held[i] = old = replace(old, places=places, crops=crops, views=views, fresh=old.fresh | {track_id})
        held.append(one)
        if len(held) > most:
            yield held.popleft()
    yield from held
    located.raise_error()
