"""Puts a kiosk together from a live run: its screen, its notice, its one button, and the forgetting of visitors."""

from __future__ import annotations

import argparse
import ipaddress
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from fer_live.app.chain import Chain
from fer_live.app.controls import Controls
from fer_live.app.outgoing_options import sends
from fer_live.kiosk.consent import Consent, Looks
from fer_live.kiosk.layout import Layout
from fer_live.kiosk.notice import Facts, Notice
from fer_live.kiosk.visitors import Presence
from fer_live.screen.window import Chord, KioskWindow
from fer_live.screen.words import read_words
from fer_live.screen.x11 import ScreenHold
from fer_live.types import Analysis, Frame, Sink, View

SHORTER = 720  # pixels of the drawn screen's shorter side; the window enlarges it


def set_up_kiosk(args: argparse.Namespace, chain: Chain, words: dict[str, str], view: View, controls: Controls,
                 stop: threading.Event, stack: ExitStack) -> tuple[Callable[[Frame], Analysis], Callable, KioskWindow]:
    """What a live run needs: how to analyse, how to draw, and where to show."""
    presence = Presence(args.idle_seconds, chain.forget)
    hold = stack.enter_context(ScreenHold())
    tongues = [words, *(read_words(language) for language in args.language[1:])]
    consent = ask_consent(args, chain, controls, stack) if args.record_on_consent else None
    layout = Layout(canvas(hold.xywh), chain.labels, tongues, view, make_notice(args, tongues), lambda: presence.idle,
                    (lambda: consent.may_begin) if consent else None)

    def press(at_xy: tuple[int, int] | None = None) -> None:
        button = layout.button
        hit = button and (at_xy is None or (button[0] <= at_xy[0] < button[2] and button[1] <= at_xy[1] < button[3]))
        if consent and hit:  # only what is on the screen can be pressed
            consent.press()

    screen = KioskWindow(Chord(args.exit_chord, stop.set), press, lambda x, y: press((x, y)),
                         lambda: layout.idle_screen(time.monotonic()), max(3.0, args.idle_seconds), hold.xywh,
                         hold.is_blank, [hold.poll, consent.poll] if consent else [hold.poll])
    return lambda frame: presence(chain(frame)), layout.draw, stack.enter_context(screen)


def ask_consent(args: argparse.Namespace, chain: Chain, controls: Controls, stack: ExitStack) -> Consent:
    """What the button does: recordings of their own, each under a name that is free."""

    def open_recorder() -> Sink:
        return controls.open_recorder(args.output or Path(time.strftime("fer_live-%Y%m%d-%H%M%S.mp4")))

    looks = Looks()
    chain.steps.insert(0, looks)  # before faces are covered
    consent = stack.enter_context(Consent(open_recorder, controls.view, args.consent_seconds, controls.tell, looks.of))
    controls.sinks.append(consent)
    return consent


def canvas(xywh: tuple[int, int, int, int] | None) -> tuple[int, int]:
    """The size (w, h) to draw at for a monitor: its shape, as far as the layout can follow it; 1280x720 if it is not known."""
    aspect = min(2.4, max(0.5, xywh[2] / xywh[3])) if xywh else 16 / 9
    longer = round(SHORTER * max(aspect, 1 / aspect) / 2) * 2
    return (longer, SHORTER) if aspect >= 1 else (SHORTER, longer)


def make_notice(args: argparse.Namespace, tongues: list[dict[str, str]]) -> Notice | None:
    """The notice that is true of this run, or None if it was turned off."""
    if not args.notice:
        return None
    if not args.operator:
        print("no --operator: the notice does not say who is responsible", file=sys.stderr)
    return Notice(tongues, facts(args))


def facts(args: argparse.Namespace) -> Facts:
    """What this run stores of visitors, and what leaves the device. An option that comes to write or send belongs here too."""
    video = "consent" if args.record_on_consent else "video" if args.output else ""
    sound = "sound" if video and args.audio is not None else ""
    stored = tuple(what for what in ("values" if args.log else "", video, sound) if what)
    sent = args.serve is not None and not is_loopback(args.serve[0])
    picture, results = sends(args)
    shared = "picture" if picture else "results" if results else ""
    return Facts(stored, bool(args.mask), args.operator or "", args.policy_url or "", sent, shared)


def is_loopback(host: str) -> bool:
    """Whether what is served at this host stays on the device. A name that may lead elsewhere does not count."""
    try:
        return ipaddress.ip_address(host.split("%")[0]).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"
