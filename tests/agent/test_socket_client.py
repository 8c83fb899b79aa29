"""The client of the agent's socket: errors that say how the device is, headers, and the event stream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from modelota.agent.socket_client import EVENT_MAX_BYTES, SocketClient, decoded, parse_events, refused
from modelota.errors import AskPerson, OurBug, RefuseContent, TryLater
from modelota.runtime.http_server import serve_unix
from modelota.runtime.messages import EVENT_STREAM, Reply, Request, StreamingResponse, json_response
from modelota.spec import api


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    for each in data:
        yield each


async def test_an_error_tells_how_the_device_is(tmp_path: Path) -> None:
    """Code, branch, parameters and state arrive as they were sent, and every request carries the client's headers."""
    asked: list[Request] = []

    async def answer(request: Request) -> Reply:
        asked.append(request)
        body = api.ErrorBody(
            code="offer-changed", params={"digest": "x"}, now="serving", now_params={"version": "1.1.1"}
        )
        return json_response(body, 409)

    server = await serve_unix(tmp_path / "s", answer)
    client = SocketClient(tmp_path / "s", {"modelota-page": "secret"})
    with pytest.raises(AskPerson) as caught:
        await client.ask(api.Status, "POST", "/v1/decisions", api.ControlRequest(model="a"), {"x": "ü&="})
    with pytest.raises(AskPerson) as streamed:
        await anext(client.events(after=7))
    await server.close()
    for error in (caught.value, streamed.value):
        assert (error.code, error.params) == ("offer-changed", {"digest": "x"})
        assert (error.now, error.now_params) == ("serving", {"version": "1.1.1"})
    assert [request.headers["modelota-page"] for request in asked] == ["secret", "secret"]
    assert (asked[0].query, asked[0].body) == ({"x": "ü&="}, b'{"model":"a"}')
    assert asked[1].headers["last-event-id"] == "7"


async def test_an_agent_that_is_not_there_says_nothing_of_the_device(tmp_path: Path) -> None:
    """Nobody answered, so nobody knows how it is."""
    with pytest.raises(TryLater) as caught:
        await SocketClient(tmp_path / "none").request("GET", "/v1/status")
    assert (caught.value.code, caught.value.now) == ("peer-unreachable", None)


@pytest.mark.parametrize("data", [b"", b"<html>", b"[]", b'{"now": 1}', b"\xff", b"[" * 100_000])
def test_an_error_that_is_none_is_one(data: bytes) -> None:
    """Whatever answers there is not what it should be; that much is said."""
    error = refused(data)
    assert isinstance(error, RefuseContent)
    assert (error.code, error.now) == ("document-invalid", "unknown")


def test_a_code_of_a_newer_agent_is_kept() -> None:
    """It is shown as one that this version does not know."""
    error = refused(b'{"code": "made-up", "now": ""}')
    assert isinstance(error, OurBug)
    assert (error.params["found"], error.now) == ("made-up", "unchanged")


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff", b"[" * 100_000, b'{"api": "x"}'])
def test_an_answer_that_is_none_is_refused(data: bytes) -> None:
    """An agent of another version, or no agent at all."""
    with pytest.raises(RefuseContent) as caught:
        decoded(data, api.Status, "GET /v1/status")
    assert caught.value.params["document"] == "GET /v1/status"


async def test_events_come_as_they_were_sent(tmp_path: Path) -> None:
    """The stream's bytes for who passes them on, and the events for who reads them."""
    first = b'id: 1\nevent: notice\ndata: {"id":1,"at":"t","kind":"notice","model":"m"}\n\n'

    async def answer(_: Request) -> Reply:
        return StreamingResponse(headers={"content-type": EVENT_STREAM}, chunks=pieces(b": hello\n\n", first))

    server = await serve_unix(tmp_path / "s", answer)
    client = SocketClient(tmp_path / "s")
    async with client.event_stream() as chunks:
        assert b"".join([chunk async for chunk in chunks]) == b": hello\n\n" + first
    assert [event.id async for event in client.events()] == [1]
    await server.close()


async def test_an_endless_event_is_refused() -> None:
    """Nothing is kept without a limit."""
    with pytest.raises(RefuseContent) as caught:
        async for _ in parse_events(pieces(b"data: " + b"x" * EVENT_MAX_BYTES)):
            pass
    assert caught.value.code == "document-too-large"
