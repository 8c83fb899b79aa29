"""The table of requirements as people read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from modelota.i18n import Language
from modelota.i18n.texts import clean, mark, texts_for

STATUSES: Final[Mapping[str, str]] = {
    "passed": mark("passed"),
    "failed": mark("failed"),
    "not measured yet": mark("not measured yet"),
    "unmeasurable here": mark("cannot be measured here"),
    "simulated": mark("passed on a simulated part"),
    "organisational": mark("up to people"),
}


def summary(statuses: Sequence[str], language: Language) -> str:
    """One line: how many rows have which status, those that were not measured included."""
    texts = texts_for(language)
    counts = Counter(statuses)
    parts = [
        texts.say("{status}: {n}", status=status_name(status, language), n=counts[status])
        for status in (*STATUSES, *sorted(set(counts) - set(STATUSES)))
        if counts[status] or status in {"failed", "not measured yet"}
    ]
    return " · ".join([texts.count("{n} requirement", "{n} requirements", len(statuses)), *parts])


def status_name(status: str, language: Language) -> str:
    """Name a row's status; an unknown one is given as it is."""
    return texts_for(language).say(STATUSES[status]) if status in STATUSES else clean(status)
