"""What the terminal view knows of the device: read when something happened, never on a timer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Final, TypeVar

import msgspec

from modelota.cli.agent_access import AgentAccess, ask
from modelota.cli.failure import Reported
from modelota.cli.view_screen import Scene
from modelota.errors import ModelotaError
from modelota.spec import api, api_owner

_AGAIN_FIRST_S: Final = 0.5
_AGAIN_MAX_S: Final = 10.0

T = TypeVar("T")


class Feed:
    """Keeps a scene up to date.

    Args:
        access: the running agent.
        scene: what is shown.
        renewed: told when the status was read again.
        changed: told when something is to be painted.
    """

    def __init__(
        self, access: AgentAccess, scene: Scene, renewed: Callable[[], None], changed: Callable[[], None]
    ) -> None:
        self._access = access
        self._scene = scene
        self._renewed = renewed
        self._changed = changed
        # From the first event that is kept: nothing can happen unseen between a status and the stream.
        self._last_id = 0
        self._stale = asyncio.Event()
        self._stale.set()

    def stale(self) -> None:
        """What is known has to be read again."""
        self._stale.set()

    async def follow(self) -> None:
        """Take events as they come; while the agent is away, ask ever more seldom until it is back."""
        wait_s = _AGAIN_FIRST_S
        while True:
            try:
                async with aclosing(self._access.events(self._last_id)) as events:
                    async for event in events:
                        wait_s = _AGAIN_FIRST_S
                        self._take(event)
            except (ModelotaError, Reported):
                pass  # the head line tells
            self._stale.set()
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, _AGAIN_MAX_S)
            self._stale.set()  # what happened before the stream is there again

    async def read(self) -> None:
        """Read the status, and what lies beside it, whenever it is stale."""
        while True:
            await self._stale.wait()
            self._stale.clear()
            try:
                self._scene.status = await ask(self._access, api.Status, "GET", "/v1/status")
                await self._read_beside()
                self._scene.connected = True
                self._renewed()
            except (ModelotaError, Reported):
                self._scene.connected = False
            self._changed()

    async def _read_beside(self) -> None:
        notices = await self._if_known(api_owner.NoticesPage, "/v1/notices")
        self._scene.notices = notices.notices if notices is not None else ()

    async def _if_known(self, kind: type[T], path: str) -> T | None:
        """The answer to a request that an older agent does not know."""
        try:
            return await ask(self._access, kind, "GET", path)
        except Reported:
            return None

    def _take(self, event: api.Event) -> None:
        self._last_id = event.id
        if event.kind == "progress" and self._progressed(event):
            self._changed()
        else:
            self._stale.set()

    def _progressed(self, event: api.Event) -> bool:
        """Take a progress into the status that is known; False when that has to be read anew."""
        try:
            progress = msgspec.convert(event.data, api.Progress)
        except msgspec.ValidationError:
            return False  # a newer agent; the status has what matters
        models = self._scene.status.models
        if not any(each.model == event.model and each.phase == progress.step for each in models):
            return False
        renewed = tuple(
            msgspec.structs.replace(each, progress=progress) if each.model == event.model else each for each in models
        )
        self._scene.status = msgspec.structs.replace(self._scene.status, models=renewed)
        return True
