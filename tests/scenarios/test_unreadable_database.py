"""An unreadable database: the device keeps serving, refuses changes, and says what to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from modelota.agent import recovering
from modelota.clock import SystemClock
from modelota.errors import AskPerson, TryLater
from modelota.spec.slot import SlotId
from modelota.testing.device import DeviceGoneError, DeviceUnderTest
from tests.scenarios.conftest import Publisher, Snapshot

MODEL = "acme/assistant"


def zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def garbage(path: Path) -> None:
    path.write_bytes(b"\xa5" * path.stat().st_size)


def half(path: Path) -> None:
    """Cut at half its length: its first pages are good."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def gone(path: Path) -> None:
    path.unlink()


def newer(path: Path) -> None:
    """As an agent of another major version leaves it."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 2001")


def no_state(path: Path) -> None:
    """A readable database that says nothing sensible."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE machine SET state = '{\"current\": 7}'")
        database.commit()


CHANGES = (
    ("POST", "/v1/check", {}),
    ("POST", "/v1/decisions", {"offer_digest": "a" * 64, "answer": "accept", "channel": "host"}),
    ("POST", "/v1/rollback", {}),
    ("POST", "/v1/verify", {"repair": True}),
    ("POST", "/v1/pause", {}),
)


def damage(device: DeviceUnderTest, how: Callable[[Path], None]) -> bytes | None:
    """Damage the database of a device that does not run; returns its bytes then."""
    with closing(sqlite3.connect(device.layout.database)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for beside in ("-wal", "-shm"):
        device.layout.database.with_name(f"agent.db{beside}").unlink(missing_ok=True)
    how(device.layout.database)
    return device.layout.database.read_bytes() if device.layout.database.exists() else None


WAYS = (zeros, garbage, half, emptied, gone, newer, no_state)


def test_it_keeps_serving_and_refuses_changes(installed: tuple[Publisher, DeviceUnderTest]) -> None:
    """However the database is damaged: the version in use serves, every change is refused, the file stays as it is."""
    _, device = installed
    device.stop()
    snapshot = Snapshot(device)
    for how in WAYS:
        snapshot.restore()
        before = damage(device, how)
        device.start()
        check_safe(device, "database-newer" if how is newer else "database-unreadable")
        device.stop()
        if how in {zeros, garbage, half}:
            assert device.layout.database.read_bytes() == before
    snapshot.restore()
    device.start()
    assert device.status()["phase"] == "idle"


def check_safe(device: DeviceUnderTest, code: str) -> None:
    """The device serves 1.1.1 and refuses every change with `code`."""
    status = device.status()
    assert (status["phase"], status["active_version"]) == ("degraded", "1.1.1")
    assert (status["error"]["code"], status["error"]["now"]) == (code, "serving")
    assert "version 1.1.1" in device.chat("Who are you?")
    for method, path, body in CHANGES:
        answer_status, answer = device.request(method, path, body)
        assert answer_status >= 400
        assert answer["code"] == code
    versions = device.ask("GET", "/v1/versions")["versions"]
    assert [(view["version"], view["state"]) for view in versions] == [("1.1.1", "active")]


def test_what_another_agent_wrote_stays(installed: tuple[Publisher, DeviceUnderTest]) -> None:
    """A database of another major version is as it was afterwards."""
    _, device = installed
    device.stop()
    damage(device, newer)
    rows = dump(device)
    device.start()
    assert device.status()["phase"] == "degraded"
    device.stop()
    assert dump(device) == rows


def dump(device: DeviceUnderTest) -> list[str]:
    """The whole database as text, and its version."""
    with closing(sqlite3.connect(device.layout.database)) as database:
        return [str(database.execute("PRAGMA user_version").fetchone()), *database.iterdump()]


def test_a_damaged_slot_is_not_served_without_the_database(installed: tuple[Publisher, DeviceUnderTest]) -> None:
    """Every file is verified by the slot's own description before it serves."""
    _, device = installed
    device.stop()
    damage(device, zeros)
    path = device.layout.model(MODEL).slot("1.1.1+q8") / "files" / "model.bin"
    path.chmod(0o644)
    path.write_bytes(b"x" + path.read_bytes()[1:])
    device.start()
    answer_status, answer = device.request("POST", "/v1/chat", {})
    assert answer_status >= 400
    assert answer["code"] == "slot-damaged"


def test_nothing_to_serve_is_told_as_it_was(publisher: Publisher) -> None:
    """A device that has nothing in use ends with the error."""
    publisher.publish("1.1.1", kind="feature")
    device = publisher.device()
    damage(device, zeros)
    with pytest.raises(DeviceGoneError):
        device.start()


def test_recovering_keeps_what_is_installed(installed: tuple[Publisher, DeviceUnderTest]) -> None:
    """The damaged database is kept aside; versions that are whole are taken over, and the device updates again."""
    publisher, device = installed
    publisher.publish("1.1.2")
    assert device.update()["active_version"] == "1.1.2"
    device.stop()
    with pytest.raises(AskPerson, match="nothing-to-recover"):
        recovering.plan(device.root, SystemClock())
    before = damage(device, garbage)
    device.start()
    with pytest.raises(TryLater, match="device-busy"):
        recovering.recover(publisher.enrolment, device.root, SystemClock())
    device.stop()

    (found,) = recovering.plan(device.root, SystemClock()).found
    assert found.current == SlotId("1.1.2", "q8")
    assert device.layout.database.read_bytes() == before
    done = recovering.recover(publisher.enrolment, device.root, SystemClock())
    assert done.kept_as is not None
    assert Path(done.kept_as).read_bytes() == before
    publisher.publish("1.1.3")
    with device.running():
        status = device.status()
        assert (status["active_version"], status["previous_version"], status["phase"]) == ("1.1.2", "1.1.1", "idle")
        assert "version 1.1.2" in device.chat("Who are you?")
        assert device.ask("POST", "/v1/rollback", {})["started"]
        assert device.settle()["active_version"] == "1.1.1"
        assert device.update()["active_version"] == "1.1.3"


def test_recovering_takes_nothing_over_that_is_damaged(installed: tuple[Publisher, DeviceUnderTest]) -> None:
    """A slot with one changed byte is not taken over; the device is set up, with nothing in use."""
    publisher, device = installed
    device.stop()
    damage(device, zeros)
    path = device.layout.model(MODEL).slot("1.1.1+q8") / "files" / "model.bin"
    path.chmod(0o644)
    path.write_bytes(b"x" + path.read_bytes()[1:])
    assert recovering.recover(publisher.enrolment, device.root, SystemClock()).found == ()
    with device.running():
        assert device.status()["active_version"] is None
        assert device.update()["active_version"] == "1.1.1"
