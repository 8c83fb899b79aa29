"""Slots describe themselves, for the day the database can't be read."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest

from modelota.spec.manifest import RuntimeUse
from modelota.spec.selftest import SelfTests
from modelota.spec.slot import SlotDescription, SlotId
from modelota.storage.durable import Disk
from modelota.storage.layout import Layout
from modelota.storage.ledger import NoLedger
from modelota.storage.slots import DESCRIPTION, MANIFEST, Slots

BODY = b'{"a": "manifest"}'
SLOT = SlotId("1.1.1", "q8")


@pytest.fixture
def slots(tmp_path: Path) -> Slots:
    layout = Layout(tmp_path).model("acme/assistant")
    layout.slot(SLOT.name).mkdir(parents=True)
    return Slots(layout, Disk((tmp_path,), NoLedger()))


def description() -> SlotDescription:
    return SlotDescription(
        model="acme/assistant",
        slot=SLOT,
        manifest_digest=hashlib.sha256(BODY).hexdigest(),
        files=(),
        runtime=RuntimeUse(name="command", entry="model.bin"),
        self_tests=SelfTests(),
    )


def test_a_slot_says_what_it_is(slots: Slots) -> None:
    """Description and manifest are kept in the slot and read back; writing them again changes nothing."""
    slots.keep_description(description(), BODY)
    assert slots.kept_description(SLOT) == description()
    assert slots.kept_manifest(description()) == BODY
    assert slots.described() == (description(),)
    before = (slots.directory(SLOT) / DESCRIPTION).stat().st_mtime_ns
    slots.keep_description(description(), BODY)
    assert (slots.directory(SLOT) / DESCRIPTION).stat().st_mtime_ns == before


def test_what_is_not_there_is_not_described(slots: Slots) -> None:
    """A slot that is gone gets no directory by being described."""
    gone = msgspec.structs.replace(description(), slot=SlotId("1.1.2", "q8"))
    slots.keep_description(gone, BODY)
    assert slots.found() == (SLOT.name,)
    assert slots.described() == ()
    assert slots.kept_manifest(gone) is None


@pytest.mark.parametrize("data", [b"", b"\xff", b"{}", b"[" * 100_000, b'{"model": 1}'])
def test_a_damaged_description_is_none(slots: Slots, data: bytes) -> None:
    """Whatever lies there is no error."""
    (slots.directory(SLOT) / DESCRIPTION).write_bytes(data)
    (slots.directory(SLOT) / MANIFEST).write_bytes(data)
    assert slots.kept_description(SLOT) is None
    assert slots.kept_manifest(description()) is None
    assert slots.described() == ()


def test_the_description_of_another_slot_is_none(slots: Slots) -> None:
    """A description that was copied from elsewhere is not believed."""
    other = msgspec.structs.replace(description(), slot=SlotId("1.1.2", "q8"))
    (slots.directory(SLOT) / DESCRIPTION).write_bytes(msgspec.json.encode(other))
    assert slots.kept_description(SLOT) is None
