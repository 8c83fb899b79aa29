"""Which engine answers for which model, and how one takes over from another without a dropped request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Protocol

from modelota.errors import TryLater


class Serving(Protocol):
    """An engine as far as the gateway is concerned; `modelota.runtime.engine.Engine` is one."""

    @property
    def socket_path(self) -> Path:
        """Where it serves HTTP."""
        ...

    @property
    def label(self) -> str:
        """Name of its slot."""
        ...


class Upstream:
    """One engine in use, and how many requests it is answering."""

    def __init__(self, model: str, engine: Serving) -> None:
        self.model = model
        self.engine = engine
        self.active = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._waits: set[asyncio.Timeout] = set()
        self._cut_after_s: float | None = None

    def acquire(self) -> None:
        """One request more."""
        self.active += 1
        self._idle.clear()

    def release(self) -> None:
        """One request less."""
        self.active -= 1
        if self.active == 0:
            self._idle.set()

    @contextmanager
    def used(self) -> Iterator[None]:
        """Count a request for the length of a block."""
        self.acquire()
        try:
            yield
        finally:
            self.release()

    def cut(self, after_s: float) -> int:
        """End every wait for this engine with an error, because it is about to stop; returns how many are answered.

        Args:
            after_s: how long they had since requests go elsewhere; it is part of what they are told.
        """
        self._cut_after_s = after_s
        for wait in self._waits:
            if not wait.expired():
                wait.reschedule(asyncio.get_running_loop().time())
        return self.active

    @asynccontextmanager
    async def uncut(self) -> AsyncIterator[None]:
        """Wait for the engine in this block.

        Raises:
            TryLater: `answers-cut` (model, requests, seconds): `cut` was called meanwhile, or before.
        """
        try:
            async with asyncio.timeout(0 if self._cut_after_s is not None else None) as wait:
                self._waits.add(wait)
                try:
                    yield
                finally:
                    self._waits.discard(wait)
        except TimeoutError as error:
            raise TryLater("answers-cut", model=self.model, requests=1, seconds=self._cut_after_s) from error

    async def idle(self) -> None:
        """Wait until no request is being answered."""
        await self._idle.wait()


class Upstreams:
    """Models this device has, and the engine of each, if one runs."""

    def __init__(self) -> None:
        self._current: dict[str, Upstream] = {}
        self._declared: set[str] = set()
        self._changed = asyncio.Event()

    def declare(self, model: str) -> None:
        """The model is installed: requests for it are accepted, and start its engine if need be."""
        self._declared.add(model)

    def forget(self, model: str) -> Upstream | None:
        """The model is removed; its engine, if one was in use, takes no new requests."""
        self._declared.discard(model)
        return self._current.pop(model, None)

    @property
    def models(self) -> tuple[str, ...]:
        """Installed models, sorted."""
        return tuple(sorted(self._declared | self._current.keys()))

    def current(self, model: str) -> Upstream | None:
        """The engine that new requests for `model` go to, or None."""
        return self._current.get(model)

    def switch(self, model: str, engine: Serving | None) -> Upstream | None:
        """Send new requests for `model` to `engine` from now on; those under way finish where they are.

        Args:
            model: its name.
            engine: the new one, healthy already; None when there is none for now (requests then wait).

        Returns:
            The engine before, to be `drained` and stopped; None if there was none.
        """
        old = self._current.pop(model, None)
        if engine is not None:
            self._declared.add(model)
            self._current[model] = Upstream(model, engine)
            self._changed.set()
            self._changed = asyncio.Event()
        return old

    def lost(self, upstream: Upstream) -> None:
        """The engine does not answer any more: new requests must not go to it."""
        if self._current.get(upstream.model) is upstream:
            del self._current[upstream.model]

    async def available(self, model: str) -> Upstream:
        """Wait until `model` has an engine."""
        while (found := self._current.get(model)) is None:
            await self._changed.wait()
        return found

    async def drained(self, old: Upstream | None, limit_s: float) -> bool:
        """Wait until `old` answers no request any more.

        Returns:
            False when some are still under way after `limit_s`; stopping the engine then cuts them.
        """
        if old is None:
            return True
        try:
            async with asyncio.timeout(limit_s):
                await old.idle()
        except TimeoutError:
            return False
        return True
