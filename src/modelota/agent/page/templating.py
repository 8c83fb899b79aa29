"""Templates and static files of the page, as they lie in the package.

Templates get their sentences through `say("…")` and `count("one …", "{n} …", n)`, which `scripts/messages.py`
extracts; everything they print is escaped, and a name they use and nobody gave is an error.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources
from typing import Final, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from modelota.i18n.texts import clean

_TYPES: Final = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


class StaticFile(NamedTuple):
    """A file that a view refers to, in memory.

    Attributes:
        media_type: as it is served.
        content: of it.
        url: with its digest, so that a browser may keep it as long as it likes.
    """

    media_type: str
    content: bytes
    url: str


@cache
def environment() -> Environment:
    """The templates."""
    return Environment(
        loader=PackageLoader("modelota.agent.page", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )


def _harmless(value: object) -> object:
    """What a template prints, without characters that steer a terminal or turn the direction of writing around."""
    return clean(value, lines=True) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def static_files() -> dict[str, StaticFile]:
    """All static files by name; nothing else is ever served as one."""
    files = {}
    for entry in resources.files("modelota.agent.page").joinpath("static").iterdir():
        media_type = _TYPES.get(entry.name[entry.name.rfind(".") :])
        if media_type is not None:
            content = entry.read_bytes()
            digest = hashlib.sha256(content).hexdigest()[:16]
            files[entry.name] = StaticFile(media_type, content, f"/static/{entry.name}?v={digest}")
    return files


def static_url(name: str) -> str:
    """Where the static file `name` is."""
    return static_files()[name].url
