"""The version in use proves itself again when the system below it changes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.agent.test_model_loop import MODEL, NEW, until

from modelota.agent import retesting
from modelota.agent import states as s
from modelota.agent.journal import Journal
from modelota.agent.retesting import Retester, ground
from modelota.clock import SystemClock
from modelota.errors import ModelotaError, RefuseContent, TryLater
from modelota.storage.layout import Layout
from modelota.testing.clock import ManualClock


class _Worker:
    """Runs no engine: says what the self-tests came to."""

    def __init__(self) -> None:
        self.jobs: list[str] = []
        self.error: ModelotaError | None = None
        self.go = asyncio.Event()
        self.go.set()

    async def run(self, kind: str, arguments: dict[str, Any]) -> bytes:
        """Note the job, fail if told so."""
        self.jobs.append(f"{kind} {arguments['target']}")
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return b"{}"


class _Bench:
    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)
        self.journal = Journal(self.layout.database, SystemClock())
        self.worker = _Worker()
        self.posted: list[s.Retested] = []
        self.busy = False
        self.clock = ManualClock()
        self.retester = Retester(
            MODEL,
            self.layout,
            self.journal,
            self.worker,  # type: ignore[arg-type]  # as far as it is used
            self.clock,
            60.0,
            current=lambda: NEW,
            busy=lambda: self.busy,
            post=self._post,
        )

    async def _post(self, event: s.Retested) -> bool:
        self.posted.append(event)
        return True


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[_Bench]:
    """A retester whose worker can be told what to say."""
    bench = _Bench(tmp_path)
    yield bench
    bench.journal.close()


async def test_nothing_is_tested_on_unchanged_ground(bench: _Bench) -> None:
    """A version that proved itself on this system is left alone, over restarts too."""
    assert await bench.retester.look()
    assert await bench.retester.look()
    assert (bench.worker.jobs, bench.posted) == ([], [])


async def test_another_system_asks_for_a_new_proof(bench: _Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another agent version changes the ground: the self-tests run once, and their success is kept."""
    await bench.retester.look()
    monkeypatch.setattr(retesting.modelota, "__version__", "99.0.0")
    assert await bench.retester.look()
    assert await bench.retester.look()
    assert bench.worker.jobs == [f"retesting {NEW.slot.name}"]
    assert bench.posted == [s.Retested(target=NEW.slot, error=None)]


async def test_a_failure_is_told_and_what_tells_nothing_is_repeated(
    bench: _Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a failed self-test is a verdict; an inconclusive one is to be repeated."""
    await bench.retester.look()
    monkeypatch.setattr(retesting.modelota, "__version__", "99.0.0")
    bench.worker.error = TryLater("self-test-inconclusive", test="performance", detail="spread")
    assert not await bench.retester.look()
    assert bench.posted == []
    bench.busy = True
    assert not await bench.retester.look()
    bench.busy = False
    bench.worker.error = RefuseContent("self-test-failed", test="hello", detail="answer")
    assert await bench.retester.look()
    assert [event.error.code for event in bench.posted if event.error] == ["self-test-failed"]


async def test_what_tells_nothing_is_repeated_ever_more_seldom(bench: _Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device without memory for a second engine does not try one every minute for ever."""
    await bench.retester.look()
    monkeypatch.setattr(retesting.modelota, "__version__", "99.0.0")
    bench.worker.error = TryLater("engine-start-failed", slot=NEW.slot.name, detail="memory")
    running = asyncio.create_task(bench.retester.run())
    await until(lambda: len(bench.clock.slept) >= 9)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert bench.clock.slept[:9] == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]


async def test_an_update_comes_first(bench: _Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests under way end when something is decided, blame nobody, and are run again afterwards."""
    await bench.retester.look()
    monkeypatch.setattr(retesting.modelota, "__version__", "99.0.0")
    bench.worker.go.clear()
    running = asyncio.create_task(bench.retester.run())
    await until(lambda: bench.worker.jobs)
    await bench.retester.give_way()
    assert bench.posted == []
    bench.worker.go.set()
    await until(lambda: bench.posted)
    assert bench.posted == [s.Retested(target=NEW.slot, error=None)]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def test_the_ground_names_what_a_proof_rests_on(bench: _Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runtime and the agent's version are part of it."""
    now = ground(bench.layout, "llama.cpp")
    assert now == ground(bench.layout, "llama.cpp")
    assert now != ground(bench.layout, "command")
    monkeypatch.setattr(retesting.modelota, "__version__", "99.0.0")
    assert now != ground(bench.layout, "llama.cpp")
