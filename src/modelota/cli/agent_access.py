"""How commands reach the agent: the one that runs, through its socket, or one of their own with the same interface."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import msgspec

from modelota.cli.failure import Reported
from modelota.errors import ModelotaError, RefuseContent, TryLater
from modelota.spec import api
from modelota.storage.layout import Layout

if TYPE_CHECKING:
    from modelota.agent import Agent

_NO_QUERY: Final[Mapping[str, str]] = {}

T = TypeVar("T")


class AgentAccess(Protocol):
    """An agent that answers requests of the socket API (`docs/socket-api.md`).

    Attributes:
        embedded: the agent lives in this process, and stops with it.
    """

    embedded: bool

    async def request(
        self, method: str, path: str, body: msgspec.Struct | None = None, query: Mapping[str, str] = _NO_QUERY
    ) -> bytes:
        """Send one request.

        Returns:
            the JSON of the answer.

        Raises:
            Reported: the agent answered with an error; it says how the device is now.
            TryLater: the agent could not be reached, or broke off.
        """
        ...

    def events(self, after: int | None = None) -> AsyncGenerator[api.Event, None]:
        """Follow what happens, from the event after number `after`, or from now on."""
        ...

    async def aclose(self) -> None:
        """Let go of the agent; an embedded one stops at a point from which it can continue."""
        ...


async def ask(
    access: AgentAccess,
    kind: type[T],
    method: str,
    path: str,
    body: msgspec.Struct | None = None,
    query: Mapping[str, str] = _NO_QUERY,
) -> T:
    """Send a request and decode its answer as `kind`.

    Raises:
        Reported: as `AgentAccess.request`.
        TryLater: as `AgentAccess.request`.
        RefuseContent: `document-invalid`: the answer is not what the API promises.
    """
    data = await access.request(method, path, body, query)
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RefuseContent("document-invalid", document=f"{method} {path}", detail=str(error)[:300]) from error


class SocketAccess:
    """An agent that runs in another process.

    Args:
        socket_path: its Unix socket.
    """

    embedded = False

    def __init__(self, socket_path: Path) -> None:
        from modelota.agent.socket_client import SocketClient

        self._client: Final = SocketClient(socket_path)

    async def request(
        self, method: str, path: str, body: msgspec.Struct | None = None, query: Mapping[str, str] = _NO_QUERY
    ) -> bytes:
        """As `AgentAccess.request`."""
        try:
            return await self._client.request(method, path, body, query)
        except ModelotaError as error:
            if error.now is None:  # nobody answered
                raise
            raise _reported(error) from error

    async def events(self, after: int | None = None) -> AsyncGenerator[api.Event, None]:
        """As `AgentAccess.events`."""
        try:
            async for event in self._client.events(after):
                yield event
        except ModelotaError as error:
            if error.now is None:  # nobody answered
                raise
            raise _reported(error) from error

    async def aclose(self) -> None:
        """Nothing is held between requests."""


class EmbeddedAccess:
    """An agent of this process, with the same interface.

    Args:
        agent: an opened agent; it holds the root's lock until `aclose`.
    """

    embedded = True

    def __init__(self, agent: Agent) -> None:
        self._agent: Final = agent

    @classmethod
    async def open(cls, root: Path) -> EmbeddedAccess:
        """Open an agent on `root`.

        Raises:
            AskPerson: `not-enrolled` and other reasons of `Agent.open`.
            TryLater: `device-busy`.
        """
        from modelota.agent import Agent

        return cls(await Agent.open(root))

    async def request(
        self, method: str, path: str, body: msgspec.Struct | None = None, query: Mapping[str, str] = _NO_QUERY
    ) -> bytes:
        """As `AgentAccess.request`."""
        data = b"" if body is None else msgspec.json.encode(body)
        authority = f"uid:{os.getuid()}"
        status, answer = await self._agent.request(method, path, data, dict(query), authority=authority)
        if not 200 <= status < 300:
            raise refused(answer)
        return answer

    async def events(self, after: int | None = None) -> AsyncGenerator[api.Event, None]:
        """As `AgentAccess.events`."""
        async for event in self._agent.events(after):
            yield event

    async def aclose(self) -> None:
        """Stop the agent."""
        await self._agent.aclose()


@asynccontextmanager
async def open_access(root: Path, *, needs_supervisor: bool = False) -> AsyncIterator[AgentAccess]:
    """Reach the agent of `root`: the running one, or else one in this process.

    Args:
        root: the device's root.
        needs_supervisor: the work makes sense only with an agent that stays.

    Raises:
        TryLater: `agent-not-running` when a supervisor is needed and there is none; `device-busy`.
        AskPerson: `not-enrolled`, `permission-denied`.
    """
    access: AgentAccess
    socket = Layout(root).agent_socket
    if await socket_answers(socket):
        access = SocketAccess(socket)
    elif needs_supervisor:
        raise TryLater("agent-not-running", path=str(root))
    else:
        access = await EmbeddedAccess.open(root)
    try:
        yield access
    finally:
        await access.aclose()


async def socket_answers(path: Path) -> bool:
    """Whether someone listens on the Unix socket `path`; a socket file left by a killed process does not count.

    Raises:
        PermissionError: this user may not use the socket.
    """
    import asyncio

    from modelota.runtime.http_client import socket_address

    try:
        with socket_address(path) as address:
            _, writer = await asyncio.open_unix_connection(address)
    except (ConnectionError, FileNotFoundError, NotADirectoryError):
        return False
    writer.transport.abort()
    return True


def refused(data: bytes) -> Reported:
    """The error in the body of an answer that is not a success; a body that carries none becomes one itself."""
    from modelota.agent.socket_client import refused as error_in

    return _reported(error_in(data))


def _reported(error: ModelotaError) -> Reported:
    """What an agent answered with, as commands tell it."""
    return Reported(error, error.now or "unchanged", error.now_params)
