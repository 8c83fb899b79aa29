"""The agent itself is removed: nothing is left but the record and the proof, wherever it was interrupted (7.3.2)."""

from __future__ import annotations

import grp
import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from modelota import faults
from modelota.agent.cleaning.knowledge import of_record, read_record
from modelota.agent.cleaning.scanning import scan
from modelota.agent.cleaning.system import System
from modelota.agent.enrol import enrol
from modelota.agent.leaving import Leaving
from modelota.agent.service import Systemd, install
from modelota.clock import SystemClock
from modelota.errors import AskPerson, TryLater
from modelota.storage.layout import Layout
from modelota.testing.device import DeviceUnderTest
from tests.scenarios.conftest import Publisher

MODEL = "acme/assistant"
Listing = dict[str, tuple[Any, ...]]


def listing(place: Path) -> Listing:
    """Everything below `place`: kind and mode, owner, group, size or target, extended attributes."""
    found: Listing = {}
    for path in sorted(place.rglob("*")):
        seen = path.lstat()
        content: object = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else ""
        attributes = {
            name: os.getxattr(path, name, follow_symlinks=False) for name in os.listxattr(path, follow_symlinks=False)
        }
        owner = (pwd.getpwuid(seen.st_uid).pw_name, grp.getgrgid(seen.st_gid).gr_name)
        found[str(path.relative_to(place))] = (oct(seen.st_mode), owner, content, attributes)
    return found


class Device:
    """A system in a directory: the agent's root and the unit directory lie in it, and so does other people's."""

    def __init__(self, publisher: Publisher, place: Path, name: str = "modelota") -> None:
        self.publisher = publisher
        self.system = place / "system"
        self.root = self.system / "var" / "lib" / "acme" / name
        self.units = self.system / "etc" / "systemd" / "system"
        self.proof = place / "proof.json"
        (self.system / "var" / "lib").mkdir(parents=True)
        (self.system / "etc").mkdir(mode=0o751)
        (self.system / "etc" / "hosts").write_text("127.0.0.1 localhost")
        self.before = listing(self.system)
        self.told: list[str] = []

    def systemd(self, *, running: bool = False) -> Systemd:
        def run(words: Sequence[str]) -> None:
            self.told.append(" ".join(words))

        return Systemd("system", self.units, running=running, run=run)

    def set_up(self) -> DeviceUnderTest:
        """Enrol, install the service, install a model, write user data."""
        device = self.publisher.device("template")
        enrol(self.publisher.enrolment, self.root, SystemClock())
        shutil.copy(device.root / "config.toml", self.root / "config.toml")
        install(self.root, self.systemd(), SystemClock())
        used = DeviceUnderTest(self.root)
        with used.running():
            assert used.update()["active_version"] == "1.1.1"
            assert "version 1.1.1" in used.chat("Who are you?")
        self.root.with_name(f"{self.root.name}.log").unlink()  # of the test's own way to run it
        data = used.layout.model(MODEL).user_data
        data.mkdir(exist_ok=True)
        (data / "notes.txt").write_text("mine")
        return used

    def leaving(self, *, running: bool = False) -> Leaving:
        return Leaving(self.root, SystemClock(), systemd=self.systemd(running=running))

    def remove(self) -> Any:
        """Plan, confirm, remove; the file's content."""
        leaving = self.leaving()
        record = leaving.begin(self.proof, leaving.plan().digest, "uid:0")
        leaving.finish(self.proof, record)
        return json.loads(self.proof.read_bytes())


@pytest.fixture
def device(publisher: Publisher, tmp_path: Path) -> Device:
    publisher.publish("1.1.1", kind="feature")
    return Device(publisher, tmp_path)


def test_nothing_is_left(device: Device) -> None:
    """Tree, units and permissions are as before the agent came; the proof tells of every path."""
    device.set_up()
    there = {str(device.system / name) for name in listing(device.system)} - {
        str(device.system / name) for name in device.before
    }
    content = device.remove()
    assert listing(device.system) == device.before
    assert not device.root.parent.exists(), "directories that were made for the root go too"
    items = {item["path"]: item for item in content["proof"]["items"]}
    tops = {str(device.root / name) for name in ("models", "keys", "log", "agent.db", "agent.lock", "config.toml")}
    assert tops | {str(device.root), str(device.units / "modelota.service")} <= set(items)
    assert {item["result"] for item in items.values()} == {"removed"}
    assert sum(item["size_bytes"] for item in items.values()) > 0
    covered = [path for path in there if any(path == item or path.startswith(f"{item}/") for item in items)]
    assert sorted(covered) == sorted(there)


