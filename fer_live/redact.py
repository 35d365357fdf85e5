"""Takes passwords out of addresses before they are printed, logged, shown or given to a command."""

from __future__ import annotations

import os
import re
from typing import Any

HIDDEN = "***"
# user:password@ without a scheme, as somebody types it who forgets rtsp://; a Windows path such as C:\me@work is none
BARE = re.compile(r"(?![A-Za-z]:[\\/])[^\s/:@'\"(]+:\S*@")
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*:/{1,3}|//)(?=\S)")
# the same after a scheme, with white space in the password; digits that end after the colon are a port
SPACED = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*:/{1,3})[^\s/:@]+:(?!\d{1,5}(?:[/?#]|$))(?:(?!://).)*\s(?:(?!://).)*@")
VALUE = re.compile(r"=[^&;?#]*")


def redact_errors(parser: Any) -> Any:
    """Have the error messages of an ArgumentParser, which repeat what was given, hold no password; returns the parser."""
    say = parser.error
    parser.error = lambda message: say(redact(message))
    return parser


def redact(text: str) -> str:
    """`text` with every address in it as `redact_address` gives it. Addresses end at white space, passwords at the last @."""
    return re.sub(r"\S+", lambda word: _redact_word(word[0]), SPACED.sub(r"\1", text))


def _redact_word(word: str) -> str:
    found = SCHEME.search(word)
    if not found:
        return BARE.sub("", word)
    quote = word[-1] if word[-1] in "'\")" and word[0] in "'\"(" else ""
    address = word[found.start() : len(word) - len(quote)]
    return BARE.sub("", word[: found.start()]) + redact_address(address) + quote


def redact_address(address: str) -> str:
    """The address without user and password, and with *** for the value of every key=value in its path and query.

    Read from the right, since people forget to write %40 for @ and %2F for / in a password: what may belong to one is left
    out, even if the name of the host goes with it. What is no address comes back as it is.
    """
    found = SCHEME.match(address)
    if not found:
        return BARE.sub("", address)
    scheme, rest = found[1], address[found.end() :]
    cut = re.search(r"[?#]", rest)
    head, query = (rest[: cut.start()], rest[cut.start() :]) if cut else (rest, "")
    if "@" in query and ":" in head.rpartition("@")[2]:
        return scheme + HIDDEN  # a password with ? or # in it, though it could also be a port
    head = VALUE.sub("=" + HIDDEN, head.rpartition("@")[2])
    return scheme + head + "".join(_redact_part(part) for part in re.findall(r"[?#&;][^?#&;]*", query))


def _redact_part(part: str) -> str:
    """A separator and key=value, or a word without a value, which may be the rest of one with & in it."""
    key, equals, _ = part.partition("=")
    return key + "=" + HIDDEN if equals else part[0] + (HIDDEN if part[1:] else "")


# What the program itself is given in its environment and nobody else needs to know.
SECRET_VARIABLES = ("FER_LIVE_TOKEN", "FER_LIVE_MQTT_PASSWORD", "FER_LIVE_WEBHOOK_TOKEN")


def command_environment(more: dict[str, str]) -> dict[str, str]:
    """The environment for a user's command: the program's own without its secrets, and `more`."""
    return {name: value for name, value in os.environ.items() if name not in SECRET_VARIABLES} | more
