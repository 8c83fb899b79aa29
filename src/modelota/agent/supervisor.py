"""The supervisor: the process that owns a device root, idle most of its life (`modelota device run`).

It holds the lock, the journal, the Unix socket, the gateway and the engines. It imports no tuf, NumPy, cryptography,
object store or web framework; a test keeps it so.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from modelota.agent import answering, asking, scrubbing
from modelota.agent.access import authority_of, group_id, require_right
from modelota.agent.core import Core
from modelota.agent.event_stream import encoded
from modelota.agent.following import follow
from modelota.agent.notifying import notice_loops
from modelota.agent.page_given import SESSION_HEADER
from modelota.agent.safe_mode import SafeCore, serve_safely
from modelota.agent.states import State
from modelota.clock import Clock, from_iso
from modelota.errors import AskPerson, ModelotaError
from modelota.runtime.http_server import serve_unix
from modelota.runtime.messages import (
    EVENT_STREAM,
    JSON,
    Reply,
    Request,
    Response,
    ServerLimits,
    StreamingResponse,
    plain,
    status_of,
)
from modelota.spec import api
from modelota.spec.api_query import EventsQuery

CONNECTIONS_PER_USER: Final = 16  # nobody who may only look keeps those who decide from the socket
CHECK_JITTER: Final = 0.2
CHECK_FIRST_S: Final = 60.0  # after a start, for a check that is due: the network may have to come up first


class Supervisor:
    """Serves one agent on its socket until it is told to stop."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def handle(self, request: Request) -> Reply:
        """Answer one request on the socket."""
        core = self._core
        try:
            route, _ = answering.find(request.method, request.path)
            right = answering.right_needed(route, request.body)
            caller = core.page.caller(request)
            require_right(caller, core.config.access, right, f"{request.method} {request.path}")
            answering.check_channel(route, request.body, request.query, by_page=SESSION_HEADER in request.headers)
            if route.call is None:
                return StreamingResponse(
                    headers={"content-type": EVENT_STREAM, "cache-control": "no-store"}, chunks=self._stream(request)
                )
        except ModelotaError as error:
            body = msgspec.json.encode(answering.error_body(core, error))
            return Response(status=status_of(error), headers={"content-type": JSON}, body=body)
        status, body = await answering.answer(
            core,
            request.method,
            request.path,
            request.body,
            request.query,
            authority=authority_of(caller),
            peer=caller,
        )
        return Response(status=status, headers={"content-type": JSON}, body=body)

    def _stream(self, request: Request) -> AsyncIterator[bytes]:
        last = request.headers.get("last-event-id")
        query = answering.query_as({**request.query, "after": last} if last else request.query, EventsQuery)
        return encoded(self._core.hub.listen(query.after), partial(self._core.page.may_still_see, request))

    async def check_now_and_then(self, clock: Clock) -> None:
        """Look for updates every so often, with jitter so that a fleet does not ask at once; only offers come of it."""

        async def check() -> None:
            for model, loop in self._core.models.items():
                if not _checked(loop.state):
                    continue
                with contextlib.suppress(ModelotaError):  # the agent journalled it; "not checked since" never alarms
                    await asking.check(self._core, api.CheckRequest(model=model), authority="timer")

        since_s = partial(self._since_s, clock, "checked", _checked)
        await now_and_then(clock, self._core.config.checks.every_s, since_s, check)

    async def scrub_now_and_then(self, clock: Clock) -> None:
        """Read the installed versions for damage every so often, slowly; damage is told, mending it is asked for."""

        async def scrub() -> None:
            for model, loop in self._core.models.items():
                if _scrubbed(loop.state) and loop.state.update is None:
                    await scrubbing.scrub(self._core, model)

        since_s = partial(self._since_s, clock, "scrubbed", _scrubbed)
        await now_and_then(clock, self._core.config.scrub.every_s, since_s, scrub)

    def _since_s(self, clock: Clock, event: str, concerns: Callable[[State], bool]) -> float:
        """Seconds since `event` of the model it concerns and was longest ago for; 0 when the clock says nonsense."""
        models = [model for model, loop in self._core.models.items() if concerns(loop.state)]
        times = [self._core.journal.last_time(model, event) for model in models]
        ages = [(clock.now() - from_iso(time)).total_seconds() if time else float("inf") for time in times]
        return max((0.0, *ages))

    def tell(self, error: ModelotaError) -> None:
        """Tell everyone who listens of an error that is of no model."""
        self._core.hub.publish("notice", "", {"error": {"code": error.code, "params": plain(error.params)}})

    async def offer_again(self) -> None:
        """When an update ended because it would have fetched more than was agreed to, make the new offer at once."""
        async for event in self._core.hub.listen(None):
            error = event.data.get("error")
            if event.kind == "outcome" and error and error["code"] == "ceiling-exceeded":
                with contextlib.suppress(ModelotaError):  # the agent journalled it; the next check tries again
                    await asking.check(self._core, api.CheckRequest(model=event.model), authority="agent")


