"""HTTP client over Unix sockets: one connection per request, so nothing is shared and nothing lingers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import h11

from modelota.errors import TryLater
from modelota.runtime.messages import HEAD_MAX_BYTES, JSON, READ_BYTES, Response
from modelota.spec.limits import RESPONSE_MAX_BYTES

_ADDRESS_MAX_BYTES: Final = 100  # sun_path holds 108 on Linux, 104 elsewhere, with the final zero


class ResponseStream:
    """An answer whose head has arrived; iterate `chunks` for its body."""

    def __init__(self, status: int, headers: dict[str, str], chunks: AsyncIterator[bytes]) -> None:
        self.status = status
        self.headers = headers
        self.chunks = chunks


async def request(
    socket_path: Path,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    timeout_s: float = 30.0,
    limit_bytes: int = RESPONSE_MAX_BYTES,
) -> Response:
    """Send one request and read the whole answer.

    Args:
        socket_path: the Unix socket.
        method: HTTP method.
        path: already encoded path and query.
        body: of the request; sent as JSON unless `headers` say otherwise.
        headers: additional ones.
        timeout_s: for everything together.
        limit_bytes: the largest body accepted.

    Raises:
        TryLater: `peer-unreachable` (path, detail), `peer-timeout` (path, seconds), `peer-protocol` (path, detail):
            the other side broke off, is not HTTP, or sent more than the limit.
    """
    with _named_timeout(socket_path, timeout_s):
        async with (
            asyncio.timeout(timeout_s),
            stream(socket_path, method, path, body, headers, idle_timeout_s=timeout_s) as answer,
        ):
            parts: list[bytes] = []
            size = 0
            async for chunk in answer.chunks:
                size += len(chunk)
                if size > limit_bytes:
                    raise _protocol(socket_path, f"body larger than {limit_bytes} bytes")
                parts.append(chunk)
            return Response(status=answer.status, headers=answer.headers, body=b"".join(parts))


@asynccontextmanager
async def stream(
    socket_path: Path,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    idle_timeout_s: float = 300.0,
) -> AsyncGenerator[ResponseStream, None]:
    """Send one request; give the answer once its head is there, its body piece by piece. Leaving closes the connection.

    Args:
        socket_path: the Unix socket.
        method: HTTP method.
        path: already encoded path and query.
        body: of the request.
        headers: additional ones.
        idle_timeout_s: the longest wait for the connection, the head, and between two pieces.

    Raises:
        TryLater: as `request`; also while iterating.
    """
    reader, writer = await _connect(socket_path, idle_timeout_s)
    try:
        exchange = _Exchange(socket_path, reader, writer, idle_timeout_s)
        head = await exchange.send(method, path, body, headers or {})
        received = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in head.headers}
        yield ResponseStream(head.status_code, received, exchange.chunks())
    finally:
        # Not waiting for the close: an engine may keep its side open, and there is nothing to flush.
        writer.transport.abort()


@contextmanager
def socket_address(path: Path) -> Iterator[str]:
    """An address for `path` that fits a socket address whatever its length, valid inside the `with`.

    Long paths are reached through a descriptor of their directory (Linux).
    """
    text = str(path)
    if len(os.fsencode(text)) <= _ADDRESS_MAX_BYTES:
        yield text
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


class _Exchange:
    """One request and its answer on one connection."""

    def __init__(
        self, path: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, idle_timeout_s: float
    ) -> None:
        self._path = path
        self._reader = reader
        self._writer = writer
        self._idle_timeout_s = idle_timeout_s
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_MAX_BYTES)

    async def send(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> h11.Response:
        """Send the request, return the head of the answer."""
        fields = {"host": "localhost", "connection": "close"}
        if body is not None:
            fields |= {"content-type": JSON, "content-length": str(len(body))}
        fields |= {name.lower(): value for name, value in headers.items()}
        try:
            data = self._http.send(h11.Request(method=method, target=path, headers=list(fields.items()))) or b""
            if body:
                data += self._http.send(h11.Data(data=body)) or b""
            data += self._http.send(h11.EndOfMessage()) or b""
        except h11.LocalProtocolError as error:
            raise _protocol(self._path, str(error)) from error
        with _named_timeout(self._path, self._idle_timeout_s), _named_loss(self._path):
            self._writer.write(data)
            async with asyncio.timeout(self._idle_timeout_s):
                await self._writer.drain()
        while True:
            event = await self._next()
            if isinstance(event, h11.Response):
                if sum(len(name) + len(value) + 4 for name, value in event.headers) > HEAD_MAX_BYTES:
                    raise _protocol(self._path, f"head larger than {HEAD_MAX_BYTES} bytes")
                return event
            if not isinstance(event, h11.InformationalResponse):
                raise _protocol(self._path, "closed without an answer")

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body."""
        while True:
            event = await self._next()
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return
            else:
                raise _protocol(self._path, "closed before the end of the answer")

    async def _next(self) -> h11.Event | type[h11.PAUSED]:
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                raise _protocol(self._path, str(error)[:200]) from error
            if event is not h11.NEED_DATA:
                return event  # type: ignore[return-value]  # h11 types its sentinels too widely
            with _named_timeout(self._path, self._idle_timeout_s), _named_loss(self._path):
                async with asyncio.timeout(self._idle_timeout_s):
                    data = await self._reader.read(READ_BYTES)
            self._http.receive_data(data)


async def _connect(path: Path, timeout_s: float) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    with _named_timeout(path, timeout_s), _named_loss(path), socket_address(path) as address:
        async with asyncio.timeout(timeout_s):
            return await asyncio.open_unix_connection(address)


@contextmanager
def _named_timeout(path: Path, timeout_s: float) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise TryLater("peer-timeout", path=str(path), seconds=timeout_s) from error


@contextmanager
def _named_loss(path: Path) -> Iterator[None]:
    try:
        yield
    except TimeoutError:  # an OSError, too, but with a code of its own
        raise
    except OSError as error:
        raise TryLater("peer-unreachable", path=str(path), detail=type(error).__name__) from error


def _protocol(path: Path, detail: str) -> TryLater:
    return TryLater("peer-protocol", path=str(path), detail=detail)
