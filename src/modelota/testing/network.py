"""A real HTTP/1.1 server that counts what it sends and misbehaves on demand.

It serves a directory on 127.0.0.1 from threads of its own, with single byte ranges (RFC 9110 section 14), and keeps a
record of every request and of the payload bytes it handed to the network. Faults are scripted per path::

    with InstrumentedServer(directory) as server:
        server.script("packs/*", Cut(after_bytes=1000), times=1)
        store = open_store(server.url)
        ...
        assert server.sent_bytes("packs/*") < 2_000_000
"""

from __future__ import annotations

import contextlib
import fnmatch
import re
import socket
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, ClassVar, Final, Self
from urllib.parse import unquote

from modelota.testing.certificates import CertificateAuthority

_BLOCK_BYTES: Final = 16 * 1024
_RANGE: Final = re.compile(r"bytes=(\d+)-(\d*)", re.ASCII)


@dataclass(frozen=True)
class IgnoreRange:
    """Answer a ranged request with 200 and the whole object."""


@dataclass(frozen=True)
class LieAboutSize:
    """Deliver `extra_bytes` more (or, negative, fewer) bytes than the object has, with headers that agree."""

    extra_bytes: int


@dataclass(frozen=True)
class WrongRange:
    """Answer 206 with a range that starts `shift_bytes` later than the one that was asked for."""

    shift_bytes: int = 1


@dataclass(frozen=True)
class Cut:
    """Announce the whole body, send `after_bytes` of it, and close the connection."""

    after_bytes: int


@dataclass(frozen=True)
class Status:
    """Answer with this status and a short body."""

    code: int


@dataclass(frozen=True)
class Redirect:
    """Answer 302 to `location`; `{path}` in it stands for the path that was asked for."""

    location: str


@dataclass(frozen=True)
class Endless:
    """Send a body that never ends, chunked, until the client hangs up."""


@dataclass(frozen=True)
class Stall:
    """Send `after_bytes`, then nothing until `until` is set or the server closes."""

    after_bytes: int
    until: threading.Event


@dataclass(frozen=True)
class Slow:
    """Send at most this many payload bytes per second on the connection."""

    bytes_per_s: int


@dataclass(frozen=True)
class Garble:
    """Flip every bit of the byte at `offset` of the object, if the answer contains it."""

    offset: int


Fault = IgnoreRange | LieAboutSize | WrongRange | Cut | Status | Redirect | Endless | Stall | Slow | Garble


@dataclass
class Request:
    """One request that was answered, or is being answered.

    Attributes:
        method: `GET` or `HEAD`.
        path: decoded, relative to the served directory.
        raw_path: as it stood in the request line.
        range: the `Range` header, or None.
        status: of the answer; 0 until it is known.
        sent_bytes: payload bytes handed to the network so far; if the client hung up, up to 16 KiB too many.
    """

    method: str
    path: str
    raw_path: str
    range: str | None
    status: int = 0
    sent_bytes: int = 0


@dataclass
class _Script:
    pattern: str
    fault: Fault
    first: int
    times: int | None
    seen: int = 0

    def take(self) -> Fault | None:
        self.seen += 1
        after = self.seen - self.first
        active = after >= 0 and (self.times is None or after < self.times)
        return self.fault if active else None


@dataclass
class _Record:
    """What the handler threads and the test share; every access holds the lock."""

    root: Path
    lock: threading.Lock = field(default_factory=threading.Lock)
    scripts: list[_Script] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    def arrive(self, request: Request) -> Fault | None:
        with self.lock:
            self.requests.append(request)
            faults = [s.take() for s in self.scripts if fnmatch.fnmatchcase(request.path, s.pattern)]
        return next((fault for fault in faults if fault is not None), None)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # header and body go in two writes; waiting for acknowledgements costs 40 ms each
    record: ClassVar[_Record]

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class names it
        """Say nothing: the record is the log."""

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(self.path.partition("?")[0]).lstrip("/")
        request = Request(self.command, path, self.path, self.headers.get("Range"))
        fault = self.record.arrive(request)
        # A client may hang up in the middle of any answer; that is its right, and often the point of the test.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, ssl.SSLError):
            self._serve(request, fault)

    def _serve(self, request: Request, fault: Fault | None) -> None:
        if isinstance(fault, Status):
            self._refuse(request, fault.code)
            return
        if isinstance(fault, Redirect):
            self._head(request, 302, 0, {"Location": fault.location.replace("{path}", request.path)})
            return
        if isinstance(fault, Endless):
            self._send_endless(request)
            return
        file = self._find(request.path)
        if file is None:
            self._refuse(request, 404)
            return
        with file.open("rb") as body:
            self._send_object(request, fault, body, file.stat().st_size)

    def _send_object(self, request: Request, fault: Fault | None, body: BinaryIO, size_bytes: int) -> None:
        if isinstance(fault, LieAboutSize):
            size_bytes += fault.extra_bytes
        asked = _RANGE.fullmatch(request.range or "")
        if asked is None or isinstance(fault, IgnoreRange):
            self._head(request, 200, size_bytes, {"Accept-Ranges": "bytes"})
            self._send(request, fault, body, 0, size_bytes)
            return
        start = int(asked[1])
        end = min(int(asked[2] or size_bytes - 1), size_bytes - 1)
        if isinstance(fault, WrongRange):
            start, end = start + fault.shift_bytes, min(end + fault.shift_bytes, size_bytes - 1)
        if start >= size_bytes or end < start:
            self._head(request, 416, 0, {"Content-Range": f"bytes */{size_bytes}"})
            return
        self._head(request, 206, end - start + 1, {"Content-Range": f"bytes {start}-{end}/{size_bytes}"})
        self._send(request, fault, body, start, end - start + 1)

    def _find(self, path: str) -> Path | None:
        target = (self.record.root / path).resolve()
        return target if target.is_relative_to(self.record.root) and target.is_file() else None

    def _head(self, request: Request, status: int, length: int, headers: dict[str, str]) -> None:
        request.status = status
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _refuse(self, request: Request, status: int) -> None:
        body = f"{status}\n".encode()
        self._head(request, status, len(body), {})
        if self.command == "GET":
            self.wfile.write(body)

    def _send(self, request: Request, fault: Fault | None, body: BinaryIO, start: int, length: int) -> None:
        if self.command != "GET":
            return
        body.seek(start)
        sent = 0
        while sent < length:
            room = min(_BLOCK_BYTES, length - sent)
            if isinstance(fault, Cut | Stall):
                room = min(room, fault.after_bytes - sent)
            if room <= 0:
                if isinstance(fault, Stall) and self._wait(fault.until):
                    fault = None
                    continue
                self.close_connection = True
                return
            block = body.read(room).ljust(room, b"\xa5")  # past the end: what a lie about the size promised
            sent += room
            request.sent_bytes = sent  # before the write: who has received a byte finds it counted
            self.wfile.write(_garbled(block, start + sent - room, fault))
            if isinstance(fault, Slow) and self.record.closing.wait(room / fault.bytes_per_s):
                self.close_connection = True
                return

    def _wait(self, until: threading.Event) -> bool:
        while not until.wait(0.02):
            if self.record.closing.is_set():
                return False
        return True

    def _send_endless(self, request: Request) -> None:
        request.status = 200
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        block = b"\xa5" * _BLOCK_BYTES
        frame = f"{len(block):x}\r\n".encode() + block + b"\r\n"
        while self.command == "GET" and not self.record.closing.is_set():
            request.sent_bytes += len(block)
            self.wfile.write(frame)
        self.close_connection = True


