"""The engine in use: whoever starts one, in whatever order starts end, the version in use answers and nothing leaks."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from modelota.agent import serving as module
from modelota.agent.config import Config
from modelota.agent.serving import RESTART_FIRST_S, RESTART_MAX_S, Between, Serving
from modelota.clock import Clock
from modelota.errors import ModelotaError, TryLater
from modelota.runtime.protocol import EngineSpec
from modelota.runtime.upstreams import Upstreams
from modelota.spec.api import ErrorBody
from modelota.spec.manifest import RuntimeUse
from modelota.spec.selftest import SelfTests
from modelota.spec.slot import SlotDescription, SlotFile, SlotId
from modelota.storage.layout import Layout

MODEL = "acme/assistant"


def slot(version: str) -> SlotDescription:
    return SlotDescription(
        model=MODEL,
        slot=SlotId(version, "q8"),
        manifest_digest="b" * 64,
        files=(SlotFile(path="model.bin", size_bytes=1, digest="a" * 64),),
        runtime=RuntimeUse(name="llama.cpp", entry="model.bin"),
        self_tests=SelfTests(),
    )


OLD, NEW = slot("1.1.1"), slot("1.1.2")


class StubEngine:
    """An engine without a process."""

    def __init__(self, spec: EngineSpec) -> None:
        self.spec = spec
        self.label = spec.label
        self.socket_path = Path(spec.socket_path)
        self.stopping = False
        self._ended = asyncio.Event()

    @property
    def exited(self) -> bool:
        return self._ended.is_set()

    async def wait(self) -> int:
        await self._ended.wait()
        return -9

    async def stop(self, grace_s: float = 5.0) -> int:
        self.stopping = True
        self._ended.set()
        return 0

    def crash(self) -> None:
        self._ended.set()


class Starter:
    """Takes the place of `start_engine`; a start waits while its version is held, and fails while it is bad."""

    def __init__(self) -> None:
        self.engines: list[StubEngine] = []
        self.held: dict[str, asyncio.Event] = {}
        self.begun = asyncio.Event()
        self.bad: set[str] = set()

    async def __call__(self, spec: EngineSpec, *, clock: Clock, timeout_s: float) -> StubEngine:
        self.begun.set()
        if spec.label in self.held:
            await self.held[spec.label].wait()
        if spec.label in self.bad:
            raise TryLater("engine-start-failed", slot=spec.label, detail="told to")
        engine = StubEngine(spec)
        self.engines.append(engine)
        return engine

    @property
    def running(self) -> list[str]:
        return [engine.label for engine in self.engines if not engine.exited]


class Pauses:
    """A clock whose sleeps are noted, and end at once."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.time = 0.0

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)


class Bench:
    """A `Serving` with stubs around it."""

    def __init__(self, place: Path, starter: Starter) -> None:
        self.starter = starter
        self.current: SlotDescription | None = OLD
        self.upstreams = Upstreams()
        self.crashes: list[str] = []
        self.told: list[ModelotaError] = []
        self.clock = Pauses()
        self.serving = Serving(
            MODEL,
            Layout(place),
            Config(),
            self.clock,  # type: ignore[arg-type]  # the wall clock is not asked
            self.upstreams,
            current=lambda: self.current,
            changed=lambda: None,
            crashed=self._crashed,
            noticed=self.told.append,
        )

    async def _crashed(self, error: ErrorBody) -> None:
        self.crashes.append(error.code)

    @property
    def answering(self) -> str | None:
        upstream = self.upstreams.current(MODEL)
        return upstream.engine.label if upstream else None


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    starter = Starter()
    monkeypatch.setattr(module, "start_engine", starter)
    return Bench(tmp_path, starter)


async def until(condition: object) -> None:
    """Let other tasks run until it holds."""
    for _ in range(1000):
        if condition():  # type: ignore[operator]  # a callable without arguments
            return
        await asyncio.sleep(0)
    raise AssertionError("waited in vain")


