"""Builds the sink for outputs to other programs. Receivers are imported only if needed: imports delay the start."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from fer_live.app.config import Config
from fer_live.app.outgoing_options import make_rule
from fer_live.model.suggest import did_you_mean
from fer_live.outgoing.commands import Commands
from fer_live.outgoing.events import ENTER, HOLD, LEAVE, EventDetector
from fer_live.outgoing.sink import Outgoing
from fer_live.outgoing.worker import Receiver
from fer_live.protocols import Sink, Source
from fer_live.sources.grid import Grid
from fer_live.types import UNSURE, OutputError


def add_outgoing_sink(
    config: Config, source: Source, sinks: list[Sink], labels: tuple[str, ...], is_recording: Callable[[], bool],
    stack: ExitStack,
) -> Outgoing | None:
    """Enter the sink for all configured outputs and append it to `sinks`; return it, or None if there are none.

    source: already opened. labels: class names in the order of the probabilities. Raises OutputError.
    """
    receivers = make_receivers(config, labels, source)
    if not receivers:
        return None
    commands = next((one for one in receivers if isinstance(one, Commands)), None)
    detector = EventDetector(commands.holds if commands else frozenset(), is_recording)
    images = commands.kinds if commands and commands.is_storing else frozenset[str]()
    outgoing = stack.enter_context(Outgoing(receivers, detector, images))
    sinks.append(outgoing)
    return outgoing


def make_receivers(config: Config, labels: tuple[str, ...], source: Source | None = None) -> list[Receiver]:
    """Return one receiver per output. Raises OutputError for a missing package or an unknown label."""
    made: list[Receiver] = []
    asked = config.outgoing
    if asked.on:
        rules = [make_rule(*one) for one in asked.on]
        known = {*labels, UNSURE}
        for rule in rules:
            if rule.kind == HOLD and rule.label not in known:
                raise OutputError(f"--on {rule.text}: unknown label {rule.label}"
                                  f"{did_you_mean(rule.label, {*known, ENTER, LEAVE})}; choose from: "
                                  f"{', '.join(sorted(known))}, {ENTER}, {LEAVE}")
        is_storing = config.output.can_write and not config.kiosk  # visitors have not agreed to snapshots
        made.append(Commands(rules, is_storing=is_storing))
    if asked.webhook:
        from fer_live.outgoing.webhook import Webhook

        try:
            made.append(Webhook(asked.webhook))
        except ValueError as error:
            raise OutputError(f"--webhook: {error}") from None
    if asked.osc:
        from fer_live.outgoing.osc import Osc

        host, port = asked.osc
        made.append(Osc(host, port, labels))
    if asked.mqtt:
        import socket

        from fer_live.outgoing.mqtt import Broker, Mqtt
        from fer_live.sources.demo import Demo

        broker = Broker(*asked.mqtt, asked.mqtt_user, asked.mqtt_tls)
        parts = source.sources if isinstance(source, Grid) else [source]
        names = list(config.source.names) or ["demo" if isinstance(source, Demo) else "camera 0"]
        made.append(Mqtt(broker, asked.mqtt_name or socket.gethostname(), names, labels,
                         lambda number: getattr(parts[number], "is_lost", False)))
    if asked.lsl:
        from fer_live.outgoing.lsl import Lsl

        made.append(Lsl(asked.lsl, labels))
    if asked.virtual_camera:
        from fer_live.outgoing.virtual_camera import VirtualCamera

        made.append(VirtualCamera())
    return made
