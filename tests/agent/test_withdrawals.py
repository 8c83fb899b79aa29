"""What the publisher took back: known after the check, told once, told again when it changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from modelota.agent.journal import Journal
from modelota.agent.withdrawals import as_error, keep_withdrawals, newly_withdrawn, warning_about, withdrawal_of
from modelota.spec.catalog import Control, Withdrawal
from modelota.testing.clock import ManualClock

MODEL = "acme/assistant"


@pytest.fixture
def journal(tmp_path: Path, clock: ManualClock) -> Iterator[Journal]:
    opened = Journal(tmp_path / "agent.db", clock)
    yield opened
    opened.close()


def keep(journal: Journal, *entries: Withdrawal) -> None:
    keep_withdrawals(journal, Control(model=MODEL, withdrawn=entries))


def test_a_withdrawn_version_is_warned_of(journal: Journal) -> None:
    """Only that version, only of that model, and only since a check said so."""
    assert warning_about(journal, MODEL, "1.1.1") is None
    keep(journal, Withdrawal(version="1.1.1", reason="bad-answers"))
    warning = warning_about(journal, MODEL, "1.1.1")
    assert warning is not None
    assert warning.code == "release-withdrawn"
    assert warning.params == {"model": MODEL, "version": "1.1.1", "reason": "bad-answers"}
    assert warning_about(journal, MODEL, "1.1.2") is None
    assert warning_about(journal, MODEL, None) is None
    assert withdrawal_of(journal, "acme/other", "1.1.1") is None


def test_a_revoked_one_is_another_error(journal: Journal) -> None:
    """Its flaw is in the parameters."""
    error = as_error(MODEL, Withdrawal(version="1.1.1", reason="leaks-data", revoked=True))
    assert (error.code, error.params["reason"], error.branch) == ("release-revoked", "leaks-data", "ask-person")


def test_the_owner_is_told_once_and_again_when_it_changes(journal: Journal) -> None:
    """Withdrawn, revoked, reinstated, withdrawn again: each change is told once, the way back silently."""
    told = []
    withdrawn = Withdrawal(version="1.1.1", reason="bad-answers")
    revoked = Withdrawal(version="1.1.1", reason="leaks-data", revoked=True)
    for entries in ((), (withdrawn,), (withdrawn,), (revoked,), (revoked,), (), (), (withdrawn,)):
        keep(journal, *entries)
        warning = newly_withdrawn(journal, MODEL, "1.1.1")
        told.append(warning.code if warning else None)
    assert told == [None, "release-withdrawn", None, "release-revoked", None, None, None, "release-withdrawn"]
    assert [entry.event for entry in journal.log(MODEL, 0, 100)] == ["in-use-withdrawn"] * 3
