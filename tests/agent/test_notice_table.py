"""The table of notices: who was told, what was put away, what is kept and for how long."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.agent.notice_world import CURRENT, MODEL, OTHER, World
from tests.cli.fake_agent import outcome

from modelota.agent.notice_table import KEPT_DAYS, NOTICES_KEPT, TOLD_MAX, Draft
from modelota.errors import AskPerson, TryLater
from modelota.spec.api import ErrorBody
from modelota.spec.api_owner import NoticeTold
from modelota.spec.api_query import NoticesQuery
from modelota.testing.clock import ManualClock


@pytest.fixture
def world(tmp_path: Path, clock: ManualClock) -> Iterator[World]:
    made = World(tmp_path, clock)
    yield made
    made.journal.close()


# -- who was told -----------------------------------------------------------------------------------------------------


def test_each_person_is_told_once(world: World) -> None:
    """Who was shown a notice does not get it as untold again; somebody else still does."""
    world.offered()
    world.turn()
    number = world.given[0].id
    for _ in range(2):
        told = world.notices.tell(str(number), NoticeTold(channel="desktop"), authority="uid:1")
        assert told.told_at is not None
    untold = NoticesQuery(untold=True)
    assert world.notices.page(untold, authority="uid:1").notices == ()
    (notice,) = world.notices.page(untold, authority="uid:2").notices
    assert notice.told_at is None
    assert [entry.event for entry in world.journal.log(MODEL, 0, 100)].count("notice-shown") == 1
    for other in range(2 * TOLD_MAX):
        world.notices.tell(str(number), NoticeTold(), authority=f"uid:{other}")
    assert len(world.journal._db.execute("SELECT told_by FROM notices").fetchone()[0]) < 64 * 40


def test_putting_away_is_for_everybody_and_for_good(world: World) -> None:
    """A notice that was put away stands for nobody, and what it tells of does not bring it back."""
    digest = world.offered()
    world.turn()
    world.notices.tell("1", NoticeTold(dismiss=True), authority="uid:1")
    assert world.standing() == []
    world.change(offer=None)
    world.turn()
    world.change(offer=digest)
    assert world.turn() == []
    assert world.standing() == []
    assert len(world.notices.page(NoticesQuery(all=True), authority="uid:2").notices) == 1


@pytest.mark.parametrize("number", ["2", "0", "x", "-1", "1" * 40, "٣", ""])
def test_unknown_notices(world: World, number: str) -> None:
    """A number of no notice is an error with a code."""
    world.offered()
    world.turn()
    with pytest.raises(AskPerson, match="notice-unknown"):
        world.notices.tell(number, NoticeTold(), authority="uid:1")


def test_pages(world: World) -> None:
    """`after` and `limit` page through what stands."""
    for number in range(1, 6):
        world.journal.notices.keep(Draft(key=f"k{number}", kind="attention", model="x"), "2026-11-24T06:00:00Z")
    page = world.notices.page(NoticesQuery(after=2, limit=2), authority="uid:1")
    assert [notice.id for notice in page.notices] == [3, 4]


# -- keeping -----------------------------------------------------------------------------------------------------------


def test_what_is_over_goes_after_a_while_and_what_stands_never(world: World) -> None:
    """So many of those that are over are kept, for so long; a notice that holds is not forgotten and told anew."""
    digest = world.offered()
    world.turn()
    table = world.journal.notices
    for number in range(NOTICES_KEPT + 20):
        table.keep(Draft(key=f"k{number}", kind="attention", model="x"), "2026-11-24T06:00:00Z")
        table.over([number + 2])
    table.keep(Draft(key="last", kind="attention", model="x"), "2026-11-24T06:00:00Z")
    assert len(table.notices(0, None, everything=True)) == NOTICES_KEPT + 2
    world.clock.advance(days=KEPT_DAYS + 1)
    table.keep(Draft(key="later", kind="attention", model="x"), "2026-11-24T06:00:00Z")
    assert [notice.key for notice in table.notices(0, None, everything=True)] == [f"offer {digest}", "last", "later"]
    assert world.turn() == ["last", "later"]


def test_a_row_of_a_newer_agent_is_left_out(world: World) -> None:
    """A body that this agent can't read hides one notice, not all."""
    world.offered()
    world.offered(model=OTHER)
    world.turn()
    world.journal._db.execute("UPDATE notices SET body = ? WHERE seq = 1", (b'{"path": 7}',))
    assert len(world.standing()) == 1
    assert world.turn() == []


def test_a_look_that_finds_nothing_new_writes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step of an update makes one look; it costs no write."""
    world.offered()
    world.change(MODEL, current=CURRENT, suspect=ErrorBody(code="self-test-failed"), last=outcome())
    assert len(world.turn()) == 3
    before = world.journal._db.total_changes
    assert world.turn() == []
    assert world.journal._db.total_changes == before


def test_a_full_disk_tells_it_later(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What can't be put on record is not told, and is when it can."""
    digest = world.offered()

    def full(*_: object) -> None:
        raise TryLater("disk-error", path="/", detail="")

    with monkeypatch.context() as patch:
        patch.setattr(world.journal.notices, "keep", full)
        assert world.turn() == []
        assert world.wait_s is not None
    assert world.notices._changed
    assert world.turn() == [f"offer {digest}"]
