"""The agent's event stream, passed on to a browser."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

from modelota.agent.page.page import Page
from modelota.errors import AskPerson, ModelotaError

STREAMS_MAX: Final = 24


class Relay:
    """Passes event streams on, `STREAMS_MAX` at once. The agent's own comments fill the time when nothing happens."""

    def __init__(self) -> None:
        self._open = 0

    async def stream(self, page: Page, after: int | None) -> AsyncGenerator[bytes, None]:
        """The agent's events with an id above `after`, or from now on, until the agent ends or the session does.

        Returns:
            the pieces; the agent listens for them already, so what happens from now on is among them.

        Raises:
            AskPerson: `page-request-refused` (`too-many-streams`).
            ModelotaError: what the agent answered with.
        """
        if self._open >= STREAMS_MAX:
            raise AskPerson("page-request-refused", detail="too-many-streams")
        pieces = self._pieces(page, after)
        await anext(pieces)
        return pieces

    async def _pieces(self, page: Page, after: int | None) -> AsyncGenerator[bytes, None]:
        self._open += 1
        try:
            async with page.client.event_stream(after) as chunks:
                yield b""  # for `stream`, which waits until it is open
                yield b": open\n\n"
                try:
                    async for chunk in chunks:
                        yield chunk
                except ModelotaError:
                    return  # the agent is gone: the browser connects anew, and is told by the answer that it gets
        finally:
            self._open -= 1
