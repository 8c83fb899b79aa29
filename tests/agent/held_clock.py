"""A clock whose sleepers wait until the test lets time pass: for what wakes up by itself."""

from __future__ import annotations

import asyncio
from datetime import datetime

from modelota.testing.clock import EPOCH, ManualClock


class HeldClock(ManualClock):
    """A `ManualClock` on which nobody wakes before their time; `set` moves only the wall clock."""

    def __init__(self, start: datetime = EPOCH) -> None:
        super().__init__(start)
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    async def sleep(self, seconds: float) -> None:
        """Wait until `seconds` of this clock's running time passed."""
        woken = asyncio.Event()
        self.slept.append(seconds)
        self._sleepers.append((self.monotonic() + seconds, woken))
        await woken.wait()

    async def pass_time(self, *, seconds: float = 0, days: float = 0) -> None:
        """Let time pass, and everyone wake in their order, each at their time."""
        end_s = self.monotonic() + seconds + days * 86_400
        await turns()
        while True:
            self._sleepers.sort(key=lambda sleeper: sleeper[0])
            if not self._sleepers or self._sleepers[0][0] > end_s:
                break
            at_s, woken = self._sleepers.pop(0)
            self.advance(seconds=max(0.0, at_s - self.monotonic()))
            woken.set()
            await turns()
        self.advance(seconds=max(0.0, end_s - self.monotonic()))
        await turns()


async def turns() -> None:
    """Let everything that is ready run."""
    for _ in range(50):
        await asyncio.sleep(0)
