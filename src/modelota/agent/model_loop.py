"""The loop of one model: an event is decided by the machine, committed to the journal, then carried out."""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from datetime import timedelta
from typing import Any, Final

import msgspec

from modelota.agent.config import Config
from modelota.agent.hub import Hub
from modelota.agent.journal import Journal
from modelota.agent.machine import step
from modelota.agent.serving import Serving
from modelota.agent.states import (
    Activated,
    Clean,
    ContentMissing,
    Done,
    Effect,
    EngineCrashed,
    Failed,
    MachineEvent,
    Restarted,
    Resumed,
    Returned,
    State,
    StopWork,
    Tell,
    Update,
    WatchEnded,
    Work,
)
from modelota.agent.worker_link import WorkerLink
from modelota.clock import Clock, from_iso, iso
from modelota.errors import ModelotaError, OurBug
from modelota.runtime.messages import plain
from modelota.runtime.upstreams import Upstreams
from modelota.spec.api import ErrorBody, Phase, Progress
from modelota.spec.slot import SlotDescription, SlotId
from modelota.storage.durable import Disk
from modelota.storage.layout import Layout
from modelota.storage.slots import Slots

_WORKER_PHASES: Final = ("rechecking", "fetching", "verifying", "deploying", "testing")


class ModelLoop:
    """State, work and engine of one model.

    Args:
        model: its name.
        layout: of the device root.
        config: the integrator's settings.
        journal: where events are committed.
        hub: where they are told.
        background: carries out the heavy steps.
        foreground: carries out the self-tests.
        refreshing: held while metadata is refreshed.
        upstreams: the gateway's table.
        clock: the time.
        unattended: a supervisor is there: what a passing error stopped is tried again later by itself.
    """

    def __init__(
        self,
        model: str,
        layout: Layout,
        config: Config,
        journal: Journal,
        hub: Hub,
        background: WorkerLink,
        foreground: WorkerLink,
        refreshing: asyncio.Lock,
        upstreams: Upstreams,
        clock: Clock,
        *,
        unattended: bool,
    ) -> None:
        self.model = model
        self._root_layout = layout
        self._layout = layout.model(model)
        self._config = config
        self._journal = journal
        self._hub = hub
        self._background = background
        self._foreground = foreground
        self._refreshing = refreshing
        self._clock = clock
        self._unattended = unattended
        self._disk = Disk((layout.root, layout.runtime_directory), journal.ledger)
        self._slots = Slots(self._layout, self._disk)
        self._lock = asyncio.Lock()
        self._work: asyncio.Task[None] | None = None
        self._timers: dict[str, asyncio.Task[None]] = {}
        self._deciding: set[asyncio.Task[bool]] = set()
        self._closing = False
        self.state = State()
        self.progress: Progress | None = None
        self.serving = Serving(
            model,
            layout,
            config,
            clock,
            upstreams,
            current=self.current_slot,
            changed=self._engine_changed,
            crashed=self._engine_crashed,
        )

    # -- life ---------------------------------------------------------------------------------------------------------

    def load(self) -> None:
        """Read the state from the journal."""
        self.state = self._journal.state(self.model)

    async def go_on(self) -> None:
        """Go on with what was under way when the agent ended."""
        self._disk.make_directory(self._layout.directory)
        try:
            await self.post(Restarted())
        except ModelotaError as error:  # a full disk must not keep the version in use from being served
            self._notice(error)
            self._after("retry", self._config.fetch.retry_after_s, Restarted())
        if self.state.watch is not None:
            self._watch()

    async def aclose(self) -> None:
        """Stop work and engine. What is under way goes on at the next start."""
        self._closing = True
        for task in (*self._timers.values(), self._work):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        # what is being decided or removed at this moment comes to its end while the root is still ours
        await asyncio.gather(*self._deciding, return_exceptions=True)
        await self.serving.aclose()

    def current_slot(self) -> SlotDescription | None:
        """The slot in use."""
        return self._journal.slot(self.model, self.state.current) if self.state.current else None

    # -- deciding -----------------------------------------------------------------------------------------------------

    async def post(self, event: MachineEvent) -> bool:
        """Decide `event`, commit it, carry out what follows. Returns whether it meant anything.

        Raises:
            ModelotaError: the journal can't be written; then nothing was decided.
        """
        # Shielded: a caller that leaves (a client that hangs up) must not cut what follows from its decision in two.
        task = asyncio.create_task(self._decide(event))
        self._deciding.add(task)
        task.add_done_callback(self._deciding.discard)
        return await asyncio.shield(task)

    async def _decide(self, event: MachineEvent) -> bool:
        async with self._lock:
            state, effects = step(self.state, event, iso(self._clock.now()))
            if state == self.state and not effects:
                return False
            if state != self.state:
                self._journal.commit(self.model, event, self.state, state)
            before, self.state = self.state, state
            if state.phase != before.phase or state.update != before.update:
                self.progress = None
                self._tell_phase()
            for effect in effects:
                await self._carry_out(effect)
            self._retry_later()
            return True

    def _tell_phase(self) -> None:
        update = self.state.update
        self._hub.publish(
            "phase",
            self.model,
            {
                "phase": self.state.phase,
                "target_version": update.target.version if update else None,
                "paused": update.paused if update else False,
                "waits_for": list(update.waits_for) if update else [],
                "error": msgspec.to_builtins(update.error) if update and update.error else None,
            },
        )

    def _retry_later(self) -> None:
        """Under a supervisor, try again what a passing error stopped."""
        update = self.state.update
        if not self._unattended or update is None or not update.paused or update.waits_for == ("person",):
            return
        self._after("retry", self._config.fetch.retry_after_s, Resumed(authority="timer"))

    def _watch(self) -> None:
        watch = self.state.watch
        if watch is not None:
            left = from_iso(watch.until) - self._clock.now()
            # a clock that was set back must not make the window longer than the settings do
            left_s = min(max(0.0, left.total_seconds()), self._config.watch.window_s)
            self._after("watch", left_s, WatchEnded())

    def _after(self, name: str, seconds: float, event: MachineEvent) -> None:
        async def wait() -> None:
            await self._clock.sleep(seconds)
            await self._post_until_written(event)

        known = self._timers.get(name)
        if known is not None and known is not asyncio.current_task():
            known.cancel()
        self._timers[name] = asyncio.create_task(wait())

    # -- acting -------------------------------------------------------------------------------------------------------

    async def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Work(phase=phase):
                if not self._closing:
                    self._work = asyncio.create_task(self._do(phase))
            case StopWork():
                if self._work is not None and self._work is not asyncio.current_task():
                    self._work.cancel()
                    await asyncio.gather(self._work, return_exceptions=True)
            case Clean(keep=keep):
                await self._clean(keep)
            case Tell(outcome=outcome):
                self._hub.publish("outcome", self.model, msgspec.to_builtins(outcome))

    async def _do(self, phase: Phase) -> None:
        """Carry out the step of a phase and report how it went."""
        update = self.state.update
        assert update is not None
        try:
            event = await self._step(phase, update)
        except ModelotaError as error:
            event = Failed(phase=phase, error=_body(error), branch=error.branch)
        except Exception as error:  # noqa: BLE001  whatever a step does not foresee must end the update, not the agent
            traceback.print_exc()
            bug = OurBug("unexpected", kind=type(error).__name__, detail=str(error)[:300])
            event = Failed(phase=phase, error=_body(bug), branch=bug.branch)
        await self._post_until_written(event)

    async def _post_until_written(self, event: MachineEvent) -> None:
        """Post `event`; when the journal can't be written (a full disk), nothing was decided: keep trying."""
        while True:
            try:
                await self.post(event)
            except ModelotaError as error:
                self._notice(error)
                await self._clock.sleep(self._config.fetch.retry_after_s)
            else:
                return

    def _notice(self, error: ModelotaError) -> None:
        self._hub.publish("notice", self.model, {"error": msgspec.to_builtins(_body(error))})

    def _note(self, event: str, error: ErrorBody) -> None:
        """Note an error in the journal, if it can be written."""
        try:
            self._journal.note(self.model, event, {"code": error.code, "params": error.params})
        except ModelotaError as unwritten:
            self._notice(unwritten)

    async def _step(self, phase: Phase, update: Update) -> MachineEvent:
        if phase in _WORKER_PHASES:
            return await self._in_worker(phase, update)
        if phase == "activating":
            return await self._activate(update)
        if phase == "rolling-back":
            return await self._go_back(update)
        return Done(phase=phase)  # waiting: no gate is closed

    async def _in_worker(self, phase: Phase, update: Update) -> MachineEvent:
        arguments: dict[str, Any] = {
            "model": self.model,
            "offer_digest": update.offer_digest,
            "target": update.target.name,
            "current": update.before.name if update.before else None,
        }
        started = self._clock.monotonic()
        first: int | None = None

        def progressed(done: int, total: int | None) -> None:
            nonlocal first
            first = done if first is None else first
            seconds = self._clock.monotonic() - started
            rate = (done - first) / seconds if seconds > 0.5 and done > first else None
            left = (total - done) / rate if rate and total is not None else None
            reached = max(done, self.progress.done if self.progress and self.progress.step == phase else 0)
            self.progress = Progress(step=phase, done=reached, total=total, rate_per_s=rate, left_s=left)
            self._hub.publish("progress", self.model, msgspec.to_builtins(self.progress))

        worker = self._foreground if phase == "testing" else self._background
        async with self._refreshing if phase == "rechecking" else contextlib.nullcontext():
            result = await worker.run(phase, arguments, progressed)
        facts = msgspec.json.decode(result, type=dict[str, Any])
        if facts.get("missing"):
            return ContentMissing(frames=int(facts["missing"]))
        return Done(phase=phase, facts=facts)

    async def _activate(self, update: Update) -> MachineEvent:
        """Start the target's engine, then move the commit point, then send requests there."""
        until = self._clock.now() + timedelta(seconds=self._config.watch.window_s)
        engine = await self.serving.start(self._description(update.target))
        try:
            self._slots.switch(update.target)
            self._journal.activated(self.model, update.target)
        except BaseException:
            await self.serving.abandon(engine)
            raise
        self.serving.adopt(engine)
        return Activated(at=iso(self._clock.now()), watch_until=iso(until))

    async def _go_back(self, update: Update) -> MachineEvent:
        """Make the version before current again; the commit point first, because the engine in use is not good."""
        assert update.before is not None
        engine = await self.serving.start(self._description(update.before))
        try:
            self._slots.switch(update.before)
        except BaseException:
            await self.serving.abandon(engine)
            raise
        self.serving.adopt(engine)
        return Returned(at=iso(self._clock.now()))

    def _description(self, slot: SlotId) -> SlotDescription:
        found = self._journal.slot(self.model, slot)
        if found is None:
            raise OurBug("invariant-broken", detail=f"slot {slot.name} is not registered")
        return found

    async def _clean(self, keep: tuple[SlotId, ...]) -> None:
        """Point `current` where the state says, empty staging, remove slots that are not kept (requirement 7.2-b)."""
        try:
            if self._slots.current() != self.state.current:
                if self.state.current is None:
                    self._slots.clear_current()
                else:
                    self._slots.switch(self.state.current)
            names = {slot.name for slot in keep}
            if self._layout.staging.exists() or set(self._slots.found()) != names:
                await asyncio.to_thread(_remove_leftovers, self._root_layout, self.model, names, self._clock)
            self._journal.forget_slots(self.model, keep)
        except ModelotaError as error:
            # what could not be removed now is tried again at the next start; the version in use does not depend on it
            self._note("clean-failed", _body(error))
        if self.state.watch is not None:
            self._watch()

    # -- engine -------------------------------------------------------------------------------------------------------

    def _engine_changed(self) -> None:
        error = self.serving.error
        self._hub.publish(
            "engine",
            self.model,
            {"engine": self.serving.state, "error": msgspec.to_builtins(error) if error else None},
        )

    async def _engine_crashed(self, error: ErrorBody) -> None:
        self._note("engine-crashed", error)
        try:
            await self.post(EngineCrashed(error=error))
        except ModelotaError as unwritten:  # not counted; the engine is started again all the same
            self._notice(unwritten)


def _body(error: ModelotaError) -> ErrorBody:
    return ErrorBody(code=error.code, params=plain(error.params))


def _remove_leftovers(root_layout: Layout, model: str, keep: set[str], clock: Clock) -> None:
    """Remove what is not kept. Runs in a thread, with a database connection of its own."""
    journal = Journal(root_layout.database, clock)
    try:
        disk = Disk((root_layout.root, root_layout.runtime_directory), journal.ledger)
        layout = root_layout.model(model)
        disk.remove(layout.staging)
        for name in Slots(layout, disk).found():
            if name not in keep:
                disk.remove(layout.slots / name)
    finally:
        journal.close()
