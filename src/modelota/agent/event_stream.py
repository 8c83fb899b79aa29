"""The event stream on the wire: server-sent events with comments in between, as long as its reader may see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

import msgspec

from modelota.runtime.messages import ServerSentEvent
from modelota.spec.api import Event

KEEP_ALIVE_S: Final = 15.0

_COMMENT: Final = b": nothing new\n\n"


async def encoded(
    events: AsyncIterator[Event], may_see: Callable[[], bool], *, keep_alive_s: float = KEEP_ALIVE_S
) -> AsyncIterator[bytes]:
    """The bytes of an event stream.

    While nothing happens a comment is sent now and then (WHATWG HTML, 9.2.7), so a reader behind a relay knows that the
    agent is there, and a connection whose reader is gone ends at its write. Each time it is asked anew whether the
    reader may see.

    Args:
        events: what happens; ends with the agent.
        may_see: whether the reader still may.
        keep_alive_s: seconds between comments.
    """
    coming: asyncio.Future[Event | None] | None = None
    try:
        while True:
            if coming is None:
                coming = asyncio.ensure_future(_next(events))
            await asyncio.wait({coming}, timeout=keep_alive_s)
            if not may_see():
                return
            if not coming.done():
                yield _COMMENT
                continue
            event, coming = coming.result(), None
            if event is None:
                return
            data = msgspec.json.encode(event).decode()
            yield ServerSentEvent(id=str(event.id), event=event.kind, data=data).encode()
    finally:
        if coming is not None:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)


async def _next(events: AsyncIterator[Event]) -> Event | None:
    return await anext(events, None)
