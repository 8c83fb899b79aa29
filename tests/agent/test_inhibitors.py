"""Who keeps updates waiting: renewed by its holder, gone with its time, known after a restart."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from modelota.agent.inhibitors import INHIBITORS_MAX, Inhibitors
from modelota.agent.journal import Journal
from modelota.clock import from_iso
from modelota.errors import AskPerson
from modelota.spec.api_life import INHIBITOR_MAX_S, InhibitorRequest
from modelota.testing.clock import ManualClock


@pytest.fixture
def journal(tmp_path: Path, clock: ManualClock) -> Iterator[Journal]:
    opened = Journal(tmp_path / "agent.db", clock)
    yield opened
    opened.close()


@pytest.fixture
def inhibitors(journal: Journal) -> Inhibitors:
    return journal.inhibitors


def wish(holder: str = "rauc", **fields: object) -> InhibitorRequest:
    return msgspec.convert({"holder": holder, "reason": "system update", **fields}, InhibitorRequest)


def test_what_is_held_is_listed_until_it_is_released(inhibitors: Inhibitors) -> None:
    """With holder, reason, steps and whose it is; releasing it twice changes nothing."""
    view = inhibitors.hold(wish(steps=["switch", "activate", "switch"]), 1000)
    assert inhibitors.held() == (view,)
    assert (view.holder, view.reason, view.steps, view.uid) == ("rauc", "system update", ("switch", "activate"), 1000)
    assert inhibitors.release(view.id) == view
    assert inhibitors.release(view.id) is None
    assert inhibitors.held() == ()


def test_a_holder_that_asks_again_renews(inhibitors: Inhibitors, clock: ManualClock) -> None:
    """The same holder of the same user has one inhibitor; another user's is another."""
    first = inhibitors.hold(wish(expires_s=60), 0)
    clock.advance(seconds=50)
    again = inhibitors.hold(wish(reason="still", expires_s=60, steps=["fetch"]), 0)
    assert again.id == first.id
    assert inhibitors.hold(wish(), 1000).id != first.id
    clock.advance(seconds=50)
    assert {(view.uid, view.reason) for view in inhibitors.held()} == {(0, "still"), (1000, "system update")}


def test_a_dead_holder_blocks_for_its_time_only(inhibitors: Inhibitors, clock: ManualClock) -> None:
    """When its time is over it is held no more, and there is no longer time than a week."""
    inhibitors.hold(wish(expires_s=INHIBITOR_MAX_S), None)
    clock.advance(seconds=INHIBITOR_MAX_S - 1)
    assert len(inhibitors.held()) == 1
    clock.advance(seconds=1)
    assert inhibitors.held() == ()
    for impossible in (0, -1, INHIBITOR_MAX_S + 1):
        with pytest.raises(msgspec.ValidationError):
            wish(expires_s=impossible)


def test_a_clock_that_is_set_back_does_not_make_it_longer(inhibitors: Inhibitors, clock: ManualClock) -> None:
    """After a year backwards a holder that died blocks for a week at most."""
    inhibitors.hold(wish(expires_s=60), None)
    clock.set(clock.now() - timedelta(days=365))
    (view,) = inhibitors.held()
    assert from_iso(view.until) > clock.now()
    clock.advance(seconds=INHIBITOR_MAX_S + 1)
    assert inhibitors.held() == ()


def test_a_restart_forgets_no_holder(tmp_path: Path, clock: ManualClock) -> None:
    """They are in the database."""
    journal = Journal(tmp_path / "agent.db", clock)
    view = journal.inhibitors.hold(wish(), 0)
    journal.close()
    journal = Journal(tmp_path / "agent.db", clock)
    assert journal.inhibitors.held() == (view,)
    journal.close()


@pytest.mark.parametrize("field", ["holder", "reason"])
@pytest.mark.parametrize("text", [" x", "x ", "two\nlines", "\x1b[31m", "\u202e"])
def test_what_people_read_is_printable(inhibitors: Inhibitors, field: str, text: str) -> None:
    """No line breaks, control characters or reversed text reach a terminal; other scripts do."""
    with pytest.raises(AskPerson, match="not-printable"):
        inhibitors.hold(wish(**{field: text}), 0)
    assert inhibitors.hold(wish(**{field: "系统更新"}), 0)


def test_their_number_is_bounded(inhibitors: Inhibitors) -> None:
    """Nobody fills the database; a known holder can still renew, and an expired one makes room."""
    for number in range(INHIBITORS_MAX):
        inhibitors.hold(wish(f"holder {number}"), 0)
    with pytest.raises(AskPerson, match="too-many"):
        inhibitors.hold(wish("one more"), 0)
    assert inhibitors.hold(wish("holder 0"), 0)
