"""Updates and rollbacks of a real device while applications keep asking: none of them notices."""

from __future__ import annotations

import http.client
import json
import threading
from contextlib import closing
from pathlib import Path
from typing import Self

from modelota.testing.device import DeviceUnderTest
from modelota.testing.engine import fake_model
from tests.scenarios.conftest import Publisher
from tests.scenarios.test_power_loss import wait_until

LONG_ANSWER = " ".join(f"word{number}" for number in range(20))


def talkative(version: str) -> bytes:
    """A model that knows who it is, and takes its time for anything else."""
    who = {"Who are you?": f"I am the assistant, version {version}."}
    return fake_model(answers=who, default=f"{version} {LONG_ANSWER}", token_delay_s=0.01)


class Load:
    """Applications that ask without a pause, streamed and whole.

    Attributes:
        answers: every text that came whole.
        failures: everything else that came.
    """

    def __init__(self, device: DeviceUnderTest, *, prompt: str = "Tell me.", applications: int = 4) -> None:
        self._device = device
        self._prompt = prompt
        self._over = threading.Event()
        self.answers: list[str] = []
        self.failures: list[str] = []
        self._threads = [
            threading.Thread(target=self._ask, kwargs={"streamed": number % 2 == 0}) for number in range(applications)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, *, streamed: bool) -> None:
        while not self._over.is_set():
            try:
                self.answers.append(self._streamed() if streamed else self._whole())
            except Exception as error:  # noqa: BLE001  whatever goes wrong for an application is what the test counts
                self.failures.append(f"{type(error).__name__}: {error}")

    def _body(self, *, streamed: bool) -> dict[str, object]:
        messages = [{"role": "user", "content": self._prompt}]
        return {"messages": messages, "max_tokens": 40, "temperature": 0, "stream": streamed}

    def _whole(self) -> str:
        where = self._device.layout.gateway_socket
        status, answer = self._device.request(
            "POST", "/v1/chat/completions", self._body(streamed=False), socket_path=where
        )
        assert status == 200, answer
        return str(answer["choices"][0]["message"]["content"])

    def _streamed(self) -> str:
        with closing(connection_to(self._device.layout.gateway_socket)) as connection:
            connection.request("POST", "/v1/chat/completions", json.dumps(self._body(streamed=True)))
            answer = connection.getresponse()
            events = [line[6:] for line in answer.read().decode().splitlines() if line.startswith("data: ")]
        assert answer.status == 200, events
        assert events[-1] == "[DONE]", events[-1]
        deltas = [json.loads(event)["choices"] for event in events[:-1]]
        return "".join(choices[0]["delta"].get("content") or "" for choices in deltas if choices)


def connection_to(path: Path) -> http.client.HTTPConnection:
    """A connection to the Unix socket at `path`."""
    from modelota.testing.device import _UnixConnection

    return _UnixConnection(path, 120.0)


def switch_to(device: DeviceUnderTest, version: str) -> None:
    """Update to a version by an offer, or go back to it."""
    before = device.status()
    if before["active_version"] < version:
        offer = device.ask("POST", "/v1/check", {"version": version})[0]["offer"]
        device.show(offer["digest"])
        device.decide(offer["digest"])
    else:
        assert device.ask("POST", "/v1/rollback", {"version": version})["started"]
    status = device.settle()
    assert (status["active_version"], status["last_outcome"]["result"]) == (version, "done")


def there_and_back(device: DeviceUnderTest, load: Load, switches: int) -> None:
    """Switch between 1.1.1, which is in use, and 1.1.2; every version answers before the next switch."""
    for number in range(1, switches + 1):
        switch_to(device, "1.1.2" if number % 2 else "1.1.1")
        reached = len(load.answers) + len(load.failures)
        wait_until(lambda reached=reached: len(load.answers) + len(load.failures) >= reached + 4)


def test_updates_and_rollbacks_drop_no_request(publisher: Publisher) -> None:
    """Whole answers, each of one version, from before the first to after the last switch (fifty: `make soak`)."""
    publisher.publish("1.1.1", talkative("1.1.1"), kind="feature")
    device = publisher.device()
    with device.running():
        device.update()
        publisher.publish("1.1.2", talkative("1.1.2"))
        device.chat("Who are you?")
        with Load(device) as load:
            there_and_back(device, load, 4)
        assert load.failures == []
        assert set(load.answers) == {f"{version} {LONG_ANSWER}" for version in ("1.1.1", "1.1.2")}
