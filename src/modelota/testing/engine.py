"""A scripted engine: a stand-in for a model runtime that needs no weights.

As a process it serves the contract of the command runtime (`docs/adding-a-runtime.md`), and its "model file" is its
script, so that publishing another script publishes another behaviour::

    profile_argv = fake_argv()          the device's configured command
    model_file   = fake_model(answers={"Who are you?": "I am 1.1.2"})

A model file that is no script (random bytes, say) gets the default script. In a test's own event loop, `FakeEngine`
serves the same and lets the test hold answers back and see what arrived.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

import msgspec

from modelota.errors import AskPerson
from modelota.runtime.command import MODEL_VARIABLE, SOCKET_VARIABLE, USER_DATA_VARIABLE
from modelota.runtime.http import (
    HttpServer,
    Reply,
    Request,
    ServerSentEvent,
    StreamingResponse,
    json_response,
    serve_unix,
)

LAYOUT_FILE: Final = "layout"  # among the owner's data: which layout they have
FOUND_FILE: Final = "found-layouts"  # in the engine's own directory: what it found there, a line per start

_SCRIPT_MAX_BYTES: Final = 1 << 20
_DEFAULT_ANSWER: Final = "I have no weights."


class Script(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a fake engine behaves.

    Attributes:
        kind: marks a file as a script.
        answers: prompt -> answer; words are its tokens.
        default: the answer to anything else.
        start_delay_s: before it listens.
        first_token_delay_s: before each answer's first token.
        token_delay_s: before each further token.
        exit_at_start: ends at once with this status.
        unhealthy: listens, but answers `/health` with 503.
        crash_after: kills itself when this many answers have been given and another is asked for.
        error_after: answers 500 to everything once this many answers have been given.
        ballast_bytes: memory it holds.
        helpers: processes it starts, which do nothing and ignore SIGTERM.
        user_data_layout: the layout of the owner's data that it reads and writes, when it is given a place of them: it
            carries older data over at its start, as a new version would, and notes what it found there.
        exit_with_user_data: ends with this status once it has carried the owner's data over.
    """

    kind: Literal["fake-engine"] = "fake-engine"
    answers: dict[str, str] = {}
    default: str = _DEFAULT_ANSWER
    start_delay_s: float = 0.0
    first_token_delay_s: float = 0.0
    token_delay_s: float = 0.0
    exit_at_start: int | None = None
    unhealthy: bool = False
    crash_after: int | None = None
    error_after: int | None = None
    ballast_bytes: int = 0
    helpers: int = 0
    user_data_layout: int | None = None
    exit_with_user_data: int | None = None


def fake_model(**fields: Any) -> bytes:  # noqa: ANN401  fields of `Script`, checked by it
    """Bytes of a model file with the given `Script` fields.

    Raises:
        msgspec.ValidationError: a field has the wrong type.
    """
    return msgspec.json.format(msgspec.json.encode(msgspec.convert({"kind": "fake-engine", **fields}, Script)))


def fake_argv() -> tuple[str, ...]:
    """The command that runs the fake engine."""
    return (sys.executable, "-P", "-m", "modelota.testing.engine")


