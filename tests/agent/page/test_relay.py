"""The event stream of the page: the agent's events, to who may see them, as long as they may."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator

import msgspec
import pytest
from tests.agent.page.conftest import PORT, SECRET, Browser, Home

from modelota.agent.page.page import Page
from modelota.agent.page.relay import STREAMS_MAX, Relay
from modelota.agent.page_given import SECRET_HEADER, SESSION_HEADER
from modelota.agent.socket_client import SocketClient
from modelota.errors import AskPerson

COOKIE = f"modelota-session-{PORT}"


def page_of(home: Home, browser: Browser) -> Page:
    """What a handler would get for a request of this browser."""
    headers = {SECRET_HEADER: SECRET, SESSION_HEADER: browser.cookies[COOKIE]}
    return Page(SocketClient(home.core.layout.agent_socket, headers), "en", "/events")


async def read_until(stream: AsyncGenerator[bytes, None], text: bytes) -> bytes:
    """What comes until `text` is among it."""
    told = b""
    async with asyncio.timeout(30):
        while text not in told:
            told += await anext(stream)
    return told


async def test_events_pass_and_go_on_after_the_last(home: Home) -> None:
    """The same JSON as on the socket; a browser that was away gets what it missed, and that alone."""
    browser = await home.signed_in()
    first = home.core.hub.publish("phase", "acme/assistant", {"phase": "fetching"})
    second = home.core.hub.publish("notice", "acme/assistant", {})
    stream = await Relay().stream(page_of(home, browser), 0)
    told = await read_until(stream, b'"kind":"notice"')
    assert f"id: {first.id}\n".encode() in told
    assert msgspec.json.encode(first) in told
    await stream.aclose()
    again = await Relay().stream(page_of(home, browser), first.id)
    told = await read_until(again, f"id: {second.id}\n".encode())
    assert f"id: {first.id}\n".encode() not in told
    await again.aclose()


async def test_nothing_is_lost_between_opening_and_reading(home: Home) -> None:
    """A view that is fetched once the stream is open, and then the stream: together they miss nothing."""
    browser = await home.signed_in()
    home.core.hub.publish("notice", "", {"n": 1})
    stream = await Relay().stream(page_of(home, browser), None)
    event = home.core.hub.publish("notice", "", {"n": 2})
    told = await read_until(stream, f"id: {event.id}\n".encode())
    assert b'"n":1' not in told
    await stream.aclose()


async def test_it_ends_with_the_agent(home: Home) -> None:
    """No error: the browser connects anew by itself."""
    browser = await home.signed_in()
    stream = await Relay().stream(page_of(home, browser), 0)
    home.core.hub.publish("notice", "", {})
    await read_until(stream, b"notice")
    home.core.hub.close()
    async with asyncio.timeout(30):
        assert b"".join([piece async for piece in stream]).count(b"data:") == 0


async def test_it_gives_nothing_to_who_left(home: Home) -> None:
    """After signing out, not one event more comes through a stream that was open, and a new one is refused."""
    browser = await home.signed_in()
    stream = await Relay().stream(page_of(home, browser), 0)
    home.core.hub.publish("notice", "", {"n": 1})
    await read_until(stream, b'"n":1')
    home.core.page.sessions.end(browser.cookies[COOKIE])
    home.core.hub.publish("notice", "", {"n": 2})
    async with asyncio.timeout(30):
        assert b"data:" not in b"".join([piece async for piece in stream])
    with pytest.raises(AskPerson) as caught:
        await Relay().stream(page_of(home, browser), 0)
    assert caught.value.code == "page-session-ended"


async def test_there_are_only_so_many(home: Home) -> None:
    """One more than there may be is refused; when one is closed, or was never read, there is room again."""
    browser = await home.signed_in()
    relay = Relay()
    streams = [await relay.stream(page_of(home, browser), 0) for _ in range(STREAMS_MAX)]
    with pytest.raises(AskPerson) as caught:
        await relay.stream(page_of(home, browser), 0)
    assert caught.value.params["detail"] == "too-many-streams"
    await streams.pop().aclose()
    streams.append(await relay.stream(page_of(home, browser), 0))
    del streams[3:]
    gc.collect()
    async with asyncio.timeout(30):
        while relay._open > 3:  # noqa: ASYNC110  the event loop closes forgotten generators when it comes to it
            await asyncio.sleep(0)
    for stream in streams:
        await stream.aclose()
    assert relay._open == 0


async def test_a_stream_that_is_refused_takes_no_room(home: Home) -> None:
    """However often somebody tries."""
    browser = await home.signed_in()
    page = page_of(home, browser)
    home.core.page.sessions.end(browser.cookies[COOKIE])
    relay = Relay()
    for _ in range(3):
        with pytest.raises(AskPerson):
            await relay.stream(page, 0)
    assert relay._open == 0
