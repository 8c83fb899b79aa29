"""The one endpoint applications talk to: OpenAI-compatible HTTP on a Unix socket, optionally on TCP loopback.

What holds against web pages on TCP (DNS rebinding, cross-site requests): the `Host` must be a loopback name with our
port, any `Origin` that is not listed is refused, no CORS header is ever sent, `OPTIONS` is refused, and every request
needs an application's token. On the Unix socket the file's permissions decide.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import msgspec

from modelota.errors import AskPerson, ModelotaError, TryLater
from modelota.runtime.http_client import ResponseStream, stream
from modelota.runtime.http_server import HttpServer, serve_tcp, serve_unix
from modelota.runtime.messages import (
    EVENT_STREAM,
    Reply,
    Request,
    Response,
    ServerLimits,
    ServerSentEvent,
    StreamingResponse,
    json_response,
    plain,
)
from modelota.runtime.meter import Measured, Meter
from modelota.runtime.protocol import EMBEDDINGS, runtime_of
from modelota.runtime.upstreams import Upstream, Upstreams

Ensure = Callable[[str], Awaitable[None]]

BODY_MAX_BYTES: Final = 16 << 20  # a long conversation is text; 16 MiB is far more than any context
_ENGINE_SILENCE_S: Final = 600.0  # a large prompt on a slow device says nothing until its first token
_POSTS: Final = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/embeddings"})
# a connection that nobody took is tried again elsewhere, and a switch that cuts answers is ours
_NOT_THE_ENGINE: Final = frozenset({"peer-unreachable", "answers-cut"})
_PASSED_HEADERS: Final = frozenset({"content-type", "cache-control", "retry-after"})


def new_token() -> tuple[str, str]:
    """A token for an application, told once, and the digest that is kept."""
    token = secrets.token_urlsafe(32)
    return token, token_digest(token)


def token_digest(token: str) -> str:
    """SHA-256 in hexadecimal. Tokens are 256 random bits, so a plain hash cannot be searched."""
    return hashlib.sha256(token.encode()).hexdigest()


class Gateway:
    """Passes requests on to the engine of the model they name.

    Args:
        ensure: called with a model that has no engine when a request for it arrives; starts one and `switch`es to it,
            or raises the `ModelotaError` the application is told. Never called twice at once for one model.
        wait_s: how long a request waits for that.
        tokens: digest -> application, for TCP.
        origins: web origins that may use it all the same, such as `http://localhost:3000`.
        message: renders an error for people; codes and parameters are always beside it.
        measured: told what each answer says about its engine.
    """

    def __init__(
        self,
        ensure: Ensure,
        *,
        wait_s: float = 60.0,
        tokens: Mapping[str, str] | None = None,
        origins: frozenset[str] = frozenset(),
        message: Callable[[ModelotaError], str] = str,
        measured: Measured | None = None,
    ) -> None:
        self.upstreams = Upstreams()
        self._ensure = ensure
        self._wait_s = wait_s
        self._tokens = dict(tokens or {})
        self._origins = origins
        self._message = message
        self._measured = measured
        self._starting: dict[str, asyncio.Task[None]] = {}
        self._servers: list[HttpServer] = []
        self._limits = ServerLimits(body_bytes=BODY_MAX_BYTES)

    def set_tokens(self, tokens: Mapping[str, str]) -> None:
        """Replace the accepted tokens: digest -> application. Takes effect with the next request."""
        self._tokens = dict(tokens)

    async def serve_unix(self, path: Path, *, mode: int = 0o660, group: int | None = None) -> None:
        """Listen on a Unix socket that `group` may use.

        Raises:
            AskPerson: as `http.serve_unix`.
        """
        server = await serve_unix(
            path, self._handle, mode=mode, group=group, limits=self._limits, render_error=self._render
        )
        self._servers.append(server)

    async def serve_tcp(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen on a TCP port of the loopback interface; returns the port.

        Raises:
            AskPerson: as `http.serve_tcp`.
        """
        allowed: frozenset[str] = frozenset()

        async def handle(request: Request) -> Reply:
            self._authenticate(request, allowed)
            return await self._handle(request)

        server = await serve_tcp(host, port, handle, limits=self._limits, render_error=self._render)
        allowed = frozenset(f"{name}:{server.port}" for name in ("127.0.0.1", "localhost", "[::1]"))
        self._servers.append(server)
        return server.port

    async def close(self, *, grace_s: float = 0.0) -> None:
        """Stop listening; let answers under way finish for `grace_s`."""
        await asyncio.gather(*(server.close(grace_s=grace_s) for server in self._servers))
        self._servers.clear()
        for task in self._starting.values():
            task.cancel()
        await asyncio.gather(*self._starting.values(), return_exceptions=True)

    def _authenticate(self, request: Request, allowed: frozenset[str]) -> None:
        host = request.headers.get("host", "").lower()
        if host not in allowed:
            raise AskPerson("gateway-host-refused", host=host[:100])
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        # Looked up by digest: how long that takes says nothing about the token.
        if scheme.lower() != "bearer" or token_digest(token.strip()) not in self._tokens:
            raise AskPerson("gateway-token-refused")

    async def _handle(self, request: Request) -> Reply:
        origin = request.headers.get("origin")
        if origin is not None and origin not in self._origins:
            raise AskPerson("gateway-origin-refused", origin=origin[:100])
        route = (request.method, request.path)
        if route == ("GET", "/health"):
            return json_response({"status": "ok"})
        if route == ("GET", "/v1/models"):
            return json_response({"object": "list", "data": [_model_entry(model) for model in self.upstreams.models]})
        if request.method != "POST" or request.path not in _POSTS:
            raise AskPerson("route-unknown", path=f"{request.method} {request.path}"[:100])
        return await self._pass_on(request)

    async def _pass_on(self, request: Request) -> Reply:
        model = self._named_model(request.body)
        for last in (False, True):
            upstream = await self._ready(model)
            _require_capability(upstream, request.path)
            try:
                return await self._forward(request, upstream)
            except TryLater as error:
                if error.code != "peer-unreachable":
                    raise
                # It ended. Nothing was answered yet, so the request may go to the one that replaces it.
                self.upstreams.lost(upstream)
                if last:
                    raise TryLater("engine-crashed", slot=upstream.engine.label, status=None) from error
        raise AssertionError("unreachable: the second round returns or raises")

    def _named_model(self, body: bytes) -> str:
        """The model a request names, or the only one there is.

        Raises:
            AskPerson: `request-invalid`, `no-model-installed`.
        """
        try:
            named = msgspec.json.decode(body, type=_Named).model
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise AskPerson("request-invalid", detail=str(error)[:200]) from error
        models = self.upstreams.models
        if named is None and len(models) == 1:
            return models[0]
        if named is None or named not in models:
            raise AskPerson("no-model-installed", model=None if named is None else named[:129])
        return named

    async def _ready(self, model: str) -> Upstream:
        """The engine for `model`, started if there is none.

        Raises:
            TryLater: `engine-timeout` after `wait_s`; or what `ensure` raises.
        """
        found = self.upstreams.current(model)
        if found is not None:
            return found
        try:
            async with asyncio.timeout(self._wait_s):
                if model not in self._starting:
                    task = asyncio.ensure_future(self._ensure(model))
                    self._starting[model] = task
                    task.add_done_callback(lambda done: self._started(model, done))
                # Shielded: an application that gives up must not stop the start that others wait for.
                await asyncio.shield(self._starting[model])
                return await self.upstreams.available(model)
        except TimeoutError as error:
            raise TryLater("engine-timeout", slot=model, seconds=self._wait_s) from error

    def _started(self, model: str, task: asyncio.Task[None]) -> None:
        del self._starting[model]
        if not task.cancelled():
            task.exception()  # told to those who wait; if all of them left, there is nobody to tell

    async def _forward(self, request: Request, upstream: Upstream) -> StreamingResponse:
        relay = _Relay(upstream, self._render, self._measured)
        try:
            answer = await relay.open(request)
        except BaseException:
            await relay.aclose()
            raise
        headers = {name: value for name, value in answer.headers.items() if name in _PASSED_HEADERS}
        return StreamingResponse(status=answer.status, headers=headers, chunks=relay)

    def _render(self, error: ModelotaError, status: int) -> Response:
        """An error in the shape OpenAI clients expect."""
        body = {
            "error": {
                "message": self._message(error),
                "type": error.branch,
                "code": error.code,
                "param": None,
                "params": plain(error.params),
            }
        }
        answer = json_response(body, 405 if error.code == "route-unknown" and status == 404 else status)
        if error.code == "gateway-token-refused":
            answer.headers["www-authenticate"] = "Bearer"
        return answer


