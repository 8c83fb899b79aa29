"""The user's data: copied before a version changes, left alone or put back on the way back, whatever interrupts it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from modelota import faults
from modelota.agent.journal import Journal
from modelota.agent.local_secret import local_secret
from modelota.agent.states import Answered, State
from modelota.agent.user_data import UserData
from modelota.errors import AskPerson, ModelotaError, RefuseContent
from modelota.spec.slot import SlotId
from modelota.storage.durable import Disk
from modelota.storage.layout import Layout
from modelota.testing.clock import ManualClock

MODEL = "acme/assistant"


class Device:
    """A root with user data of one model; `opened` gives the part under test as a new process would have it."""

    def __init__(self, root: Path) -> None:
        self.clock = ManualClock()
        self.layout = Layout(root)
        self.model = self.layout.model(MODEL)
        root.mkdir(mode=0o700, exist_ok=True)
        self.journal = Journal(self.layout.database, self.clock)

    def opened(self) -> UserData:
        self.journal.close()
        self.journal = Journal(self.layout.database, self.clock)
        disk = Disk((self.layout.root,), self.journal.ledger)
        return UserData(MODEL, self.model, self.journal, disk, lambda: local_secret(self.layout, disk))

    def decide(self) -> None:
        self.clock.advance(seconds=5)
        event = Answered(
            offer_digest="0" * 64,
            answer="accept",
            authority="uid:1",
            channel="terminal",
            direction="update",
            target=SlotId("1.1.2", "q8"),
            manifest_digest="0" * 64,
        )
        self.journal.commit(MODEL, event, State(), State())

    def write(self, **files: str) -> None:
        self.opened().place()
        self.write_plainly(files)

    def write_plainly(self, files: dict[str, str]) -> None:
        """As another process does, to which the model's data are just files."""
        for name, text in files.items():
            (self.model.user_data / name).write_text(text)

    def read(self, directory: Path | None = None) -> dict[str, str]:
        place = directory or self.model.user_data
        return {str(path.relative_to(place)): path.read_text() for path in place.rglob("*") if path.is_file()}

    def beside(self) -> list[str]:
        return sorted(path.name for path in self.model.directory.glob("userdata-from-*"))


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    made = Device(tmp_path / "root")
    yield made
    faults.arm("")
    made.journal.close()


def test_a_copy_is_private_sealed_and_opens(device: Device) -> None:
    """The copy lies in a 0700 directory, 0600, holds no plain text of the data, and is on record with its digest."""
    device.write(diary="a secret of mine, " * 20)
    facts = device.opened().snapshot("1.1.1", 1)
    path = Path(facts["path"])
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b"secret" not in path.read_bytes()
    assert path.stat().st_size == facts["sealed_bytes"]
    assert path.name == "1-1.1.1.sealed"
    assert stat.S_IMODE(device.layout.seal_secret.stat().st_mode) == 0o600


def test_the_same_layout_is_left_alone(device: Device) -> None:
    """Going back between versions with one layout of data changes nothing: what was written after stays."""
    device.decide()
    device.write(before="1")
    device.opened().snapshot("1.1.1", 1, to_schema=1)
    device.write(after="2")
    assert not device.opened().restore_for(1, left_version="1.1.2")["restored"]
    assert device.read() == {"before": "1", "after": "2"}
    assert device.beside() == []


def test_another_layout_gets_its_copy_back(device: Device) -> None:
    """The copy of before takes the place of the newer data, which are kept beside; nothing is lost."""
    device.decide()
    device.write(before="1")
    os.utime(device.model.user_data / "before", ns=(1, 5_000_000_007))
    device.opened().snapshot("1.1.1", 1, to_schema=2)
    device.write(before="migrated", after="2")
    facts = device.opened().restore_for(1, left_version="1.1.2")
    assert facts["restored"]
    assert device.read() == {"before": "1"}
    assert (device.model.user_data / "before").stat().st_mtime_ns == 5_000_000_007
    assert device.beside() == ["userdata-from-1.1.2-1"]
    assert facts["kept_beside"] == str(device.model.directory / "userdata-from-1.1.2-1")
    assert device.read(Path(facts["kept_beside"])) == {"before": "migrated", "after": "2"}
    assert stat.S_IMODE(device.model.user_data.stat().st_mode) == 0o700


