"""Uninstalling keeps to the model's own directory, whatever a plan or a link says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from modelota.agent.journal import Journal
from modelota.agent.states import Restarted, State
from modelota.agent.uninstalling import Uninstaller
from modelota.spec.document import canonical
from modelota.spec.removal import RemovalItem, RemovalProof
from modelota.spec.slot import SlotId
from modelota.storage.durable import Disk
from modelota.storage.layout import Layout
from modelota.storage.ledger import NoLedger
from modelota.testing.clock import ManualClock

MODEL, OTHER = "acme/assistant", "acme/other"
SLOT = SlotId("1.1.1", "q8")


class Bench:
    """Two installed models."""

    def __init__(self, place: Path) -> None:
        self.layout = Layout(place / "root")
        for model in (MODEL, OTHER):
            directory = self.layout.model(model).slot(SLOT.name)
            directory.mkdir(parents=True)
            (directory / "file").write_bytes(b"x" * 5000)
            self.layout.model(model).user_data.mkdir()
        self.journal = Journal(self.layout.database, ManualClock())
        state = State(current=SLOT, slots=(SLOT,))
        self.journal.commit(MODEL, Restarted(), State(), state)
        disk = Disk((self.layout.root,), NoLedger())
        self.uninstaller = Uninstaller(self.layout, self.journal, disk, ManualClock())

    def remove(self, digest: str) -> RemovalProof:
        """Carry out a plan."""
        return self.uninstaller.remove(MODEL, digest, lambda _done, _total: None)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Two models, one of which goes."""
    made = Bench(tmp_path)
    yield made
    made.journal.close()


def test_a_plan_that_somebody_wrote_into_the_database_reaches_nothing_else(bench: Bench, tmp_path: Path) -> None:
    """Paths of another model, of the agent, of the system, and user data under another name stay."""
    plan = bench.uninstaller.plan(MODEL, "user", "keep")
    outside = tmp_path / "precious"
    outside.write_bytes(b"mine")
    own = bench.layout.model(MODEL)
    (own.user_data / "notes").touch()
    targets = {
        bench.layout.model(OTHER).slot(SLOT.name): "slot",
        bench.layout.database: "staging",
        own.user_data: "staging",
        own.directory / "..": "slot",
        own.slots / ".." / "userdata": "slot",
        outside: "directory",
    }
    items = tuple(RemovalItem(path=str(path), kind=kind, size_bytes=0) for path, kind in targets.items())  # type: ignore[arg-type]  # kinds of the table above
    forged = msgspec.structs.replace(plan, items=(*plan.items, *items))
    bench.journal.records.keep_plan("f" * 64, MODEL, canonical(forged))
    proof = bench.remove("f" * 64)
    assert [item.path for item in proof.items] == [item.path for item in plan.items]
    assert all(Path(os.path.normpath(path)).exists() for path in targets)
    assert not own.slots.exists()


def test_a_linked_directory_of_slots_is_not_followed(bench: Bench) -> None:
    """Slots of another model behind a link are neither planned nor removed."""
    own, other = bench.layout.model(MODEL), bench.layout.model(OTHER)
    own.slots.rename(own.directory / "aside")
    own.slots.symlink_to(other.slots)
    plan = bench.uninstaller.plan(MODEL, "user", "keep")
    assert plan.items == ()
    bench.remove(plan.identity)
    assert (other.slot(SLOT.name) / "file").exists()
