"""Loops that never end by themselves."""

from __future__ import annotations

import asyncio

import pytest

from modelota.agent.following import PAUSE_S, follow
from modelota.errors import OurBug
from modelota.testing.clock import ManualClock


async def test_a_loop_that_breaks_is_told_and_begun_again() -> None:
    """Each time after a pause; being cancelled ends it."""
    clock, told, begun = ManualClock(), list[OurBug](), list[int]()

    async def work() -> None:
        begun.append(len(begun))
        if len(begun) < 3:
            raise ValueError(str(len(begun)))
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await follow(work, clock, told.append)
    assert [error.params["detail"] for error in told] == ["1", "2"]
    assert clock.slept == [PAUSE_S, PAUSE_S]
