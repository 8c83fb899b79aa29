"""The owner's backup: one encrypted file that comes back here or elsewhere, and nowhere by accident."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelota.agent.backup import _HEAD, MAGIC
from modelota.agent.journal import Journal
from modelota.agent.states import EngineCrashed, State
from modelota.agent.user_data_jobs import UserDataJobs
from modelota.errors import AskPerson, ModelotaError, RefuseContent
from modelota.spec.api import ErrorBody
from modelota.spec.manifest import RuntimeUse
from modelota.spec.selftest import SelfTests
from modelota.spec.slot import SlotDescription, SlotId
from modelota.storage.durable import Disk
from modelota.storage.layout import Layout
from modelota.testing.clock import ManualClock

MODEL = "acme/assistant"
WORDS = "correct horse battery"


class Device:
    def __init__(self, root: Path, schema: int = 1) -> None:
        root.mkdir(mode=0o700)
        layout = Layout(root)
        self.journal = Journal(layout.database, ManualClock())
        self.jobs = UserDataJobs(layout, self.journal, Disk((root,), self.journal.ledger), ManualClock())
        self.model = layout.model(MODEL)
        self.place = self.model.user_data
        slot = SlotId("1.1.1", "q8")
        description = SlotDescription(
            model=MODEL,
            slot=slot,
            manifest_digest="0" * 64,
            files=(),
            runtime=RuntimeUse(name="command", entry="a"),
            self_tests=SelfTests(),
            user_data_schema=schema,
        )
        self.journal.register_slot(description)
        event = EngineCrashed(error=ErrorBody(code="engine-crashed"), limit=3)
        self.journal.commit(MODEL, event, State(), State(current=slot, slots=(slot,)))

    def export(self, path: Path, passphrase: str = WORDS) -> dict[str, Any]:
        return self.jobs.export({"model": MODEL, "path": str(path), "passphrase": passphrase})

    def restore(self, path: Path, passphrase: str = WORDS) -> dict[str, Any]:
        return self.jobs.take_back({"model": MODEL, "path": str(path), "passphrase": passphrase})


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    made = Device(tmp_path / "root")
    made.place.mkdir(parents=True)
    (made.place / "diary").write_text("a secret of mine, " * 30)
    yield made
    made.journal.close()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Device]:
    made = Device(tmp_path / "other")
    yield made
    made.journal.close()


def test_a_backup_comes_back_on_another_device(device: Device, other: Device, tmp_path: Path) -> None:
    """What was written here is there; the file is private, holds no plain text, and nobody's words are on record."""
    file = tmp_path / "mine.backup"
    facts = device.export(file)
    assert facts["size_bytes"] == file.stat().st_size
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert b"secret" not in file.read_bytes()
    taken = other.restore(file)
    assert taken["version"] == "1.1.1"
    assert (other.place / "diary").read_text() == (device.place / "diary").read_text()
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.name != "diary")
    assert WORDS.encode() not in kept


def test_what_lies_there_is_kept_beside(device: Device, tmp_path: Path) -> None:
    """Taking a backup back loses nothing of what was written since."""
    device.export(tmp_path / "b")
    (device.place / "later").write_text("new")
    beside = Path(device.restore(tmp_path / "b")["kept_beside"])
    assert not (device.place / "later").exists()
    assert (beside / "later").read_text() == "new"


def code(call: Any, *arguments: object) -> str:
    with pytest.raises(ModelotaError) as caught:
        call(*arguments)
    assert isinstance(caught.value, AskPerson | RefuseContent)
    return caught.value.code


def test_what_does_not_open_changes_nothing(device: Device, tmp_path: Path) -> None:
    """Another passphrase, a changed byte anywhere, a cut: refused, and the data stay as they are."""
    file = tmp_path / "b"
    device.export(file)
    whole = file.read_bytes()
    (device.place / "later").write_text("new")
    assert code(device.restore, file, "another passphrase") == "backup-not-opened"
    for changed in (whole[:-1], whole + b"x", whole[:30] + bytes([whole[30] ^ 1]) + whole[31:], b"", MAGIC):
        file.write_bytes(changed)
        assert code(device.restore, file) == "backup-not-opened"
    assert sorted(path.name for path in device.place.iterdir()) == ["diary", "later"]
    assert not list(device.model.directory.glob("userdata-*"))


def test_a_header_cannot_ask_for_more_than_a_device_has(device: Device, tmp_path: Path) -> None:
    """A file that demands more memory for its passphrase than the limit is refused before any is taken."""
    file = tmp_path / "b"
    file.write_bytes(_HEAD.pack(MAGIC, 1, 30, 8, 1, 0, bytes(32)) + bytes(100))
    assert code(device.restore, file) == "document-needs-newer"


def test_nothing_is_overwritten_and_short_words_are_refused(device: Device, tmp_path: Path) -> None:
    """A file that exists stays; a passphrase that anyone guesses is not taken."""
    (tmp_path / "b").write_text("mine")
    assert code(device.export, tmp_path / "b") == "file-exists"
    assert (tmp_path / "b").read_text() == "mine"
    assert code(device.export, tmp_path / "c", "short") == "argument-invalid"
    assert code(device.export, Path("relative")) == "argument-invalid"
    assert not (tmp_path / "c").exists()


def test_newer_data_wait_for_a_newer_version(device: Device, tmp_path: Path) -> None:
    """Data in a layout that the version in use does not know are refused, and named."""
    newer = Device(tmp_path / "newer", schema=2)
    newer.place.mkdir(parents=True)
    newer.export(tmp_path / "b")
    newer.journal.close()
    assert code(device.restore, tmp_path / "b") == "backup-newer-data"
