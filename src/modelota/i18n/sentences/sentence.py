"""The shape of an error's text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from modelota.i18n.texts import mark

NOTHING_TO_DO = mark("Nothing to do.")


class Sentence(NamedTuple):
    """Text of one error code; `{name}` places are the error's parameters.

    Attributes:
        what: what happened: who did what to which thing.
        remedy: what the reader should do.
        details: a sentence for each value that the parameter `detail` is known to take. Any other value is appended as
            it is, because it is technical text from a library or the operating system.
    """

    what: str
    remedy: str = NOTHING_TO_DO
    details: Mapping[str, str] = {}
