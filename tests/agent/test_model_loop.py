"""The loop of one model: what was decided is carried out whole, on a full disk too, and when the asker leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
import pytest

from modelota import faults
from modelota.agent import states as s
from modelota.agent.config import Config, Fetching
from modelota.agent.gates import Gates
from modelota.agent.hub import Hub
from modelota.agent.journal import Journal
from modelota.agent.model_loop import RETRY_MAX_S, ModelLoop
from modelota.agent.steps import Workers
from modelota.clock import iso
from modelota.errors import AskPerson, TryLater
from modelota.runtime.upstreams import Upstreams
from modelota.spec.api import ErrorBody
from modelota.spec.api_life import InhibitorRequest
from modelota.spec.manifest import RuntimeUse
from modelota.spec.selftest import SelfTests
from modelota.spec.slot import SlotDescription, SlotFile, SlotId
from modelota.storage.layout import Layout
from modelota.testing.clock import ManualClock

MODEL = "acme/assistant"
OFFER = "a" * 64


def slot(version: str) -> SlotDescription:
    return SlotDescription(
        model=MODEL,
        slot=SlotId(version, "q8"),
        manifest_digest="b" * 64,
        files=(SlotFile(path="model.bin", size_bytes=1, digest="a" * 64),),
        runtime=RuntimeUse(name="command", entry="model.bin"),
        self_tests=SelfTests(),
    )


OLD, NEW = slot("1.1.1"), slot("1.1.2")


class StubWorker:
    """A worker whose jobs wait until they are let go, and take a moment to be cancelled."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.begun = asyncio.Event()
        self.jobs: list[str] = []

    async def run(self, kind: str, arguments: dict[str, Any], on_progress: Any = None, *, holding: Any = None) -> bytes:
        self.jobs.append(kind)
        self.begun.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            for _ in range(20):
                await asyncio.sleep(0)
            raise
        return b"{}"


class StubEngine:
    def __init__(self) -> None:
        self.stopped = False


class StubServing:
    """Starts engines that are none."""

    def __init__(self) -> None:
        self.engines: list[StubEngine] = []
        self.adopted: list[StubEngine] = []
        self.narrow = False
        self.engine: None = None  # nothing to take samples of

    def must_pause(self, need_bytes: int) -> bool:
        return self.narrow

    async def take_over(self, slot: SlotDescription, need_bytes: int, between: object = None) -> StubEngine:
        self.engines.append(StubEngine())
        return self.engines[-1]

    def adopt(self, engine: StubEngine) -> None:
        self.adopted.append(engine)

    async def abandon(self, engine: StubEngine) -> None:
        engine.stopped = True

    async def remove(self) -> None:
        """Nothing runs."""

    async def aclose(self) -> None:
        """Nothing runs."""


class Bench:
    """A loop on a real journal, with stubs for worker and engines."""

    def __init__(self, place: Path) -> None:
        self.layout = Layout(place)
        self.clock = ManualClock()
        self.journal = Journal(self.layout.database, self.clock)
        self.hub = Hub(self.clock)
        self.worker = StubWorker()
        self.serving = StubServing()
        config = Config()
        workers = Workers(self.worker, self.worker, asyncio.Lock())  # type: ignore[arg-type]  # as far as it is used
        with patch("modelota.agent.model_loop.Serving", return_value=self.serving):
            self.loop = ModelLoop(
                MODEL,
                self.layout,
                config,
                self.journal,
                self.hub,
                workers,
                Gates(config.gates, self.journal, self.clock),
                upstreams=Upstreams(),
                clock=self.clock,
                unattended=True,
            )
        (self.layout.model(MODEL).slots).mkdir(parents=True)
        for description in (OLD, NEW):
            self.journal.register_slot(description)
            self.layout.model(MODEL).slot(description.slot.name).mkdir()

    def become(self, **fields: Any) -> None:
        """Have the loop in a state that was committed."""
        self.loop.state = s.State(current=OLD.slot, slots=(OLD.slot, NEW.slot), **fields)
        event = s.Restarted()
        self.journal.commit(MODEL, event, s.State(), self.loop.state)

    def updating(self, phase: Any) -> s.Update:
        return s.Update(
            direction="update",
            target=NEW.slot,
            before=OLD.slot,
            offer_digest=OFFER,
            manifest_digest="b" * 64,
            phase=phase,
            attempts=1,
        )

    def told(self, kind: str) -> list[dict[str, Any]]:
        return [event.data for event in self.hub._events if event.kind == kind]


