"""The engines in use, one per model, and what happens when one ends by itself.

A switch starts the new engine first, moves the commit point, then sends new requests to it while requests under way
finish on the old one (design decision 9).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Literal

from modelota.agent.config import Config
from modelota.agent.engines import engine_spec
from modelota.clock import Clock
from modelota.errors import AskPerson, ModelotaError, TryLater
from modelota.runtime.engine import Engine, start_engine
from modelota.runtime.messages import plain
from modelota.runtime.protocol import EngineSpec
from modelota.runtime.upstreams import Upstream, Upstreams
from modelota.spec.api import ErrorBody
from modelota.spec.slot import SlotDescription
from modelota.storage.layout import Layout

DRAIN_LIMIT_S: Final = 60.0
RESTART_FIRST_S: Final = 1.0
RESTART_MAX_S: Final = 60.0

EngineState = Literal["running", "starting", "stopped", "failed"]


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
    ) -> None:
        self._model = model
        self._layout = layout
        self._config = config
        self._clock = clock
        self._upstreams = upstreams
        self._current = current
        self._changed = changed
        self._crashed = crashed
        self._engine: Engine | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._starting: asyncio.Lock = asyncio.Lock()
        self._restart_after_s = RESTART_FIRST_S
        self.state: EngineState = "stopped"
        self.error: ErrorBody | None = None

    def _set(self, state: EngineState, error: ErrorBody | None = None) -> None:
        self.state, self.error = state, error
        self._changed()

    def _spawn(self, work: Awaitable[None]) -> None:
        async def run() -> None:
            await work

        task = asyncio.create_task(run())
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
            if self._engine is not None and not self._engine.exited:
                return self._engine
            slot = self._current()
            if slot is None:
                raise AskPerson("no-model-installed", model=self._model)
            engine = await self.start(slot)
            self.adopt(engine)
            return engine

    async def start(self, slot: SlotDescription) -> Engine:
        """Start an engine of `slot` beside whatever runs; it gets no requests before `adopt`.

        Raises:
            RefuseContent: `slot-damaged`.
            TryLater: `engine-start-failed`, `engine-crashed`, `engine-timeout`.
            AskPerson: `runtime-missing`.
        """
        self._set("starting")
        try:
            engine = await start_engine(
                self._spec(slot),
                clock=self._clock,
                timeout_s=self._config.engines.start_timeout_s,
            )
        except ModelotaError as error:
            running = self._engine is not None and not self._engine.exited
            self._set("running" if running else "failed", ErrorBody(code=error.code, params=plain(error.params)))
            raise
        except OSError as error:  # an armed fail point, or no process to be had
            self._set("failed")
            detail = error.strerror or type(error).__name__
            raise TryLater("engine-start-failed", slot=slot.slot.name, detail=detail) from error
        return engine

    def _spec(self, slot: SlotDescription) -> EngineSpec:
        """What to start; the same slot beside itself needs another socket."""
        spec = engine_spec(self._layout, self._config, slot, purpose="serve")
        if self._engine is not None and not self._engine.exited and self._engine.spec.socket_path == spec.socket_path:
            return engine_spec(self._layout, self._config, slot, purpose="serve-again")
        return spec

    def adopt(self, engine: Engine) -> None:
        """Send new requests to `engine`; the one before finishes what it has, then stops."""
        before, self._engine = self._engine, engine
        upstream = self._upstreams.switch(self._model, engine)
        self._restart_after_s = RESTART_FIRST_S
        self._set("running")
        self._spawn(self._follow(engine))
        if before is not None and before is not engine:
            self._spawn(self._retire(before, upstream))

    async def _retire(self, engine: Engine, upstream: Upstream | None) -> None:
        await self._upstreams.drained(upstream, DRAIN_LIMIT_S)
        await engine.stop()

    async def _follow(self, engine: Engine) -> None:
        status = await engine.wait()
        if engine.stopping or engine is not self._engine:
            return
        self._upstreams.switch(self._model, None)
        error = ErrorBody(code="engine-crashed", params={"slot": engine.label, "status": status})
        self._set("failed", error)
        await self._crashed(error)
        await self._clock.sleep(self._restart_after_s)
        self._restart_after_s = min(RESTART_MAX_S, self._restart_after_s * 2)
        if engine is self._engine:
            with suppress(ModelotaError):  # `start` told it; the next request tries again
                await self.ensure()

    async def stop(self) -> None:
        """Stop the engine in use."""
        engine, self._engine = self._engine, None
        self._upstreams.switch(self._model, None)
        if engine is not None:
            await engine.stop()
        if self.state != "stopped":
            self._set("stopped")

    async def aclose(self) -> None:
        """Stop everything of this model."""
        await self.stop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
