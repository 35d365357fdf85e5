"""Configuration of a run as typed values. `options.parse` converts the command line to one Config.

Sizes, times and rates have the units of their options. None means the default of the component that uses the value.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fer_live.model import DEFAULT_WEIGHTS
from fer_live.model.detections import DEFAULT_DETECTOR

Kind = Literal["live", "video", "images"]  # of a run's source
RECORDING = ("audio", "segment_minutes", "keep_gb", "keep_days")  # the fields of OutputConfig that only live recordings use


@dataclass(frozen=True)
class SourceConfig:
    """Input: the sources, the time limit, and how to handle a lost camera."""

    names: tuple[str, ...] = ()  # as given; empty: camera 0, or the demo if there is no camera
    max_seconds: float | None = None
    wait_for_camera: bool = False
    silent_s: float | None = None
    frozen_s: float | None = None  # seconds; 0 turns the check off
    on_camera_lost: str | None = None  # shell command
    on_camera_found: str | None = None  # shell command


@dataclass(frozen=True)
class OutputConfig:
    """Files to write. path: a recording, an image or a folder of images."""

    path: Path | None = None
    is_folder: bool = False  # the path ended with a separator
    log: Path | None = None
    audio: str | None = None  # microphone or sound file; "": the system's default microphone
    segment_minutes: float | None = None
    keep_gb: float | None = None
    keep_days: float | None = None
    can_write: bool = True  # False: no file may be opened for writing


@dataclass(frozen=True)
class AnalysisConfig:
    """Detection, classification and masking."""

    model: Path = DEFAULT_WEIGHTS
    head: str | None = None
    device: str = "auto"
    runtime: str = "auto"
    detector: str = DEFAULT_DETECTOR
    calibrate_s: float | None = None  # seconds; calibration time of each new face; None: no calibration
    min_face: float | None = None  # pixels, or below 1 a fraction of the shorter side
    target_fps: float | None = None
    label_set: str = "full"
    mask: str | None = None  # blur, pixelate or emoji


@dataclass(frozen=True)
class ScreenConfig:
    """What is displayed, and in which languages."""

    has_window: bool = True
    mirror: bool | None = None  # None: cameras are mirrored, files are not
    show: frozenset[str] = frozenset()
    languages: tuple[str, ...] = ("en",)  # the first is used for labels; a kiosk switches between all
    words: Path | None = None  # JSON file with custom texts


@dataclass(frozen=True)
class WebConfig:
    """Address of the web view. token: viewers' password; None: generated if the host or the controls require one."""

    host: str
    port: int
    token: str | None = None
    has_controls: bool = False  # viewers may save images, start and stop recordings, and download the log


@dataclass(frozen=True)
class OutgoingConfig:
    """Outputs to other programs. Addresses are (host, port)."""

    on: tuple[tuple[str, str], ...] = ()  # (trigger, shell command) pairs
    webhook: str | None = None
    osc: tuple[str, int] | None = None
    mqtt: tuple[str, int | None] | None = None
    mqtt_user: str | None = None
    mqtt_tls: str | None = None  # CA file; "": the system's certificates; None: no TLS
    mqtt_name: str | None = None
    lsl: str | None = None
    virtual_camera: bool = False


@dataclass(frozen=True)
class KioskConfig:
    """Kiosk mode: exit chord, idle timeout, privacy notice, recording on consent, and the game."""

    exit_chord: str = "qqq"
    idle_s: float = 8.0
    has_notice: bool = True
    operator: str = ""
    policy_url: str = ""
    record_on_consent: bool = False
    consent_s: float = 30.0
    challenge: bool = False  # whether visitors can play the game


@dataclass(frozen=True)
class Config:
    """One run. web and kiosk are None if that mode is off."""

    source: SourceConfig = SourceConfig()
    output: OutputConfig = OutputConfig()
    analysis: AnalysisConfig = AnalysisConfig()
    screen: ScreenConfig = ScreenConfig()
    outgoing: OutgoingConfig = OutgoingConfig()
    web: WebConfig | None = None
    kiosk: KioskConfig | None = None
    list_cameras: bool = False  # list cameras, then exit
    log_level: int = logging.INFO  # lowest level to show

    @property
    def records_on_consent(self) -> bool:
        """Whether recordings start only when a visitor consents."""
        return self.kiosk is not None and self.kiosk.record_on_consent


def option(name: str) -> str:
    """Return the option that sets a field or argument: segment_minutes -> --segment-minutes."""
    return f"--{name.replace('_', '-')}"
