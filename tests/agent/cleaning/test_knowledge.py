"""What a cleaning knows from a living device root, and from the record of one that is gone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.agent.cleaning.conftest import Site, random_bytes

from modelota.agent.anchoring import TAG, keep_anchors
from modelota.agent.cleaning import cleaning
from modelota.agent.cleaning.knowledge import Knowledge, of_device, of_record, read_record, record_of
from modelota.agent.journal import Journal
from modelota.content.anchors import anchors_of
from modelota.content.digest import digest_bytes
from modelota.errors import AskPerson, RefuseContent
from modelota.spec.manifest import RuntimeUse
from modelota.spec.selftest import SelfTests
from modelota.spec.slot import SlotDescription, SlotFile, SlotId
from modelota.storage.durable import Disk
from modelota.storage.layout import Layout
from modelota.testing.clock import ManualClock

MODEL = "acme/assistant"


class Device:
    """A device root with its database; slots are put there and taken away."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.layout = Layout(site.root)
        self.journal = Journal(self.layout.database, ManualClock())
        self.disk = Disk((site.root,), self.journal.ledger)

    def install(self, version: str, content: bytes) -> Path:
        """Put a slot with one file there, as deploying does; returns the file."""
        slot = SlotId(version, "default")
        files = self.layout.model(MODEL).slot(slot.name) / "files"
        self.disk.make_directory(files)
        path = files / "model.gguf"
        self.disk.write_file(path, content, kind="slot file")
        path.chmod(0o444)
        description = SlotDescription(
            model=MODEL,
            slot=slot,
            manifest_digest="0" * 64,
            files=(SlotFile(path="model.gguf", size_bytes=len(content), digest=digest_bytes(content)),),
            runtime=RuntimeUse(name="command", profile="fake", entry="model.gguf"),
            self_tests=SelfTests(),
        )
        keep_anchors(self.journal, description, files, self.disk)
        self.journal.register_slot(description)
        return path

    def uninstall(self) -> None:
        """Forget the slots and remove them, as far as that got."""
        self.journal.forget_slots(MODEL, ())

    def knowledge(self) -> Knowledge:
        return of_device(self.layout, self.journal)


@pytest.fixture
def device(site: Site) -> Iterator[Device]:
    made = Device(site)
    yield made
    made.journal.close()


def test_deployed_files_are_anchored_and_tagged(device: Device) -> None:
    """Anchors are those of the file's bytes; the tag says which content it was; the file is read-only as before."""
    path = device.install("1.1.1", device.site.model)
    (row,) = device.journal.records.anchor_rows()
    expected = anchors_of(device.site.model)
    assert (row.model, row.version, row.variant, row.path) == (MODEL, "1.1.1", "default", "model.gguf")
    assert (row.digest, row.head) == (expected.digest, expected.head)
    assert device.journal.records.anchor_blocks(row) == expected.blocks
    assert path.stat().st_mode & 0o777 == 0o444
    try:
        assert os.getxattr(path, TAG) == expected.digest.encode()
    except OSError:
        pytest.skip("this file system keeps no attributes")


def test_an_installed_version_is_no_residue(device: Device) -> None:
    """Neither the root nor copies of what is installed are looked for while the model is there."""
    device.install("1.1.1", device.site.model)
    copy = device.site.put("copy", device.site.model)
    plan = cleaning.scan(device.layout, device.journal, deep=True, system=device.site.system())
    assert plan.findings == ()
    assert copy.exists()


def test_copies_of_a_version_that_was_replaced_are_residues(device: Device) -> None:
    """The anchors of a version stay when its slot goes; those of the version in use are left out."""
    device.install("1.1.1", device.site.model)
    device.uninstall()
    newer = random_bytes(3, 200_000)
    kept = device.install("1.1.2", newer)
    old, new = device.site.put("old", device.site.model), device.site.put("new", newer)
    plan = cleaning.scan(device.layout, device.journal, deep=True, system=device.site.system())
    assert [each.path for each in plan.findings] == [str(old)]
    proof = cleaning.apply(device.journal, plan.digest, system=device.site.system())
    assert proof.count("removed") == 1
    assert kept.exists()
    assert new.exists()


