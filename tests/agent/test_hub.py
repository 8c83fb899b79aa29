"""The event stream: order, resume, restarts, listeners that lag, and clocks that jump."""

from __future__ import annotations

from datetime import timedelta

from modelota.agent.hub import KEPT_EVENTS, Hub
from modelota.spec.api import Event
from modelota.testing.clock import ManualClock


async def events(hub: Hub, after: int | None) -> list[Event]:
    """What a listener gets from a hub that is closed."""
    return [event async for event in hub.listen(after)]


async def listened(hub: Hub, after: int | None) -> list[int]:
    return [event.id for event in await events(hub, after)]


async def test_a_listener_resumes_after_the_last_it_saw() -> None:
    """Ids only grow; what was seen does not come again, and nothing that was not is left out."""
    hub = Hub(ManualClock())
    ids = [hub.publish("phase", "m", {}).id for _ in range(5)]
    hub.close()
    assert sorted(set(ids)) == ids
    assert await listened(hub, ids[1]) == ids[2:]
    assert await listened(hub, ids[-1]) == []
    assert await listened(hub, None) == []
    assert await listened(hub, 0) == ids


async def test_a_restart_is_told() -> None:
    """Who goes on after an event of before the restart is told so first, and then gets everything since."""
    clock = ManualClock()
    before = Hub(clock).publish("phase", "m", {}).id
    clock.advance(seconds=2)
    hub = Hub(clock)
    ids = [hub.publish("phase", "m", {}).id for _ in range(3)]
    hub.close()
    assert min(ids) > before
    reset, *rest = await events(hub, before)
    assert (reset.kind, reset.data) == ("reset", {"reason": "restarted"})
    assert [event.id for event in rest] == ids
    assert await listened(hub, reset.id) == ids  # the reset's own id is one to go on from


async def test_a_clock_that_was_set_back_silences_no_listener() -> None:
    """A client that saw ids of before the agent restarted with an earlier clock gets everything since."""
    clock = ManualClock()
    before = Hub(clock).publish("phase", "m", {}).id
    clock.set(clock.now() - timedelta(days=365))
    hub = Hub(clock)
    ids = [hub.publish("phase", "m", {}).id for _ in range(3)]
    hub.close()
    assert max(ids) < before
    reset, *rest = await events(hub, before)
    assert reset.data == {"reason": "unknown"}
    assert [event.id for event in rest] == ids


async def test_who_was_away_for_longer_than_is_kept_is_told() -> None:
    """Of more events than are kept the last ones come, after a reset; who saw the last that went misses nothing."""
    hub = Hub(ManualClock())
    ids = [hub.publish("phase", "m", {}).id for _ in range(KEPT_EVENTS + 5)]
    hub.close()
    for after in (0, ids[0], ids[3]):
        reset, *rest = await events(hub, after)
        assert reset.data == {"reason": "lagged"}
        assert [event.id for event in rest] == ids[5:]
    assert await listened(hub, ids[4]) == ids[5:]
    assert await listened(hub, reset.id) == ids[5:]


async def test_a_listener_that_reads_slowly_is_told() -> None:
    """Who listens and takes longer than the hub keeps gets a reset in the middle of the stream, and then goes on."""
    hub = Hub(ManualClock())
    stream = hub.listen(None)
    first = hub.publish("phase", "m", {})
    assert await anext(stream) == first
    ids = [hub.publish("phase", "m", {}).id for _ in range(KEPT_EVENTS + 5)]
    hub.close()
    reset, *rest = [event async for event in stream]
    assert reset.data == {"reason": "lagged"}
    assert [event.id for event in rest] == ids[5:]


async def test_what_is_kept_is_bounded() -> None:
    """The hub keeps the last events and, of a model's progress and of a cleaning's, the newest only."""
    hub = Hub(ManualClock())
    for number in range(50):
        hub.publish("progress", "m", {"done": number})
        hub.publish("progress", "n", {"done": number})
        hub.publish("cleaning", "", {"done": number})
    hub.publish("phase", "m", {})
    last = hub.publish("progress", "m", {"done": 50})
    hub.close()
    kept = await events(hub, 0)
    assert [(event.kind, event.model, event.data.get("done")) for event in kept] == [
        ("progress", "n", 49),
        ("cleaning", "", 49),
        ("phase", "m", None),
        ("progress", "m", 50),
    ]
    assert kept[-1].id == last.id
