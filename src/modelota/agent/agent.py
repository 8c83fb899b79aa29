"""The agent as a Python host embeds it; the command line uses it when no supervisor runs.

    agent = await Agent.open(Path("/var/lib/modelota"))
    status, body = await agent.request("POST", "/v1/check", b"{}", {})
    await agent.aclose()

It owns the root's lock as long as it is open. Everything it can do is a request of the socket interface
(`docs/socket-api.md`), whether the request came through the socket or from the host's own code.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from modelota.agent import answering
from modelota.agent.core import Core
from modelota.clock import Clock
from modelota.spec import api


class Agent:
    """One device root, open and owned. Made by `Agent.open`."""

    def __init__(self, core: Core) -> None:
        self.core = core

    @classmethod
    async def open(cls, root: Path, *, clock: Clock | None = None, unattended: bool = False) -> Agent:
        """Open a device root and go on with what was under way; see `Core.open`."""
        return cls(await Core.open(root, clock=clock, unattended=unattended))

    async def request(
        self, method: str, path: str, body: bytes, query: dict[str, str], *, authority: str = "embedding-host"
    ) -> tuple[int, bytes]:
        """Answer one request of the socket interface: HTTP status and JSON. Errors are in the answer, not raised."""
        return await answering.answer(self.core, method, path, body, query, authority=authority)

    def events(self, after: int | None = None) -> AsyncIterator[api.Event]:
        """The event stream: events with an id above `after`, then new ones; None starts with the next new one."""
        return self.core.hub.listen(after)

    async def aclose(self) -> None:
        """Stop engines and worker, and give the root up. What is under way goes on at the next opening."""
        await self.core.aclose()
