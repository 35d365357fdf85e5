"""The files of the web view, rendered once at startup in the run's language and the palette's colors.

No request reads from the disk.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from fer_live.screen.palette import COLORS, COLORS_ON_LIGHT, as_hex
from fer_live.web.endpoint import TOKEN_VARIABLE, Endpoint

ASSETS = Path(__file__).parents[1] / "assets" / "web"
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
NOT_SERVED = ("api.html", "head.html", "languages.json")  # rendered on request, included, or read
OTHER, OTHER_ON_LIGHT = "#b07aa1", "#a0527c"  # for labels that the palette lacks
File = tuple[bytes, str]  # content and MIME type


@dataclass(frozen=True, slots=True)
class PageConfig:
    """Options of the pages. language: one of LANGUAGES. words: display names of classes and phrases, as in the image."""

    language: str = "en"
    words: Mapping[str, str] = field(default_factory=dict)
    has_controls: bool = False
    has_log: bool = False


class Pages:
    """Renders the pages.

    files: name -> content and MIME type. `api` is the page for developers, whose examples contain the server's URL.
    """

    def __init__(self, config: PageConfig, endpoint: Endpoint):
        self._environment = Environment(loader=FileSystemLoader(ASSETS), autoescape=True, undefined=StrictUndefined,
                                        trim_blocks=True, lstrip_blocks=True)
        texts = json.loads((ASSETS / "languages.json").read_text(encoding="utf-8"))[config.language]
        self._shown = {
            "language": config.language, "text": texts, "has_controls": config.has_controls, "has_log": config.has_log,
            "is_local": endpoint.is_local, "address": endpoint.address, "port": endpoint.bound[1],
            "needs_token": endpoint.token is not None,
            "token_variable": TOKEN_VARIABLE,
        }
        self.files = {path.name: self._file(path) for path in ASSETS.iterdir() if path.name not in NOT_SERVED}
        self.files["colors.css"] = _colors().encode(), KINDS[".css"]
        words = {"language": config.language, "words": dict(config.words), "texts": texts}
        script = "".join(f"export const {name} = {json.dumps(value)};\n" for name, value in words.items())
        self.files["words.js"] = script.encode(), KINDS[".js"]

    def api(self, base: str) -> File:
        """Render the API page. base: URL of the server as seen by the client, without a trailing /."""
        return self._environment.get_template("api.html").render(self._shown, base=base).encode(), KINDS[".html"]

    def _file(self, path: Path) -> File:
        if path.suffix == ".html":
            return self._environment.get_template(path.name).render(self._shown).encode(), KINDS[".html"]
        return path.read_bytes(), KINDS[path.suffix]


def _colors() -> str:
    """Return the palette as CSS custom properties; the overlay page always has a dark background."""
    def block(colors: Mapping[str, tuple[int, int, int]], other: str) -> str:
        return "".join(f" --{name}: {as_hex(color)};" for name, color in colors.items()) + f" --other: {other};"

    dark = block(COLORS, OTHER)
    return (f":root {{{block(COLORS_ON_LIGHT, OTHER_ON_LIGHT)} }}\n"
            f"@media (prefers-color-scheme: dark) {{ :root {{{dark} }} }}\n:root.on-dark {{{dark} }}\n")
