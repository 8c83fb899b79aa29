"""Loops that never end by themselves: an error that nobody thought of is told, and does not end them silently."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable
from typing import Final

from modelota.clock import Clock
from modelota.errors import OurBug

PAUSE_S: Final = 3600.0  # what broke once will probably break again


async def follow(work: Callable[[], Awaitable[None]], clock: Clock, told: Callable[[OurBug], None]) -> None:
    """Do `work`, which ends only by being cancelled, again an hour after it broke.

    Args:
        work: begins the loop.
        clock: the time.
        told: hears of what it did not foresee.
    """
    while True:
        try:
            await work()
        except Exception as error:  # noqa: BLE001  a loop that ended silently would be missed by nobody for weeks
            told(unforeseen(error))
        await clock.sleep(PAUSE_S)


def unforeseen(error: Exception) -> OurBug:
    """The error that stands for one that is not ours; its trace goes to the log."""
    traceback.print_exception(error)
    return OurBug("unexpected", kind=type(error).__name__, detail=str(error)[:300])
