"""What the publisher took back, as the last check learnt it, and how its owner is told.

A *withdrawn* version works on and is not offered any more. A *revoked* one has a flaw, which the reason names.
"""

from __future__ import annotations

from typing import Final

import msgspec

from modelota.agent.journal import Journal
from modelota.errors import AskPerson, ModelotaError, RefuseContent
from modelota.spec.api import ErrorBody
from modelota.spec.catalog import Control, Withdrawal

_KNOWN: Final = "withdrawals"
_TOLD: Final = "withdrawal-told"


def keep_withdrawals(journal: Journal, control: Control) -> None:
    """Keep what a control says, for everyone who asks until the next check.

    Raises:
        ModelotaError: the database can't be written.
    """
    journal.set_fact(f"{_KNOWN} {control.model}", msgspec.json.encode(control.withdrawn))


def withdrawal_of(journal: Journal, model: str, version: str) -> Withdrawal | None:
    """The withdrawal of a version, by the last check."""
    data = journal.fact(f"{_KNOWN} {model}")
    entries = msgspec.json.decode(data, type=tuple[Withdrawal, ...]) if data else ()
    return next((entry for entry in entries if entry.version == version), None)


def as_error(model: str, withdrawal: Withdrawal) -> ModelotaError:
    """The error that stands for a withdrawal: `release-withdrawn`, or `release-revoked` with its flaw."""
    params = {"model": model, "version": withdrawal.version, "reason": withdrawal.reason}
    if withdrawal.revoked:
        return AskPerson("release-revoked", **params)
    return RefuseContent("release-withdrawn", **params)


def warning_about(journal: Journal, model: str, version: str | None) -> ErrorBody | None:
    """What the owner of a device should know about a version, or None."""
    found = withdrawal_of(journal, model, version) if version is not None else None
    if found is None:
        return None
    error = as_error(model, found)
    return ErrorBody(code=error.code, params=dict(error.params))


def newly_withdrawn(journal: Journal, model: str, version: str | None) -> ErrorBody | None:
    """The warning about the version in use, the first time that it is asked for; then None until something changes.

    Raises:
        ModelotaError: the database can't be written.
    """
    warning = warning_about(journal, model, version)
    mark = msgspec.json.encode(warning) if warning is not None else b""
    if mark == (journal.fact(f"{_TOLD} {model}") or b""):
        return None
    journal.set_fact(f"{_TOLD} {model}", mark)
    if warning is not None:
        journal.note(model, "in-use-withdrawn", {"code": warning.code, "params": warning.params})
    return warning