@pytest.fixture
async def bench(tmp_path: Path) -> Any:
    made = Bench(tmp_path)
    yield made
    faults.arm("")
    await made.loop.aclose()
    made.journal.close()


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    faults.arm("")


async def until(condition: Callable[[], object]) -> None:
    """Let other tasks and threads run until it holds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  threads of the loop's own have no event to wait for
            await asyncio.sleep(0)


async def test_a_client_that_hangs_up_does_not_cut_a_decision_in_two(bench: Bench) -> None:
    """A cancel whose client leaves at once still stops the work, cleans up, and tells the outcome."""
    staging = bench.layout.model(MODEL).staging
    staging.mkdir()
    bench.become(update=bench.updating("fetching"))
    await bench.loop.go_on()
    await bench.worker.begun.wait()
    asked = asyncio.create_task(bench.loop.post(s.CancelAsked(authority="uid:0")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert bench.loop.state.update is None  # decided, and its effects under way
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    await until(lambda: bench.told("outcome"))
    assert bench.told("outcome")[0]["result"] == "cancelled"
    assert not staging.exists()
    assert not bench.layout.model(MODEL).slot(NEW.slot.name).exists()


async def test_a_finished_step_is_not_lost_on_a_full_disk(bench: Bench) -> None:
    """When the journal can't be written, the end of a step is kept and written once there is space again."""
    bench.become(update=bench.updating("fetching"))
    await bench.loop.go_on()
    await bench.worker.begun.wait()
    faults.arm(";".join(["journal.commit@1=EIO"] * 3))
    bench.worker.go.set()
    await until(lambda: "verifying" in bench.worker.jobs)
    assert [notice["error"]["code"] for notice in bench.told("notice")] == ["disk-error"] * 3
    assert bench.worker.jobs[:2] == ["fetching", "verifying"]


async def test_a_full_disk_does_not_keep_the_agent_from_starting(bench: Bench) -> None:
    """What was under way is taken up as soon as the journal can be written; until then the agent is there."""
    bench.become(update=bench.updating("testing"))
    faults.arm(";".join(["journal.commit@1=EIO"] * 2))
    await bench.loop.go_on()
    assert bench.loop.state.update is not None
    await until(lambda: bench.worker.jobs == ["testing"])


async def test_an_activation_that_cannot_be_noted_leaves_no_engine(bench: Bench) -> None:
    """When the disk is full at the commit point, the engine that was started is stopped, and the link goes back."""
    bench.become(update=bench.updating("activating"))
    faults.arm("durable.switch@1=ENOSPC")
    await bench.loop.go_on()
    await until(lambda: bench.loop.state.update is None)
    assert [engine.stopped for engine in bench.serving.engines] == [True]
    assert bench.serving.adopted == []
    assert bench.loop.state.failed == ()
    await until(lambda: bench.told("outcome"))

    real, bench.journal.activated = bench.journal.activated, _full  # type: ignore[method-assign]  # one call fails
    bench.journal.register_slot(NEW)
    bench.become(update=bench.updating("activating"))
    await bench.loop.post(s.Restarted())
    await until(lambda: bench.loop.state.update is None)
    bench.journal.activated = real  # type: ignore[method-assign]  # as above
    assert [engine.stopped for engine in bench.serving.engines] == [True, True]
    await until(lambda: len(bench.told("outcome")) == 2)
    assert bench.layout.model(MODEL).current.readlink() == Path("slots") / OLD.slot.name


def _full(*_: object) -> None:
    raise AskPerson("no-space", path="agent.db", need_bytes=None, free_bytes=None)


async def test_a_clock_that_was_set_back_does_not_lengthen_the_watch(bench: Bench) -> None:
    """The watch window ends after the time that the settings give it, whatever the wall clock says."""
    until_far = iso(bench.clock.now() + timedelta(days=4000))
    bench.become(watch=s.Watch(version=OLD.slot, until=until_far))
    await bench.loop.go_on()
    await until(lambda: bench.loop.state.watch is None)
    assert max(bench.clock.slept) <= Config().watch.window_s


