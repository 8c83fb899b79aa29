"""The event stream: order, resume, and clocks that jump."""

from __future__ import annotations

from datetime import timedelta

from modelota.agent.hub import KEPT_EVENTS, Hub
from modelota.testing.clock import ManualClock


async def listened(hub: Hub, after: int | None) -> list[int]:
    """Ids that a listener gets from a hub that is closed."""
    return [event.id async for event in hub.listen(after)]


async def test_a_listener_resumes_after_the_last_it_saw() -> None:
    """Ids only grow; what was seen does not come again."""
    hub = Hub(ManualClock())
    ids = [hub.publish("phase", "m", {}).id for _ in range(5)]
    hub.close()
    assert sorted(set(ids)) == ids
    assert await listened(hub, ids[1]) == ids[2:]
    assert await listened(hub, None) == []


async def test_a_clock_that_was_set_back_silences_no_listener() -> None:
    """A client that saw ids of before the agent restarted with an earlier clock gets everything since."""
    clock = ManualClock()
    before = Hub(clock).publish("phase", "m", {}).id
    clock.set(clock.now() - timedelta(days=365))
    hub = Hub(clock)
    ids = [hub.publish("phase", "m", {}).id for _ in range(3)]
    hub.close()
    assert max(ids) < before
    assert await listened(hub, before) == ids


async def test_what_is_kept_is_bounded() -> None:
    """The hub keeps the last events and, of progress that follows progress, the newest."""
    hub = Hub(ManualClock())
    for _ in range(2 * KEPT_EVENTS):
        hub.publish("phase", "m", {})
    last = [hub.publish("progress", "m", {"done": number}) for number in range(10)][-1]
    hub.close()
    ids = await listened(hub, 0)
    assert len(ids) == KEPT_EVENTS
    assert ids[-1] == last.id
