"""Kill the supervisor or the worker at any journal step, and during the download: the next run completes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from modelota.spec.limits import CHUNK_MAX_BYTES, KIB, MIB
from modelota.testing.device import DeviceGoneError, DeviceUnderTest
from modelota.testing.network import InstrumentedServer, Slow
from tests.scenarios.conftest import Publisher, Snapshot, heavy_model


def worker_of(device: DeviceUnderTest) -> int | None:
    """Process id of the device's worker, or None."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command = (path / "cmdline").read_bytes()
        except OSError:
            continue
        if b"modelota.agent.worker" in command and os.fsencode(device.root) in command:
            return int(path.name)
    return None


def check_invariants(device: DeviceUnderTest, allowed: set[str]) -> None:
    """One active version that serves, its files intact, nothing in staging, nothing but its slots."""
    status = device.settle()
    assert status["active_version"] in allowed
    answer = device.chat("Who are you?")
    assert f"version {status['active_version']}" in answer
    model = device.layout.model("acme/assistant")
    assert model.current.readlink() == Path("slots") / f"{status['active_version']}+q8"
    wait_until(lambda: not model.staging.exists())
    versions = device.ask("GET", "/v1/versions")["versions"]
    kept = {f"{view['version']}+q8" for view in versions if view["state"] in {"active", "previous", "kept"}}
    wait_until(lambda: {path.name for path in model.slots.iterdir()} == kept)


@pytest.mark.parametrize("point", ["journal.commit", "durable.switch", "slot.seal", "engine.start"])
def test_kill_at_every_passage_of_an_update(installed: tuple[Publisher, DeviceUnderTest], point: str) -> None:
    """SIGKILL at the n-th passage for n = 1, 2, 3 …: after each, the device serves, and the update completes."""
    publisher, device = installed
    publisher.publish("1.1.2")
    device.stop()
    snapshot = Snapshot(device)
    nth = 0
    kills = 0
    while True:
        nth += 1
        try:
            device.start(faults_armed=f"{point}@{nth}=kill")
            offer = device.check()
            device.decide(offer["digest"])
            killed = until_settled_or_crashed(device)
        except (DeviceGoneError, AssertionError):
            killed = True  # the supervisor was, or it told that its worker was
        device.kill()
        device.start()
        check_invariants(device, {"1.1.1", "1.1.2"})
        if device.status()["active_version"] == "1.1.1":
            device.update()
        check_invariants(device, {"1.1.2"})
        device.stop()
        if not killed:
            break
        kills += 1
        snapshot.restore()
    assert kills > 0


def test_kill_during_the_download_fetches_little_again(publisher: Publisher) -> None:
    """After kill -9 of everything during a download, what was fetched is not fetched again (requirement 5.2.1-b)."""
    size = 24
    source = heavy_model(size)
    publisher.publish("1.1.1", source, kind="feature")
    connections, kills = 4, 4
    with InstrumentedServer(publisher.public) as server:
        server.script("packs/*", Slow(bytes_per_s=4 * MIB))
        device = publisher.device(url=server.url)
        device.start()
        offer = device.check()
        package = offer["offer"]["planned_bytes"]
        assert server.sent_bytes("packs/*") == 0
        device.decide(offer["digest"])
        for number in range(1, kills + 1):
            goal = package * number // (kills + 2)
            wait_until(lambda goal=goal: server.sent_bytes("packs/*") >= goal)
            if number % 2:
                device.kill()
                device.start()
            else:
                worker = worker_of(device)
                assert worker is not None
                os.kill(worker, signal.SIGKILL)
        device.settle()
        twice = server.sent_bytes("packs/*") - package
        fetched = [entry for entry in device.log() if entry["event"] == "fetched"]
        device.stop()
    assert fetched, "the download never completed"
    assert 0 <= twice <= kills * connections * (CHUNK_MAX_BYTES + 64 * KIB)


def until_settled_or_crashed(device: DeviceUnderTest) -> bool:
    """Wait for the end of the update, or until its worker was killed; whether that is what happened."""
    while True:
        status = device.status()
        if status["paused"]:
            assert status["waits_for"] == ["worker-crashed"]
            return True
        if status["phase"] in {"idle", "watching"}:
            return any(entry["facts"].get("code") == "worker-crashed" for entry in device.log())


def wait_until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    """Poll until it holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)
