"""Benchmark sizes: full, and quick for a functional test."""

from __future__ import annotations

from dataclasses import dataclass

KINDS = ("live", "file", "clip", "classifier", "start", "memory", "peer")
HD, SMALL = (1280, 720), (640, 360)


@dataclass(frozen=True)
class Settings:
    """Benchmark sizes. live: cases of (faces, fps, size_wh). compared: cases measured with each detector.

    clip_frames: number of frames to which --clip is repeated.
    """

    repeats: int = 3
    live: tuple[tuple[int, int, tuple[int, int]], ...] = tuple((n, fps, HD) for fps in (30, 60) for n in (0, 1, 4, 16))
    compared: tuple[tuple[int, int, tuple[int, int]], ...] = ((1, 30, HD), (4, 30, HD))
    live_s: float = 8.0
    warm_up_s: float = 1.5
    file_sizes: tuple[tuple[int, int], ...] = (SMALL, HD)
    file_frames: int = 450
    clip_frames: int = 2_300
    batches: tuple[int, ...] = (1, 4, 16, 64)
    classify_s: float = 1.0  # per runtime and batch size, in each repeat
    starts: int = 5
    memory_frames: tuple[int, ...] = (1_000, 5_000, 10_000, 20_000)
    peer_frames: int = 450


QUICK = Settings(repeats=1, live=((1, 30, SMALL),), compared=((1, 30, SMALL),), live_s=1.0, warm_up_s=0.3, file_sizes=(SMALL,),
                 file_frames=20, clip_frames=40, batches=(1, 4), classify_s=0.05, starts=1, memory_frames=(20, 60),
                 peer_frames=20)