def test_a_later_cleaning_takes_the_file(device: Device) -> None:
    """With the file alone, a copy of the model that somebody made is found."""
    used = device.set_up()
    copy = device.system / "copy.bin"
    (model,) = used.layout.model(MODEL).slot("1.1.1+q8").glob("files/*.bin")
    shutil.copy(model, copy)
    device.remove()
    knowledge = of_record(read_record(device.proof))
    assert [(file.model, file.version) for file in knowledge.files] == [(MODEL, "1.1.1")]
    assert scan(knowledge, System(), deep=False).findings == ()
    assert knowledge.files[0].size_bytes == copy.stat().st_size


def test_sockets_below_the_temporary_directory_go_too(publisher: Publisher, tmp_path: Path) -> None:
    """Where the root's path is long, the directory of the sockets is found and removed; so is its content."""
    publisher.publish("1.1.1", kind="feature")
    device = Device(publisher, tmp_path, "long" * 25)
    device.set_up()
    runtime = Layout(device.root).runtime_directory
    assert device.root not in runtime.parents
    (runtime / "agent.sock").touch()
    content = device.remove()
    assert not runtime.exists()
    assert str(runtime) in {item["path"] for item in content["proof"]["items"]}
    assert listing(device.system) == device.before


def test_what_is_not_the_agents_stays(device: Device) -> None:
    """A stranger's file in the root keeps the root; the plan says so before, the proof after."""
    device.set_up()
    (device.root / "notes-of-the-integrator").write_text("x")
    plan = device.leaving().plan()
    assert [(item.path, item.reason) for item in plan.stays] == [
        (str(device.root / "notes-of-the-integrator"), "not-ours")
    ]
    content = device.remove()
    refused = {item["path"]: item["reason"] for item in content["proof"]["items"] if item["result"] == "refused"}
    assert refused == {str(device.root): "not-empty", str(device.root.parent): "not-empty"}
    assert [path.name for path in device.root.iterdir()] == ["notes-of-the-integrator"]


def test_a_directory_above_the_root_is_never_taken_for_the_sockets(publisher: Publisher, tmp_path: Path) -> None:
    """A directory named `run` that the root was made in, and that others use by now, keeps what they put there."""
    device = Device(publisher, tmp_path, "run/modelota")
    enrol(publisher.enrolment, device.root, SystemClock())
    (device.root.parent / "others.txt").write_text("theirs")
    content = device.remove()
    assert (device.root.exists(), (device.root.parent / "others.txt").read_text()) == (False, "theirs")
    refused = {item["path"] for item in content["proof"]["items"] if item["result"] == "refused"}
    assert refused == {str(device.root.parent), str(device.root.parent.parent)}


def test_data_that_an_uninstalled_model_left_are_shown(publisher: Publisher, tmp_path: Path) -> None:
    """What a user kept when they uninstalled a model is named in the plan, not hidden in a directory that goes."""
    device = Device(publisher, tmp_path)
    enrol(publisher.enrolment, device.root, SystemClock())
    data = Layout(device.root).model(MODEL).user_data
    data.mkdir(parents=True)
    (data / "notes.txt").write_text("mine")
    items = [(item.path, item.kind) for item in device.leaving().plan().items]
    assert items[:2] == [(str(data), "user data"), (str(device.root / "models"), "models")]
    device.remove()
    assert listing(device.system) == device.before


