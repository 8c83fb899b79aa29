"""A disk that has no room for a release: told before the first byte of content, nothing left behind, tried again."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelota.agent.jobs import Jobs
from modelota.agent.worker_link import Job
from modelota.errors import AskPerson
from modelota.spec.limits import MIB
from modelota.storage.durable import free_bytes
from modelota.testing.device import DeviceUnderTest
from modelota.testing.network import InstrumentedServer
from tests.scenarios.conftest import Publisher, heavy_model

MODEL = "acme/assistant"
DISK_MIB = 64
RELEASE_MIB = 12


@pytest.fixture
def server(publisher: Publisher) -> Iterator[InstrumentedServer]:
    publisher.publish("1.1.1", heavy_model(RELEASE_MIB), kind="feature", expect="weights")
    with InstrumentedServer(publisher.public) as counting:
        yield counting


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, where this process may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=0700", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk: Path, *, but_bytes: int) -> Path:
    """Take all of the space but so much."""
    file = disk / "filler"
    free = free_bytes(disk)
    assert free is not None
    with file.open("wb") as out:
        os.posix_fallocate(out.fileno(), 0, free - but_bytes)
    return file


def nothing_staged(device: DeviceUnderTest) -> None:
    """Neither a package nor a slot, in part or whole; what was set aside for them is free again."""
    model = device.layout.model(MODEL)
    assert not [path for path in model.staging.rglob("*") if path.is_file()]
    assert not model.slots.exists() or not list(model.slots.iterdir())


async def test_the_space_of_a_slot_is_set_aside_first(
    publisher: Publisher, server: InstrumentedServer, small_disk: Path
) -> None:
    """The staged package would fit and the slot would not: refused with both figures, and no content was fetched."""
    device = publisher.device("disk/device", url=server.url)
    with device.running():
        offer = device.check()
    filler = fill(small_disk, but_bytes=offer["offer"]["planned_bytes"] + MIB)
    fetching = Job(number=1, kind="fetching", arguments={"model": MODEL, "offer_digest": offer["digest"]})
    with pytest.raises(AskPerson) as caught:
        await Jobs(device.root).run(fetching, lambda *_: None)
    assert caught.value.code == "no-space"
    assert caught.value.params["path"].endswith("/slot"), "not the staged package was in want of space"
    assert caught.value.params["need_bytes"] > caught.value.params["free_bytes"]
    assert server.sent_bytes("packs/*") == 0
    nothing_staged(device)
    filler.unlink()
    with device.running():
        device.decide(offer["digest"])
        assert device.settle()["active_version"] == "1.1.1"


def test_a_disk_that_filled_since_the_offer(publisher: Publisher, server: InstrumentedServer, small_disk: Path) -> None:
    """The user who accepts is told what is needed and what is there; after tidying up the same release comes."""
    device = publisher.device("disk/device", url=server.url)
    with device.running():
        offer = device.check()
        filler = fill(small_disk, but_bytes=4 * MIB)
        device.decide(offer["digest"])
        status = device.wait("rechecking", paused=True)
        assert status["waits_for"] == ["no-space"]
        assert status["error"]["params"]["need_bytes"] > 4 * MIB > status["error"]["params"]["free_bytes"]
        assert server.sent_bytes("packs/*") == 0
        nothing_staged(device)
        filler.unlink()
        assert device.settle()["active_version"] == "1.1.1"


def test_a_disk_that_fills_under_the_reservation(publisher: Publisher) -> None:
    """No space for the slot after everything was looked at: the update waits, says so, and goes on when asked to."""
    publisher.publish("1.1.1", kind="feature")
    with InstrumentedServer(publisher.public) as server:
        device = publisher.device(url=server.url)
        device.start(faults_armed="durable.reserve@2=ENOSPC")  # the first is of the staged package, which is one frame
        offer = device.check()
        device.decide(offer["digest"])
        status = device.wait("fetching", paused=True)
        assert status["waits_for"] == ["no-space"]
        assert status["error"]["params"]["path"].endswith("/slot")
        assert server.sent_bytes("packs/*") == 0
        nothing_staged(device)
        device.stop()
        device.start()
        device.ask("POST", "/v1/resume", {})
        assert device.settle()["active_version"] == "1.1.1"
        device.stop()