async def test_a_crash_is_survived_when_it_cannot_be_noted(bench: Bench) -> None:
    """An engine's crash that the journal can't take is told, and raises nothing that would end its restart."""
    bench.become()
    faults.arm("journal.commit@1=EIO;journal.commit@1=EIO")
    await bench.loop._engine_crashed(s.ErrorBody(code="engine-crashed", params={"slot": OLD.slot.name}))
    assert [notice["error"]["code"] for notice in bench.told("notice")] == ["disk-error"]


class FailingWorker:
    """A worker on whose network nothing gets better, until it does."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.runs = 0
        self.better_at = {6: 1000}  # run -> bytes that came before it broke off

    async def run(self, kind: str, arguments: dict[str, Any], on_progress: Any = None, *, holding: Any = None) -> bytes:
        self.runs += 1
        if self.runs in self.better_at:
            self.journal.spend(OFFER, self.better_at[self.runs])
        if self.runs == 24:
            await asyncio.Event().wait()
        raise TryLater("network-interrupted", url="https://example.com", detail="reset")


def retries_of(loop: ModelLoop) -> list[float]:
    """How long the loop waits before it tries again, in seconds, as it happens."""
    waits: list[float] = []
    after = loop._after

    def noted(name: str, seconds: float, event: s.MachineEvent) -> None:
        if name == "retry":
            waits.append(seconds)
        after(name, seconds, event)

    loop._after = noted  # type: ignore[method-assign]  # the clock is slept on for other reasons, too
    return waits


async def test_what_does_not_get_better_is_tried_ever_more_seldom(bench: Bench) -> None:
    """The wait doubles up to an hour while nothing was fetched in between, and starts anew when something was."""
    worker = FailingWorker(bench.journal)
    bench.loop._workers.background = worker  # type: ignore[assignment]  # as far as it is used
    bench.journal._db.execute("INSERT INTO offers VALUES (?, ?, x'', x'', '', NULL, 0, 0)", (OFFER, MODEL))
    waits = retries_of(bench.loop)
    bench.become(update=bench.updating("fetching"))
    await bench.loop.go_on()
    await until(lambda: worker.runs == 24)
    assert waits[:5] == [60, 120, 240, 480, 960]
    assert waits[5:13] == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert set(waits[12:]) == {3600}


async def test_a_wait_that_is_set_longer_stays_longer(bench: Bench) -> None:
    """The setting is the least, also above an hour."""
    assert RETRY_MAX_S == 3600
    bench.loop._config = Config(fetch=Fetching(retry_after_s=7200))
    waits = retries_of(bench.loop)
    bench.become(update=bench.updating("fetching"))
    await bench.loop.post(s.Failed(phase="fetching", error=ErrorBody(code="server-error"), branch="try-later"))
    assert waits == [7200]


@pytest.mark.parametrize("narrow", [False, True])
async def test_a_closed_gate_at_the_last_moment(bench: Bench, *, narrow: bool) -> None:
    """With memory for both the new engine is ready before the gate is asked; else nothing is stopped while it waits."""
    bench.serving.narrow = narrow
    bench.loop._steps._gates.inhibit(InhibitorRequest(holder="driving", reason="moving", steps=("switch",)), "uid:0")
    bench.become(update=bench.updating("activating"))
    await bench.loop.go_on()
    await until(lambda: bench.told("phase") and bench.told("phase")[-1]["phase"] == "waiting")
    update = bench.loop.state.update
    assert update is not None
    assert (update.gate, update.waits_for, update.attempts) == ("switch", ("inhibitor:driving",), 1)
    assert [engine.stopped for engine in bench.serving.engines] == ([] if narrow else [True])
    assert bench.serving.adopted == []
    assert bench.loop.state.current == OLD.slot


async def test_nothing_starts_an_engine_of_a_model_that_is_being_removed(bench: Bench) -> None:
    """From the confirmation on there is no slot in use for whoever wants to start one, also after a restart."""
    bench.become()
    assert bench.loop.current_slot() == OLD
    await bench.loop.post(s.RemovalAsked(plan_digest=OFFER, authority="uid:0", channel="host", reason="user"))
    await bench.worker.begun.wait()
    assert bench.loop.current_slot() is None
    bench.worker.go.set()
    await until(lambda: bench.loop.state.uninstalled)


async def test_what_a_follower_does_not_foresee_does_not_end_it(bench: Bench) -> None:
    """The watch goes on after an error that nobody thought of, and the owner is told."""
    looks = 0

    async def look() -> None:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise ValueError("unthought of")

    bench.loop.watcher.look = look  # type: ignore[method-assign]  # breaks once
    bench.become(watch=s.Watch(version=OLD.slot, until=iso(bench.clock.now() + timedelta(days=1))))
    await bench.loop.go_on()
    await until(lambda: looks > 1)
    assert [notice["error"]["params"]["kind"] for notice in bench.told("notice")] == ["ValueError"]


async def test_closing_ends_what_a_last_decision_began(bench: Bench) -> None:
    """A decision under way when the agent ends leaves neither a timer nor a sealing behind."""
    bench.become(previous=NEW.slot, kept=(SlotId("1.1.0", "q8"),))
    bench.layout.model(MODEL).slot("1.1.0+q8").mkdir()
    original = bench.loop.tidying.clean

    async def late(*arguments: Any) -> None:
        await until(lambda: bench.loop._closing)
        await original(*arguments)

    bench.loop.tidying.clean = late  # type: ignore[method-assign]  # takes until the agent ends
    deciding = asyncio.create_task(bench.loop.post(s.Restarted()))
    await until(lambda: bench.loop._deciding)
    await bench.loop.aclose()
    await deciding
    assert bench.loop.tidying.keeping is not None
    assert bench.loop.tidying.keeping.done()


async def test_a_hook_that_says_something_else_each_time_does_not_fill_the_journal(bench: Bench) -> None:
    """What keeps a gate closed is noted when it changes; a percentage in a hook's words is no change."""
    answers = [(f"hook:battery {number}%",) for number in range(30)]
    answers += [("hook:battery 30%", "parked")] * 10

    async def closed(*_: object) -> tuple[str, ...]:
        return answers.pop(0) if answers else ()

    bench.loop._steps._gates.closed = closed  # type: ignore[method-assign]  # what a hook would say
    bench.become(update=msgspec.structs.replace(bench.updating("waiting"), gate="activate"))
    await bench.loop.go_on()
    await until(lambda: bench.loop.state.current == NEW.slot)
    noted = [entry.facts["waits_for"] for entry in bench.journal.log(MODEL, 0, 1000) if entry.event == "gates-closed"]
    assert noted == [["hook:battery 0%"], ["hook:battery 30%", "parked"]]


