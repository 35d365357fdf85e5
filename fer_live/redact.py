"""Keeps secrets out of everything that is printed, logged or displayed, and out of the environment of users' commands."""

from __future__ import annotations

import os
import re
from typing import Any

HIDDEN = "***"
# user:password@ without a scheme (rtsp:// was forgotten), but not a Windows path such as C:\me@work
BARE = re.compile(r"(?![A-Za-z]:[\\/])[^\s/:@'\"(]+:\S*@")
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*:/{1,3}|//)(?=\S)")
# the same after a scheme, with spaces in the password; digits right after the colon are a port
SPACED = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*:/{1,3})[^\s/:@]+:(?!\d{1,5}(?:[/?#]|$))(?:(?!://).)*\s(?:(?!://).)*@")
VALUE = re.compile(r"=[^&;?#]*")


def redact_errors(parser: Any) -> Any:
    """Redact the error messages of an ArgumentParser, which quote the arguments; returns the parser."""
    report = parser.error
    parser.error = lambda message: report(redact(message))
    return parser


def redact(text: str) -> str:
    """Apply `redact_address` to every URL in `text`. URLs end at white space, passwords at the last @."""
    return re.sub(r"\S+", lambda word: _redact_word(word[0]), SPACED.sub(r"\1", text))


def _redact_word(word: str) -> str:
    found = SCHEME.search(word)
    if not found:
        return BARE.sub("", word)
    quote = word[-1] if word[-1] in "'\")" and word[0] in "'\"(" else ""
    address = word[found.start() : len(word) - len(quote)]
    return BARE.sub("", word[: found.start()]) + redact_address(address) + quote


def redact_address(address: str) -> str:
    """Remove user and password from a URL, and replace the value of every key=value in its path and query with ***.

    Parses from the right, since passwords often contain an unescaped @ or /. Anything that can be part of a password is
    removed, even if the host name goes with it. Text that is not a URL is returned unchanged.
    """
    found = SCHEME.match(address)
    if not found:
        return BARE.sub("", address)
    scheme, rest = found[1], address[found.end() :]
    cut = re.search(r"[?#]", rest)
    head, query = (rest[: cut.start()], rest[cut.start() :]) if cut else (rest, "")
    if "@" in query and ":" in head.rpartition("@")[2]:
        return scheme + HIDDEN  # probably a password that contains ? or #
    head = VALUE.sub("=" + HIDDEN, head.rpartition("@")[2])
    return scheme + head + "".join(_redact_part(part) for part in re.findall(r"[?#&;][^?#&;]*", query))


def _redact_part(part: str) -> str:
    """Redact a separator with key=value, or with a word, which can be the rest of a password that contains &."""
    key, equals, _ = part.partition("=")
    return key + "=" + HIDDEN if equals else part[0] + (HIDDEN if part[1:] else "")


# secrets in the program's environment, which are not passed on to commands
SECRET_VARIABLES = ("FER_LIVE_TOKEN", "FER_LIVE_MQTT_PASSWORD", "FER_LIVE_WEBHOOK_TOKEN")


def command_environment(more: dict[str, str]) -> dict[str, str]:
    """Return the environment for a user's command: this process's without the secrets, plus `more`."""
    return {name: value for name, value in os.environ.items() if name not in SECRET_VARIABLES} | more
