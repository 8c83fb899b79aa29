"""The event stream: what happens, as it happens, to everyone who listens, with resume (`docs/socket-api.md`)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Final, Literal

from modelota.clock import Clock, iso
from modelota.spec.api import Event

KEPT_EVENTS: Final = 1000

EventKind = Literal["phase", "progress", "offer", "outcome", "engine", "notice"]


class Hub:
    """Keeps the last `KEPT_EVENTS` events and wakes listeners.

    Ids are milliseconds of wall-clock time, forced to increase, so they go on increasing when the agent restarts.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._events: deque[Event] = deque(maxlen=KEPT_EVENTS)
        self._last = 0
        self._grown = asyncio.Event()
        self._closed = False

    def publish(self, kind: EventKind, model: str, data: dict[str, Any]) -> Event:
        """Add an event and wake every listener."""
        now = self._clock.now()
        self._last = max(self._last + 1, int(now.timestamp() * 1000))
        event = Event(id=self._last, at=iso(now), kind=kind, model=model, data=data)
        if kind == "progress" and self._events and self._events[-1].kind == "progress":
            self._events.pop()  # a listener that lags needs the newest progress only
        self._events.append(event)
        self._wake()
        return event

    def close(self) -> None:
        """End every listener's stream."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()

    def listen(self, after: int | None) -> AsyncIterator[Event]:
        """Events with an id above `after`, then new ones as they come; None starts with the next after this call.

        An id above all that were given is from before the clock was set back: everything kept is newer.
        """
        if after is None:
            return self._stream(self._last)
        return self._stream(after if after <= self._last else 0)

    async def _stream(self, seen: int) -> AsyncIterator[Event]:
        while True:
            grown = self._grown
            for event in [event for event in self._events if event.id > seen]:
                seen = event.id
                yield event
            if self._closed:
                return
            if grown is self._grown:
                await grown.wait()
