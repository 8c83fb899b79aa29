"""A client of the agent's own socket (`docs/socket-api.md`), for the page, the notifier and the command line.

Errors arrive as what they were raised as, with `now` and `now_params` saying how the device was left.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeVar, get_args
from urllib.parse import urlencode

import msgspec

from modelota.errors import ModelotaError, RefuseContent, error_from
from modelota.runtime import http_client
from modelota.runtime.messages import EVENT_STREAM
from modelota.spec import api
from modelota.spec.limits import RESPONSE_MAX_BYTES

EVENT_MAX_BYTES: Final = 1 << 20
# A check may fetch metadata over a slow line before it answers; everything else is quick.
TIMEOUT_S: Final = 600.0
_KINDS: Final = frozenset(get_args(api.EventKind))
_NONE: Final[Mapping[str, str]] = {}

T = TypeVar("T")


class SocketClient:
    """Requests to an agent that runs in another process; nothing is held between them.

    Args:
        socket_path: its Unix socket.
        headers: of every request, besides HTTP's own.
    """

    def __init__(self, socket_path: Path, headers: Mapping[str, str] = _NONE) -> None:
        self._path: Final = socket_path
        self._headers: Final = dict(headers)

    async def request(
        self, method: str, path: str, body: msgspec.Struct | None = None, query: Mapping[str, str] = _NONE
    ) -> bytes:
        """Send one request; returns the JSON of the answer.

        Raises:
            ModelotaError: what the agent answered with.
            TryLater: `peer-unreachable`, `peer-timeout`, `peer-protocol`.
        """
        target = f"{path}?{urlencode(query)}" if query else path
        data = None if body is None else msgspec.json.encode(body)
        answer = await http_client.request(
            self._path, method, target, data, self._headers, timeout_s=TIMEOUT_S, limit_bytes=RESPONSE_MAX_BYTES
        )
        if not 200 <= answer.status < 300:
            raise refused(answer.body)
        return answer.body

    async def ask(
        self,
        kind: type[T],
        method: str,
        path: str,
        body: msgspec.Struct | None = None,
        query: Mapping[str, str] = _NONE,
    ) -> T:
        """Send a request and decode its answer as `kind`.

        Raises:
            ModelotaError: as `request`.
            RefuseContent: `document-invalid`: the answer is not what the interface promises.
        """
        return decoded(await self.request(method, path, body, query), kind, f"{method} {path}")

    async def events(self, after: int | None = None) -> AsyncGenerator[api.Event, None]:
        """Follow what happens, from the event after number `after`, or from now on, until the agent ends.

        Raises:
            ModelotaError: as `event_stream`; `document-invalid`, `document-too-large` of an event.
        """
        async with self.event_stream(after) as chunks:
            async for event in parse_events(chunks):
                yield event

    @asynccontextmanager
    async def event_stream(self, after: int | None = None) -> AsyncGenerator[AsyncIterator[bytes], None]:
        """The same as `events`, as the bytes of the stream (WHATWG HTML, 9.2): for who passes them on.

        Once it is open, the agent listens: what happens from then on is in the stream.

        Raises:
            ModelotaError: what the agent answered with; also while iterating `TryLater` when it is gone.
        """
        headers = {"accept": EVENT_STREAM, **self._headers}
        if after is not None:
            headers["last-event-id"] = str(after)
        async with http_client.stream(self._path, "GET", "/v1/events", None, headers) as answer:
            if answer.status != 200:
                raise refused(b"".join([chunk async for chunk in answer.chunks]))
            yield answer.chunks


def decoded(data: bytes, kind: type[T], name: str) -> T:
    """Decode an answer.

    Raises:
        RefuseContent: `document-invalid`: the answer is not what the interface promises.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RefuseContent("document-invalid", document=name, detail=str(error)[:300]) from error


def refused(data: bytes) -> ModelotaError:
    """The error in the body of an answer that is not a success; a body that carries none becomes one itself."""
    try:
        body = msgspec.json.decode(data, type=api.ErrorBody)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        excerpt = data[:200].decode("utf-8", "replace")
        error: ModelotaError = RefuseContent("document-invalid", document="error", detail=excerpt)
        error.now = "unknown"
        return error
    error = error_from(body.code, body.params)
    error.now, error.now_params = body.now or "unchanged", body.now_params
    return error


async def parse_events(chunks: AsyncIterator[bytes]) -> AsyncIterator[api.Event]:
    """Decode a stream of server-sent events into the API's events; kinds that are not known here are left out.

    Raises:
        RefuseContent: `document-invalid`, `document-too-large`.
    """
    buffer = b""
    async for chunk in chunks:
        buffer += chunk
        *blocks, buffer = buffer.replace(b"\r\n", b"\n").split(b"\n\n")
        for block in blocks:
            lines = [line[5:].removeprefix(b" ") for line in block.split(b"\n") if line.startswith(b"data:")]
            if not lines:
                continue
            event = _event(b"\n".join(lines))
            if event is not None:
                yield event
        if len(buffer) > EVENT_MAX_BYTES:
            raise RefuseContent(
                "document-too-large", document="event", limit_bytes=EVENT_MAX_BYTES, found_bytes=len(buffer)
            )


class _Head(msgspec.Struct, frozen=True):
    kind: str


def _event(data: bytes) -> api.Event | None:
    try:
        if msgspec.json.decode(data, type=_Head).kind not in _KINDS:
            return None  # of a newer agent
        return msgspec.json.decode(data, type=api.Event)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RefuseContent("document-invalid", document="event", detail=str(error)[:300]) from error