async def test_a_slow_start_of_the_old_version_does_not_replace_the_new_one(bench: Bench) -> None:
    """An engine of the version before that becomes ready after the switch is stopped, not put into use."""
    bench.starter.held["1.1.1+q8"] = asyncio.Event()
    asked = asyncio.create_task(bench.serving.ensure())
    await bench.starter.begun.wait()
    bench.serving.adopt(await bench.serving.start(NEW))
    bench.current = NEW
    bench.starter.held["1.1.1+q8"].set()
    assert (await asked).label == "1.1.2+q8"
    assert bench.answering == "1.1.2+q8"
    assert bench.starter.running == ["1.1.2+q8"]
    assert bench.serving.state == "running"
    await bench.serving.aclose()


async def test_every_running_engine_has_a_socket_of_its_own(bench: Bench) -> None:
    """Versions that come back while their former engines still answer do not take their sockets."""
    held = []
    for version in (OLD, NEW, OLD, NEW, OLD):
        bench.serving.adopt(await bench.serving.start(version))
        upstream = bench.upstreams.current(MODEL)
        assert upstream is not None
        upstream.acquire()  # an application that is still being answered
        held.append(upstream)
    assert len(bench.starter.running) == 5
    assert len({engine.spec.socket_path for engine in bench.starter.engines}) == 5
    for upstream in held:
        upstream.release()
    await until(lambda: bench.starter.running == ["1.1.1+q8"])
    await bench.serving.aclose()


async def test_closing_stops_engines_that_are_still_answering(bench: Bench) -> None:
    """Nothing runs on in a host that closes its agent, not even an engine that finishes its last request."""
    bench.serving.adopt(await bench.serving.start(OLD))
    upstream = bench.upstreams.current(MODEL)
    assert upstream is not None
    upstream.acquire()
    bench.serving.adopt(await bench.serving.start(NEW))
    assert bench.starter.running == ["1.1.1+q8", "1.1.2+q8"]
    await bench.serving.aclose()
    assert bench.starter.running == []


async def test_an_engine_the_gateway_lost_comes_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that runs and can't be reached any more (its socket was removed) is replaced at the next request."""
    monkeypatch.setattr(module, "HEALTH_TIMEOUT_S", 0.01)
    engine = await bench.serving.ensure()
    upstream = bench.upstreams.current(MODEL)
    assert upstream is not None
    bench.upstreams.lost(upstream)
    assert await bench.serving.ensure() is not engine
    assert bench.answering == "1.1.1+q8"
    assert bench.starter.running == ["1.1.1+q8"]
    await bench.serving.aclose()


async def test_an_engine_that_keeps_crashing_is_started_ever_more_seldom(bench: Bench) -> None:
    """The wait doubles with each crash, and starts anew only for an engine that ran for a while."""
    await bench.serving.ensure()
    for crash in range(1, 9):
        bench.starter.engines[-1].crash()
        await until(lambda crash=crash: len(bench.starter.engines) == crash + 1 and bench.answering)
    assert bench.clock.slept == [min(RESTART_MAX_S, RESTART_FIRST_S * 2**number) for number in range(8)]
    assert bench.crashes == ["engine-crashed"] * 8
    await asyncio.sleep(0)
    bench.clock.time += RESTART_MAX_S
    bench.starter.engines[-1].crash()
    await until(lambda: len(bench.starter.engines) == 10)
    assert bench.clock.slept[-1] == RESTART_FIRST_S
    await bench.serving.aclose()


async def test_a_removed_model_has_no_engine_and_gets_none(bench: Bench) -> None:
    """A start under way, a restart after a crash and a request that arrives meanwhile leave no engine behind."""
    bench.starter.held[OLD.slot.name] = asyncio.Event()
    starting = asyncio.create_task(bench.serving.ensure())
    await bench.starter.begun.wait()
    bench.current = None
    await bench.serving.remove()
    bench.starter.held[OLD.slot.name].set()
    with pytest.raises(ModelotaError) as caught:
        await starting
    assert caught.value.code == "no-model-installed"
    assert (bench.starter.running, bench.upstreams.models) == ([], ())
    await bench.serving.keep_running()
    assert len(bench.crashes) == 1, "whoever brings an engine back gives up once there is none to bring back"
    await bench.serving.aclose()


