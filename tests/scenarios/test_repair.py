"""Damaged slots are found; mended from the device itself where it can, else by an offer for what is missing."""

from __future__ import annotations

from pathlib import Path

from modelota.testing.device import DeviceUnderTest
from modelota.testing.network import InstrumentedServer
from tests.scenarios.conftest import Publisher, heavy_model
from tests.scenarios.test_power_loss import wait_until

MODEL = "acme/assistant"


def model_file(device: DeviceUnderTest, version: str) -> Path:
    """The model file of an installed version."""
    return device.layout.model(MODEL).slot(f"{version}+q8") / "files" / "model.bin"


def damage(path: Path, offset: int) -> bytes:
    """Flip one bit of a file in a slot; returns what it was."""
    good = path.read_bytes()
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(bytes([good[offset] ^ 1]))
    return good


def verify(device: DeviceUnderTest, *, repair: bool = False) -> dict[str, object]:
    """Ask for a verification."""
    return device.ask("POST", "/v1/verify", {"repair": repair})


def test_an_intact_device_is_whole(installed: tuple[Publisher, DeviceUnderTest]) -> None:
    """Nothing damaged, nothing to repair, nothing started."""
    _, device = installed
    result = verify(device, repair=True)
    assert [slot["damaged"] for slot in result["slots"]] == [[]]
    assert (result["started"], result["offer"]) == (False, None)


def test_only_the_damaged_part_is_fetched_after_an_offer(publisher: Publisher) -> None:
    """One flipped bit in 16 MiB: the repair is an offer for one chunk, and nothing is fetched before the answer."""
    publisher.publish("1.1.1", heavy_model(16), kind="feature", expect="no weights")
    with InstrumentedServer(publisher.public) as server:
        device = publisher.device(url=server.url)
        with device.running():
            device.update()
            good = damage(model_file(device, "1.1.1"), 9_000_000)
            server.forget()
            result = verify(device, repair=True)
            assert [file["chunks"] for file in result["slots"][0]["damaged"]] == [1]
            offer = result["offer"]
            assert offer["offer"]["direction"] == "repair"
            assert offer["offer"]["planned_bytes"] < offer["offer"]["full_bytes"] // 3
            assert server.sent_bytes("packs/*") == 0
            device.show(offer["digest"])
            device.decide(offer["digest"])
            status = device.settle()
            assert status["last_outcome"]["result"] == "done"
            assert status["last_outcome"]["operation"] == "repair"
            assert server.sent_bytes("packs/*") == offer["offer"]["planned_bytes"]
            assert model_file(device, "1.1.1").read_bytes() == good
            assert verify(device)["slots"][0]["damaged"] == []


def test_another_slot_mends_without_fetching(publisher: Publisher) -> None:
    """A chunk that another installed version holds whole is copied from there, without a network."""
    content = heavy_model(12)
    publisher.publish("1.1.1", content, kind="feature", expect="no weights")
    publisher.publish("1.1.2", content + b"one more chunk", expect="no weights")
    with InstrumentedServer(publisher.public) as server:
        device = publisher.device(url=server.url)
        with device.running():
            first = device.ask("POST", "/v1/check", {"version": "1.1.1"})[0]["offer"]
            device.show(first["digest"])
            device.decide(first["digest"])
            device.settle()
            device.update()
            good = damage(model_file(device, "1.1.2"), 1_000_000)
            server.forget()
            result = verify(device, repair=True)
            assert result["started"]
            status = device.settle()
            assert status["last_outcome"]["operation"] == "repair"
            assert status["active_version"] == "1.1.2"
            assert model_file(device, "1.1.2").read_bytes() == good
            assert server.sent_bytes("packs/*") == 0


def test_a_version_that_is_not_in_use_is_mended_in_place(installed: tuple[Publisher, DeviceUnderTest]) -> None:
    """Repairing the previous version changes nothing about the one in use."""
    publisher, device = installed
    publisher.publish("1.1.2")
    device.update()
    good = damage(model_file(device, "1.1.1"), 3)
    result = verify(device, repair=True)
    device.show(result["offer"]["digest"])
    device.decide(result["offer"]["digest"])
    status = device.settle()
    assert (status["active_version"], status["previous_version"]) == ("1.1.2", "1.1.1")
    assert status["last_outcome"]["result"] == "done"
    wait_until(lambda: model_file(device, "1.1.1").read_bytes() == good)
    assert device.ask("POST", "/v1/rollback", {})["started"]
    assert device.settle()["active_version"] == "1.1.1"
    assert "version 1.1.1" in device.chat("Who are you?")
