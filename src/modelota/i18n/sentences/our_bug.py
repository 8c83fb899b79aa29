"""Errors that are modelota's own fault."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from modelota.i18n.sentences.sentence import Sentence
from modelota.i18n.texts import mark

_REPORT = mark("This is a mistake in modelota. Please report it with the code and the details shown here.")

OUR_BUG: Final[Mapping[str, Sentence]] = {
    "unknown-code": Sentence(
        mark("The other side reported “{found}”, which this version of modelota does not know."),
        mark("Bring modelota up to date, so that both sides have the same version."),
    ),
    "invariant-broken": Sentence(mark("modelota found itself in a state that should be impossible."), _REPORT),
    "unexpected": Sentence(mark("Something unexpected went wrong inside modelota ({kind})."), _REPORT),
}
