"""Talking to the model in use, and letting applications do so: `chat`, `gateway token`."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import msgspec

from modelota.cli import agent_access
from modelota.cli.agent_access import ask, refused
from modelota.cli.keyboard import read_line
from modelota.cli.session import Session, current
from modelota.errors import TryLater
from modelota.i18n.texts import clean
from modelota.spec import api
from modelota.spec.limits import PROMPT_MAX_CHARS, RESPONSE_MAX_BYTES

_IDLE_TIMEOUT_S: Final = 600.0  # a slow device may think for long before its first word
_HISTORY_MAX_CHARS: Final = 4 * PROMPT_MAX_CHARS


class _Delta(msgspec.Struct, frozen=True):
    content: str | None = None


class _Choice(msgspec.Struct, frozen=True):
    delta: _Delta = _Delta()


class _Chunk(msgspec.Struct, frozen=True):
    """The part that matters of a streamed answer in the form of OpenAI's chat completions."""

    choices: tuple[_Choice, ...] = ()


async def chat(root: Path, model: str | None, prompt: str | None, max_tokens: int | None) -> None:
    """Ask one question, or hold a conversation until the input ends."""
    session = current()
    async with agent_access.open_access(root) as access:
        place = await ask(access, api.ChatResult, "POST", "/v1/chat", api.ChatRequest(model=model))
        if prompt is not None:
            await _answer(session, place, [{"role": "user", "content": prompt}], max_tokens)
            return
        if sys.stdin.isatty():
            session.aside(session.texts.say("{model} {version}. An empty line ends it.", **_named(place)))
        history: list[dict[str, str]] = []
        prompt = "> " if sys.stdin.isatty() and not session.as_json else ""
        while question := await read_line(prompt):
            history.append({"role": "user", "content": question})
            answer = await _answer(session, place, history, max_tokens)
            history.append({"role": "assistant", "content": answer})
            while sum(len(turn["content"]) for turn in history) > _HISTORY_MAX_CHARS:
                del history[:2]


def _named(place: api.ChatResult) -> dict[str, object]:
    return {"model": place.model, "version": place.version}


async def _answer(
    session: Session, place: api.ChatResult, messages: list[dict[str, str]], max_tokens: int | None
) -> str:
    parts: list[str] = []
    async for part in stream_answer(Path(place.gateway_socket), place.model, messages, max_tokens):
        parts.append(part)
        if not session.as_json:
            sys.stdout.write(clean(part, lines=True))
            sys.stdout.flush()
    session.line()
    answer = "".join(parts)
    session.emit({"model": place.model, "version": place.version, "answer": answer})
    return answer


async def stream_answer(
    socket_path: Path, model: str, messages: list[dict[str, str]], max_tokens: int | None
) -> AsyncIterator[str]:
    """Ask the gateway and give the answer piece by piece.

    Raises:
        Reported: the gateway refused.
        TryLater: `peer-protocol` and others of the connection.
    """
    from modelota.runtime import http_client

    body: dict[str, Any] = {"model": model, "messages": messages, "stream": True}
    if max_tokens is not None:
        body["max_tokens"] = max_tokens
    data = msgspec.json.encode(body)
    async with http_client.stream(
        socket_path, "POST", "/v1/chat/completions", data, idle_timeout_s=_IDLE_TIMEOUT_S
    ) as answer:
        if answer.status != 200:
            raise refused(b"".join([chunk async for chunk in answer.chunks]))
        buffer, size = b"", 0
        async for chunk in answer.chunks:
            buffer, size = buffer + chunk, size + len(chunk)
            if size > RESPONSE_MAX_BYTES:
                raise TryLater("peer-protocol", path=str(socket_path), detail=f"more than {RESPONSE_MAX_BYTES} bytes")
            *lines, buffer = buffer.split(b"\n")
            for line in lines:
                text = _content(line, socket_path)
                if text:
                    yield text


def _content(line: bytes, socket_path: Path) -> str:
    value = line.strip().removeprefix(b"data:").strip()
    if not line.startswith(b"data:") or value == b"[DONE]":
        return ""
    try:
        chunk = msgspec.json.decode(value, type=_Chunk)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise TryLater("peer-protocol", path=str(socket_path), detail=str(error)[:200]) from error
    return "".join(choice.delta.content or "" for choice in chunk.choices)


async def make_token(root: Path, application: str) -> None:
    """Make a token for an application and print it, once."""
    session = current()
    async with agent_access.open_access(root) as access:
        request = api.TokenRequest(application=application)
        made = await ask(access, api.TokenResult, "POST", "/v1/gateway/tokens", request)
    session.emit(made)
    session.line(made.token)
    session.aside(session.texts.say("It opens {url}. It is shown this once; keep it secret.", url=made.url))
