"""Judging an answer by what a self-test expects of it. No pattern from outside is ever run."""

from __future__ import annotations

from modelota.spec.selftest import Check


def satisfies(answer: str, check: Check) -> bool:
    """Whether `answer` is what `check` asks for."""
    fold = str.casefold if check.ignore_case else str
    text = fold(answer)
    found = [fold(value) in text for value in check.values]
    if check.kind == "contains":
        return any(found)
    if check.kind == "contains_all":
        return all(found)
    if check.kind == "absent":
        return not any(found)
    return text.strip() in {fold(value).strip() for value in check.values}
