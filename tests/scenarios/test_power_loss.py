"""Kill the supervisor or the worker during the download: what was fetched is kept (the walk has every fail point)."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from modelota.spec.limits import CHUNK_MAX_BYTES, KIB, MIB
from modelota.testing.device import DeviceUnderTest
from modelota.testing.network import InstrumentedServer, Slow
from tests.scenarios.conftest import Publisher, heavy_model
from tests.scenarios.walking import worker_of


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
