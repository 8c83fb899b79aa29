"""The suite every runtime passes (`docs/adding-a-runtime.md`): one specification in, a list of what does not hold out.

It looks from outside, through procfs and the engine's socket, and uses nothing of the runtime under test but its
registered name.
"""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from modelota.clock import Clock
from modelota.errors import ModelotaError, RefuseContent, TryLater
from modelota.runtime.client import EngineClient
from modelota.runtime.engine import Engine, start_engine
from modelota.runtime.http import events, request, stream
from modelota.runtime.protocol import CHAT, PERPLEXITY, STREAM, EngineSpec, runtime_of
from modelota.telemetry.memory import process_tree, tree_memory

_START_TIMEOUT_S: Final = 300.0
_END_LIMIT_S: Final = 2.0
_POLL_S: Final = 0.01
_PROMPT: Final = "Hello"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that does not hold: the check, and what was seen instead."""

    check: str
    found: str


async def check_runtime(spec: EngineSpec, *, clock: Clock, start_timeout_s: float = _START_TIMEOUT_S) -> list[Finding]:
    """Start the engine of `spec` several times and check what the rest of modelota relies on.

    Args:
        spec: a working specification of the runtime under test; its directories are private.
        clock: what is waited with.
        start_timeout_s: for each start.

    Returns:
        What does not hold; empty when the runtime passes.

    Raises:
        ModelotaError: as `start_engine`, when the specification does not work at all.
    """
    findings: list[Finding] = []
    checks: list[tuple[str, Callable[[Engine], Awaitable[str | None]]]] = [
        ("declares chat and streaming, and has a version", _declares),
        ("answers a chat as a whole", _whole_answer),
        ("streams a chat as events that end with [DONE]", _streamed_answer),
        ("greedy answers repeat", _repeats),
        ("tells perplexity if it declares it", _perplexity),
        ("survives a client that leaves", _client_leaves),
        ("survives requests that make no sense", _nonsense),
        ("listens on no internet address", _no_internet),
        ("its socket cannot be reached by others", _private_socket),
        ("its memory can be read", _memory),
    ]
    async with _running(spec, clock, start_timeout_s) as engine:
        for name, check in checks:
            try:
                found = await check(engine)
            except ModelotaError as error:
                found = str(error)
            if found is not None:
                findings.append(Finding(check=name, found=found))
    async with _running(spec, clock, start_timeout_s) as engine:
        tree = process_tree(engine.pid)
        await engine.stop(grace_s=5)
        if left := await _left_after(tree, clock):
            findings.append(Finding(check="stops with everything it started", found=f"{left} processes are left"))
        if engine.socket_path.exists():
            findings.append(Finding(check="stops with everything it started", found="its socket is left"))
    if found := await _refuses_damage(spec, clock, start_timeout_s):
        findings.append(Finding(check="refuses a file that is not what was promised", found=found))
    return findings


@asynccontextmanager
async def _running(spec: EngineSpec, clock: Clock, timeout_s: float) -> AsyncIterator[Engine]:
    engine = await start_engine(spec, clock=clock, timeout_s=timeout_s)
    try:
        yield engine
    finally:
        await engine.stop()


async def _declares(engine: Engine) -> str | None:
    runtime = runtime_of(engine.spec)
    missing = {CHAT, STREAM} - runtime.capabilities
    if missing:
        return f"lacks {sorted(missing)}"
    version = runtime.version()
    return None if version is not None and version[:1].isdigit() else f"version {version!r}"


async def _whole_answer(engine: Engine) -> str | None:
    answer = await _chat(engine, stream=False)
    if answer[0] != 200:
        return f"status {answer[0]}"
    try:
        body = msgspec.json.decode(answer[1], type=_Completion)
    except msgspec.MsgspecError as error:
        return str(error)
    return None if body.choices else "no choices"


async def _streamed_answer(engine: Engine) -> str | None:
    body = _body(stream=True)
    async with stream(engine.socket_path, "POST", "/v1/chat/completions", body) as answer:
        kind = answer.headers.get("content-type", "")
        if not kind.startswith("text/event-stream"):
            return f"content-type {kind!r}"
        received = [event.data async for event in events(answer.chunks)]
    return None if received and received[-1] == "[DONE]" else "no [DONE]"


async def _repeats(engine: Engine) -> str | None:
    client = EngineClient(engine.socket_path, label=engine.label)
    texts = {(await client.chat(_PROMPT, max_tokens=8)).text for _ in range(2)}
    return None if len(texts) == 1 else f"{len(texts)} different answers"


async def _perplexity(engine: Engine) -> str | None:
    if PERPLEXITY not in runtime_of(engine.spec).capabilities:
        return None
    value = await EngineClient(engine.socket_path, label=engine.label).perplexity("Hello, hello.")
    return None if 1 <= value < float("inf") else f"{value}"


async def _client_leaves(engine: Engine) -> str | None:
    async with stream(engine.socket_path, "POST", "/v1/chat/completions", _body(stream=True)) as answer:
        await anext(answer.chunks)
    return None if await EngineClient(engine.socket_path).health() else "not healthy afterwards"


async def _nonsense(engine: Engine) -> str | None:
    for body in (b"", b"not json", b"[]", b'{"messages": 7}', b"\xff" * 1000):
        answer = await request(engine.socket_path, "POST", "/v1/chat/completions", body)
        if answer.status == 200:
            return f"200 for {body[:20]!r}"
    return None if await EngineClient(engine.socket_path).health() else "not healthy afterwards"


async def _no_internet(engine: Engine) -> str | None:
    return next((address for pid in process_tree(engine.pid) for address in _internet_addresses(pid)), None)


def _internet_addresses(pid: int) -> list[str]:
    """Addresses, as procfs writes them, of the internet sockets that the process holds."""
    held = {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    found: list[str] = []
    for name in ("tcp", "tcp6", "udp", "udp6"):
        rows = Path(f"/proc/{pid}/net/{name}").read_text(encoding="ascii").splitlines()[1:]
        found += [f"{name} {row.split()[1]}" for row in rows if f"socket:[{row.split()[9]}]" in held]
    return found


async def _private_socket(engine: Engine) -> str | None:
    folder, file = engine.socket_path.parent.stat(), engine.socket_path.stat()
    if not stat.S_ISSOCK(file.st_mode):
        return "not a socket"
    return oct(folder.st_mode) if folder.st_mode & 0o077 else None


async def _memory(engine: Engine) -> str | None:
    return tree_memory(engine.pid).reason


async def _refuses_damage(spec: EngineSpec, clock: Clock, timeout_s: float) -> str | None:
    first, *others = spec.files
    wrong = msgspec.structs.replace(first, digest="0" * 64)
    try:
        engine = await start_engine(
            msgspec.structs.replace(spec, files=(wrong, *others)), clock=clock, timeout_s=timeout_s
        )
    except RefuseContent as error:
        return None if error.code == "slot-damaged" else error.code
    except TryLater as error:
        return error.code
    await engine.stop()
    return "it started"


async def _left_after(tree: list[int], clock: Clock) -> int:
    """How many of the processes still run after a moment."""
    deadline = clock.monotonic() + _END_LIMIT_S
    while (left := sum(_runs(pid) for pid in tree)) and clock.monotonic() < deadline:
        await clock.sleep(_POLL_S)
    return left


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def _chat(engine: Engine, *, stream: bool) -> tuple[int, bytes]:
    answer = await request(engine.socket_path, "POST", "/v1/chat/completions", _body(stream=stream))
    return answer.status, answer.body


def _body(*, stream: bool) -> bytes:
    messages = [{"role": "user", "content": _PROMPT}]
    return msgspec.json.encode({"messages": messages, "max_tokens": 16, "temperature": 0, "stream": stream})


class _Message(msgspec.Struct, frozen=True):
    content: str | None


class _Choice(msgspec.Struct, frozen=True):
    message: _Message


class _Completion(msgspec.Struct, frozen=True):
    choices: tuple[_Choice, ...]
