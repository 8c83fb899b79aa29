"""What was verified is remembered for this run of the system, this slot, this content, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from modelota.agent import slot_access as module
from modelota.agent.config import Config
from modelota.agent.engines import engine_spec
from modelota.agent.journal import Journal
from modelota.agent.local_secret import local_secret, slot_secret
from modelota.agent.slot_access import SlotAccess
from modelota.agent.verified import VerifiedRow, boot_id
from modelota.runtime.protocol import FileStamp
from modelota.spec.manifest import RuntimeUse
from modelota.spec.selftest import SelfTests
from modelota.spec.slot import SlotDescription, SlotFile, SlotId
from modelota.storage.durable import Disk
from modelota.storage.layout import Layout
from modelota.storage.ledger import NoLedger
from modelota.testing.clock import ManualClock

SLOT = SlotDescription(
    model="acme/assistant",
    slot=SlotId("1.1.1", "q8"),
    manifest_digest="b" * 64,
    files=(
        SlotFile(path="model.bin", size_bytes=1, digest="a" * 64),
        SlotFile(path="sub/other.bin", size_bytes=2, digest="c" * 64),
    ),
    runtime=RuntimeUse(name="llama.cpp", entry="model.bin"),
    self_tests=SelfTests(),
)
STAMP, OTHER = FileStamp(1, 2, 3, 4, 5), FileStamp(1, 3, 3, 4, 5)


class Bench:
    def __init__(self, place: Path) -> None:
        self.layout = Layout(place)
        self.journal = Journal(self.layout.database, ManualClock())
        self.access = SlotAccess(self.layout, self.journal, Disk((place,), NoLedger()))

    def absolute(self, path: str) -> str:
        return str(self.layout.model(SLOT.model).slot(SLOT.slot.name) / "files" / path)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.journal.close()


def test_stamps_come_back_in_the_specification(bench: Bench) -> None:
    """What an engine reported is given to the next one, file by file; a file without a stamp is verified."""
    assert bench.access.stamps(SLOT) == {}
    bench.access.note(SLOT, {bench.absolute("model.bin"): STAMP, "/etc/passwd": OTHER})
    assert bench.access.stamps(SLOT) == {"model.bin": STAMP}
    spec = engine_spec(bench.layout, Config(), SLOT, purpose="serve", access=bench.access)
    assert [file.stamp for file in spec.files] == [STAMP, None]
    assert spec.secret is None
    bench.access.note(SLOT, {bench.absolute("model.bin"): OTHER, bench.absolute("sub/other.bin"): STAMP})
    assert bench.access.stamps(SLOT) == {"model.bin": OTHER, "sub/other.bin": STAMP}


def test_a_new_start_of_the_system_verifies_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stamps count within one run of the system; where that can't be told, they don't count at all."""
    bench.access.note(SLOT, {bench.absolute("model.bin"): STAMP})
    monkeypatch.setattr(module, "boot_id", lambda: "another")
    assert bench.access.stamps(SLOT) == {}
    monkeypatch.setattr(module, "boot_id", lambda: None)
    assert bench.access.stamps(SLOT) == {}
    bench.access.note(SLOT, {bench.absolute("model.bin"): OTHER})
    monkeypatch.undo()
    assert bench.access.stamps(SLOT) == {"model.bin": STAMP}


def test_stamps_are_of_this_slot_and_this_content(bench: Bench) -> None:
    """Another slot, or another digest for the same path, has none."""
    bench.access.note(SLOT, {bench.absolute("model.bin"): STAMP})
    assert bench.access.stamps(msgspec.structs.replace(SLOT, slot=SlotId("1.1.2", "q8"))) == {}
    other = msgspec.structs.replace(SLOT, files=(SlotFile(path="model.bin", size_bytes=1, digest="d" * 64),))
    assert bench.access.stamps(other) == {}


def test_what_can_not_be_read_does_not_count(bench: Bench) -> None:
    """A row that is no list of stamps means a verification, not an error."""
    now = boot_id()
    assert now is not None
    for text in ("", "[]", '{"model.bin": 3}', "\x00"):
        bench.journal.verified.note(SLOT.model, SLOT.slot, VerifiedRow(now, text))
        assert bench.access.stamps(SLOT) == {}


def test_an_engine_gets_the_secret_of_its_slot_only(bench: Bench) -> None:
    """A sealed slot's specification carries its derived secret, never the device's."""
    sealed = msgspec.structs.replace(SLOT, at_rest="sealed")
    spec = engine_spec(bench.layout, Config(), sealed, purpose="serve", access=bench.access)
    root = local_secret(bench.layout, Disk((bench.layout.root,), NoLedger()))
    assert spec.secret is not None
    assert spec.secret.value == slot_secret(root, SLOT.model, SLOT.slot)
    assert root not in msgspec.json.encode(spec)
