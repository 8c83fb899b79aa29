"""Updates by what is new and by what differs: on real models, with damaged, missing and vanishing bases."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from modelota.agent.jobs import Jobs
from modelota.agent.worker_link import Job
from modelota.spec.offer import Decision
from modelota.testing.device import DeviceUnderTest
from modelota.testing.network import InstrumentedServer
from tests.scenarios.conftest import Publisher

MODEL = "acme/assistant"


def model_file(device: DeviceUnderTest, version: str) -> Path:
    """The model file of an installed version."""
    return device.layout.model(MODEL).slot(f"{version}+q8") / "files" / "model.bin"


def spoil(path: Path, offsets: list[int]) -> None:
    """Flip a bit at each offset of a file in a slot."""
    path.chmod(0o644)
    with path.open("r+b") as file:
        for offset in offsets:
            file.seek(offset)
            byte = file.read(1)[0]
            file.seek(offset)
            file.write(bytes([byte ^ 1]))


@pytest.fixture
def models(family: Path) -> tuple[bytes, bytes]:
    """A model and its real fine-tune."""
    first, second = ((family / version / "assistant-q8.gguf").read_bytes() for version in ("1.1.1", "1.1.2"))
    return first, second


@pytest.fixture
def tuned(publisher: Publisher, models: tuple[bytes, bytes]) -> Publisher:
    """A publisher of 1.1.1 and of its fine-tune 1.1.2."""
    publisher.publish("1.1.1", models[0], kind="feature", expect="no weights")
    publisher.publish("1.1.2", models[1], expect="no weights")
    return publisher


def install_first(device: DeviceUnderTest) -> None:
    """Bring the device to 1.1.1."""
    offer = device.ask("POST", "/v1/check", {"version": "1.1.1"})[0]["offer"]
    device.show(offer["digest"])
    device.decide(offer["digest"])
    assert device.settle()["active_version"] == "1.1.1"


def test_a_fine_tune_arrives_as_its_differences(tuned: Publisher, models: tuple[bytes, bytes]) -> None:
    """The offer is differential and smaller, exactly that is fetched, and the result is identical."""
    with InstrumentedServer(tuned.public) as server:
        device = tuned.device(url=server.url)
        with device.running():
            install_first(device)
            server.forget()
            offer = device.check()
            told = offer["offer"]
            assert told["mode"] == "differential"
            assert told["planned_bytes"] < 0.6 * told["full_bytes"]
            assert server.sent_bytes("packs/*") == 0
            device.decide(offer["digest"])
            assert device.settle()["active_version"] == "1.1.2"
            assert server.sent_bytes("packs/*") == told["planned_bytes"]
            assert model_file(device, "1.1.2").read_bytes() == models[1]
            assert model_file(device, "1.1.1").read_bytes() == models[0]


def test_a_new_device_gets_the_full_package(tuned: Publisher, models: tuple[bytes, bytes]) -> None:
    """Without a base there is one way: everything."""
    device = tuned.device()
    with device.running():
        offer = device.check()["offer"]
        assert (offer["mode"], offer["planned_bytes"]) == ("full", offer["full_bytes"])


def test_a_small_change_arrives_as_what_is_new(publisher: Publisher, models: tuple[bytes, bytes]) -> None:
    """Something appended to a model costs a few percent, from a version that is not the newest."""
    publisher.publish("1.1.1", models[0], kind="feature", expect="no weights")
    publisher.publish("1.1.2", models[0] + bytes(range(256)) * 8, expect="no weights")
    device = publisher.device()
    with device.running():
        install_first(device)
        offer = device.check()
        assert offer["offer"]["mode"] in {"incremental", "differential"}
        assert offer["offer"]["planned_bytes"] <= 0.3 * offer["offer"]["full_bytes"]
        device.decide(offer["digest"])
        assert device.settle()["active_version"] == "1.1.2"
        assert model_file(device, "1.1.2").read_bytes() == models[0] + bytes(range(256)) * 8


def test_a_damaged_base_costs_only_what_is_damaged(tuned: Publisher, models: tuple[bytes, bytes]) -> None:
    """A base chunk that rotted is fetched whole within the ceiling; the result is identical all the same."""
    with InstrumentedServer(tuned.public) as server:
        device = tuned.device(url=server.url)
        with device.running():
            install_first(device)
            spoil(model_file(device, "1.1.1"), [len(models[0]) // 2])
            server.forget()
            offer = device.check()
            device.decide(offer["digest"])
            status = device.settle()
            assert status["active_version"] == "1.1.2", status
            sent = server.sent_bytes("packs/*")
            assert offer["offer"]["planned_bytes"] < sent <= offer["offer"]["ceiling_bytes"]
            assert model_file(device, "1.1.2").read_bytes() == models[1]


def test_a_base_that_goes_during_the_update(tuned: Publisher, models: tuple[bytes, bytes]) -> None:
    """The base rots between fetching and deploying: what it was for is fetched whole, and the update completes."""
    device = tuned.device()
    with device.running():
        install_first(device)

    async def update() -> None:
        worker = Jobs(device.root)
        found: Any = await job(worker, "check", model=MODEL, allow_stale=False)
        digest = found.offer_digest
        at = "2026-01-01T00:00:00Z"
        worker._journal.note_decision(
            Decision(offer_digest=digest, answer="accept", authority="test", channel="host", at=at)
        )
        await job(worker, "fetching", offer_digest=digest)
        old = model_file(device, "1.1.1")
        spoil(old, [old.stat().st_size // 2])
        verified: Any = await job(worker, "verifying", offer_digest=digest)
        assert verified["missing"] > 0
        await job(worker, "fetching", offer_digest=digest)
        verified = await job(worker, "verifying", offer_digest=digest)
        assert verified["missing"] == 0
        deployed: Any = await job(worker, "deploying", offer_digest=digest)
        assert deployed["missing"] == 0

    asyncio.run(update())
    assert model_file(device, "1.1.2").read_bytes() == models[1]


async def job(worker: Jobs, kind: str, **arguments: object) -> object:
    """Run one job in this process."""
    return await worker.run(Job(number=1, kind=kind, arguments=arguments), lambda _done, _total: None)


def test_too_much_damage_is_a_new_offer(tuned: Publisher, models: tuple[bytes, bytes]) -> None:
    """When the damage would cost more than was agreed to, nothing more is fetched, and the device offers anew."""
    with InstrumentedServer(tuned.public) as server:
        device = tuned.device(url=server.url)
        with device.running():
            install_first(device)
            first = device.check()
            old = model_file(device, "1.1.1")
            spoil(old, list(range(1000, old.stat().st_size, 4096)))
            server.forget()
            device.decide(first["digest"])
            status = device.wait("offered")
            ceiling = first["offer"]["ceiling_bytes"]
            assert server.sent_bytes("packs/*") <= ceiling
            assert status["last_outcome"]["error"]["code"] == "ceiling-exceeded"
            second = status["offer"]
            assert second["digest"] != first["digest"]
            assert second["offer"]["planned_bytes"] > ceiling
            device.show(second["digest"])
            device.decide(second["digest"])
            assert device.settle()["active_version"] == "1.1.2"
            assert model_file(device, "1.1.2").read_bytes() == models[1]