def test_going_back_twice_is_going_back_once(device: Device) -> None:
    """What was written after the way back is not put aside when the step is repeated."""
    device.decide()
    device.write(before="1")
    device.opened().snapshot("1.1.1", 1, to_schema=2)
    device.write(after="2")
    device.opened().restore_for(1, left_version="1.1.2")
    device.write(later="3")
    again = device.opened().restore_for(1, left_version="1.1.2")
    assert not again["restored"]
    assert device.read() == {"before": "1", "later": "3"}
    assert len(device.beside()) == 1


def test_untouched_data_are_not_exchanged(device: Device) -> None:
    """A version that never wrote leaves nothing to put aside."""
    device.decide()
    device.write(before="1")
    device.opened().snapshot("1.1.1", 1, to_schema=2)
    assert not device.opened().restore_for(1, left_version="1.1.2")["restored"]
    assert device.beside() == []


def test_no_copy_of_that_layout_means_an_empty_place(device: Device) -> None:
    """An old version never meets data it can't read; they are kept beside."""
    device.write(new="2")
    facts = device.opened().restore_for(1, left_version="1.1.2")
    assert facts["restored"]
    assert facts["snapshot"] is None
    assert device.read() == {}
    assert device.read(device.model.directory / "userdata-from-1.1.2-1") == {"new": "2"}


def test_a_repeated_activation_does_not_copy_migrated_data(device: Device) -> None:
    """Within one decision the copy of the first attempt stands; the next decision makes a new one."""
    device.decide()
    device.write(before="1")
    first = device.opened().snapshot("1.1.1", 1, to_schema=2)
    device.write(before="migrated half way")
    second = device.opened().snapshot("1.1.1", 1, to_schema=2)
    assert second["reused"]
    assert second["snapshot"] == first["snapshot"]
    device.opened().restore_for(1, left_version="1.1.2")
    assert device.read() == {"before": "1"}
    device.decide()
    device.write(before="2")
    third = device.opened().snapshot("1.1.1", 1, to_schema=2)
    assert not third["reused"]


def test_between_equal_layouts_every_attempt_copies(device: Device) -> None:
    """Where nothing can be migrated, a repeated attempt copies what lies there now."""
    device.decide()
    device.write(before="1")
    device.opened().snapshot("1.1.1", 1, to_schema=1)
    device.write(more="2")
    assert not device.opened().snapshot("1.1.1", 1, to_schema=1)["reused"]


def test_a_bounded_number_is_kept(device: Device) -> None:
    """The newest three copies stay, and the files of the others are gone."""
    device.write(before="1")
    for number in range(6):
        device.decide()
        device.opened().snapshot(f"1.1.{number + 1}", 1)
    names = sorted(path.name for path in device.model.backups.iterdir())
    assert names == ["4-1.1.4.sealed", "5-1.1.5.sealed", "6-1.1.6.sealed"]


def test_a_damaged_copy_is_refused_and_changes_nothing(device: Device) -> None:
    """A copy that does not open leaves the data as they are, and nothing behind."""
    device.decide()
    device.write(before="1")
    path = Path(device.opened().snapshot("1.1.1", 1, to_schema=2)["path"])
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    device.write(after="2")
    with pytest.raises(RefuseContent) as caught:
        device.opened().restore_for(1, left_version="1.1.2")
    assert caught.value.code == "object-damaged"
    assert device.read() == {"before": "1", "after": "2"}
    assert sorted(path.name for path in device.model.directory.iterdir()) == ["backups", "userdata"]
    assert device.opened().finish_exchange() is None