def test_basic_cleaning_takes_what_an_uninstall_left_and_keeps_the_users_data(device: Device) -> None:
    """What is left of a model without slots goes by itself; its user's data and the agent's own files stay."""
    path = device.install("1.1.1", device.site.model)
    mine = device.layout.model(MODEL).user_data / "notes"
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    elsewhere = device.site.registered("etc/systemd/system/modelota.service", "systemd unit")
    device.uninstall()
    proof = cleaning.clean_basic(device.layout, device.journal, system=device.site.system())
    assert not path.exists()
    assert not device.layout.model(MODEL).slots.exists()
    assert proof.count("refused") == 0
    assert mine.exists()
    assert elsewhere.exists()
    assert device.layout.database.exists()
    assert not [row for row in device.journal.records.ledger_rows() if "slots" in row.path]
    assert device.journal.records.proof_body(proof.plan_digest) is not None


def test_what_a_removed_agent_left_is_found_by_its_record(device: Device, tmp_path: Path) -> None:
    """The exported record is all that is needed: places, ledger and anchors."""
    device.install("1.1.1", device.site.model)
    copy = device.site.put("copy", device.site.model)
    record = record_of(device.layout, device.journal)
    path = tmp_path / "record.json"
    path.write_bytes(msgspec.json.encode(record))
    assert read_record(path) == record
    device.journal.close()
    proof = cleaning.clean_recorded(of_record(record, leaving=True), system=device.site.system())
    assert proof.count("refused") == 0
    assert not device.site.root.exists()
    assert copy.exists()
    from modelota.agent.cleaning.removing import apply
    from modelota.agent.cleaning.scanning import scan

    plan = scan(of_record(read_record(path)), device.site.system(), deep=True)
    apply(plan, (), device.site.system())
    assert not copy.exists()


@pytest.mark.parametrize("place", ["relative", "/", "/home/../etc", "/x/", ""])
def test_a_record_with_impossible_places_is_refused(site: Site, place: str) -> None:
    """A place must be an absolute path that names one directory."""
    with pytest.raises(RefuseContent) as caught:
        of_record(msgspec.structs.replace(site.record(), root=place))
    assert caught.value.code == "document-invalid"


def test_a_record_that_names_somebodys_home_is_not_believed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A place that is a home, or above one, is nobody's to empty."""
    import pwd

    site.put("home/notes", b"mine")
    entry = pwd.struct_passwd(("u", "x", 1, 1, "", str(site.disk / "home"), "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwall", lambda: [entry])
    from modelota.agent.cleaning.scanning import scan

    (site.disk / "home").chmod(0o700)
    known = of_record(msgspec.structs.replace(site.record(), root=str(site.disk / "home")))
    assert scan(known, site.system(), deep=False).findings == ()


def test_a_plan_that_was_not_shown_is_not_carried_out(device: Device) -> None:
    """Only a kept plan can be named."""
    with pytest.raises(AskPerson) as caught:
        cleaning.apply(device.journal, "0" * 64, system=device.site.system())
    assert caught.value.code == "no-plan"


def test_an_interrupted_removal_is_finished_under_the_same_plan(device: Device) -> None:
    """A kept plan can be carried out again after a restart; its proof then says what was gone."""
    device.install("1.1.1", device.site.model)
    device.uninstall()
    device.install("1.1.2", random_bytes(3, 200_000))
    copy = device.site.put("copy", device.site.model)
    plan = cleaning.scan(device.layout, device.journal, deep=True, system=device.site.system())
    copy.unlink()
    again = Journal(device.layout.database, ManualClock())
    proof = cleaning.apply(again, plan.digest, system=device.site.system())
    again.close()
    assert [each.result for each in proof.removals] == ["gone"]
