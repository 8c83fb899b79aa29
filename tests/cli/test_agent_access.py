"""Reaching the agent over its socket: requests, errors, events, and what is no agent at all."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest

from modelota.agent.socket_client import parse_events
from modelota.cli.agent_access import SocketAccess, ask, open_access, refused, socket_answers
from modelota.cli.failure import Reported
from modelota.errors import AskPerson, RefuseContent, TryLater
from modelota.runtime.http import Request, Response, ServerSentEvent, StreamingResponse, serve_unix
from modelota.spec import api

EVENT = api.Event(id=7, at="2026-11-24T06:00:00Z", kind="notice", model="acme/assistant")


@pytest.fixture
def socket_path() -> Iterator[Path]:
    """A place for a socket, with a short name."""
    with tempfile.TemporaryDirectory(prefix="mo-") as name:
        yield Path(name) / "agent.sock"


async def _answer(request: Request) -> Response | StreamingResponse:
    if request.path == "/v1/events":
        return StreamingResponse(headers={"content-type": "text/event-stream"}, chunks=_stream(request))
    if request.path == "/v1/log":
        return Response(body=msgspec.json.encode({"entries": [], "query": request.query}))
    if request.path == "/v1/garbage":
        return Response(body=b"not json")
    error = api.ErrorBody(code="no-offer", params={"model": "m"}, now="serving", now_params={"version": "1.1.1"})
    return Response(status=409, body=msgspec.json.encode(error))


async def _stream(request: Request) -> AsyncIterator[bytes]:
    number = int(request.headers.get("last-event-id", "6")) + 1
    event = msgspec.structs.replace(EVENT, id=number)
    yield b": keep-alive\n\n"
    yield ServerSentEvent(id=str(number), event="notice", data=msgspec.json.encode(event).decode()).encode()


async def test_requests_and_errors(socket_path: Path) -> None:
    """A success is its body, a refusal the agent's error with how the device is."""
    server = await serve_unix(socket_path, _answer)
    try:
        access = SocketAccess(socket_path)
        assert await socket_answers(socket_path)
        page = await ask(access, api.LogPage, "GET", "/v1/log", None, {"model": "a/b", "after": "3"})
        assert page.entries == ()
        with pytest.raises(Reported) as caught:
            await access.request("POST", "/v1/decisions", api.ControlRequest())
        assert caught.value.error.code == "no-offer"
        assert (caught.value.now, caught.value.now_params) == ("serving", {"version": "1.1.1"})
        with pytest.raises(RefuseContent, match="document-invalid"):
            await ask(access, api.LogPage, "GET", "/v1/garbage")
    finally:
        await server.close()


async def test_events_continue(socket_path: Path) -> None:
    """The stream starts after the event that is named; comments are not events."""
    server = await serve_unix(socket_path, _answer)
    try:
        access = SocketAccess(socket_path)
        assert [event.id async for event in access.events()] == [7]
        assert [event.id async for event in access.events(41)] == [42]
    finally:
        await server.close()


async def test_a_socket_nobody_listens_on(socket_path: Path) -> None:
    """A socket file that a killed agent left is not an agent; nor is a file, nor nothing."""
    assert not await socket_answers(socket_path)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(socket_path))
    assert not await socket_answers(socket_path)
    socket_path.unlink()
    socket_path.write_text("")
    assert not await socket_answers(socket_path)


async def test_needs_a_supervisor(tmp_path: Path) -> None:
    """Following needs an agent that stays."""
    with pytest.raises(TryLater, match="agent-not-running"):
        async with open_access(tmp_path, needs_supervisor=True):
            pass


async def test_a_root_that_is_none(tmp_path: Path) -> None:
    """Without an agent and without an enrolment the reason is said."""
    with pytest.raises(AskPerson, match="not-enrolled"):
        async with open_access(tmp_path / "nothing"):
            pass


def test_refused_body_that_is_none() -> None:
    """An answer without an error in it is an error all the same; an unknown code is named."""
    assert refused(b"<html>").error.code == "document-invalid"
    assert refused(b'{"code": "from-the-future", "params": {}}').error.params == {"found": "from-the-future"}


async def _chunks(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def test_events_in_pieces() -> None:
    """Events are found however the bytes are cut, with either line ending."""
    data = b"id: 7\r\nevent: notice\r\ndata: " + msgspec.json.encode(EVENT) + b"\r\n\r\n"
    pieces = [data[index : index + 1] for index in range(len(data))]
    assert [event async for event in parse_events(_chunks(*pieces))] == [EVENT]


@pytest.mark.parametrize("data", [b"data: nonsense\n\n", b"data: {}\n\n", b"data: \xff\n\n", b"x" * (1 << 20) + b"xx"])
async def test_hostile_events(data: bytes) -> None:
    """What is no event, or has no end, is refused."""
    with pytest.raises(RefuseContent):
        [event async for event in parse_events(_chunks(data))]