class _Relay:
    """An engine's answer on its way to an application: each piece as it comes. Closing it aborts the engine's work.

    A class, not a generator: a generator that was never started does not run its `finally` when it is closed.
    """

    def __init__(
        self, upstream: Upstream, render: Callable[[ModelotaError, int], Response], measured: Measured | None
    ) -> None:
        self._upstream = upstream
        self._measured = measured
        self._meter = Meter(time.monotonic)
        self._render = render
        self._is_over = False
        self._resources = AsyncExitStack()
        self._resources.enter_context(upstream.used())
        self._answer: ResponseStream | None = None

    async def open(self, request: Request) -> ResponseStream:
        """Send the request, wait for the head of the answer."""
        try:
            return await self._open(request)
        except TryLater as error:
            if error.code not in _NOT_THE_ENGINE:
                self._tell(500, whole=False)
            raise

    async def _open(self, request: Request) -> ResponseStream:
        async with self._upstream.uncut():
            self._answer = await self._resources.enter_async_context(
                stream(
                    self._upstream.engine.socket_path,
                    request.method,
                    request.path,
                    request.body,
                    idle_timeout_s=_ENGINE_SILENCE_S,
                )
            )
        return self._answer

    def __aiter__(self) -> _Relay:
        return self

    async def __anext__(self) -> bytes:
        assert self._answer is not None
        if self._is_over:
            raise StopAsyncIteration
        try:
            async with self._upstream.uncut():
                chunk = await anext(self._answer.chunks, None)
        except TryLater as error:
            if error.code not in _NOT_THE_ENGINE:
                self._tell(self._answer.status, whole=False)
            if error.code != "answers-cut" or EVENT_STREAM not in self._answer.headers.get("content-type", ""):
                raise
            # an answer that comes in events can still say why it ends early; any other can only break off
            self._is_over = True
            return ServerSentEvent(data=self._render(error, 503).body.decode()).encode()
        if chunk is None:
            self._tell(self._answer.status, whole=True)
            raise StopAsyncIteration
        self._meter.passed(chunk)
        return chunk

    def _tell(self, status: int, *, whole: bool) -> None:
        """Tell the figures, once. An application that leaves early says nothing about the engine."""
        measured, self._measured = self._measured, None
        if measured is not None:
            measured(self._upstream.model, self._upstream.engine.label, self._meter.figures(status, whole=whole))

    async def aclose(self) -> None:
        """Let go of the engine."""
        await self._resources.aclose()


class _Named(msgspec.Struct, frozen=True):
    model: str | None = None


def _model_entry(model: str) -> dict[str, Any]:
    return {"id": model, "object": "model", "created": 0, "owned_by": model.partition("/")[0]}


def _require_capability(upstream: Upstream, path: str) -> None:
    if path != "/v1/embeddings":
        return
    spec = getattr(upstream.engine, "spec", None)
    if spec is None or EMBEDDINGS not in runtime_of(spec).capabilities:
        raise AskPerson("route-unknown", path=path)
