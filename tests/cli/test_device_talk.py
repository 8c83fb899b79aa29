"""Talking to the model through the gateway's socket."""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest
from tests.cli.fake_agent import FakeAgent

from modelota.cli.device_talk import chat, make_token, stream_answer
from modelota.cli.failure import Reported
from modelota.cli.session import Session, begin
from modelota.errors import TryLater
from modelota.runtime.http import Request, Response, StreamingResponse, serve_unix
from modelota.spec import api


@pytest.fixture
def gateway_path() -> Iterator[Path]:
    """A place for the gateway's socket, with a short name."""
    with tempfile.TemporaryDirectory(prefix="mo-") as name:
        yield Path(name) / "gateway.sock"


class Gateway:
    """Answers every question with pieces of text."""

    def __init__(self, *pieces: str) -> None:
        self.pieces = pieces
        self.asked: list[dict[str, object]] = []

    async def __call__(self, request: Request) -> Response | StreamingResponse:
        assert (request.method, request.path) == ("POST", "/v1/chat/completions")
        self.asked.append(msgspec.json.decode(request.body))
        return StreamingResponse(headers={"content-type": "text/event-stream"}, chunks=self._stream())

    async def _stream(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield b"data: " + msgspec.json.encode({"choices": [{"delta": {"content": piece}}], "x": 1}) + b"\n\n"
        yield b"data: [DONE]\n\n"


def _agent(gateway_path: Path) -> FakeAgent:
    agent = FakeAgent()
    agent.answers["/v1/chat"] = api.ChatResult(model="a/b", version="1.1.2", gateway_socket=str(gateway_path))
    return agent


async def test_one_question(
    gateway_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The answer arrives piece by piece; control characters of the model do not reach the terminal."""
    gateway = Gateway("3 km are ", "3000 m.", "\x1b[2J")
    monkeypatch.setattr("modelota.cli.agent_access.open_access", _agent(gateway_path).opener())
    begin(Session("en", as_json=False))
    server = await serve_unix(gateway_path, gateway)
    try:
        await chat(Path("/device"), None, "How far?", 20)
    finally:
        await server.close()
    assert capfd.readouterr().out == "3 km are 3000 m.�[2J\n"
    assert gateway.asked == [
        {"model": "a/b", "messages": [{"role": "user", "content": "How far?"}], "stream": True, "max_tokens": 20}
    ]


async def test_conversation(
    gateway_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without a prompt every line is a question, with what was said before; an empty line ends it."""
    gateway = Gateway("yes")
    monkeypatch.setattr("modelota.cli.agent_access.open_access", _agent(gateway_path).opener())
    monkeypatch.setattr(sys, "stdin", io.StringIO("one\ntwo\n\nthree\n"))
    begin(Session("en", as_json=True))
    server = await serve_unix(gateway_path, gateway)
    try:
        await chat(Path("/device"), None, None, None)
    finally:
        await server.close()
    lines = [msgspec.json.decode(line) for line in capfd.readouterr().out.splitlines()]
    assert [line["answer"] for line in lines] == ["yes", "yes"]
    assert [len(asked["messages"]) for asked in gateway.asked] == [1, 3]  # type: ignore[arg-type]  # a list of messages


@pytest.mark.parametrize("body", [b'{"code": "not-authorised", "params": {}}', b"nonsense"])
async def test_a_gateway_that_refuses(gateway_path: Path, body: bytes) -> None:
    """A refusal is told with its code."""

    async def refuse(_: Request) -> Response:
        return Response(status=403, body=body)

    server = await serve_unix(gateway_path, refuse)
    try:
        with pytest.raises(Reported):
            [part async for part in stream_answer(gateway_path, "a/b", [], None)]
    finally:
        await server.close()


async def test_a_stream_that_is_none(gateway_path: Path) -> None:
    """What is not a chat stream is named as such."""

    async def answer(_: Request) -> Response:
        return Response(body=b"data: {broken\n\n")

    server = await serve_unix(gateway_path, answer)
    try:
        with pytest.raises(TryLater, match="peer-protocol"):
            [part async for part in stream_answer(gateway_path, "a/b", [], None)]
    finally:
        await server.close()


async def test_token(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """The token is on standard output alone, so that a script can take it."""
    agent = FakeAgent()
    agent.answers["/v1/gateway/tokens"] = api.TokenResult(
        application="notes", token="secret", url="http://127.0.0.1:1/v1"
    )
    monkeypatch.setattr("modelota.cli.agent_access.open_access", agent.opener())
    begin(Session("en", as_json=False))
    await make_token(Path("/device"), "notes")
    captured = capfd.readouterr()
    assert captured.out == "secret\n"
    assert "http://127.0.0.1:1/v1" in captured.err
