"""What the agent's database keeps, and for how long."""

from __future__ import annotations

from pathlib import Path

from modelota.agent.journal import SELF_TESTS_KEPT, Journal
from modelota.spec.slot import SlotId
from modelota.testing.clock import ManualClock


def test_self_test_records_are_bounded(tmp_path: Path) -> None:
    """The newest records of each model are kept; a test that is repeated for days does not fill the disk."""
    journal = Journal(tmp_path / "agent.db", ManualClock())
    journal.keep_self_test("acme/other", SlotId("1.1.1", "q8"), b'{"number": -1}')
    for number in range(SELF_TESTS_KEPT + 10):
        journal.keep_self_test("acme/assistant", SlotId("1.1.2", "q8"), b'{"number": %d}' % number)
    numbers = [record["number"] for _, _, record in journal.self_tests("acme/assistant")]
    assert numbers == list(range(10, SELF_TESTS_KEPT + 10))
    assert len(journal.self_tests("acme/other")) == 1
    journal.close()


def test_the_log_can_be_read_backwards(tmp_path: Path) -> None:
    """The newest entries before a number, of one model or of all, oldest first; nothing before the first one."""
    journal = Journal(tmp_path / "agent.db", ManualClock())
    for number in range(10):
        journal.note("acme/assistant" if number % 2 else "acme/other", "checked", {"number": number})
    assert [entry.seq for entry in journal.last_entries(None, 3)] == [8, 9, 10]
    assert [entry.seq for entry in journal.last_entries(None, 3, before=8)] == [5, 6, 7]
    assert [entry.seq for entry in journal.last_entries("acme/assistant", 2, before=8)] == [4, 6]
    assert journal.last_entries(None, 3, before=1) == ()
    assert [entry.seq for entry in journal.last_entries(None, 3, before=2**63 - 1)] == [8, 9, 10]
    journal.close()