def test_the_service_is_stopped_and_a_running_agent_is_named(device: Device) -> None:
    """An agent that its service runs is stopped; one that somebody runs by hand has to be stopped by them."""
    used = device.set_up()
    with used.running():
        used.root.with_name(f"{used.root.name}.log").unlink()
        leaving = device.leaving(running=True)
        with pytest.raises(TryLater) as caught:
            leaving.begin(device.proof, leaving.plan().digest, "uid:0")
        assert (caught.value.code, caught.value.params["holder"]) == ("device-busy", str(used.pid))
        assert device.told == ["stop modelota.service", "start modelota.service"], "nothing was removed: it goes on"
        assert not device.proof.exists()
    device.told.clear()
    leaving = device.leaving(running=True)
    leaving.finish(device.proof, leaving.begin(device.proof, leaving.plan().digest, "uid:0"))
    assert device.told == ["stop modelota.service", "stop modelota.service", "daemon-reload"]


def test_only_what_was_confirmed(device: Device, tmp_path: Path) -> None:
    """A wrong digest, a place inside the root and a file that is something else change nothing."""
    device.set_up()
    there = listing(device.system)
    leaving = device.leaving()
    with pytest.raises(AskPerson, match="plan-changed"):
        leaving.begin(device.proof, "0" * 64, "uid:0")
    for place in (device.root / "proof.json", tmp_path / "none" / "proof.json"):
        with pytest.raises(AskPerson, match="argument-invalid"):
            leaving.unfinished(place)
    for content in ("", "{}", '{"format": 1}'):
        (tmp_path / "other").write_text(content)
        with pytest.raises(AskPerson, match="file-exists"):
            leaving.unfinished(tmp_path / "other")
    after = listing(device.system)
    changing = {name for name in there if "agent." in name}
    assert {name: after[name] for name in after if name not in changing} == {
        name: there[name] for name in there if name not in changing
    }


def test_a_file_of_an_earlier_agent_removes_nothing(device: Device) -> None:
    """A record whose removal was never finished is not a confirmation for an agent that was set up anew."""
    device.set_up()
    leaving = device.leaving()
    leaving.begin(device.proof, leaving.plan().digest, "uid:0")
    record = json.loads(device.proof.read_bytes())
    record["plan"]["set_up_at"] = "2020-01-01T00:00:00Z"
    device.proof.write_text(json.dumps(record))
    with pytest.raises(AskPerson, match="file-exists"):
        leaving.unfinished(device.proof)


REMOVE = """
import sys
from pathlib import Path
from modelota.agent.leaving import Leaving
from modelota.agent.service import Systemd
from modelota.clock import SystemClock
root, units, proof = map(Path, sys.argv[1:])
leaving = Leaving(root, SystemClock(), systemd=Systemd("system", units, running=False))
record = leaving.unfinished(proof)
if record is None:
    record = leaving.begin(proof, leaving.plan().digest, "uid:0")
leaving.finish(proof, record)
"""


@pytest.mark.parametrize("action", ["kill", "EIO"])
def test_interrupted_anywhere_it_goes_on(device: Device, tmp_path: Path, action: str) -> None:
    """At the n-th durable step, n = 1, 2, 3 …: the same call with the same file ends with nothing left."""
    device.set_up()
    copy = tmp_path / "copy"
    keep: Callable[[Path, Path], object] = lambda source, target: shutil.copytree(source, target, symlinks=True)  # noqa: E731
    keep(device.system, copy)
    command = [sys.executable, "-P", "-c", REMOVE, str(device.root), str(device.units), str(device.proof)]
    nth, status = 0, 1
    while status:
        nth += 1 if action == "kill" else 3
        environment = {**os.environ, faults.VARIABLE: f"*@{nth}={action}"}
        status = subprocess.run(command, env=environment, capture_output=True, check=False).returncode
        assert status in {0, 1, -signal.SIGKILL}
        again = subprocess.run(command, capture_output=True, check=False, text=True) if status else None
        assert again is None or again.returncode == 0, again.stderr
        assert listing(device.system) == device.before
        content = json.loads(device.proof.read_bytes())
        assert {item["result"] for item in content["proof"]["items"]} <= {"removed", "gone"}
        assert [path.name for path in device.proof.parent.glob(".proof*")] == [] or action == "kill"
        device.proof.unlink()
        shutil.rmtree(device.system)
        keep(copy, device.system)
        for path in device.system.rglob("*"):
            if stat.S_ISDIR(path.lstat().st_mode):
                path.chmod(path.stat().st_mode | 0o700)
    assert nth > 20