async def test_a_start_that_fails_leaves_the_state_of_what_runs(bench: Bench) -> None:
    """While the version in use runs, a start that fails, is abandoned or cancelled leaves it `running`."""
    await bench.serving.ensure()
    bench.starter.bad.add("1.1.2+q8")
    with pytest.raises(ModelotaError):
        await bench.serving.start(NEW)
    assert bench.serving.state == "running"
    bench.starter.bad.clear()
    await bench.serving.abandon(await bench.serving.start(NEW))
    assert (bench.serving.state, bench.starter.running) == ("running", ["1.1.1+q8"])
    bench.starter.held["1.1.2+q8"] = asyncio.Event()
    bench.starter.begun.clear()
    start = asyncio.create_task(bench.serving.start(NEW))
    await bench.starter.begun.wait()
    start.cancel()
    await asyncio.gather(start, return_exceptions=True)
    assert bench.serving.state == "running"
    await bench.serving.aclose()


@pytest.fixture
def narrow(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A device whose memory holds one engine that needs 100 bytes, and 50 more."""
    monkeypatch.setattr(module, "room_beside", lambda _pid: 50)
    monkeypatch.setattr(StubEngine, "pid", 1, raising=False)
    return bench


async def test_with_memory_for_both_there_is_no_pause(narrow: Bench) -> None:
    """The new engine starts beside the old one, which answers until it is replaced; nobody is told of a pause."""
    await narrow.serving.ensure()
    engine = await narrow.serving.take_over(NEW, 50)
    assert narrow.starter.running == ["1.1.1+q8", "1.1.2+q8"]
    assert narrow.answering == "1.1.1+q8"
    narrow.serving.adopt(engine)
    assert narrow.told == []
    await narrow.serving.aclose()


async def test_where_memory_cannot_be_told_there_is_no_pause(narrow: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unknown is no reason to stop what works."""
    monkeypatch.setattr(module, "room_beside", lambda _pid: None)
    await narrow.serving.ensure()
    assert not narrow.serving.must_pause(1 << 60)
    await narrow.serving.aclose()


async def test_without_room_the_old_engine_ends_before_the_new_one_starts(narrow: Bench) -> None:
    """It is announced; what is under way is finished first; whoever asks meanwhile waits for the new one."""
    await narrow.serving.ensure()
    old = narrow.upstreams.current(MODEL)
    assert old is not None
    old.acquire()
    narrow.starter.held["1.1.2+q8"] = asyncio.Event()
    taking = asyncio.create_task(narrow.serving.take_over(NEW, 100))
    await until(lambda: narrow.told)
    (notice,) = narrow.told
    assert (notice.code, notice.params) == ("short-pause", {"version": "1.1.2", "need_bytes": 100, "free_bytes": 50})
    await until(lambda: narrow.answering is None)
    asked = asyncio.create_task(narrow.serving.ensure())
    for _ in range(20):
        await asyncio.sleep(0)
    assert narrow.starter.running == ["1.1.1+q8"], "it was stopped under a request"
    old.release()
    await until(lambda: narrow.starter.running == [])
    narrow.starter.held["1.1.2+q8"].set()
    engine = await taking
    for _ in range(20):
        await asyncio.sleep(0)
    assert not asked.done(), "the version before was started again in the middle of the switch"
    narrow.current = NEW
    narrow.serving.adopt(engine)
    assert (await asked).label == "1.1.2+q8"
    assert narrow.starter.running == ["1.1.2+q8"]
    assert narrow.crashes == []
    await narrow.serving.aclose()


async def test_an_engine_that_does_not_start_in_the_pause_gives_its_place_back(narrow: Bench) -> None:
    """The error is told and the version before answers again, also to whoever asked during the pause."""
    await narrow.serving.ensure()
    narrow.starter.bad.add("1.1.2+q8")
    with pytest.raises(ModelotaError, match="engine-start-failed"):
        await narrow.serving.take_over(NEW, 100)
    assert narrow.answering == "1.1.1+q8"
    assert narrow.serving.state == "running"
    assert len(narrow.starter.engines) == 2
    await narrow.serving.aclose()


async def test_an_abandoned_pause_gives_its_place_back(narrow: Bench) -> None:
    """When the commit point can't be moved after the pause, the version before answers again."""
    await narrow.serving.ensure()
    engine = await narrow.serving.take_over(NEW, 100)
    assert narrow.starter.running == ["1.1.2+q8"]
    await narrow.serving.abandon(engine)
    assert narrow.answering == "1.1.1+q8"
    assert narrow.starter.running == ["1.1.1+q8"]
    await narrow.serving.aclose()


async def test_something_between_two_engines_is_done_while_none_runs(narrow: Bench) -> None:
    """Also when one was just being started for a request: it is waited for and stopped, and no other one starts."""
    narrow.starter.held["1.1.1+q8"] = asyncio.Event()
    asked = asyncio.create_task(narrow.serving.ensure())
    await narrow.starter.begun.wait()
    seen: list[object] = []

    async def look(step: str) -> None:
        seen.append((step, narrow.starter.running))
        again = asyncio.create_task(narrow.serving.ensure())
        for _ in range(20):
            await asyncio.sleep(0)
        seen.append((step, narrow.starter.running))
        again.cancel()

    narrow.starter.bad.add("1.1.2+q8")
    between = Between(lambda: look("do"), lambda: look("undo"))
    taking = asyncio.create_task(narrow.serving.take_over(NEW, 1, between))
    for _ in range(20):
        await asyncio.sleep(0)
    assert seen == []
    narrow.starter.held["1.1.1+q8"].set()
    await asked
    with pytest.raises(ModelotaError, match="engine-start-failed"):
        await taking
    assert seen == [("do", []), ("do", []), ("undo", []), ("undo", [])]
    assert narrow.answering == "1.1.1+q8", "the version before did not come back"
    await narrow.serving.aclose()


async def test_a_pause_ends_with_the_agent(narrow: Bench) -> None:
    """An agent that is closed in the middle of it leaves nobody waiting and starts nothing."""
    await narrow.serving.ensure()
    narrow.starter.held["1.1.2+q8"] = asyncio.Event()
    taking = asyncio.create_task(narrow.serving.take_over(NEW, 100))
    await until(lambda: narrow.starter.running == [])
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)
    assert narrow.starter.running == []
    assert (await narrow.serving.ensure()).label == "1.1.1+q8"
    await narrow.serving.aclose()


async def test_what_the_drain_limit_cuts_is_announced(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that last longer are told, and so is the device's user; the old engine then ends."""
    monkeypatch.setattr(module, "DRAIN_LIMIT_S", 0.01)
    monkeypatch.setattr(module, "CUT_GRACE_S", 0.01)
    await bench.serving.ensure()
    old = bench.upstreams.current(MODEL)
    assert old is not None
    old.acquire()
    ended: list[str] = []

    async def answered_forever() -> None:
        try:
            async with old.uncut():
                await asyncio.Event().wait()
        except TryLater as error:
            ended.append(error.code)

    asking = asyncio.create_task(answered_forever())
    await asyncio.sleep(0)
    bench.serving.adopt(await bench.serving.start(NEW))
    await asking
    assert ended == ["answers-cut"]
    (notice,) = bench.told
    assert (notice.code, notice.params["requests"], notice.params["seconds"]) == ("answers-cut", 1, 0.01)
    async with asyncio.timeout(5):
        await bench.starter.engines[0].wait()
    assert bench.starter.running == ["1.1.2+q8"]
    with pytest.raises(TryLater, match="answers-cut"):
        async with old.uncut():
            await asyncio.Event().wait()
    await bench.serving.aclose()
