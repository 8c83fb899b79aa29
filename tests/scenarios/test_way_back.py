"""The way back to a version that no slot holds any more, from what other slots hold."""

from __future__ import annotations

import random
from contextlib import ExitStack

from modelota.testing.device import DeviceUnderTest
from modelota.testing.network import InstrumentedServer
from tests.scenarios.conftest import Publisher, good_model, heavy_model
from tests.scenarios.test_power_loss import wait_until

MODEL = "acme/assistant"


def forgetful(publisher: Publisher, url: str) -> DeviceUnderTest:
    """A device that keeps nothing but its slots."""
    device = publisher.device(url=url)
    with (device.root / "config.toml").open("a") as config:
        config.write("[keep]\nolder_versions = 0\n")
    return device


def files(device: DeviceUnderTest, version: str) -> dict[str, bytes]:
    """The files of an installed version."""
    place = device.layout.model(MODEL).slot(f"{version}+q8") / "files"
    return {path.name: path.read_bytes() for path in place.iterdir()}


def slots(device: DeviceUnderTest) -> set[str]:
    """The installed versions."""
    return {path.name.partition("+")[0] for path in device.layout.model(MODEL).slots.iterdir()}


def walk(device: DeviceUnderTest, *versions: str) -> None:
    """Install each version, one after the other."""
    for version in versions:
        offer = device.ask("POST", "/v1/check", {"version": version})[0]["offer"]
        device.show(offer["digest"])
        device.decide(offer["digest"])
        assert device.settle()["active_version"] == version


def test_a_version_whose_chunks_are_all_held_costs_nothing(publisher: Publisher) -> None:
    """Its slot is gone and no package leads back to it, but not a byte of content is fetched, also without packs."""
    model = good_model("1.1.1")
    adapters = {f"adapter-{number}.bin": random.Random(number).randbytes(50_000) for number in (1, 2)}
    publisher.publish("1.1.1", model, kind="feature")
    publisher.publish("1.2.1", model, beside={"adapter-1.bin": adapters["adapter-1.bin"]})
    publisher.publish("1.3.1", model, beside=adapters)
    with InstrumentedServer(publisher.public) as server:
        device = forgetful(publisher, server.url)
        with device.running():
            walk(device, "1.1.1", "1.2.1", "1.3.1")
            wait_until(lambda: slots(device) == {"1.2.1", "1.3.1"})
            server.forget()
            told = device.ask("POST", "/v1/rollback", {"version": "1.1.1"})
            assert not told["started"]
            offer = told["offer"]["offer"]
            assert (offer["direction"], offer["to_version"]) == ("rollback", "1.1.1")
            assert (offer["mode"], offer["planned_bytes"], offer["ceiling_bytes"]) == ("incremental", 0, 0)
            assert offer["full_bytes"] > 0
            device.show(told["offer"]["digest"])
            device.decide(told["offer"]["digest"])
            status = device.settle()
            assert (status["active_version"], status["last_outcome"]["result"]) == ("1.1.1", "done")
            assert files(device, "1.1.1") == {"model.bin": model}
            assert "version 1.1.1" in device.chat("Who are you?")
            assert server.requests("packs/*") == ()


def test_the_network_may_go_once_the_way_back_is_offered(publisher: Publisher) -> None:
    """The metadata made the offer; carrying it out needs nothing but the device."""
    model = good_model("1.1.1")
    publisher.publish("1.1.1", model, kind="feature")
    publisher.publish("1.2.1", model, beside={"adapter.bin": bytes(1000)})
    publisher.publish("1.3.1", model, beside={"adapter.bin": bytes(2000)})
    with ExitStack() as network:
        server = network.enter_context(InstrumentedServer(publisher.public))
        device = forgetful(publisher, server.url)
        with device.running():
            walk(device, "1.1.1", "1.2.1", "1.3.1")
            told = device.ask("POST", "/v1/rollback", {"version": "1.1.1"})["offer"]
            network.close()
            device.show(told["digest"])
            device.decide(told["digest"])
            assert device.settle()["active_version"] == "1.1.1"
            assert files(device, "1.1.1") == {"model.bin": model}


def test_what_is_not_held_of_an_older_version_is_all_that_is_fetched(publisher: Publisher) -> None:
    """No package leads from a newer version to an older one; what both share is taken from the device all the same."""
    common, first, second, third = (heavy_model(size_mib, size_mib) for size_mib in (8, 1, 2, 3))
    publisher.publish("1.1.1", common, kind="feature", expect="no weights", beside={"head.bin": first})
    publisher.publish("1.1.2", common, expect="no weights", beside={"head.bin": second})
    publisher.publish("1.1.3", common, expect="no weights", beside={"head.bin": third})
    with InstrumentedServer(publisher.public) as server:
        device = forgetful(publisher, server.url)
        with device.running():
            walk(device, "1.1.1", "1.1.2", "1.1.3")
            server.forget()
            told = device.ask("POST", "/v1/rollback", {"version": "1.1.1"})["offer"]
            offer = told["offer"]
            assert offer["mode"] == "incremental"
            assert len(first) <= offer["planned_bytes"] < 1.01 * len(first)
            device.show(told["digest"])
            device.decide(told["digest"])
            assert device.settle()["active_version"] == "1.1.1"
            assert server.sent_bytes("packs/*") == offer["planned_bytes"]
            assert files(device, "1.1.1") == {"model.bin": common, "head.bin": first}
