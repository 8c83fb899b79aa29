"""The contract of the endpoint that other applications use, checked on a candidate before it is used (clause 5.1-b).

A gateway of its own stands in front of the candidate's engine, and what applications do is done through it: list the
models, ask, ask with a stream, send nonsense. Shapes only; what the answers say, the functional tests check.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from modelota.errors import TryLater
from modelota.runtime.engine import Engine
from modelota.runtime.gateway import Gateway
from modelota.runtime.http_client import request
from modelota.runtime.messages import EVENT_STREAM, Response
from modelota.runtime.protocol import STREAM, EngineSpec, runtime_of

TIMEOUT_S: Final = 120.0
MAX_TOKENS: Final = 4


class _Message(msgspec.Struct, frozen=True):
    role: str
    content: str


class _Choice(msgspec.Struct, frozen=True):
    message: _Message


class _Answer(msgspec.Struct, frozen=True):
    choices: list[_Choice]


class _StreamChoice(msgspec.Struct, frozen=True):
    delta: dict[str, Any]


class _Chunk(msgspec.Struct, frozen=True):
    choices: list[_StreamChoice]


class _Error(msgspec.Struct, frozen=True):
    message: str
    type: str
    code: str


class _Refusal(msgspec.Struct, frozen=True):
    error: _Error


async def contract_breaches(engine: Engine, spec: EngineSpec) -> tuple[int, list[str]]:
    """Do what applications do; returns how many things were checked, and which of them did not hold.

    Args:
        engine: healthy.
        spec: it was started from; the gateway's socket lies beside the engine's.

    Raises:
        TryLater: the connection to the gateway broke (`peer-…`).
        AskPerson: `root-not-private`, `permission-denied`: the socket can't be made.
    """
    path = Path(spec.socket_path)
    path = path.with_name(f"{path.stem[:-1]}g{path.suffix}")  # as long as the engine's: an address has a limit

    async def nobody(model: str) -> None:
        raise TryLater("engine-crashed", slot=model, status=None)  # it ended: there is nothing to start instead

    gateway = Gateway(nobody, wait_s=TIMEOUT_S)
    gateway.upstreams.switch(spec.model_alias, engine)
    await gateway.serve_unix(path, mode=0o600)
    try:
        checks: dict[str, Callable[[Path, str], Awaitable[bool]]] = {
            "models": _lists_models,
            "chat": _answers,
            "bad-json": _refuses_nonsense,
            "unknown-model": _refuses_unknown,
        }
        if STREAM in runtime_of(spec).capabilities:
            checks["stream"] = _streams
        return len(checks), [name for name, holds in checks.items() if not await holds(path, spec.model_alias)]
    finally:
        await gateway.close()


async def _lists_models(path: Path, model: str) -> bool:
    answer = await request(path, "GET", "/v1/models", timeout_s=TIMEOUT_S)
    listed = _read(answer, dict[str, Any]) if answer.status == 200 else None
    return listed is not None and any(
        isinstance(entry, dict) and entry.get("id") == model for entry in listed.get("data", ())
    )


async def _answers(path: Path, model: str) -> bool:
    answer = await _chat(path, model, stream=False)
    told = _read(answer, _Answer) if answer.status == 200 else None
    return told is not None and bool(told.choices) and told.choices[0].message.role == "assistant"


async def _streams(path: Path, model: str) -> bool:
    answer = await _chat(path, model, stream=True)
    if answer.status != 200 or not answer.headers.get("content-type", "").startswith(EVENT_STREAM):
        return False
    values = [line[5:].strip() for line in answer.body.split(b"\n") if line.startswith(b"data:")]
    if not values or values[-1] != b"[DONE]":
        return False
    chunks = [_decoded(value, _Chunk) for value in values[:-1]]
    return bool(chunks) and all(chunk is not None for chunk in chunks)


async def _refuses_nonsense(path: Path, _: str) -> bool:
    answer = await request(path, "POST", "/v1/chat/completions", b"{not json", timeout_s=TIMEOUT_S)
    return answer.status == 400 and _read(answer, _Refusal) is not None


async def _refuses_unknown(path: Path, model: str) -> bool:
    answer = await _chat(path, f"{model}-of-nobody", stream=False)
    return answer.status == 404 and _read(answer, _Refusal) is not None


async def _chat(path: Path, model: str, *, stream: bool) -> Response:
    messages = [{"role": "user", "content": "Hello"}]
    body = {"model": model, "messages": messages, "max_tokens": MAX_TOKENS, "temperature": 0, "stream": stream}
    return await request(path, "POST", "/v1/chat/completions", msgspec.json.encode(body), timeout_s=TIMEOUT_S)


def _read(answer: Response, kind: Any) -> Any:  # noqa: ANN401  whatever type is asked for
    return _decoded(answer.body, kind)


def _decoded(data: bytes, kind: Any) -> Any:  # noqa: ANN401  as above
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
