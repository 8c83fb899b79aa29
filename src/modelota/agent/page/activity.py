"""Whether anybody uses the page: it goes when nobody has for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from modelota.clock import Clock


class Activity:
    """Counts what is being answered, event streams included.

    Args:
        clock: the time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._under_way = 0
        self._last = clock.monotonic()
        self._quiet = asyncio.Event()
        self._quiet.set()

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Something is being answered inside the `with`."""
        self._under_way += 1
        self._quiet.clear()
        try:
            yield
        finally:
            self._under_way -= 1
            self._last = self._clock.monotonic()
            if not self._under_way:
                self._quiet.set()

    async def unused_for(self, seconds: float) -> None:
        """Return once nothing was being answered for `seconds`."""
        while True:
            await self._quiet.wait()
            left = self._last + seconds - self._clock.monotonic()
            if left <= 0:
                return
            await self._clock.sleep(left)
