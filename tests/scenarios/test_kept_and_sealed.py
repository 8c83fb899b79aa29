"""Versions that are kept without a slot, and slots that lie sealed: on a whole device, with the repository gone."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from modelota.testing.device import DeviceUnderTest
from modelota.testing.network import InstrumentedServer
from tests.scenarios.conftest import Publisher, good_model
from tests.scenarios.test_power_loss import wait_until
from tests.scenarios.test_way_back import files, slots, walk

MODEL = "acme/assistant"
HEADS = {number: random.Random(number).randbytes(700_000) for number in range(1, 5)}


def publish(publisher: Publisher, *numbers: int) -> None:
    for number in numbers:
        kind = "feature" if number == 1 else "fix"
        publisher.publish(f"1.1.{number}", kind=kind, beside={"head.bin": HEADS[number]})


def content(number: int) -> dict[str, bytes]:
    return {"model.bin": good_model(f"1.1.{number}"), "head.bin": HEADS[number]}


def kept(device: DeviceUnderTest) -> set[str]:
    place = device.layout.model(MODEL).kept
    return {path.name for path in place.iterdir()} if place.is_dir() else set()


def settled_slots(device: DeviceUnderTest, *versions: str) -> None:
    """Wait until exactly these versions have slots: a version's chunks are sealed before its slot goes."""
    wait_until(lambda: slots(device) == set(versions))


def shows(root: Path, pieces: list[bytes]) -> list[str]:
    """Files below `root` that hold one of `pieces`."""
    found = []
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder) / name
            if path.is_file() and not path.is_symlink():
                data = path.read_bytes()
                found += [str(path) for piece in pieces if piece in data]
    return found


def pieces_of(*numbers: int) -> list[bytes]:
    return [HEADS[number][start : start + 40] for number in numbers for start in range(0, 700_000, 50_000)]


def test_a_kept_version_comes_back_offline_and_for_nothing(publisher: Publisher) -> None:
    """Two updates later the first version has no slot; with the repository gone it is offered with 0 bytes and runs."""
    publish(publisher, 1, 2, 3)
    with InstrumentedServer(publisher.public) as server:
        device = publisher.device(url=server.url)
        with device.running():
            walk(device, "1.1.1", "1.1.2", "1.1.3")
            settled_slots(device, "1.1.2", "1.1.3")
            assert kept(device)
            assert shows(device.layout.model(MODEL).kept, pieces_of(1)) == []
            server.__exit__(None, None, None)
            told = device.ask("POST", "/v1/rollback", {"version": "1.1.1"})["offer"]
            assert (told["offer"]["direction"], told["offer"]["planned_bytes"]) == ("rollback", 0)
            assert "fetched-again" not in told["offer"]["consequences"]
            device.show(told["digest"])
            device.decide(told["digest"])
            assert device.settle()["active_version"] == "1.1.1"
            assert files(device, "1.1.1") == content(1)
            assert "version 1.1.1" in device.chat("Who are you?")
            settled_slots(device, "1.1.1", "1.1.3")


def test_a_tampered_kept_chunk_is_fetched(publisher: Publisher) -> None:
    """What no longer opens is not held: the offer says how many bytes it takes instead, and they are fetched."""
    publish(publisher, 1, 2, 3)
    with InstrumentedServer(publisher.public) as server:
        device = publisher.device(url=server.url)
        with device.running():
            walk(device, "1.1.1", "1.1.2", "1.1.3")
            settled_slots(device, "1.1.2", "1.1.3")
            victim = max(device.layout.model(MODEL).kept.iterdir(), key=lambda path: path.stat().st_size)
            data = bytearray(victim.read_bytes())
            data[100] ^= 1
            victim.write_bytes(data)
            told = device.ask("POST", "/v1/rollback", {"version": "1.1.1"})["offer"]
            assert told["offer"]["planned_bytes"] > 0
            device.show(told["digest"])
            device.decide(told["digest"])
            assert device.settle()["active_version"] == "1.1.1"
            assert files(device, "1.1.1") == content(1)


@pytest.mark.parametrize("point", ["kept.hold@1", "kept.hold@2"])
def test_a_kill_while_a_version_is_sealed_loses_nothing(publisher: Publisher, point: str) -> None:
    """The slot goes only after everything it alone held is kept; the next start ends what was interrupted."""
    publish(publisher, 1, 2, 3)
    with InstrumentedServer(publisher.public) as server:
        device = publisher.device(url=server.url)
        with device.running():
            walk(device, "1.1.1", "1.1.2")
        with device.running(faults_armed=f"{point}=kill"):  # kills the worker
            walk(device, "1.1.3")
            wait_until(lambda: any(entry["event"] == "clean-failed" for entry in device.log()))
            assert slots(device) == {"1.1.1", "1.1.2", "1.1.3"}
        with device.running():
            settled_slots(device, "1.1.2", "1.1.3")
            server.forget()
            told = device.ask("POST", "/v1/rollback", {"version": "1.1.1"})["offer"]
            assert told["offer"]["planned_bytes"] == 0


def test_a_sealed_device_never_shows_its_model(publisher: Publisher) -> None:
    """Install, update, way back, repair: the engine answers, and no file below the root holds a piece of the model."""
    publish(publisher, 1, 2, 3)
    device = publisher.device()
    config = device.root / "config.toml"
    config.write_text(config.read_text() + '[storage]\nat_rest = "sealed"\n')
    with device.running():
        for number in (1, 2, 3):
            walk(device, f"1.1.{number}")
            assert f"version 1.1.{number}" in device.chat("Who are you?")
            assert shows(device.root, pieces_of(1, 2, 3)) == []
        settled_slots(device, "1.1.2", "1.1.3")
        assert device.ask("POST", "/v1/rollback", {})["started"]
        assert device.settle()["active_version"] == "1.1.2"
        assert "version 1.1.2" in device.chat("Who are you?")
        told = device.ask("POST", "/v1/rollback", {"version": "1.1.1"})["offer"]
        assert told["offer"]["planned_bytes"] == 0
        device.show(told["digest"])
        device.decide(told["digest"])
        assert device.settle()["active_version"] == "1.1.1"
        assert "version 1.1.1" in device.chat("Who are you?")
        victim = device.layout.model(MODEL).slot("1.1.1+q8") / "files" / "head.bin"
        data = bytearray(victim.read_bytes())
        data[300_000] ^= 1
        victim.chmod(0o600)
        victim.write_bytes(data)
        checked = device.ask("POST", "/v1/verify", {"repair": True})
        assert [entry["path"] for slot in checked["slots"] for entry in slot["damaged"]] == ["head.bin"]
        device.show(checked["offer"]["digest"])
        device.decide(checked["offer"]["digest"])
        device.settle()
        assert not any(slot["damaged"] for slot in device.ask("POST", "/v1/verify", {})["slots"])
        assert "version 1.1.1" in device.chat("Who are you?")
        assert shows(device.root, pieces_of(1, 2, 3)) == []
