"""Display names of classes and phrases, in six languages or from the user's own file."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from fer_live.model.suggest import did_you_mean
from fer_live.types import OutputError

LANGUAGES = ("en", "de", "fr", "es", "tr", "ja")
ASSET = Path(__file__).parents[1] / "assets" / "languages.json"
LONGEST = 200  # maximum characters of one text


def read_words(language: str, own: Path | None = None) -> dict[str, str]:
    """Return the texts of the screen: class name or phrase key -> text in `language`, overridden by the file `own`.

    own: UTF-8, a JSON object with any of the keys of `assets/languages.json`. Raises OutputError if it is invalid.
    """
    words = json.loads(ASSET.read_text(encoding="utf-8"))[language]
    return {**words, **_read_own(own, set(words))} if own else words


def phrase(words: dict[str, str], key: str) -> str:
    """Return a phrase of the screen; in English if `words` lacks it."""
    return words.get(key) or _english()[key]


@cache
def _english() -> dict[str, str]:
    return read_words("en")


def _read_own(path: Path, known: set[str]) -> dict[str, str]:
    try:
        given = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise OutputError(f"--labels {path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise OutputError(f"--labels {path}: is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    except json.JSONDecodeError as error:
        raise OutputError(f"--labels {path}: is not valid JSON (line {error.lineno}: {error.msg})") from None
    except RecursionError:
        raise OutputError(f"--labels {path}: must be a JSON object of texts such as {{\"happy\": \"joyful\"}}") from None
    if not isinstance(given, dict) or not given:
        raise OutputError(f"--labels {path}: must be a JSON object of texts such as {{\"happy\": \"joyful\"}}")
    unknown = sorted(set(given) - known)
    if unknown:
        named = ", ".join(key + did_you_mean(key, known) for key in unknown[:5])
        raise OutputError(f"--labels {path}: unknown keys {named}; known: {', '.join(sorted(known))}")
    for key, text in given.items():
        if not isinstance(text, str) or not text.strip() or len(text) > LONGEST or not text.isprintable():
            raise OutputError(f"--labels {path}: {key} must be a line of text of at most {LONGEST} characters")
    return given