class FakeEngine:
    """A scripted engine in this event loop; use as an asynchronous context manager.

    Attributes:
        socket_path: where it serves.
        label: name of its pretended slot.
        requests: bodies of the chat requests that arrived, decoded.
        finished: how many answers were sent to their end.
        aborted: how many were broken off by the client.
        arrived: set when a chat request has arrived.
        release: answers wait for this before their second token; set unless the test clears it.
    """

    def __init__(self, socket_path: Path, script: Script | None = None, *, label: str = "fake") -> None:
        self.socket_path = socket_path
        self.label = label
        self.requests: list[dict[str, Any]] = []
        self.finished = 0
        self.aborted = 0
        self.arrived = asyncio.Event()
        self.abort_seen = asyncio.Event()
        self.release = asyncio.Event()
        self.release.set()
        self._script = script or Script()
        self._server: HttpServer | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen."""
        self._server = await serve_unix(self.socket_path, self._handle)

    async def stop(self) -> None:
        """Stop at once, cutting answers under way."""
        if self._server is not None:
            await self._server.close()

    async def _handle(self, request: Request) -> Reply:
        route = (request.method, request.path)
        if route == ("GET", "/health"):
            healthy = not self._script.unhealthy
            return json_response({"status": "ok" if healthy else "loading"}, 200 if healthy else 503)
        if route != ("POST", "/v1/chat/completions"):
            raise AskPerson("route-unknown", path=request.path[:100])
        body = msgspec.json.decode(request.body, type=dict[str, Any])
        if self._script.crash_after is not None and len(self.requests) >= self._script.crash_after:
            os.kill(os.getpid(), signal.SIGKILL)
        if self._script.error_after is not None and len(self.requests) >= self._script.error_after:
            return json_response({"error": {"message": "told to fail"}}, 500)
        self.requests.append(body)
        self.arrived.set()
        tokens = self._tokens(body)
        if body.get("stream"):
            headers = {"content-type": "text/event-stream"}
            return StreamingResponse(headers=headers, chunks=self._stream(tokens))
        began = time.monotonic()
        text = "".join([token async for token in self._paced(tokens)])
        self.finished += 1
        timings = {"predicted_n": len(tokens), "predicted_ms": 1000 * (time.monotonic() - began) + 1}
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return json_response({"choices": [choice], "usage": {"completion_tokens": len(tokens)}, "timings": timings})

    def _tokens(self, body: dict[str, Any]) -> list[str]:
        """The answer in words; repeated up to the asked length when the end is to be ignored."""
        messages = body.get("messages") or [{}]
        text = self._script.answers.get(str(messages[-1].get("content", "")), self._script.default)
        words = [word if index == 0 else f" {word}" for index, word in enumerate(text.split())]
        limit = int(body.get("max_tokens") or 256)
        if body.get("ignore_eos") and words:
            words = (words * (limit // len(words) + 1))[:limit]
        return words[:limit]

    async def _paced(self, tokens: list[str]) -> AsyncIterator[str]:
        await asyncio.sleep(self._script.first_token_delay_s)
        for index, token in enumerate(tokens):
            if index > 0:
                await self.release.wait()
                await asyncio.sleep(self._script.token_delay_s)
            yield token

    async def _stream(self, tokens: list[str]) -> AsyncIterator[bytes]:
        try:
            async for token in self._paced(tokens):
                yield _event({"choices": [{"index": 0, "delta": {"content": token}}]})
            yield _event({"choices": [], "usage": {"completion_tokens": len(tokens)}})
            yield ServerSentEvent(data="[DONE]").encode()
            self.finished += 1
        except (asyncio.CancelledError, GeneratorExit):
            self.aborted += 1
            self.abort_seen.set()
            raise


def _event(chunk: dict[str, Any]) -> bytes:
    return ServerSentEvent(data=msgspec.json.encode(chunk).decode()).encode()


def _read_script(path: Path) -> Script:
    with path.open("rb") as file:
        head = file.read(_SCRIPT_MAX_BYTES)
    try:
        return msgspec.json.decode(head, type=Script)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return Script()


def _keep_user_data(layout: int, place: Path) -> None:
    """Note the layout found in `place` in a file of the engine's own directory, and carry what is older over."""
    mark = place / LAYOUT_FILE
    found = int(mark.read_text(encoding="ascii")) if mark.exists() else layout
    with Path(FOUND_FILE).open("a", encoding="ascii") as notes:
        notes.write(f"{found}\n")
    if found < layout:
        for path in sorted(path for path in place.iterdir() if path.is_file() and path != mark):
            with path.open("a", encoding="utf-8") as file:
                file.write(f"\ncarried over from layout {found} to {layout}")
    mark.write_text(str(layout), encoding="ascii")


async def _serve() -> None:
    script = _read_script(Path(os.environ[MODEL_VARIABLE]))
    user_data = os.environ.get(USER_DATA_VARIABLE)
    if script.user_data_layout is not None and user_data is not None:
        _keep_user_data(script.user_data_layout, Path(user_data))
        if script.exit_with_user_data is not None:
            sys.exit(script.exit_with_user_data)
    if script.exit_at_start is not None:
        print("the fake engine was told to fail", file=sys.stderr)  # noqa: T201  it plays a program that prints
        sys.exit(script.exit_at_start)
    ignore = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pause()"
    helpers = [subprocess.Popen([sys.executable, "-c", ignore]) for _ in range(script.helpers)]  # noqa: S603, ASYNC220
    ballast = bytearray(os.urandom(4096) * (script.ballast_bytes // 4096))
    await asyncio.sleep(script.start_delay_s)
    async with FakeEngine(Path(os.environ[SOCKET_VARIABLE]), script):
        await asyncio.get_running_loop().create_future()  # until a signal ends the process
    del helpers, ballast


if __name__ == "__main__":
    asyncio.run(_serve())
