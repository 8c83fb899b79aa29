"""Fifty switches while applications keep asking: not one request is dropped, with memory for two engines or for one."""

from __future__ import annotations

import asyncio
from itertools import count
from pathlib import Path

import msgspec
import pytest

from modelota.agent import serving as module
from modelota.agent.config import Config
from modelota.agent.serving import Serving
from modelota.clock import Clock, SystemClock
from modelota.errors import ModelotaError
from modelota.runtime.client import EngineClient
from modelota.runtime.gateway import Gateway
from modelota.runtime.http import request
from modelota.runtime.protocol import EngineSpec
from modelota.spec.api import ErrorBody
from modelota.spec.manifest import RuntimeUse
from modelota.spec.selftest import SelfTests
from modelota.spec.slot import SlotDescription, SlotFile, SlotId
from modelota.storage.layout import Layout
from modelota.testing.engine import FakeEngine, Script

MODEL = "acme/assistant"
SWITCHES = 50
APPLICATIONS = 6
VERSIONS = ("1.1.1", "1.1.2")
WORDS = "word " * 8


def slot(version: str) -> SlotDescription:
    return SlotDescription(
        model=MODEL,
        slot=SlotId(version, "q8"),
        manifest_digest="b" * 64,
        files=(SlotFile(path="model.bin", size_bytes=1, digest="a" * 64),),
        runtime=RuntimeUse(name="llama.cpp", entry="model.bin"),
        self_tests=SelfTests(),
    )


class LoopEngine:
    """A fake engine in this event loop, with the face of `modelota.runtime.engine.Engine`."""

    running = 0

    def __init__(self, spec: EngineSpec, place: Path) -> None:
        self.spec = spec
        self.label = spec.label
        self.pid = 1
        self.stopping = False
        self.socket_path = place
        self.fake = FakeEngine(place, Script(default=f"{spec.label} {WORDS}", token_delay_s=0.001), label=spec.label)
        self._ended = asyncio.Event()

    @property
    def exited(self) -> bool:
        return self._ended.is_set()

    async def wait(self) -> int:
        await self._ended.wait()
        return 0

    async def stop(self, grace_s: float = 5.0) -> int:
        self.stopping = True
        if not self.exited:
            self._ended.set()
            LoopEngine.running -= 1
            await self.fake.stop()
        return 0


class Applications:
    """Ask without a pause, streamed and whole, and note what each answer was."""

    def __init__(self, gateway: Path) -> None:
        self._gateway = gateway
        self._stop = asyncio.Event()
        self.answers: list[str] = []
        self.failures: list[str] = []

    async def run(self, *, streamed: bool) -> None:
        body = msgspec.json.encode({"model": MODEL, "messages": [{"role": "user", "content": "q"}]})
        while not self._stop.is_set():
            try:
                if streamed:
                    self.answers.append((await EngineClient(self._gateway).chat("q", max_tokens=99)).text)
                    continue
                whole = await request(self._gateway, "POST", "/v1/chat/completions", body)
                if whole.status == 200:
                    self.answers.append(whole.json()["choices"][0]["message"]["content"])
                else:
                    self.failures.append(whole.body.decode())
            except ModelotaError as error:
                self.failures.append(str(error))

    def stop(self) -> None:
        self._stop.set()


@pytest.mark.parametrize("room_bytes", [1000, 10], ids=["both-fit", "one-fits"])
async def test_fifty_switches_drop_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room_bytes: int) -> None:
    """Every request is answered whole by one version; both versions answered; memory is kept to."""
    most_at_once = 0
    numbers = count()

    async def start_engine(spec: EngineSpec, *, clock: Clock, timeout_s: float) -> LoopEngine:
        nonlocal most_at_once
        engine = LoopEngine(spec, tmp_path / f"e{next(numbers)}.sock")
        await engine.fake.start()
        LoopEngine.running += 1
        most_at_once = max(most_at_once, LoopEngine.running)
        return engine

    LoopEngine.running = 0
    monkeypatch.setattr(module, "start_engine", start_engine)
    monkeypatch.setattr(module, "room_beside", lambda _pid: room_bytes)
    current = slot(VERSIONS[0])
    notices: list[str] = []
    crashes: list[str] = []

    async def crashed(error: ErrorBody) -> None:
        crashes.append(error.code)

    async def ensure(_model: str) -> None:
        await serving.ensure()

    gateway = Gateway(ensure)
    serving = Serving(
        MODEL,
        Layout(tmp_path),
        Config(),
        SystemClock(),
        gateway.upstreams,
        current=lambda: current,
        changed=lambda: None,
        crashed=crashed,
        noticed=lambda error: notices.append(error.code),
    )
    gateway.upstreams.declare(MODEL)
    await gateway.serve_unix(tmp_path / "g.sock")
    applications = Applications(tmp_path / "g.sock")
    load = [asyncio.create_task(applications.run(streamed=number % 2 == 0)) for number in range(APPLICATIONS)]
    try:
        for number in range(1, SWITCHES + 1):
            reached = len(applications.answers)
            async with asyncio.timeout(20):
                while len(applications.answers) < reached + APPLICATIONS:  # noqa: ASYNC110  answers have no event
                    await asyncio.sleep(0.001)
            target = slot(VERSIONS[number % 2])
            engine = await serving.take_over(target, 100)
            current = target
            serving.adopt(engine)
    finally:
        applications.stop()
        await asyncio.gather(*load)
        await serving.aclose()
        await gateway.close()
    assert applications.failures == []
    assert len(applications.answers) >= SWITCHES * APPLICATIONS
    assert {answer.strip() for answer in applications.answers} == {f"{v}+q8 {WORDS}".strip() for v in VERSIONS}
    assert crashes == []
    if room_bytes < 100:
        assert most_at_once == 1
        assert notices == ["short-pause"] * SWITCHES
    else:
        assert most_at_once >= 2
        assert notices == []
    assert LoopEngine.running == 0
