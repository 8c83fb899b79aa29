"""Other places of the repository: mirrors, a USB stick, a limited rate, a proxy (issue: integration)."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from modelota.spec.limits import MIB
from modelota.testing.network import InstrumentedServer, Status
from tests.scenarios.conftest import Publisher, heavy_model


def configure(root: Path, text: str) -> None:
    """Add settings to a device's configuration."""
    with (root / "config.toml").open("a", encoding="utf-8") as config:
        config.write(text)


def test_a_mirror_takes_over_when_the_repository_fails(publisher: Publisher) -> None:
    """A repository that answers with errors, and one that serves damaged packs, cost an update nothing but requests."""
    publisher.publish("1.1.1", kind="feature")
    with InstrumentedServer(publisher.public) as first, InstrumentedServer(publisher.public) as second:
        device = publisher.device(url=first.url)
        configure(device.root, f'[network]\nmirrors = ["{second.url}"]\n')
        first.script("packs/*", Status(503))
        with device.running():
            assert device.update()["active_version"] == "1.1.1"
        assert second.sent_bytes("packs/*") > 0
        assert second.sent_bytes("metadata/*") == 0, "metadata came from the repository itself"


def test_a_mirror_that_serves_other_bytes_is_left_for_the_next(publisher: Publisher, tmp_path: Path) -> None:
    """Damaged packs are refused by their seal and fetched from the next place, within the ceiling."""
    publisher.publish("1.1.1", kind="feature")
    damaged = tmp_path / "damaged"
    shutil.copytree(publisher.public, damaged)
    for pack in (damaged / "packs").rglob("*"):
        if pack.is_file():
            pack.write_bytes(bytes(byte ^ 1 for byte in pack.read_bytes()))
    device = publisher.device(url=str(damaged))
    configure(device.root, f'[network]\nmirrors = ["{publisher.public}"]\n')
    with device.running():
        assert device.update()["active_version"] == "1.1.1"


def test_a_stick_brings_an_update_to_a_device_without_network(publisher: Publisher, tmp_path: Path) -> None:
    """The owner names a directory with a copy of the repository; the update comes from there, and only that once."""
    publisher.publish("1.1.1", kind="feature")
    stick = tmp_path / "stick"
    shutil.copytree(publisher.public, stick)
    with InstrumentedServer(publisher.public) as server:
        device = publisher.device(url=server.url)
        server.script("*", Status(503))
        with device.running():
            offer = device.ask("POST", "/v1/check", {"place": str(stick)})[0]["offer"]
            device.show(offer["digest"])
            device.decide(offer["digest"])
            assert device.settle()["active_version"] == "1.1.1"
            status, answer = device.request("POST", "/v1/check", {})
            assert (status, answer["code"]) == (503, "server-error"), "without a stick the repository is asked"


def test_a_limited_download_takes_its_time(publisher: Publisher) -> None:
    """A rate that the integrator sets is not exceeded on average."""
    publisher.publish("1.1.1", heavy_model(3), kind="feature", expect="weights")
    with InstrumentedServer(publisher.public) as server:
        device = publisher.device(url=server.url)
        configure(device.root, f"[network]\nmax_bytes_per_s = {MIB}\n")
        with device.running():
            offer = device.check()
            began = time.monotonic()
            device.decide(offer["digest"])
            device.wait("verifying", "deploying", "testing", "waiting", "activating", "idle", "watching")
            assert time.monotonic() - began >= 1.5, "3 MiB at 1 MiB/s, the last request not waited for"
            assert device.settle()["active_version"] == "1.1.1"


def test_damage_is_found_in_the_background_and_told(publisher: Publisher) -> None:
    """The scrub reads what is installed, tells what is damaged, and mends nothing unasked."""
    publisher.publish("1.1.1", heavy_model(1), kind="feature", expect="weights")
    device = publisher.device()
    with device.running():
        device.update()
    file = device.layout.model("acme/assistant").slot("1.1.1+q8") / "files" / "model.bin"
    file.chmod(0o600)
    data = bytearray(file.read_bytes())
    data[12345] ^= 1
    file.write_bytes(data)
    file.chmod(0o444)
    configure(device.root, "[scrub]\nevery_s = 1\n")
    with device.running():
        while not (found := [entry for entry in device.log() if entry["event"] == "scrubbed"]):
            time.sleep(0.05)
        assert found[0]["facts"] == {"slots": 1, "damaged": 1}
        assert device.status()["phase"] == "idle"
    assert bytearray(file.read_bytes()) == data
