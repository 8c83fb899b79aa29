"""Tests of modelota.agent.event_stream: what is on the wire, comments, and when a stream ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

from modelota.agent.event_stream import encoded
from modelota.agent.hub import Hub
from modelota.runtime.messages import events as parse
from modelota.testing.clock import ManualClock

LONG_S = 3600.0


def allowed() -> bool:
    return True


async def test_each_event_says_id_kind_and_data() -> None:
    """An event is its id, its kind, and the JSON of `Event`; the end of the agent is the end of the stream."""
    hub = Hub(ManualClock())
    event = hub.publish("offer", "acme/assistant", {"digest": "5a", "to_version": "1.1.2"})
    hub.close()
    (only,) = [each async for each in parse(encoded(hub.listen(0), allowed))]
    assert (only.id, only.event) == (str(event.id), "offer")
    assert json.loads(only.data)["data"] == {"digest": "5a", "to_version": "1.1.2"}


async def test_while_nothing_happens_comments_are_sent() -> None:
    """A quiet stream is not a silent one, and a comment loses no event."""
    hub = Hub(ManualClock())
    stream = encoded(hub.listen(None), allowed, keep_alive_s=0)
    assert (await anext(stream)).startswith(b": ")
    assert (await anext(stream)).startswith(b": ")
    hub.publish("phase", "m", {})
    chunk = await anext(stream)
    while chunk.startswith(b": "):
        chunk = await anext(stream)
    assert b"event: phase" in chunk
    assert isinstance(stream, AsyncIterator)
    await stream.aclose()  # type: ignore[attr-defined]  # it is a generator


async def test_who_may_no_longer_see_is_cut() -> None:
    """A right that was lost ends the stream at the next event or comment, whichever comes first."""
    hub = Hub(ManualClock())
    hub.publish("phase", "m", {})
    assert [chunk async for chunk in encoded(hub.listen(0), lambda: False)] == []
    assert [chunk async for chunk in encoded(hub.listen(None), lambda: False, keep_alive_s=0)] == []


async def test_a_reader_that_goes_leaves_nothing_behind() -> None:
    """Closing the stream ends what waited for the next event."""
    hub = Hub(ManualClock())
    before = asyncio.all_tasks()
    stream = encoded(hub.listen(None), allowed, keep_alive_s=0)
    await anext(stream)
    await stream.aclose()  # type: ignore[attr-defined]  # it is a generator
    assert asyncio.all_tasks() == before
