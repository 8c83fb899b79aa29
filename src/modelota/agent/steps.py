"""What the steps of an update do: work for the worker, waiting at gates, the commit point, going back, removing."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any, Final

import msgspec

from modelota.agent.config import Config
from modelota.agent.engines import memory_need_bytes
from modelota.agent.gates import Gates
from modelota.agent.journal import Journal
from modelota.agent.serving import Between, Serving
from modelota.agent.states import (
    Activated,
    ContentMissing,
    Done,
    GatesClosed,
    MachineEvent,
    Removed,
    Returned,
    Update,
)
from modelota.agent.worker_link import WorkerLink
from modelota.clock import Clock, iso
from modelota.errors import ModelotaError, OurBug, TryLater
from modelota.runtime.engine import Engine
from modelota.spec.api import Phase, Progress
from modelota.spec.slot import SlotDescription, SlotId
from modelota.storage.durable import disk_errors
from modelota.storage.layout import ModelLayout
from modelota.storage.slots import Slots

_WORKER_PHASES: Final = ("rechecking", "fetching", "verifying", "deploying", "testing")
_NUMBER: Final = re.compile(r"\d+")
_RESTORE_TRIES: Final = 3


class Workers:
    """The two workers of a root and the lock that a refresh of metadata takes."""

    def __init__(self, background: WorkerLink, foreground: WorkerLink, refreshing: asyncio.Lock) -> None:
        self.background = background
        self.foreground = foreground
        self.refreshing = refreshing


class Steps:
    """The steps of one model.

    Args:
        model: its name.
        layout: its paths.
        config: the integrator's settings.
        journal: of the root.
        slots: its slots.
        serving: its engine.
        workers: carry out what is heavy.
        gates: of the root.
        clock: the time.
        progressed: told how far a step is.
        posted: posts an event that does not end the step.
        noticed: told an error that does not end the step.
    """

    def __init__(
        self,
        model: str,
        layout: ModelLayout,
        config: Config,
        journal: Journal,
        slots: Slots,
        serving: Serving,
        workers: Workers,
        gates: Gates,
        clock: Clock,
        *,
        progressed: Callable[[Progress], None],
        posted: Callable[[MachineEvent], Awaitable[bool]],
        noticed: Callable[[str, ModelotaError], None],
    ) -> None:
        self._model = model
        self._layout = layout
        self._config = config
        self._journal = journal
        self._slots = slots
        self._serving = serving
        self._workers = workers
        self._gates = gates
        self._clock = clock
        self._progressed = progressed
        self._posted = posted
        self._noticed = noticed

    async def take(self, phase: Phase, update: Update) -> MachineEvent:
        """Carry out the step of `phase`; returns what it led to.

        Raises:
            ModelotaError: why it failed.
        """
        if phase in _WORKER_PHASES:
            return await self._in_worker(phase, update)
        match phase:
            case "waiting":
                return await self._wait(update)
            case "activating":
                return await self._activate(update)
            case "rolling-back":
                return await self._go_back(update)
            case "removing":
                return await self._remove(update)
        raise OurBug("invariant-broken", detail=f"no step for {phase}")

    async def _in_worker(self, phase: Phase, update: Update) -> MachineEvent:
        arguments: dict[str, Any] = {
            "model": self._model,
            "offer_digest": update.offer_digest,
            "target": update.target.name,
            "current": update.before.name if update.before else None,
        }
        worker = self._workers.foreground if phase == "testing" else self._workers.background
        holding = self._workers.refreshing if phase == "rechecking" else None
        pace = Pace(phase, self._clock, self._progressed)
        result = await worker.run(phase, arguments, pace.progressed, holding=holding)
        facts = msgspec.json.decode(result, type=dict[str, Any])
        if facts.get("missing"):
            return ContentMissing(frames=int(facts["missing"]))
        return Done(phase=phase, facts=facts)

    async def _wait(self, update: Update) -> MachineEvent:
        """Wait until the gate is open; whoever looks sees what for."""
        told, turn = update.waits_for, self._gates.turn
        while closed := await self._gates.closed(update.gate, update):
            if _numberless(closed) != _numberless(told):
                told = closed
                await self._posted(GatesClosed(waits_for=closed, gate=update.gate))
            await self._gates.change(turn)
            turn = self._gates.turn
        return Done(phase="waiting", facts={"gate": update.gate})

    async def _activate(self, update: Update) -> MachineEvent:
        """Start the target's engine, then move the commit point, then send requests there."""
        until = self._clock.now() + timedelta(seconds=self._config.watch.window_s)
        target = self.description(update.target)
        need_bytes = memory_need_bytes(target, self._journal.self_tests(self._model))
        move = self._move_of_data(update, target)
        pauses = move is not None or self._serving.must_pause(need_bytes)
        if pauses and (closed := await self._gates.closed("switch", update)):
            return GatesClosed(waits_for=closed, gate="switch")  # not with the engine in use stopped already
        if move is None and update.before is not None and update.before != update.target:
            await self._snapshot(self.description(update.before), target)
        engine = await self._serving.take_over(target, need_bytes, move)
        async with self._until_adopted(engine, move):
            closed = await self._gates.closed("switch", update)
            if closed:
                await self._give_up(engine, move)
                return GatesClosed(waits_for=closed, gate="switch")
            self._slots.switch(update.target)
            self._journal.activated(self._model, update.target)
        self._serving.adopt(engine)
        return Activated(at=iso(self._clock.now()), watch_until=iso(until), keep_older=self._config.keep.older_versions)

    async def _go_back(self, update: Update) -> MachineEvent:
        """Make the version before current again. It asks no gate: this makes the device safe."""
        assert update.before is not None
        before = self.description(update.before)
        need_bytes = memory_need_bytes(before, self._journal.self_tests(self._model))
        left = self.description(update.target)
        move = self._way_back_of_data(left, before) if left.user_data_schema != before.user_data_schema else None
        engine = await self._serving.take_over(before, need_bytes, move)
        async with self._until_adopted(engine, move):
            self._slots.switch(update.before)
        self._serving.adopt(engine)
        return Returned(at=iso(self._clock.now()))

    @contextlib.asynccontextmanager
    async def _until_adopted(self, engine: Engine, move: Between | None) -> AsyncIterator[None]:
        try:
            yield
        except BaseException:
            await self._give_up(engine, move)
            raise

    async def _give_up(self, engine: Engine, move: Between | None) -> None:
        """The engine that was to take over does not: what it may have made of the user's data is put aside."""
        if move is not None:
            await engine.stop()
            await move.undo()
        await self._serving.abandon(engine)

    def _move_of_data(self, update: Update, target: SlotDescription) -> Between | None:
        """What happens to the user's data between two versions that write them in different forms (6.3-c).

        They are copied once nobody writes them any more. Going back then restores the form of before. Going forward
        leaves it to the new version to carry the data over; if that version does not come into use after all, the data
        of before are put back.
        """
        if update.before is None:
            return None
        before = self.description(update.before)
        if before.user_data_schema == target.user_data_schema:
            return None

        async def move() -> None:
            await self._snapshot(before, target)
            if update.direction == "rollback":
                await self._restore_user_data(before, target)

        return Between(move, partial(self._restore_user_data, target, before))

    def _way_back_of_data(self, left: SlotDescription, before: SlotDescription) -> Between:
        """What happens to the user's data when a version that does not do well is left.

        A copy that can't be made (a full disk) is told and keeps nobody from a version that works.
        """
        saved = False

        async def move() -> None:
            nonlocal saved
            try:
                await self._snapshot(left, before)
                saved = True
            except ModelotaError as error:
                self._noticed("user-data-not-saved", error)
            await self._restore_user_data(left, before)

        async def undo() -> None:
            if saved:  # else the version that stays finds the data of before, as it did when it came
                await self._restore_user_data(before, left)

        return Between(move, undo)

    async def settle_user_data(self, slot: SlotDescription) -> None:
        """Before an engine of `slot` starts: have the user's data in the form that its version can read (6.3-c).

        Whatever was interrupted, between two versions of different forms: data that another version may have carried
        over are put aside before the version they were copied for runs again, and data that were put back for another
        version are exchanged again, or else noted as what this version is going to carry over.
        """
        schema, table = slot.user_data_schema, self._journal.snapshots
        update = self._journal.state(self._model).update
        left_version = update.target.version if update is not None else "later"
        exchange = table.exchange(self._model)
        if exchange is not None:
            await self._have_user_data(left_version, exchange.schema)
        holding = table.holding(self._model)
        if holding is None or holding.handed_over != (holding.schema == schema):
            return
        undone = update is not None and update.phase == "activating" and update.before == slot.slot
        if holding.handed_over or undone:
            await self._have_user_data(left_version, schema)
        else:
            table.settle(self._model, msgspec.structs.replace(holding, handed_over=True))

    async def _snapshot(self, before: SlotDescription, target: SlotDescription) -> None:
        """Have a sealed copy of the user's data before another version touches them (requirement 7.2-a)."""
        with disk_errors(self._layout.user_data):
            empty = not self._layout.user_data.is_dir() or not any(self._layout.user_data.iterdir())
        if not empty or before.user_data_schema != target.user_data_schema:
            arguments = {
                "model": self._model,
                "version": before.slot.version,
                "user_data_schema": before.user_data_schema,
                "to_schema": target.user_data_schema,
            }
            await self._workers.foreground.run("snapshot", arguments)

    async def _restore_user_data(self, left: SlotDescription, entered: SlotDescription) -> None:
        """Give the user's data back the schema of the version that is current again (requirement 6.3-c)."""
        await self._have_user_data(left.slot.version, entered.user_data_schema)

    async def _have_user_data(self, left_version: str, schema: int) -> None:
        """What can't be restored is told and keeps nobody from a version that works: the data stay as they are.

        What may get better by itself, as when the worker was killed, is told too, and tried again at once.
        """
        arguments = {"model": self._model, "left_version": left_version, "user_data_schema": schema}
        for _ in range(_RESTORE_TRIES):
            try:
                await self._workers.foreground.run("restore-user-data", arguments)
            except TryLater as error:
                self._noticed("user-data-not-restored", error)
            except ModelotaError as error:
                self._noticed("user-data-not-restored", error)
                return
            else:
                return

    async def _remove(self, update: Update) -> MachineEvent:
        """Carry out a confirmed plan to uninstall (clause 7.3)."""
        await self._serving.remove()
        arguments = {"model": self._model, "plan_digest": update.offer_digest}
        facts = msgspec.json.decode(
            await self._workers.background.run(
                "removing", arguments, Pace("removing", self._clock, self._progressed).progressed
            ),
            type=dict[str, Any],
        )
        return Removed(at=iso(self._clock.now()), facts=facts)

    def description(self, slot: SlotId) -> SlotDescription:
        """The description of a registered slot.

        Raises:
            OurBug: `invariant-broken`: it is not registered.
        """
        found = self._journal.slot(self._model, slot)
        if found is None:
            raise OurBug("invariant-broken", detail=f"slot {slot.name} is not registered")
        return found


def _numberless(closed: tuple[str, ...]) -> list[str]:
    """Who keeps a gate closed, without numbers: a hook that counts down is asked for days, and is told once."""
    return [_NUMBER.sub("0", entry) if entry.startswith("hook:") else entry for entry in closed]


class Pace:
    """Turns counts of one step into progress that never goes back."""

    def __init__(self, phase: Phase, clock: Clock, tell: Callable[[Progress], None]) -> None:
        self._phase = phase
        self._clock = clock
        self._tell = tell
        self._started = clock.monotonic()
        self._first: int | None = None
        self._reached = 0

    def progressed(self, done: int, total: int | None) -> None:
        """Tell that `done` of `total` units are finished."""
        self._first = done if self._first is None else self._first
        seconds = self._clock.monotonic() - self._started
        rate = (done - self._first) / seconds if seconds > 0.5 and done > self._first else None
        left_s = (total - done) / rate if rate and total is not None else None
        self._reached = max(self._reached, done)
        self._tell(Progress(step=self._phase, done=self._reached, total=total, rate_per_s=rate, left_s=left_s))
