"""Before an engine starts, the user's data are what its version can read, whatever was interrupted before (6.3-c)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelota.agent.journal import Journal
from modelota.agent.snapshot_table import Exchange, Holding
from modelota.agent.states import Restarted, State, Update
from modelota.agent.steps import Steps
from modelota.errors import AskPerson, ModelotaError, TryLater
from modelota.spec.api import Phase
from modelota.spec.manifest import RuntimeUse
from modelota.spec.selftest import SelfTests
from modelota.spec.slot import SlotDescription, SlotFile, SlotId
from modelota.testing.clock import ManualClock

MODEL = "acme/assistant"
OLD, NEW = SlotId("1.1.1", "q8"), SlotId("1.1.2", "q8")


class Workers:
    """Stands in for both workers: notes which layouts are asked for, and fails as long as it is told to."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.asked: list[tuple[int, str]] = []
        self.errors: list[ModelotaError] = []
        self.foreground = self

    async def run(self, kind: str, arguments: dict[str, Any]) -> bytes:
        assert kind == "restore-user-data"
        self.asked.append((arguments["user_data_schema"], arguments["left_version"]))
        if self.errors:
            raise self.errors.pop(0)
        self.journal.snapshots.settle(MODEL, Holding(schema=arguments["user_data_schema"]))
        return b"{}"


class Bench:
    def __init__(self, place: Path) -> None:
        self.journal = Journal(place / "agent.db", ManualClock())
        self.workers = Workers(self.journal)
        self.noticed: list[str] = []
        stub: Any = None
        self.steps = Steps(
            MODEL,
            stub,
            stub,
            self.journal,
            stub,
            stub,
            self.workers,  # type: ignore[arg-type]  # a stub
            stub,
            ManualClock(),
            progressed=stub,
            posted=stub,
            noticed=lambda event, error: self.noticed.append(f"{event} {error.code}"),
        )

    def under_way(self, phase: Phase, target: SlotId, before: SlotId) -> None:
        update = Update(
            direction="update", target=target, before=before, offer_digest=None, manifest_digest="", phase=phase
        )
        self.journal.commit(MODEL, Restarted(), State(), State(current=before, update=update))

    async def start(self, slot: SlotId, schema: int) -> Holding | None:
        await self.steps.settle_user_data(
            SlotDescription(
                model=MODEL,
                slot=slot,
                manifest_digest="b" * 64,
                files=(SlotFile(path="model.bin", size_bytes=1, digest="a" * 64),),
                runtime=RuntimeUse(name="llama.cpp", entry="model.bin"),
                self_tests=SelfTests(),
                user_data_schema=schema,
            )
        )
        return self.journal.snapshots.holding(MODEL)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.journal.close()


@pytest.mark.parametrize("holding", [None, Holding(schema=1), Holding(schema=2, handed_over=True)])
async def test_nothing_is_done_to_data_that_are_right(bench: Bench, holding: Holding | None) -> None:
    """No data known, data of this layout, or data that were handed to this version."""
    if holding is not None:
        bench.journal.snapshots.settle(MODEL, holding)
    assert await bench.start(OLD, 1) == holding
    assert bench.workers.asked == []


async def test_what_a_version_that_did_not_stay_made_of_them_is_put_aside(bench: Bench) -> None:
    """Killed after the data were handed over: the version that they were copied for gets them back."""
    bench.journal.snapshots.settle(MODEL, Holding(schema=1, handed_over=True))
    bench.under_way("activating", NEW, OLD)
    assert await bench.start(OLD, 1) == Holding(schema=1)
    assert bench.workers.asked == [(1, "1.1.2")]


async def test_an_unfinished_rollback_gives_the_version_in_use_its_data(bench: Bench) -> None:
    """Killed after the older data were put back, before the older version came into use."""
    bench.journal.snapshots.settle(MODEL, Holding(schema=1))
    bench.under_way("activating", OLD, NEW)
    await bench.start(NEW, 2)
    assert bench.workers.asked == [(2, "1.1.1")]


async def test_data_that_a_newer_version_gets_are_noted_as_handed_over(bench: Bench) -> None:
    """Without a copy in its own layout it carries the older ones over; no way back may then trust them."""
    bench.journal.snapshots.settle(MODEL, Holding(schema=1))
    assert await bench.start(NEW, 2) == Holding(schema=1, handed_over=True)
    assert bench.workers.asked == []


async def test_an_exchange_is_finished_first(bench: Bench) -> None:
    """A worker that was killed in the middle of one left it to whoever comes next."""
    bench.journal.snapshots.settle(MODEL, Holding(schema=2, handed_over=True))
    bench.journal.snapshots.begin(MODEL, Exchange(schema=1, snapshot=None, inode=None, beside="userdata-from-1.1.2-1"))
    assert await bench.start(OLD, 1) == Holding(schema=1)
    assert bench.workers.asked == [(1, "later")]


@pytest.mark.parametrize(
    ("error", "tries"), [(TryLater("worker-crashed", job="x", status=-9), 3), (AskPerson("permission-denied"), 1)]
)
async def test_what_may_pass_is_tried_again(bench: Bench, error: ModelotaError, tries: int) -> None:
    """A killed worker is followed by another; what stays wrong is told, and keeps no version from running."""
    bench.journal.snapshots.settle(MODEL, Holding(schema=1, handed_over=True))
    bench.workers.errors = [error] * 5
    await bench.start(OLD, 1)
    assert len(bench.workers.asked) == tries
    assert bench.noticed == [f"user-data-not-restored {error.code}"] * tries
    bench.workers.errors, bench.workers.asked = [error][: 2 if tries > 1 else 0], []
    assert await bench.start(OLD, 1) == Holding(schema=1)
