"""Looking up and filling sentences: never crashes, never lets a value from outside steer the terminal.

`mark` names a sentence where it is written down; `Texts.say` gives it in a language with its parameters filled in. The
extractor (`scripts/messages.py`) finds both.
"""

from __future__ import annotations

import gettext
import unicodedata
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from modelota.i18n import Language

DOMAIN: Final = "modelota"
LOCALES: Final = Path(__file__).parent / "locales"

_VALUE_MAX_CHARS: Final = 400  # a longer value tells a person nothing more
_STEERING: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # controls, bidirectional overrides, line separators
_JOINERS: Final = "\u200c\u200d"  # of category Cf, but part of scripts and emoji, and harmless


def mark(msgid: str) -> str:
    """Return `msgid` unchanged; marks it for the catalogue."""
    return msgid


def clean(value: object, *, lines: bool = False) -> str:
    """Make a value from outside safe to print: no control characters, bounded length.

    Args:
        value: anything; it is turned into text.
        lines: keep line feeds and do not shorten (release notes).
    """
    text = str(value)
    if not lines and len(text) > _VALUE_MAX_CHARS:
        text = text[: _VALUE_MAX_CHARS - 1] + "…"
    if lines:
        text = text.replace("\r\n", "\n").replace("\t", "    ")
    kept = _JOINERS + "\n" if lines else _JOINERS
    return "".join(char if char in kept or unicodedata.category(char) not in _STEERING else "�" for char in text)


class _Facts(dict[str, str]):
    def __init__(self, params: Mapping[str, object], unknown: str) -> None:
        super().__init__({key: unknown if value is None else clean(value) for key, value in params.items()})
        self._unknown = unknown

    def __missing__(self, key: str) -> str:
        return self._unknown


class Texts:
    """The sentences of one language."""

    def __init__(self, language: Language) -> None:
        self.language: Final = language
        self._translations = _load(language)

    def say(self, msgid: str, /, **params: object) -> str:
        """Give `msgid` in this language with `{name}` places filled.

        A parameter that is missing or None reads “unknown”; every value is made safe to print.
        """
        return self._fill(self._translations.gettext(msgid), params)

    def count(self, one: str, many: str, number: int, /, **params: object) -> str:
        """Give the form for `number` things; `{n}` is the number."""
        return self._fill(self._translations.ngettext(one, many, number), {"n": number, **params})

    @property
    def unknown(self) -> str:
        """What stands for a value that nobody knows."""
        return self._translations.gettext(mark("unknown"))

    @property
    def stop(self) -> str:
        """What separates sentences on one line: a space in English, nothing in Chinese."""
        return "" if self.language == "zh-CN" else " "

    def listing(self, items: list[str]) -> str:
        """Join a few items the way the language lists them."""
        return ("、" if self.language == "zh-CN" else ", ").join(items)

    def _fill(self, template: str, params: Mapping[str, object]) -> str:
        return template.format_map(_Facts(params, self.unknown))


@cache
def texts_for(language: Language) -> Texts:
    """The sentences of `language`, loaded once per process."""
    return Texts(language)


def _load(language: Language) -> gettext.NullTranslations:
    if language == "en":
        return gettext.NullTranslations()  # the message ids are the English text
    path = LOCALES / language.replace("-", "_") / "LC_MESSAGES" / f"{DOMAIN}.mo"
    with path.open("rb") as file:
        return gettext.GNUTranslations(file)


def localised(texts: Mapping[Any, str], language: Language) -> str:
    """Pick from publisher-given texts keyed by language: the wanted one, else English, else any, else empty."""
    return texts.get(language) or texts.get("en") or next(iter(texts.values()), "")


def width(text: str) -> int:
    """How many terminal columns `text` takes; East Asian wide characters take two (UAX #11)."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1
        for char in text
    )


def pad(text: str, columns: int) -> str:
    """Fill `text` with spaces up to `columns` terminal columns."""
    return text + " " * max(0, columns - width(text))
