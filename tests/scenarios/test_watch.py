"""The watch after an update: each of its reasons sends the device back, and nothing else does (clause 6.3-a)."""

from __future__ import annotations

from typing import Any

import pytest

from modelota.testing.device import DeviceUnderTest
from modelota.testing.engine import fake_model
from tests.scenarios.conftest import Publisher

WATCH = "[watch]\nsample_s = 1\nmin_requests = 5\n"
LONG = "word " * 60


def model(version: str, **fields: Any) -> bytes:
    """A model that passes its self-test and answers anything else at length."""
    return fake_model(answers={"Who are you?": f"I am the assistant, version {version}."}, default=LONG, **fields)


def talk(device: DeviceUnderTest, times: int) -> None:
    """Ask as an application would; what fails is the engine's business."""
    where = device.ask("POST", "/v1/chat", {})
    for _ in range(times):
        body = {"messages": [{"role": "user", "content": "Go on"}], "max_tokens": 64}
        device.request("POST", "/v1/chat/completions", body, socket_path=device.root / "run" / "gateway.sock")
    assert where["model"] == "acme/assistant"


def watched(publisher: Publisher, first: bytes, second: bytes) -> DeviceUnderTest:
    """A device that served `first`, was talked to, and was updated to `second`."""
    publisher.publish("1.1.1", first, kind="feature")
    device = publisher.device()
    with (device.root / "config.toml").open("a", encoding="utf-8") as config:
        config.write(WATCH)
    device.start()
    device.update()
    talk(device, 6)
    publisher.publish("1.1.2", second)
    status = device.update()
    assert (status["active_version"], status["phase"]) == ("1.1.2", "watching"), status["last_outcome"]
    return device


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"error_after": 3}, "watch-errors"),
        ({"token_delay_s": 0.02}, "watch-slower"),
        ({"ballast_bytes": 300 << 20}, "watch-memory"),
    ],
)
def test_a_version_that_does_worse_goes_back(publisher: Publisher, fields: dict[str, Any], code: str) -> None:
    """More failed answers, fewer tokens a second, more memory than the version before: each goes back and says why."""
    device = watched(publisher, model("1.1.1"), model("1.1.2", **fields))
    try:
        talk(device, 6)
        status = device.wait("idle", timeout_s=60)
        outcome = status["last_outcome"]
        assert status["active_version"] == "1.1.1"
        assert (outcome["result"], outcome["error"]["code"], outcome["error"]["now"]) == ("failed", code, "returned")
        assert "version 1.1.1" in device.chat("Who are you?")
        assert device.check() is None, "a version that went back is not offered unasked"
    finally:
        device.stop()


def test_a_version_that_does_as_well_stays(publisher: Publisher) -> None:
    """With the same figures as before the version stays in use, watched."""
    device = watched(publisher, model("1.1.1"), model("1.1.2"))
    try:
        talk(device, 12)
        samples = 0
        while samples < 3:  # the journal is not written by samples: wait for three of them by their table's time
            samples = _samples(device)
        assert device.status()["phase"] == "watching"
    finally:
        device.stop()


def _samples(device: DeviceUnderTest) -> int:
    """How many answers of the watched version are counted durably."""
    import sqlite3

    with sqlite3.connect(f"file:{device.layout.database}?mode=ro", uri=True) as database:
        row = database.execute("SELECT requests FROM service_figures WHERE slot = '1.1.2+q8'").fetchone()
    return int(row[0]) if row else 0