async def test_what_is_decided_ends_self_tests_that_are_run_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Worker, memory and slot are free before the first step begins; an event that begins nothing ends nothing."""
    order: list[str] = []

    async def give_way() -> None:
        order.append("retest ended")
        assert bench.worker.jobs == []

    monkeypatch.setattr(bench.loop.retester, "give_way", give_way)
    bench.become(offer=OFFER)
    await bench.loop.post(s.OfferGone(reason=""))
    assert order == []
    await bench.loop.post(s.RemovalAsked(plan_digest=OFFER, authority="uid:0", channel="host", reason="user"))
    assert order == ["retest ended"]
    await bench.worker.begun.wait()


async def test_a_copy_of_user_data_that_a_kill_cut_short_goes_when_the_operation_ends(bench: Bench) -> None:
    """A worker that is killed while it copies leaves a temporary file, which does not wait for the next start."""
    backups = bench.layout.model(MODEL).backups
    backups.mkdir()
    left, whole = backups / ".9-1.1.1.sealed.tmp", backups / "8-1.1.1.sealed"
    bench.journal.ledger.will_create(left.resolve(), "temporary")
    for path in (left, whole):
        path.write_bytes(b"x")
    bench.become(update=bench.updating("activating"))
    await bench.loop.post(s.Failed(phase="activating", error=ErrorBody(code="worker-crashed"), branch="try-later"))
    assert [path.name for path in backups.iterdir()] == [whole.name]
    assert bench.journal.ledger.temporaries() == []
