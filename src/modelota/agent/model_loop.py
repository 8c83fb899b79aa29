"""The loop of one model: an event is decided by the machine, committed to the journal, then carried out."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from modelota.agent.answers import AnswerLife, Remind
from modelota.agent.config import Config
from modelota.agent.deployment_report import keep_report
from modelota.agent.following import follow, unforeseen
from modelota.agent.gates import Gates
from modelota.agent.hub import Hub
from modelota.agent.journal import Journal
from modelota.agent.machine import step
from modelota.agent.retesting import Retester
from modelota.agent.serving import Serving
from modelota.agent.slot_access import SlotAccess
from modelota.agent.standing import instead_of
from modelota.agent.states import (
    Activated,
    Clean,
    Effect,
    EngineCrashed,
    Failed,
    MachineEvent,
    Restarted,
    Resumed,
    State,
    StopWork,
    Tell,
    WatchEnded,
    Work,
)
from modelota.agent.steps import Steps, Workers
from modelota.agent.tidying import Tidying
from modelota.agent.watching import Watcher
from modelota.clock import Clock, from_iso, iso
from modelota.errors import ModelotaError
from modelota.runtime.messages import plain
from modelota.runtime.upstreams import Upstreams
from modelota.spec.api import ErrorBody, Phase, Progress
from modelota.spec.slot import SlotDescription
from modelota.storage.durable import Disk
from modelota.storage.layout import Layout
from modelota.storage.slots import Slots

RETRY_MAX_S: Final = 3600.0


class ModelLoop:
    """State, work and engine of one model.

    Args:
        model: its name.
        layout: of the device root.
        config: the integrator's settings.
        journal: where events are committed.
        hub: where they are told.
        workers: carry out what is heavy.
        gates: what updates wait for.
        upstreams: the gateway's table.
        clock: the time.
        unattended: a supervisor is there: what a passing error stopped is tried again later by itself.
        remind: tells the user again of an offer that they answered *later*.
    """

    def __init__(
        self,
        model: str,
        layout: Layout,
        config: Config,
        journal: Journal,
        hub: Hub,
        workers: Workers,
        gates: Gates,
        upstreams: Upstreams,
        clock: Clock,
        *,
        unattended: bool,
        remind: Remind = lambda _model, _digest, _number: None,
    ) -> None:
        self.model = model
        self._root_layout = layout
        self._config = config
        self._journal = journal
        self._hub = hub
        self._workers = workers
        self._clock = clock
        self._unattended = unattended
        self._disk = Disk((layout.root, layout.runtime_directory), journal.ledger)
        slots = Slots(layout.model(model), self._disk)
        self._lock = asyncio.Lock()
        self._work: asyncio.Task[None] | None = None
        self._timers: dict[str, asyncio.Task[None]] = {}
        self._followers: list[asyncio.Task[None]] = []
        self._deciding: set[asyncio.Task[bool]] = set()
        self._closing = False
        self._stopped: tuple[object, ...] | None = None  # what stopped the update last, and how often in a row
        self._repeated = 0
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
            noticed=self._notice,
            access=SlotAccess(layout, journal, self._disk),
            prepared=lambda slot: self._steps.settle_user_data(slot),  # noqa: PLW0108  the steps are made below
        )
        self.watcher = Watcher(
            model,
            config.watch,
            journal.service,
            self.serving,
            clock,
            self_tests=journal.self_tests,
            state=lambda: self.state,
            post=self.post,
        )
        self.retester = Retester(
            model,
            layout,
            journal,
            workers.foreground,
            clock,
            config.fetch.retry_after_s,
            current=self.current_slot,
            busy=lambda: self.state.update is not None,
            post=self.post,
        )
        self._steps = Steps(
            model,
            layout.model(model),
            config,
            journal,
            slots,
            self.serving,
            workers,
            gates,
            clock,
            progressed=self._progressed,
            posted=self.post,
            noticed=self._step_noticed,
        )

        self.answers = AnswerLife(
            model,
            config.answers,
            journal,
            hub,
            clock,
            state=lambda: self.state,
            post=self.post,
            remind=remind,
            noticed=self._notice,
        )
        self.tidying = Tidying(
            model,
            layout,
            journal,
            slots,
            self._disk,
            lambda: self._workers.background,
            clock,
            state=lambda: self.state,
            failed=lambda error: self._note("clean-failed", _body(error)),
        )

    # -- life ---------------------------------------------------------------------------------------------------------

    def load(self) -> None:
        """Read the state from the journal."""
        self.state = self._journal.state(self.model)

    async def go_on(self) -> None:
        """Go on with what was under way when the agent ended."""
        try:
            await self.answers.look()  # nothing goes on that was accepted too long ago
            await self.post(Restarted())
        except ModelotaError as error:  # a full disk must not keep the version in use from being served
            self._notice(error)
            self._after("retry", self._config.fetch.retry_after_s, Restarted())
        self._watch()
        loops = (self.answers.run, *((self.watcher.run, self.retester.run) if self._unattended else ()))
        self._followers = [asyncio.create_task(follow(loop, self._clock, self._notice)) for loop in loops]

    async def aclose(self) -> None:
        """Stop work and engine. What is under way goes on at the next start."""
        self._closing = True
        if self.tidying.keeping is not None and not self._unattended:
            # a host that only looks in might never end it
            await asyncio.gather(self.tidying.keeping, return_exceptions=True)
        await self._end_tasks()
        # what is being decided or removed at this moment comes to its end while the root is still ours
        await asyncio.gather(*self._deciding, return_exceptions=True)
        await self._end_tasks()  # what it began
        self.answers.keep()
        await self.serving.aclose()

    async def _end_tasks(self) -> None:
        for task in filter(None, (*self._timers.values(), self._work, self.tidying.keeping, *self._followers)):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def current_slot(self) -> SlotDescription | None:
        """The slot in use; None also while the model is being removed: nothing starts an engine of it any more."""
        if self.state.current is None or self.state.phase == "removing":
            return None
        return self._journal.slot(self.model, self.state.current)

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
            now = iso(self._clock.now())
            event = instead_of(self.state, event, now)
            state, effects = step(self.state, event, now)
            if state == self.state and not effects:
                return False
            entered = state.current if isinstance(event, Activated) and state.current != self.state.current else None
            if entered is not None:
                self.watcher.begin(entered.name)
            if state != self.state:
                self._journal.commit(self.model, event, self.state, state)
            before, self.state = self.state, state
            if entered is not None:
                self.retester.begin(tested=before.update is not None and before.update.offer_digest is not None)
            self.answers.changed(before, state)
            decided = state.update
            if decided is not None and before.update is None:
                await self.retester.give_way()
            if state.phase != before.phase or state.update != before.update:
                self.progress = None
                self._tell_phase()
            for effect in effects:
                await self._carry_out(effect)
            if decided != before.update:
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
        """Under a supervisor, try again what a passing error stopped: ever more seldom while nothing gets better."""
        update = self.state.update
        if not self._unattended or update is None or not update.paused or update.waits_for == ("person",):
            return
        spent_bytes = self._journal.spent_bytes(update.offer_digest) if update.offer_digest else 0
        stopped = (update.phase, update.waits_for, spent_bytes)
        self._repeated = self._repeated + 1 if stopped == self._stopped else 0
        self._stopped = stopped
        first_s = self._config.fetch.retry_after_s
        wait_s = max(first_s, min(RETRY_MAX_S, first_s * 2 ** min(self._repeated, 32)))
        self._after("retry", wait_s, Resumed(authority="timer"))

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
                if self._work is not None:
                    self._work.cancel()
                    await asyncio.gather(self._work, return_exceptions=True)
            case Clean(keep=keep, seal=seal):
                await self.tidying.clean(keep, seal)
                self._watch()
            case Tell(outcome=outcome):
                keep_report(self._journal, self._root_layout, self.model, outcome, self._notice)
                self._hub.publish("outcome", self.model, msgspec.to_builtins(outcome))

    async def _do(self, phase: Phase) -> None:
        """Carry out the step of a phase and report how it went."""
        update = self.state.update
        assert update is not None
        try:
            if phase == "activating":  # the version in use is about to become what the new one is compared with
                self.watcher.sample()
            event = await self._steps.take(phase, update)
        except ModelotaError as error:
            event = Failed(phase=phase, error=_body(error), branch=error.branch)
        except Exception as error:  # noqa: BLE001  whatever a step does not foresee must end the update, not the agent
            bug = unforeseen(error)
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

    def _step_noticed(self, event: str, error: ModelotaError) -> None:
        self._note(event, _body(error))
        self._notice(error)

    def _note(self, event: str, error: ErrorBody) -> None:
        """Note an error in the journal, if it can be written."""
        try:
            self._journal.note(self.model, event, {"code": error.code, "params": error.params})
        except ModelotaError as unwritten:
            self._notice(unwritten)

    def _progressed(self, progress: Progress) -> None:
        before = self.progress
        if before is not None and before.step == progress.step and before.done > progress.done:
            progress = msgspec.structs.replace(progress, done=before.done)
        self.progress = progress
        self._hub.publish("progress", self.model, msgspec.to_builtins(progress))

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
            await self.post(EngineCrashed(error=error, limit=self._config.watch.crashes))
        except ModelotaError as unwritten:  # not counted; the engine is started again all the same
            self._notice(unwritten)


def _body(error: ModelotaError) -> ErrorBody:
    return ErrorBody(code=error.code, params=plain(error.params))
