"""Makes the sink of the outputs to other programs that the options ask for."""

from __future__ import annotations

import argparse
import socket
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from fer_live.app.outgoing_options import make_rule
from fer_live.outgoing.commands import Commands
from fer_live.outgoing.events import ENTER, HOLD, LEAVE, EventDetector
from fer_live.outgoing.lsl import Lsl
from fer_live.outgoing.mqtt import Broker, Mqtt
from fer_live.outgoing.osc import Osc
from fer_live.outgoing.sink import Outgoing
from fer_live.outgoing.virtual_camera import VirtualCamera
from fer_live.outgoing.webhook import Webhook
from fer_live.outgoing.worker import Receiver
from fer_live.sources.demo import Demo
from fer_live.sources.grid import Grid
from fer_live.types import UNSURE, OutputError, Sink


def add_outgoing_sink(
    args: argparse.Namespace, source: Any, sinks: list[Sink], labels: tuple[str, ...], is_recording: Callable[[], bool],
    stack: ExitStack,
) -> Outgoing | None:
    """The sink of all outputs that the options ask for, entered and appended; None if there are none. Raises OutputError.

    source: the opened one. labels: class names in the order of the probabilities.
    """
    receivers = make_receivers(args, labels, source)
    if not receivers:
        return None
    commands = next((one for one in receivers if isinstance(one, Commands)), None)
    detector = EventDetector(commands.holds if commands else frozenset(), is_recording)
    pictures = commands.kinds if commands and commands.is_storing else frozenset[str]()
    outgoing = stack.enter_context(Outgoing(receivers, detector, pictures))
    sinks.append(outgoing)
    return outgoing


def make_receivers(args: argparse.Namespace, labels: tuple[str, ...], source: Any = None) -> list[Receiver]:
    """A receiver for each output. Raises OutputError where its package is missing or it names an unknown label."""
    made: list[Receiver] = []
    if args.on:
        rules = [make_rule(*one) for one in args.on]
        known = {*labels, UNSURE}
        for rule in rules:
            if rule.kind == HOLD and rule.label not in known:
                raise OutputError(f"--on {rule.text}: there is no label {rule.label}; there are: {', '.join(sorted(known))}, "
                                  f"and {ENTER} and {LEAVE}")
        made.append(Commands(rules, is_storing=not (args.no_store or args.kiosk)))  # no visitor has agreed to a snapshot
    if args.webhook:
        try:
            made.append(Webhook(args.webhook))
        except ValueError as error:
            raise OutputError(f"--webhook: {error}") from None
    if args.osc:
        host, port = args.osc
        made.append(Osc(host, port, labels))
    if args.mqtt:
        host, port = args.mqtt
        broker = Broker(host, port, args.mqtt_user, args.mqtt_tls)
        parts = source.sources if isinstance(source, Grid) else [source]
        names = args.source or ["demo" if isinstance(source, Demo) else "camera 0"]
        made.append(Mqtt(broker, args.mqtt_name or socket.gethostname(), names, labels,
                         lambda number: getattr(parts[number], "is_lost", False)))
    if args.lsl:
        made.append(Lsl(args.lsl, labels))
    if args.virtual_camera:
        made.append(VirtualCamera())
    return made
