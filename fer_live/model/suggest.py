""""Did you mean" suggestions for command lines and messages."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable
from typing import Any

ALIKE = 0.7  # minimum of difflib's ratio, 0..1; a lower one would suggest cpu for gpu


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the known name most similar to an unknown word; "" if none is similar enough."""
    names = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word.lower(), names, n=1, cutoff=ALIKE)
    return names[found[0]] if found and word not in names.values() else ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return " (did you mean X?)" for an unknown word; "" if no known name is similar enough."""
    name = nearest(word, known)
    return f" (did you mean {name}?)" if name else ""


def suggest_names(parser: Any) -> Any:
    """Let an ArgumentParser report errors in one line, without its usage, and with a suggestion; returns the parser."""
    read = parser.parse_known_args
    given: list[str] = []

    def remember(args: Any = None, namespace: Any = None) -> Any:
        given[:] = given or (sys.argv[1:] if args is None else args)
        return read(args, namespace)

    parser.parse_known_args = remember
    parser.error = lambda message: parser.exit(2, f"error: {message}{_meant(message, given, parser) or '; see --help'}\n")
    return parser


def _meant(message: str, given: list[str], parser: Any) -> str:
    """Return a suggestion to append to a message of argparse. given: the words of the command line."""
    if choice := re.search(r"invalid choice: '(.*)' \(choose from (.*)\)$", message):
        name = nearest(choice[1], choice[2].replace("'", "").split(", "))
        return f"; did you mean {name}?" if name else ""
    if not message.startswith(("unrecognized arguments", "the following arguments are required")):
        return ""
    options = [name for action in parser._actions for name in action.option_strings]
    cut = given.index("--") if "--" in given else len(given)
    for word in given[:cut]:
        name = word.partition("=")[0]
        if name.startswith("--") and not any(option.startswith(name) for option in options) and (found := nearest(name, options)):
            return f"; for {name}, did you mean {found}?"
    return ""
