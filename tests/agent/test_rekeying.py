"""New class keys: by a file, in one step, old ones stay."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from modelota import faults
from modelota.agent.enrol import class_keys, enrol, membership_of, open_journal
from modelota.agent.rekeying import Rekeyed, rekey
from modelota.clock import SystemClock
from modelota.errors import AskPerson
from modelota.repository.enrolment import add_class, renew_class_key
from modelota.repository.founding import init
from modelota.repository.passphrases import Passphrases
from modelota.repository.workspace import Workspace
from modelota.spec.enrolment import ClassKey
from modelota.storage.durable import Disk
from modelota.storage.layout import Layout
from modelota.storage.ledger import NoLedger

REKEY = """
import sys
from pathlib import Path
from modelota.agent.rekeying import rekey
from modelota.clock import SystemClock
rekey(Path(sys.argv[1]), Path(sys.argv[2]), SystemClock())
"""


class Publisher:
    """A workspace, and a device of its class with the keys of epoch 1."""

    def __init__(self, place: Path) -> None:
        self.workspace: Workspace = init(
            place / "repo", clock=SystemClock(), passphrases=Passphrases(), dev=True
        ).workspace
        self.root = place / "root"
        self.name = self.workspace.config.classes[0].name
        enrol(place / "enroll.toml", self.root, SystemClock())

    def renewed(self) -> Path:
        """The enrolment file with a key of one more epoch."""
        self.workspace, path = renew_class_key(self.workspace, self.name)
        return path

    def held(self) -> tuple[ClassKey, ...]:
        layout = Layout(self.root)
        journal = open_journal(layout, SystemClock())
        try:
            return class_keys(membership_of(journal, self.root), layout, Disk((self.root,), NoLedger()))
        finally:
            journal.close()

    def notes(self) -> list[dict[str, object]]:
        journal = open_journal(Layout(self.root), SystemClock())
        try:
            return [entry.facts for entry in journal.log(None, 0, 100) if entry.event == "keys-changed"]
        finally:
            journal.close()


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher(tmp_path)


def test_a_new_epoch_is_added(publisher: Publisher) -> None:
    """The new key is there, the old one stays as it was, the journal says so; again changes nothing."""
    (old,) = publisher.held()
    file = publisher.renewed()
    assert rekey(file, publisher.root, SystemClock()) == Rekeyed(added=(2,), replaced=(), epochs=(1, 2))
    assert [key.epoch for key in publisher.held()] == [1, 2]
    assert publisher.held()[0] == old
    assert rekey(file, publisher.root, SystemClock()) == Rekeyed(added=(), replaced=(), epochs=(1, 2))
    assert [note["added"] for note in publisher.notes()] == [[2], []]


def test_an_epoch_is_replaced_and_none_is_lost(publisher: Publisher, tmp_path: Path) -> None:
    """A key of a known epoch takes the place of the other; epochs that the file lacks stay."""
    rekey(publisher.renewed(), publisher.root, SystemClock())
    other = init(tmp_path / "other" / "repo", clock=SystemClock(), passphrases=Passphrases(), dev=True).workspace
    file = tmp_path / "other" / "repo" / "enrolment" / f"{other.config.classes[0].name}.toml"
    before = publisher.held()
    assert rekey(file, publisher.root, SystemClock()) == Rekeyed(added=(), replaced=(1,), epochs=(1, 2))
    after = publisher.held()
    assert after[0] != before[0]
    assert after[1] == before[1]


def test_another_class_is_refused(publisher: Publisher) -> None:
    """Keys of another class change nothing."""
    _, file = add_class(publisher.workspace, "robots")
    with pytest.raises(AskPerson) as caught:
        rekey(file, publisher.root, SystemClock())
    assert (caught.value.code, caught.value.params["detail"]) == ("enrolment-invalid", "other-class")
    assert publisher.notes() == []


@pytest.mark.parametrize("action", ["kill", "ENOSPC", "EIO"])
def test_at_every_step_there_are_keys(publisher: Publisher, action: str) -> None:
    """Ended or failing at the n-th durable step, n = 1, 2, 3 …: the keys are the old ones or the new ones."""
    old, file = publisher.held(), publisher.renewed()
    path = publisher.root / "keys" / "class-keys.json"
    content = path.read_bytes()
    nth = 0
    status = 1
    while status:
        nth += 1
        path.write_bytes(content)
        environment = {**os.environ, faults.VARIABLE: f"*@{nth}={action}"}
        status = subprocess.run(
            [sys.executable, "-P", "-c", REKEY, str(file), str(publisher.root)],
            env=environment,
            capture_output=True,
            check=False,
        ).returncode
        assert status in {0, 1, -signal.SIGKILL}
        found = publisher.held()
        assert found[:1] == old
        assert len(found) in {1, 2}
        rekey(file, publisher.root, SystemClock())
        assert [key.epoch for key in publisher.held()] == [1, 2]
        assert sorted(item.name for item in path.parent.iterdir()) == [path.name]
    assert nth > 5
    assert msgspec.json.encode(publisher.notes())