def _checked(state: State) -> bool:
    return not state.uninstalled  # its user removed it: nobody asks for it until they do


def _scrubbed(state: State) -> bool:
    return bool(state.slots)


async def now_and_then(
    clock: Clock, every_s: int, since_s: Callable[[], float], act: Callable[[], Awaitable[None]]
) -> None:
    """Do `act` about every `every_s` seconds; 0: never.

    Args:
        clock: the time.
        every_s: seconds between two times.
        since_s: how long ago the last time was, over restarts: a device may never run for as long as `every_s`.
        act: what to do.
    """
    gone_s = since_s() if every_s else 0.0
    while every_s:
        wait_s = every_s * (1 + CHECK_JITTER * (2 * random.random() - 1))  # noqa: S311  spreads load, keeps no secret
        await clock.sleep(max(wait_s - gone_s, min(wait_s, CHECK_FIRST_S)))
        gone_s = 0.0
        await act()


async def supervise(root: Path, *, ready: Callable[[Core | SafeCore], None] | None = None) -> None:
    """Own `root` and serve it until SIGTERM or SIGINT; without changing anything when its database can't be read.

    Args:
        root: the device root.
        ready: called once the socket answers.

    Raises:
        AskPerson, TryLater: as `Core.open` and `serve_unix`.
    """
    os.umask(0o077)  # whatever a library creates below the root is private too
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        core = await Core.open(root, unattended=True)
    except ModelotaError as error:
        await serve_safely(SafeCore.open(root, error), stop, ready)
        return
    try:
        group = share_with_group(core)
        supervisor = Supervisor(core)
        server = await serve_unix(
            core.layout.agent_socket,
            supervisor.handle,
            mode=0o660,
            group=group,
            limits=ServerLimits(connections_per_user=CONNECTIONS_PER_USER),
        )
        core.page.serving = True
        try:
            await core.open_gateway(group=group)
            await core.go_on()
            loops: tuple[Callable[[], Awaitable[None]], ...] = (
                partial(supervisor.check_now_and_then, core.clock),
                partial(supervisor.scrub_now_and_then, core.clock),
                supervisor.offer_again,
                *notice_loops(core),
            )
            tasks = [asyncio.create_task(follow(loop, core.clock, supervisor.tell)) for loop in loops]
            tasks += [asyncio.create_task(_serve_current(core, model)) for model in core.models]
            if ready is not None:
                ready(core)
            await stop.wait()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            core.hub.close()
            await server.close()
    finally:
        await core.aclose()


def share_with_group(core: Core) -> int | None:
    """Let the configured group reach the sockets; its number, or None when there is no such group.

    An agent that runs as a user who may not hand its files to the group serves only that user and root.
    """
    group = group_id(core.config.access)
    if group is None:
        return None
    try:
        for directory in (core.layout.root, core.layout.runtime_directory):
            core.disk.share_directory(directory, group)
    except AskPerson as error:
        core.journal.note("", "group-not-served", {"group": core.config.access.group, "code": error.code})
        return None
    return group


def run_supervisor(root: Path) -> None:
    """Run the supervisor in the foreground; see `supervise`."""
    asyncio.run(supervise(root))


async def _serve_current(core: Core, model: str) -> None:
    """Start the engine of the version in use; a failure is told in the status and tried again on the next request."""
    loop = core.models[model]
    if loop.current_slot() is not None and loop.state.phase not in {"activating", "rolling-back"}:
        await loop.serving.keep_running()
