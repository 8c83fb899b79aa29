"""One connection of an HTTP server: requests one after the other, each wait for the peer bounded.

A peer that closes its sending side is taken to be gone: what was being done for it is cancelled.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

import h11

from modelota.errors import AskPerson, ModelotaError, OurBug
from modelota.runtime.messages import (
    READ_BYTES,
    ErrorRenderer,
    Handler,
    PeerCredentials,
    Reply,
    Request,
    Response,
    ServerLimits,
    StreamingResponse,
    status_of,
)

_QUERY_FIELDS_MAX: Final = 64
_SO_PEERGROUPS: Final = 59  # socket(7); Python has no name for it, and all architectures we run on have this number
_GROUPS_MAX_BYTES: Final = 1024  # 256 groups; Python asks for no more


class _PeerGoneError(Exception):
    """The peer closed while it was being served."""


class Connection:
    """One connection: requests one after the other."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        handler: Handler,
        limits: ServerLimits,
        render_error: ErrorRenderer,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._handler = handler
        self._limits = limits
        self._render_error = render_error
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.head_bytes)
        self.peer = _credentials(writer)
        writer.transport.set_write_buffer_limits(
            high=0
        )  # `drain` then waits for the kernel: time limits mean something
        self.broken = False

    async def run(self) -> None:
        """Serve until the peer leaves, errs, or is idle for too long."""
        try:
            while await self._serve_one():
                self._http.start_next_cycle()
        except (_PeerGoneError, TimeoutError):
            self.broken = True
        except BaseException:
            self.broken = True
            raise

    async def refuse_crowded(self) -> None:
        """Answer 503 without reading and close."""
        error = AskPerson("request-invalid", detail="too many connections")
        self._writer.write(b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\n")
        body = self._render_error(error, 503).body
        self._writer.write(b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        await self._drain()

    async def _serve_one(self) -> bool:
        """One request and its answer; whether another may follow on this connection."""
        try:
            request = await self._read_request()
        except h11.RemoteProtocolError as error:
            await self._refuse(AskPerson("request-invalid", detail=str(error)[:200]), error.error_status_hint)
            return False
        except ModelotaError as error:
            await self._refuse(error, status_of(error))
            return False
        if request is None:
            return False
        await self._answer(request)
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    async def _read_request(self) -> Request | None:
        """The next request, or None when the peer left or stays idle."""
        head = await self._read_head()
        if head is None:
            return None
        body = bytearray()
        limit = self._limits.body_bytes
        # A declared length is refused before a byte of it is read.
        declared = next((value for name, value in head.headers if name == b"content-length"), b"0")
        if int(declared) > limit:
            raise AskPerson("request-too-large", limit_bytes=limit)
        async with asyncio.timeout(self._limits.body_timeout_s):
            if self._http.they_are_waiting_for_100_continue:
                await self._send(h11.InformationalResponse(status_code=100, headers=[]))
            while not isinstance(event := await self._next_event(), h11.EndOfMessage):
                if not isinstance(event, h11.Data):
                    return None
                body += event.data
                if len(body) > limit:
                    raise AskPerson("request-too-large", limit_bytes=limit)
        return _request(head, bytes(body), self.peer)

    async def _read_head(self) -> h11.Request | None:
        if not self._http.trailing_data[0]:
            try:
                async with asyncio.timeout(self._limits.idle_timeout_s):
                    data = await self._reader.read(READ_BYTES)
            except TimeoutError:
                return None
            self._http.receive_data(data)
        async with asyncio.timeout(self._limits.head_timeout_s):
            event = await self._next_event()
        if not isinstance(event, h11.Request):
            return None
        # h11 limits heads that are still incomplete; one that arrived in a single read is measured here.
        size_bytes = len(event.target) + sum(len(name) + len(value) + 4 for name, value in event.headers)
        if size_bytes > self._limits.head_bytes:
            raise h11.RemoteProtocolError("head too large", error_status_hint=431)
        return event

    async def _next_event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._reader.read(READ_BYTES))
        return event

    async def _answer(self, request: Request) -> None:
        """Run the handler and send what it says, while watching whether the peer is still there."""
        work = asyncio.ensure_future(self._handle_and_send(request))
        watch = asyncio.ensure_future(self._peer_leaves())
        try:
            await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise _PeerGoneError
            work.result()
        finally:
            for task in (work, watch):
                task.cancel()
            await asyncio.gather(work, watch, return_exceptions=True)

    async def _peer_leaves(self) -> None:
        """Return when the peer closes. What it sends early (pipelining) waits in h11's buffer, up to one read."""
        data = await self._reader.read(READ_BYTES)
        if data:
            self._http.receive_data(data)
            await asyncio.get_running_loop().create_future()  # one read ahead is enough: the kernel holds the rest
        # h11 must not see the end yet: an answer that is being sent may still reach a peer that only stopped sending

    async def _handle_and_send(self, request: Request) -> None:
        try:
            answer = await self._handler(request)
        except ModelotaError as error:
            answer = self._render_error(error, status_of(error))
        except Exception as error:  # noqa: BLE001  a handler's bug must answer its request, and not end the server
            bug = OurBug("unexpected", kind=type(error).__name__, detail=str(error)[:200])
            answer = self._render_error(bug, 500)
        await self._send_answer(request.method, answer)

    async def _send_answer(self, method: str, answer: Reply) -> None:
        headers = {name.lower(): value for name, value in answer.headers.items()}
        if isinstance(answer, Response):
            headers["content-length"] = str(len(answer.body))
            await self._send(h11.Response(status_code=answer.status, headers=list(headers.items())))
            if answer.body and method != "HEAD":
                await self._send(h11.Data(data=answer.body))
            await self._send(h11.EndOfMessage())
            return
        try:
            await self._send(h11.Response(status_code=answer.status, headers=list(headers.items())))
            async for chunk in answer.chunks:
                if chunk and method != "HEAD":
                    await self._send(h11.Data(data=chunk))
            await self._send(h11.EndOfMessage())
        except ModelotaError:
            # The head is out: the only honest end of a broken body is a broken connection.
            self.broken = True
            raise _PeerGoneError from None
        finally:
            await _close(answer)

    async def _refuse(self, error: ModelotaError, status: int) -> None:
        """Answer a request that could not be read, as far as the peer still listens."""
        if self._http.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return
        answer = self._render_error(error, status)
        headers = {**answer.headers, "content-length": str(len(answer.body)), "connection": "close"}
        await self._send(h11.Response(status_code=status, headers=list(headers.items())))
        await self._send(h11.Data(data=answer.body))
        await self._send(h11.EndOfMessage())
        await self._linger()

    async def _linger(self) -> None:
        """Swallow a little of what the peer still sends: closing with unread data would destroy the answer (RST)."""
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(min(1.0, self._limits.head_timeout_s)):
                self._writer.write_eof()
                for _ in range(16):
                    if not await self._reader.read(READ_BYTES):
                        return

    async def _send(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            self._writer.write(data)
            await self._drain()

    async def _drain(self) -> None:
        async with asyncio.timeout(self._limits.write_timeout_s):
            await self._writer.drain()


async def _close(answer: StreamingResponse) -> None:
    close = getattr(answer.chunks, "aclose", None)
    if close is not None:
        await close()


def _request(head: h11.Request, body: bytes, peer: PeerCredentials | None) -> Request:
    target = urlsplit(head.target.decode("ascii", "replace"))
    try:
        query = dict(parse_qsl(target.query, keep_blank_values=True, max_num_fields=_QUERY_FIELDS_MAX))
    except ValueError as error:
        raise AskPerson("request-invalid", detail="query") from error
    headers: dict[str, str] = {}
    for raw_name, raw_value in head.headers:
        name, value = raw_name.decode("ascii").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Request(
        method=head.method.decode("ascii").upper(),
        path=unquote(target.path),
        query=query,
        headers=headers,
        body=body,
        peer=peer,
    )


def _credentials(writer: asyncio.StreamWriter) -> PeerCredentials | None:
    connection = writer.get_extra_info("socket")
    if connection.family != socket.AF_UNIX or not hasattr(socket, "SO_PEERCRED"):
        return None
    form = "3i"  # struct ucred of unix(7)
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize(form))
    pid, uid, gid = struct.unpack(form, data)
    return PeerCredentials(pid=pid, uid=uid, gid=gid, groups=_groups(connection))


def _groups(connection: socket.socket) -> tuple[int, ...]:
    try:
        data = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_MAX_BYTES)
    except OSError:  # more of them, or a kernel that does not tell
        return ()
    return struct.unpack(f"{len(data) // 4}I", data)
