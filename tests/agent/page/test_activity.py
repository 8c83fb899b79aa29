"""When the page counts as unused."""

from __future__ import annotations

import asyncio

from modelota.agent.page.activity import Activity
from modelota.testing.clock import ManualClock


async def test_it_waits_for_what_is_being_answered(clock: ManualClock) -> None:
    """An open event stream keeps the page; its time begins when the last one ends."""
    activity = Activity(clock)
    with activity.busy():
        with activity.busy():
            unused = asyncio.create_task(activity.unused_for(60))
            await asyncio.sleep(0)
            clock.advance(seconds=1000)
        await asyncio.sleep(0)
        assert not unused.done()
    await unused
    assert clock.slept == [60]


async def test_use_begins_the_time_anew(clock: ManualClock) -> None:
    """What was used while it waited goes on for the whole time from then."""
    activity = Activity(clock)
    clock.advance(seconds=59)
    with activity.busy():
        pass
    await activity.unused_for(60)
    assert clock.monotonic() == 119
