"""The event stream: what happens, as it happens, to everyone who listens, with resume (`docs/socket-api.md`)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Final, Literal

from modelota.clock import Clock, iso
from modelota.spec.api import Event, EventKind

KEPT_EVENTS: Final = 1000

_NEWEST_ONLY: Final = frozenset({"progress", "cleaning"})  # of a model: who lags needs no more than the newest


class Hub:
    """Keeps the last `KEPT_EVENTS` events and wakes listeners.

    Ids are milliseconds of wall-clock time, forced to increase, so they go on increasing when the agent restarts. Who
    asks to go on after an event from which on not everything is kept gets a `reset` event first; its id is one to go on
    from. What matters is in the status, never in events alone.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._events: deque[Event] = deque()
        self._first = self._last = _milliseconds(clock)  # events of an agent that ran before have lower ids
        self._forgotten = 0  # id of the newest event that is not kept any more
        self._grown = asyncio.Event()
        self._closed = False

    def publish(self, kind: EventKind, model: str, data: dict[str, Any]) -> Event:
        """Add an event and wake every listener."""
        self._last = max(self._last + 1, _milliseconds(self._clock))
        event = Event(id=self._last, at=iso(self._clock.now()), kind=kind, model=model, data=data)
        if kind in _NEWEST_ONLY:
            self._drop_older(event)
        if len(self._events) == KEPT_EVENTS:
            self._forgotten = self._events.popleft().id
        self._events.append(event)
        self._wake()
        return event

    def _drop_older(self, event: Event) -> None:
        for number, kept in enumerate(self._events):
            if (kept.kind, kept.model) == (event.kind, event.model):
                del self._events[number]
                return

    def close(self) -> None:
        """End every listener's stream."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()

    def listen(self, after: int | None) -> AsyncIterator[Event]:
        """Events with an id above `after`, then new ones as they come; None starts with the next after this call.

        0 starts with the first event of this agent. An id that this agent never gave, of before a restart or of before
        its clock was set back, starts there too, after a `reset`.
        """
        if after is None:
            return self._stream(self._last, None)
        if after > self._last:
            return self._stream(0, "unknown")
        return self._stream(after, "restarted" if 0 < after < self._first else None)

    async def _stream(
        self, seen: int, missed: Literal["restarted", "lagged", "unknown"] | None
    ) -> AsyncIterator[Event]:
        grown = self._grown
        while True:
            if seen < self._forgotten:
                missed = missed or "lagged"
            if missed is not None:
                seen = max(self._first, self._forgotten)
                yield Event(id=seen, at=iso(self._clock.now()), kind="reset", model="", data={"reason": missed})
                missed = None
                continue  # the listener may have taken its time
            for event in [event for event in self._events if event.id > seen]:
                seen = event.id
                yield event
            if grown is not self._grown:  # something came while the listener took its time
                grown = self._grown
                continue
            if self._closed:
                return
            await grown.wait()


def _milliseconds(clock: Clock) -> int:
    return int(clock.now().timestamp() * 1000)
