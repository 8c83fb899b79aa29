"""Which versions a device has, keeps, or can have."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import msgspec

from modelota.agent import listing
from modelota.agent.core import Core
from modelota.agent.journal import Journal
from modelota.agent.states import State
from modelota.spec.catalog import Withdrawal
from modelota.spec.slot import SlotId
from modelota.testing.clock import ManualClock

MODEL = "acme/assistant"


def test_a_version_says_when_its_publisher_took_it_back(tmp_path: Path) -> None:
    """Also one that is installed: who thinks of going back to it learns of a flaw before they ask."""
    journal = Journal(tmp_path / "agent.db", ManualClock())
    journal.keep_releases(MODEL, [("1.1.2", "2026-11-20T06:00:00Z", "available")])
    taken_back = (
        Withdrawal(version="1.1.1", reason="leaks-addresses", revoked=True),
        Withdrawal(version="1.1.2", reason="slow", revoked=False),
    )
    journal.set_fact(f"withdrawals {MODEL}", msgspec.json.encode(taken_back))
    slots = tuple(SlotId(version, "q8") for version in ("1.1.1", "1.2.1"))
    state = State(slots=slots, current=slots[1], previous=slots[0])
    loop = SimpleNamespace(model=MODEL, state=state)
    core = cast("Core", SimpleNamespace(journal=journal, loop=lambda _: loop))
    listed = {view.version: view for view in listing.versions(core, MODEL).versions}
    assert [view.state for view in listed.values()] == ["active", "available", "previous"]
    told = {version: view.withdrawn.code if view.withdrawn else None for version, view in listed.items()}
    assert told == {"1.2.1": None, "1.1.2": "release-withdrawn", "1.1.1": "release-revoked"}
    journal.close()
