"""Performance targets for two CPU cores without a GPU; the two for CUDA are for an H200."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fer_live.model.detections import DEFAULT_DETECTOR

FLAT = 0.03  # maximum memory growth from the first mark to the last that counts as flat
MEMORY_MB = 900


@dataclass(frozen=True)
class Target:
    """A target for one figure. at_least, at_most: the bound that meets it."""

    name: str
    figure: str
    at_least: float | None = None
    at_most: float | None = None

    def judge(self, row: dict) -> dict:
        """Return the value and whether it meets the target."""
        value = row[self.figure]
        met = value >= self.at_least if self.at_least is not None else value <= self.at_most
        bound = {"at_least": self.at_least} if self.at_least is not None else {"at_most": self.at_most}
        return {"name": self.name, "figure": self.figure, **bound, "value": value, "met": bool(met)}


def _live(row: dict) -> list[Target]:
    if tuple(row["size_wh"]) != (1280, 720) or row["detector"] != DEFAULT_DETECTOR:
        return []
    return {
        (30, 1): [Target("no frame dropped", "dropped_share", at_most=0.0), Target("p95 33 ms", "p95_ms", at_most=33.0),
                  Target("6 ms of CPU", "cpu_ms", at_most=6.0)],
        (30, 4): [Target("30 a second", "analyzed_per_s", at_least=30.0), Target("p95 50 ms", "p95_ms", at_most=50.0)],
        (60, 1): [Target("55 a second", "analyzed_per_s", at_least=55.0)],
        (60, 16): [Target("55 a second", "analyzed_per_s", at_least=55.0)],
    }.get((row["fps"], row["faces"]), [])


def _file(row: dict) -> list[Target]:
    if row["detector"] != DEFAULT_DETECTOR:
        return []
    share = {(640, 360): 0.65, (1280, 720): 0.85}.get(tuple(row["size_wh"]))
    return [Target(f"{share} of the floor", "ratio_to_floor", at_least=share)] if share else []


def _clip(row: dict) -> list[Target]:
    return [Target("3.5 ms of CPU", "cpu_ms", at_most=3.5)] if row["detector"] == DEFAULT_DETECTOR else []


def _classifier(row: dict) -> list[Target]:
    if row["is_plain"]:
        return []
    if row["device"].startswith("cuda"):
        return {16: [Target("CUDA: p95 1.5 ms", "p95_ms", at_most=1.5)],
                256: [Target("CUDA: 20,000 faces a second", "faces_per_s", at_least=20_000)]}.get(row["batch"], [])
    return [Target("3 times plain", "times_plain", at_least=3.0)] if row["batch"] == 16 else []


def _start(row: dict) -> list[Target]:
    return [Target("0.5 s", "first_frame_s", at_most=0.5), Target("0.5 s at the first start", "first_start_s", at_most=0.5),
            Target("1.6 times import torch", "ratio", at_most=1.6)]


def _memory(row: dict) -> list[Target]:
    return [Target("flat", "growth", at_most=FLAT), Target("under 900 MB", "largest_mb", at_most=MEMORY_MB)]


def _peer(row: dict) -> list[Target]:
    if "note" in row:
        return []
    return [Target("8 times fer", "ratio", at_least=8.0), Target("as many true faces", "ours_true", at_least=row["peer_true"])]


FOR: dict[str, Callable[[dict], list[Target]]] = {
    "live": _live, "file": _file, "clip": _clip, "classifier": _classifier, "start": _start, "memory": _memory, "peer": _peer}


def judge(kind: str, rows: list[dict]) -> None:
    """Set "targets" in each row: the result for each of the row's targets."""
    for row in rows:
        row["targets"] = [target.judge(row) for target in FOR[kind](row)]


def words(row: dict[str, Any]) -> str:
    """Format the row's targets: "p95 33 ms: met"."""
    return ", ".join(f"{target['name']}: {'met' if target['met'] else 'MISSED'}" for target in row["targets"])