def test_no_space_is_told_before_anything_is_written(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data that do not fit twice are an error with the figures; there is no half copy."""
    device.write(before="1" * 5000)
    monkeypatch.setattr("modelota.agent.user_data.free_bytes", lambda _: 4096)
    with pytest.raises(AskPerson) as caught:
        device.opened().snapshot("1.1.1", 1)
    assert caught.value.code == "no-space"
    assert caught.value.params["free_bytes"] == 4096
    assert not list(device.model.backups.iterdir())


def test_what_was_left_out_is_told(device: Device) -> None:
    """A FIFO among the data is skipped, and the facts and the journal say so."""
    device.write(before="1")
    os.mkfifo(device.model.user_data / "pipe")
    assert device.opened().snapshot("1.1.1", 1)["skipped"] == {"pipe": "fifo"}
    entry = next(entry for entry in device.journal.log(MODEL, 0, 100) if entry.event == "user-data-saved")
    assert entry.facts["skipped"] == {"pipe": "fifo"}


# -- interrupted anywhere

NEWER = {"before": "migrated", "after": "2"}


def there_and_back(device: Device, number: int, action: str) -> None:
    """A copy, another layout, the way back; with a fault at the `number`-th durable step."""
    device.decide()
    device.write(before="1")
    stage = device.opened()
    faults.arm(f"*@{number}={action}")
    stage.snapshot("1.1.1", 1, to_schema=2)
    device.write_plainly(NEWER)
    written(device).touch()
    stage.restore_for(1, left_version="1.1.2")


def written(device: Device) -> Path:
    """There once the newer data are."""
    return device.layout.root / "written"


def nothing_is_lost(device: Device) -> None:
    """What was interrupted comes to its end when it is asked for again, and every byte is somewhere."""
    assert device.read() in ({"before": "1"}, NEWER)
    stage, changed = device.opened(), device.read() == NEWER
    stage.snapshot("1.1.1", 1, to_schema=2)
    if changed:
        stage.restore_for(1, left_version="1.1.2")
    beside = [device.read(device.model.directory / name) for name in device.beside()]
    assert device.read() == {"before": "1"}
    assert beside == ([NEWER] if written(device).exists() else [])
    strays = {path.name for path in device.model.directory.iterdir()} - {"backups", "userdata", *device.beside()}
    assert not strays
    copies = {copy.path for copy in device.journal.snapshots.snapshots(MODEL)}
    assert {path.name for path in device.model.backups.iterdir()} == copies


@pytest.mark.parametrize("action", ["EIO", "ENOSPC"])
def test_every_interruption_loses_nothing(tmp_path: Path, action: str) -> None:
    """An error at the n-th durable step, n = 1, 2, 3 …: every byte is somewhere, and the repeated call completes."""
    number, passed_all = 0, False
    while not passed_all:
        number += 1
        assert number < 400
        device = Device(tmp_path / f"root-{number}")
        with suppress(ModelotaError):
            there_and_back(device, number, action)
            passed_all = True
        faults.arm("")
        nothing_is_lost(device)
        device.journal.close()
    assert number > 20


WALK = """
import os, sys
from pathlib import Path
from tests.agent.test_user_data import Device, there_and_back
for number in range(1, 400):
    if os.fork() == 0:
        there_and_back(Device(Path(sys.argv[1]) / f"root-{number}"), number, "kill")
        os._exit(0)
    _, status = os.wait()
    if status == 0:
        break
    assert os.WTERMSIG(status) == 9, status
print(number)
"""


def test_a_killed_worker_loses_nothing(tmp_path: Path) -> None:
    """SIGKILL at the n-th durable step, n = 1, 2, 3 … until none is left: the next worker completes it."""
    command = [sys.executable, "-c", WALK, str(tmp_path)]
    ended = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    reached = int(ended.stdout)
    assert reached > 20
    for number in range(1, reached + 1):
        device = Device(tmp_path / f"root-{number}")
        nothing_is_lost(device)
        device.journal.close()
