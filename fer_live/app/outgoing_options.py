"""Options for outputs to other programs, and their checks. Imports nothing heavy, to keep `--help` fast."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from fer_live.app.config import Kind, OutgoingConfig, option
from fer_live.outgoing.packages import PACKAGES, optional
from fer_live.types import OutputError

if TYPE_CHECKING:  # imports what starts processes
    from fer_live.outgoing.commands import Rule

OUTPUTS = ("on", "webhook", "osc", "mqtt", "lsl", "virtual_camera")
OF_MQTT = ("mqtt_user", "mqtt_tls", "mqtt_name")


def add_outgoing(group: argparse._ArgumentGroup) -> None:
    """Add the options for outputs to other programs."""
    add = group.add_argument
    add("--on", nargs=2, action="append", metavar=("WHAT", "CMD"), help="run a shell command when a face enters (WHAT is enter), "
        "leaves (leave), or keeps a label (happy, or happy:3 for 3 seconds; default: 1), once each time. Its "
        "environment has FER_LIVE_EVENT, _LABEL, _TRACK, _CONFIDENCE, _SECONDS, _TIME and _SNAPSHOT; the snapshot is "
        "deleted when the command ends, and there is none with --no-store or in a kiosk. May be repeated")
    add("--webhook", type=_webhook, metavar="URL", help="post events as JSON (enter, leave, label changes, lost camera, "
        "recording); the variable FER_LIVE_WEBHOOK_TOKEN becomes a bearer token")
    add("--osc", type=_host_port, metavar="HOST:PORT", help="send values and events as OSC over UDP")
    add("--mqtt", type=_broker, metavar="HOST[:PORT]", help="publish to a broker, with Home Assistant discovery (default port: "
        "1883, with TLS 8883)")
    add("--mqtt-user", metavar="NAME", help="the broker's user; the password is the variable FER_LIVE_MQTT_PASSWORD")
    add("--mqtt-tls", nargs="?", const="", metavar="CA.pem", help="use TLS; CA certificates to trust (default: the system's)")
    add("--mqtt-name", type=_name, metavar="NAME", help="name of this device in topics (default: the host's name)")
    add("--lsl", type=_name, metavar="NAME", help="publish the probabilities as a Lab Streaming Layer stream, and NAME-markers")
    add("--virtual-camera", action="store_true", help="provide the annotated image as a camera to other programs on this "
        "computer")


def outgoing_config(args: argparse.Namespace) -> OutgoingConfig:
    """Convert these options to an OutgoingConfig."""
    rules = tuple((what, command) for what, command in args.on or ())
    return OutgoingConfig(rules, args.webhook, args.osc, args.mqtt, args.mqtt_user, args.mqtt_tls, args.mqtt_name, args.lsl,
                          args.virtual_camera)


def check_outgoing(config: OutgoingConfig, kind: Kind) -> None:
    """Raise OutputError for options that would have no effect."""
    for name in OF_MQTT:
        if getattr(config, name) is not None and not config.mqtt:
            raise OutputError(f"{option(name)} is for --mqtt HOST; give both")
    given = [name for name in OUTPUTS if getattr(config, name)]
    if given and kind != "live":
        raise OutputError(f"{option(given[0])} is for live sources: a camera, a stream or the demo; leave it out for files")
    for what, command in config.on:
        make_rule(what, command)
    for one in {option(name) for name in given} & PACKAGES.keys():  # fail before the model is loaded
        optional(one)


def sends(config: OutgoingConfig) -> tuple[bool, bool]:
    """Whether images, and whether results, are passed to other programs or devices.

    Local addresses count too, since the receiver can forward the data.
    """
    return config.virtual_camera, any(getattr(config, name) for name in OUTPUTS)


def make_rule(what: str, command: str) -> Rule:
    from fer_live.outgoing.commands import Rule

    try:
        return Rule.of(what, command)
    except ValueError as error:
        raise OutputError(f"--on: {error}") from None


def _address(text: str) -> tuple[str, int | None]:
    """Parse HOST, HOST:PORT or [IPV6]:PORT. The ValueError has no text, which could contain a password."""
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{1,5}))?", text)
    port = int(found[3]) if found and found[3] else None
    if not found or (port is not None and not 0 < port <= 65535):
        raise ValueError
    host = found[1] or found[2]
    host.encode("idna")  # raises UnicodeError, a ValueError, for invalid names
    return host, port


def _host_port(text: str) -> tuple[str, int]:
    try:
        host, port = _address(text)
    except ValueError:
        port = None
    if port is None:
        raise argparse.ArgumentTypeError("give HOST:PORT or [IPV6]:PORT, with a port from 1 to 65535")
    return host, port


def _broker(text: str) -> tuple[str, int | None]:
    try:
        return _address(text)
    except ValueError:
        raise argparse.ArgumentTypeError("give HOST or HOST:PORT; a user is given by --mqtt-user, and a password by the variable "
                                         "FER_LIVE_MQTT_PASSWORD") from None


def _webhook(text: str) -> str:
    from fer_live.outgoing.webhook import Webhook  # slow import: HTTP and TLS

    try:
        Webhook(text)
    except ValueError:
        raise argparse.ArgumentTypeError("give a URL that starts with http:// or https://") from None
    return text


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not 1 to 40 letters, digits and _ . -")
    return text