def _garbled(block: bytes, offset: int, fault: Fault | None) -> bytes:
    at = fault.offset - offset if isinstance(fault, Garble) else -1
    return block[:at] + bytes([block[at] ^ 0xFF]) + block[at + 1 :] if 0 <= at < len(block) else block


class _Server(ThreadingHTTPServer):
    """Threads end with the server: open connections are shut, then every thread is joined."""

    daemon_threads = False
    block_on_close = True

    def __init__(self, handler: type[_Handler], tls: ssl.SSLContext | None) -> None:
        self._tls = tls
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), handler)

    def process_request_thread(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        assert isinstance(request, socket.socket)
        with self._open_lock:
            self._open.add(request)
        try:
            if self._tls is not None:
                try:
                    request = self._tls.wrap_socket(request, server_side=True)
                except OSError:  # the client did not like our certificate
                    request.close()
                    return
                with self._open_lock:
                    self._open.add(request)
            super().process_request_thread(request, client_address)
        finally:
            with self._open_lock:
                self._open = {connection for connection in self._open if connection.fileno() != -1}

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that broke is not news here."""

    def hang_up(self) -> None:
        with self._open_lock:
            for connection in self._open:
                with contextlib.suppress(OSError):  # it may have closed a moment ago
                    connection.shutdown(socket.SHUT_RDWR)


class InstrumentedServer:
    """Serve `directory` over HTTP (or HTTPS) on a free loopback port; use as a context manager.

    Args:
        directory: what is served; read anew at each request, so a test may change files at any time.
        tls: speak HTTPS with a certificate for 127.0.0.1 and localhost under a fresh authority (`ca_pem`).

    Attributes:
        url: base URL with a trailing slash.
        ca_pem: certificate of the authority, or None without TLS.
    """

    def __init__(self, directory: Path, *, tls: bool = False) -> None:
        self._record = _Record(directory.resolve())
        self.ca_pem: bytes | None = None
        context: ssl.SSLContext | None = None
        if tls:
            authority = CertificateAuthority()
            self.ca_pem = authority.ca_pem
            context = authority.server_context()
        handler = type("Handler", (_Handler,), {"record": self._record})
        self._server = _Server(handler, context)
        self.port: int = self._server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}/"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, name="instrumented-server"
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._record.closing.set()
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()

    def script(self, pattern: str, fault: Fault, *, nth: int = 1, times: int | None = None) -> None:
        """From the `nth` request (counted from now) whose path matches `pattern`, misbehave `times` times.

        Args:
            pattern: `fnmatch` pattern on the decoded path, relative to the directory.
            fault: what to do.
            nth: 1 for the next request.
            times: how often; None for ever.
        """
        with self._record.lock:
            self._record.scripts.append(_Script(pattern, fault, nth, times))

    def behave(self) -> None:
        """Forget all scripted faults."""
        with self._record.lock:
            self._record.scripts.clear()

    def forget(self) -> None:
        """Start counting anew."""
        with self._record.lock:
            self._record.requests.clear()

    def requests(self, pattern: str = "*") -> tuple[Request, ...]:
        """The requests so far whose path matches `pattern`, in order of arrival."""
        with self._record.lock:
            return tuple(r for r in self._record.requests if fnmatch.fnmatchcase(r.path, pattern))

    def sent_bytes(self, pattern: str = "*") -> int:
        """Payload bytes handed to the network for paths that match `pattern`."""
        return sum(request.sent_bytes for request in self.requests(pattern))
