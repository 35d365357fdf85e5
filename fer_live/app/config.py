"""What a run is asked to do, as values with types. `options.parse` makes a Config of the command line, once.

Sizes, times and rates are as the options give them; None means that the default of the part concerned holds.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from fer_live.model import DEFAULT_WEIGHTS
from fer_live.model.detections import DEFAULT_DETECTOR


@dataclass(frozen=True)
class SourceConfig:
    """Where frames come from, how long to take them, and what happens when a camera is lost."""

    names: tuple[str, ...] = ()  # as given; empty: camera 0, or the demo where there is none
    max_seconds: float | None = None
    wait_for_camera: bool = False
    silent_s: float | None = None
    frozen_s: float | None = None  # 0: a picture that stays the same is no fault
    on_camera_lost: str | None = None  # shell commands
    on_camera_found: str | None = None


@dataclass(frozen=True)
class OutputConfig:
    """What is written. path: a recording, a picture or a folder of pictures."""

    path: Path | None = None
    is_folder: bool = False  # the path was given with a separator at its end
    log: Path | None = None
    audio: str | None = None  # the microphone; "": the system's
    segment_minutes: float | None = None
    keep_gb: float | None = None
    keep_days: float | None = None
    can_write: bool = True  # False: no file may be opened for writing


@dataclass(frozen=True)
class AnalysisConfig:
    """How faces are found and named, and how they are covered."""

    model: Path = DEFAULT_WEIGHTS
    head: str | None = None
    device: str = "auto"
    runtime: str = "auto"
    detector: str = DEFAULT_DETECTOR
    calibrate_s: float | None = None  # how long new faces are asked to look neutral; None: they are not
    min_face: float | None = None  # pixels, or below 1 a share of the shorter side
    target_fps: float | None = None
    label_set: str = "full"
    mask: str | None = None  # blur, pixelate or emoji


@dataclass(frozen=True)
class ScreenConfig:
    """What is shown, and in which words."""

    has_window: bool = True
    mirror: bool | None = None  # None: cameras are mirrored, files are not
    show: frozenset[str] = frozenset()
    languages: tuple[str, ...] = ("en",)  # the first is that of the labels; a kiosk switches between all
    words: Path | None = None  # a file with words of one's own


@dataclass(frozen=True)
class WebConfig:
    """Where the web view is served. token: what viewers must know; None: made up where the host or the controls need one."""

    host: str
    port: int
    token: str | None = None
    has_controls: bool = False  # viewers may save pictures, start and stop recordings, and download the log


@dataclass(frozen=True)
class OutgoingConfig:
    """Which other programs are given results. Addresses are host and port."""

    on: tuple[tuple[str, str], ...] = ()  # what happens, and the shell command
    webhook: str | None = None
    osc: tuple[str, int] | None = None
    mqtt: tuple[str, int | None] | None = None
    mqtt_user: str | None = None
    mqtt_tls: str | None = None  # file of authorities; "": the system's; None: no encryption
    mqtt_name: str | None = None
    lsl: str | None = None
    virtual_camera: bool = False


@dataclass(frozen=True)
class KioskConfig:
    """The kiosk: how it ends, when it forgets, what its notice says, and whether visitors can record themselves or play."""

    exit_chord: str = "qqq"
    idle_s: float = 8.0
    has_notice: bool = True
    operator: str = ""
    policy_url: str = ""
    record_on_consent: bool = False
    consent_s: float = 30.0
    challenge: bool = False  # visitors play a game


@dataclass(frozen=True)
class Config:
    """One run. web, kiosk: None without."""

    source: SourceConfig = SourceConfig()
    output: OutputConfig = OutputConfig()
    analysis: AnalysisConfig = AnalysisConfig()
    screen: ScreenConfig = ScreenConfig()
    outgoing: OutgoingConfig = OutgoingConfig()
    web: WebConfig | None = None
    kiosk: KioskConfig | None = None
    list_cameras: bool = False  # and end
    log_level: int = logging.INFO  # of the messages to show

    @property
    def records_on_consent(self) -> bool:
        """Whether recordings begin with a visitor's consent, and in no other way."""
        return self.kiosk is not None and self.kiosk.record_on_consent
