"""The engines in use, one per model, and what happens when one ends by itself.

A switch starts the new engine first, moves the commit point, then sends new requests to it while requests under way
finish on the old one (design decision 9).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from itertools import count
from typing import Any, Final, Literal, NamedTuple

from modelota.agent.config import Config
from modelota.agent.engines import engine_spec
from modelota.agent.slot_access import SlotAccess
from modelota.clock import Clock
from modelota.errors import AskPerson, ModelotaError, TryLater
from modelota.runtime.engine import Engine, start_engine
from modelota.runtime.http_client import request
from modelota.runtime.messages import plain
from modelota.runtime.protocol import EngineSpec
from modelota.runtime.upstreams import Upstream, Upstreams
from modelota.spec.api import ErrorBody
from modelota.spec.slot import SlotDescription
from modelota.storage.layout import Layout
from modelota.telemetry.memory import room_beside

DRAIN_LIMIT_S: Final = 60.0
CUT_GRACE_S: Final = 2.0  # for those who are cut to be told
HEALTH_TIMEOUT_S: Final = 5.0
RESTART_FIRST_S: Final = 1.0
RESTART_MAX_S: Final = 60.0

EngineState = Literal["running", "starting", "stopped", "failed"]


class Between(NamedTuple):
    """What is done between two engines, and how it is undone."""

    do: Callable[[], Awaitable[None]]
    undo: Callable[[], Awaitable[None]]


class Serving:
    """The engine of one model.

    Args:
        model: its name.
        layout: of the device root.
        config: the integrator's settings.
        clock: paces restarts.
        upstreams: the gateway's table, which is told where requests go.
        current: gives the description of the slot in use, or None.
        changed: called when `state` changes.
        crashed: called when the engine in use ended by itself.
        noticed: told what the device's user should know of a switch.
        access: opens slots to engines, and is told what they verified.
        prepared: gets the user's data ready for an engine of a slot, which is started when it has ended.
    """

    def __init__(
        self,
        model: str,
        layout: Layout,
        config: Config,
        clock: Clock,
        upstreams: Upstreams,
        *,
        current: Callable[[], SlotDescription | None],
        changed: Callable[[], None],
        crashed: Callable[[ErrorBody], Awaitable[None]],
        noticed: Callable[[ModelotaError], None] = lambda _: None,
        access: SlotAccess | None = None,
        prepared: Callable[[SlotDescription], Awaitable[None]] | None = None,
    ) -> None:
        self._model = model
        self._layout = layout
        self._config = config
        self._clock = clock
        self._upstreams = upstreams
        self._current = current
        self._changed = changed
        self._crashed = crashed
        self._noticed = noticed
        self._access = access
        self._prepared = prepared
        self._engine: Engine | None = None
        self._sockets: dict[str, Engine | None] = {}  # of every engine that runs or, None, is being started
        self._tasks: set[asyncio.Task[None]] = set()
        self._starting: asyncio.Lock = asyncio.Lock()
        self._may_start = asyncio.Event()  # clear while an engine takes over that has no room beside the one before
        self._may_start.set()
        self._restart_after_s = RESTART_FIRST_S
        self.state: EngineState = "stopped"
        self.error: ErrorBody | None = None

    def _set(self, state: EngineState, error: ErrorBody | None = None) -> None:
        self.state, self.error = state, error
        self._changed()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def ensure(self) -> Engine:
        """The engine of the slot in use, started when it does not run.

        Raises:
            AskPerson: `no-model-installed`, `runtime-missing`.
            RefuseContent: `slot-damaged`.
            TryLater: `engine-start-failed`, `engine-crashed`, `engine-timeout`.
        """
        async with self._starting:
            while True:
                await self._may_start.wait()
                before = self._engine
                if before is not None and not before.exited and await self._reachable(before):
                    return before
                slot = self._current()
                if slot is None:
                    raise AskPerson("no-model-installed", model=self._model)
                engine = await self.start(slot)
                if self._engine is before and self._current() == slot:
                    self.adopt(engine)
                    return engine
                await self.abandon(engine)  # another version was activated while this one started

    async def _reachable(self, engine: Engine) -> bool:
        """Whether requests reach an engine that runs; one that the gateway lost is asked, and ended if it is silent."""
        if self._upstreams.current(self._model) is not None:
            return True
        with suppress(TryLater):
            answer = await request(engine.socket_path, "GET", "/health", timeout_s=HEALTH_TIMEOUT_S)
            if answer.status == 200 and engine is self._engine:
                self._upstreams.switch(self._model, engine)
                return True
        with suppress(TimeoutError):
            async with asyncio.timeout(HEALTH_TIMEOUT_S):  # one that is just ending is told as a crash by `_follow`
                await engine.wait()
        if not engine.exited:
            await engine.stop()
        return False

    def must_pause(self, need_bytes: int) -> bool:
        """Whether memory does not hold an engine that needs this much beside the one that runs."""
        if self._engine is None or self._engine.exited:
            return False
        room_bytes = room_beside(self._engine.pid)
        return room_bytes is not None and room_bytes < need_bytes

    async def take_over(self, slot: SlotDescription, need_bytes: int, between: Between | None = None) -> Engine:
        """Start the engine that is to replace the one in use; `adopt` or `abandon` has to follow.

        It starts beside the one in use, or, where memory does not hold both or something is to be done between them,
        after it: then new requests wait, those under way are finished first, and if it does not start, the one before
        comes back.

        Args:
            slot: whose engine.
            need_bytes: the memory it is expected to take.
            between: done while neither of the two runs, and undone when the new one does not start.

        Raises:
            ModelotaError: as `start`.
        """
        if between is None and not self.must_pause(need_bytes):
            return await self.start(slot)
        async with self._starting:  # one that is being started for a request is waited for, and stopped too
            self._may_start.clear()
        before = self._engine
        try:
            if before is not None and not before.exited:
                params = {"version": slot.slot.version, "need_bytes": need_bytes}
                self._noticed(TryLater("short-pause", **params, free_bytes=room_beside(before.pid)))
                await self._drain(self._upstreams.switch(self._model, None))
                await before.stop()
            return await self._start_after(slot, between)
        except ModelotaError:
            await self._end_pause()
            raise
        except BaseException:
            self._may_start.set()
            raise

    async def _start_after(self, slot: SlotDescription, between: Between | None) -> Engine:
        if between is None:
            return await self.start(slot)
        await between.do()
        try:
            return await self.start(slot)
        except ModelotaError:
            await between.undo()
            raise

    async def _end_pause(self) -> None:
        """Bring the engine of the version in use back, when another did not take over."""
        self._may_start.set()
        try:
            await self.ensure()
        except ModelotaError:
            self._spawn(self.keep_running())

    async def start(self, slot: SlotDescription) -> Engine:
        """Start an engine of `slot` beside whatever runs; it gets no requests before `adopt`.

        Raises:
            RefuseContent: `slot-damaged`.
            TryLater: `engine-start-failed`, `engine-crashed`, `engine-timeout`.
            AskPerson: `runtime-missing`.
        """
        if self._prepared is not None:
            await self._prepared(slot)
        self._set("starting")
        spec = self._spec(slot)
        self._sockets[spec.socket_path] = None
        try:
            engine = await start_engine(spec, clock=self._clock, timeout_s=self._config.engines.start_timeout_s)
        except asyncio.CancelledError:
            self._set("running" if self._runs else "stopped")
            raise
        except ModelotaError as error:
            state: EngineState = "running" if self._runs else "failed"
            self._set(state, ErrorBody(code=error.code, params=plain(error.params)))
            raise
        except OSError as error:  # an armed fail point, or no process to be had
            self._set("running" if self._runs else "failed")
            detail = error.strerror or type(error).__name__
            raise TryLater("engine-start-failed", slot=slot.slot.name, detail=detail) from error
        finally:
            del self._sockets[spec.socket_path]
        self._sockets[spec.socket_path] = engine
        if self._access is not None:
            try:
                self._access.note(slot, engine.stamps)
            except ModelotaError as error:  # a full disk, say: it is verified again at the next start
                self._noticed(error)
        return engine

    async def abandon(self, engine: Engine) -> None:
        """Stop an engine that was started and is not going to be adopted."""
        await engine.stop()
        self._set("running" if self._runs else "stopped")
        if not self._may_start.is_set():
            await self._end_pause()

    @property
    def engine(self) -> Engine | None:
        """The engine in use while it runs."""
        return self._engine if self._runs else None

    @property
    def _runs(self) -> bool:
        return self._engine is not None and not self._engine.exited

    def _spec(self, slot: SlotDescription) -> EngineSpec:
        """What to start. An engine that still answers its last requests keeps its socket: each start has its own."""
        self._sockets = {path: engine for path, engine in self._sockets.items() if engine is None or not engine.exited}
        for number in count(1):
            purpose = "serve" if number == 1 else f"serve-{number}"
            spec = engine_spec(self._layout, self._config, slot, purpose=purpose, access=self._access)
            if spec.socket_path not in self._sockets:
                return spec
        raise AssertionError("unreachable: there are more numbers than engines")

    def adopt(self, engine: Engine) -> None:
        """Send new requests to `engine`; the one before finishes what it has, then stops."""
        before, self._engine = self._engine, engine
        self._may_start.set()
        upstream = self._upstreams.switch(self._model, engine)
        if before is None or before.label != engine.label:
            self._restart_after_s = RESTART_FIRST_S
        self._set("running")
        self._spawn(self._follow(engine))
        if before is not None and before is not engine:
            self._spawn(self._retire(before, upstream))

    async def _retire(self, engine: Engine, upstream: Upstream | None) -> None:
        await self._drain(upstream)
        await engine.stop()

    async def _drain(self, upstream: Upstream | None) -> None:
        """Let requests under way finish; after the limit they are told that they are cut."""
        if upstream is None or await self._upstreams.drained(upstream, DRAIN_LIMIT_S):
            return
        cut = upstream.cut(DRAIN_LIMIT_S)
        self._noticed(TryLater("answers-cut", model=self._model, requests=cut, seconds=DRAIN_LIMIT_S))
        await self._upstreams.drained(upstream, CUT_GRACE_S)

    async def _follow(self, engine: Engine) -> None:
        """When the engine in use ends by itself: tell it, and bring it back."""
        started = self._clock.monotonic()
        status = await engine.wait()
        if engine.stopping or engine is not self._engine:
            return
        if self._clock.monotonic() - started >= RESTART_MAX_S:  # one that ran for a while is no crash loop
            self._restart_after_s = RESTART_FIRST_S
        self._upstreams.switch(self._model, None)
        await self._bring_back(ErrorBody(code="engine-crashed", params={"slot": engine.label, "status": status}))

    async def keep_running(self) -> None:
        """Have the engine of the slot in use run; one that can't be started counts like one that crashed."""
        try:
            await self.ensure()
        except ModelotaError as error:
            await self._bring_back(ErrorBody(code=error.code, params=plain(error.params)))

    async def _bring_back(self, error: ErrorBody) -> None:
        """Tell each failure and start the engine again, ever more patiently, until one runs or another took over."""
        failed = self._engine
        while True:
            self._set("failed", error)
            await self._crashed(error)
            await self._clock.sleep(self._restart_after_s)
            self._restart_after_s = min(RESTART_MAX_S, self._restart_after_s * 2)
            if self._engine is not failed or self._current() is None:
                return
            try:
                await self.ensure()
            except ModelotaError as again:
                error = ErrorBody(code=again.code, params=plain(again.params))
            else:
                return

    async def stop(self) -> None:
        """Stop the engine in use."""
        engine, self._engine = self._engine, None
        upstream = self._upstreams.switch(self._model, None)
        if upstream is not None and upstream.active:
            upstream.cut(0.0)
        if engine is not None:
            await engine.stop()
        if self.state != "stopped":
            self._set("stopped")

    async def remove(self) -> None:
        """Stop the engine in use for good: the model goes, and requests for it are refused from now on."""
        await self.stop()
        self._upstreams.forget(self._model)

    async def aclose(self) -> None:
        """Stop everything of this model."""
        await self.stop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for engine in list(self._sockets.values()):
            if engine is not None:  # one that was still answering its last requests
                await engine.stop()
