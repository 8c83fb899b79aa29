"""A clock that moves when a test says so."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

EPOCH: Final = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)


class ManualClock:
    """A `modelota.clock.Clock` under a test's control.

    `sleep` never waits: it moves the clock forward by what was asked and lets other tasks run once, so code with
    backoff runs at full speed and the test reads from `slept` how long it would have waited.

    Attributes:
        slept: every duration that was slept, in seconds, in order.
    """

    def __init__(self, start: datetime = EPOCH) -> None:
        self._now = start
        self._monotonic = 0.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        """Return the manual wall-clock time: aware, UTC."""
        return self._now

    def monotonic(self) -> float:
        """Return seconds since this clock was made; `set` does not move it, as on a real device."""
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        """Advance by `seconds` and give other tasks a turn."""
        self.slept.append(seconds)
        self.advance(seconds=seconds)
        await asyncio.sleep(0)

    def advance(self, *, seconds: float = 0, days: float = 0) -> None:
        """Let time pass on both clocks.

        Raises:
            ValueError: the step is negative; to set the wall clock back, use `set`.
        """
        step = timedelta(seconds=seconds, days=days)
        if step < timedelta(0):
            raise ValueError("time does not pass backwards; use set()")
        self._now += step
        self._monotonic += step.total_seconds()

    def set(self, moment: datetime) -> None:
        """Set the wall clock, forwards or backwards, as a user or a dead battery does."""
        self._now = moment
