"""Assembles kiosk mode on top of a live run: layout, notice, recording button, and resetting between visitors."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from fer_live.analysis.analyzer import Analyzer
from fer_live.app.config import Config, KioskConfig
from fer_live.app.outgoing_options import sends
from fer_live.app.outputs import Outputs, timestamped
from fer_live.app.screen import screen_words
from fer_live.kiosk.consent import Consent, Looks
from fer_live.kiosk.game import ROUNDS, Game
from fer_live.kiosk.gaze import OpenEyes
from fer_live.kiosk.language import Language
from fer_live.kiosk.layout import LANGUAGE, RECORD, Layout
from fer_live.kiosk.notice import Facts, Notice
from fer_live.kiosk.visitors import Presence
from fer_live.protocols import Draw, Recorder
from fer_live.screen.kiosk_window import Chord, KioskWindow
from fer_live.screen.window import ENTER, SPACE, TAB
from fer_live.screen.x11 import ScreenHold
from fer_live.types import Analysis, Frame, OutputError

logger = logging.getLogger("fer_live")

SHORTER = 720  # pixels; shorter side of the drawn screen, which the window scales up


def set_up_kiosk(
    config: Config, kiosk: KioskConfig, analyzer: Analyzer, analyze: Callable[[Frame], Analysis], words: dict[str, str],
    outputs: Outputs, stop: threading.Event, stack: ExitStack,
) -> tuple[Callable[[Frame], Analysis], Draw, KioskWindow]:
    """Return (analyze, draw, window) for a live run. analyze: the analyzer, or the governor that wraps it."""
    presence = Presence(kiosk.idle_s, analyzer.forget)
    hold = stack.enter_context(ScreenHold())
    languages = [words, *(screen_words(config.screen, i) for i in range(1, len(config.screen.languages)))]
    game = make_game(analyzer.labels) if kiosk.challenge else None
    analyzer.steps.insert(0, OpenEyes())  # before faces are masked
    consent = make_consent(config, kiosk, analyzer, outputs, stack) if kiosk.record_on_consent else None

    def may_begin() -> bool:
        return consent is not None and consent.may_begin

    language = Language(languages)
    layout = Layout(canvas_size(hold.xywh), analyzer.labels, language, outputs.view, make_notice(config, kiosk, languages),
                    lambda: presence.idle, may_begin if consent else None, game)
    actions = {LANGUAGE: language.choose_next, **({RECORD: consent.press} if consent else {})}

    def act(name: str) -> None:
        if name in layout.buttons:  # only visible buttons can be pressed
            actions[name]()

    def press(x: int, y: int) -> None:
        for name, box in list(layout.buttons.items()):
            if box[0] <= x < box[2] and box[1] <= y < box[3]:
                act(name)

    keys = {ENTER: partial(act, RECORD), SPACE: partial(act, RECORD), TAB: partial(act, LANGUAGE)}
    screen = KioskWindow(Chord(kiosk.exit_chord, stop.set), keys, press, layout.no_image, max(3.0, kiosk.idle_s), hold.xywh,
                         [hold.poll, consent.poll] if consent else [hold.poll])
    return lambda frame: presence(analyze(frame)), layout.draw, stack.enter_context(screen)


def make_game(labels: tuple[str, ...]) -> Game:
    """Return the game. Raises OutputError if the model lacks a class that the game uses."""
    missing = [name for name in ROUNDS if name not in labels]
    if missing:
        raise OutputError(f"--challenge asks for {', '.join(missing)}, which this model lacks; give another --model")
    return Game(labels)


def make_consent(config: Config, kiosk: KioskConfig, analyzer: Analyzer, outputs: Outputs, stack: ExitStack) -> Consent:
    """Return the sink behind the consent button, which records each consent to a file of its own."""

    def open_recorder() -> Recorder:
        assert outputs.open_recorder is not None
        return outputs.open_recorder(config.output.path or timestamped(".mp4"))

    looks = Looks()
    analyzer.steps.insert(0, looks)  # before faces are masked
    consent = stack.enter_context(Consent(open_recorder, outputs.view, kiosk.consent_s, outputs.tell, looks.of))
    outputs.sinks.append(consent)
    return consent


def canvas_size(xywh: tuple[int, int, int, int] | None) -> tuple[int, int]:
    """Return the size (w, h) to draw at: the monitor's aspect ratio, limited to what the layout supports; 1280x720 if unknown."""
    aspect = min(2.4, max(0.5, xywh[2] / xywh[3])) if xywh else 16 / 9
    longer = round(SHORTER * max(aspect, 1 / aspect) / 2) * 2
    return (longer, SHORTER) if aspect >= 1 else (SHORTER, longer)


def make_notice(config: Config, kiosk: KioskConfig, languages: list[dict[str, str]]) -> Notice | None:
    """Return the privacy notice for this run's options, or None if it is turned off."""
    if not kiosk.has_notice:
        return None
    if not kiosk.operator:
        logger.warning("no --operator: the notice does not say who is responsible")
    return Notice(languages, facts(config, kiosk))


def facts(config: Config, kiosk: KioskConfig) -> Facts:
    """Return what this run stores about visitors and what leaves the device. Extend this for each option that writes or sends."""
    output = config.output
    video = "consent" if kiosk.record_on_consent else "video" if output.path else ""
    sound = "sound" if video and output.audio is not None else ""
    stored = tuple(what for what in ("values" if output.log else "", video, sound) if what)
    is_sent = False
    if config.web is not None:
        from fer_live.web.guard import is_loopback

        is_sent = not is_loopback(config.web.host)
    images, results = sends(config.outgoing)
    shared = "image" if images else "results" if results else ""
    return Facts(stored, bool(config.analysis.mask), kiosk.operator, kiosk.policy_url, is_sent, shared)
