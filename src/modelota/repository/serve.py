"""A static web server for trying out: one directory, GET and HEAD, byte ranges, this machine only unless TLS is given.

Not for the public: any static server, object store or CDN serves a repository better.
"""

from __future__ import annotations

import re
import ssl
import stat
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import unquote, urlsplit

from modelota.delivery.addresses import is_loopback
from modelota.delivery.objects import check_path
from modelota.errors import AskPerson, ModelotaError, RefuseContent
from modelota.spec.limits import MIB

_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
_IDLE_TIMEOUT_S: Final = 60


class RepositoryServer(ThreadingHTTPServer):
    """Serves the files below `directory`.

    Use as a context manager, or call `server_close`; `serve_forever` blocks until `shutdown`.

    Args:
        directory: the public repository.
        host: address to listen on.
        port: 0 picks a free one.
        tls: certificate chain and private key, PEM files; None serves plain http.

    Raises:
        AskPerson: `argument-invalid` (another address than this machine's without TLS; a bad certificate or address),
            `permission-denied`.
        RefuseContent: `repository-not-found`: no such directory.
    """

    daemon_threads = True

    def __init__(
        self, directory: Path, *, host: str = "127.0.0.1", port: int = 0, tls: tuple[Path, Path] | None = None
    ) -> None:
        if tls is None and not is_loopback(host):
            raise AskPerson("argument-invalid", argument="host", detail=f"{host[:100]}: only with --tls")
        if not directory.is_dir():
            raise RefuseContent("repository-not-found", url=str(directory))
        self.directory: Final = directory.resolve()
        self.scheme: Final = "http" if tls is None else "https"
        self.host: Final = host
        context = _context(tls) if tls is not None else None
        try:
            super().__init__((host, port), _Handler)
        except PermissionError as error:
            raise AskPerson("permission-denied", path=f"{host}:{port}") from error
        except (OSError, OverflowError) as error:
            raise AskPerson("argument-invalid", argument="host", detail=f"{host}:{port}: {error}"[:200]) from error
        if context is not None:
            # the handshake belongs to the connection's own thread: a silent client must not stop the others
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    @property
    def url(self) -> str:
        """Where it can be reached."""
        return f"{self.scheme}://{self.host}:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a client that goes away in the middle is everyday."""


def _context(tls: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(*tls)
    except (OSError, ssl.SSLError) as error:
        raise AskPerson("argument-invalid", argument="tls", detail=str(error)[:200]) from error
    return context


class _Handler(BaseHTTPRequestHandler):
    server: RepositoryServer
    protocol_version = "HTTP/1.1"
    server_version = "modelota"
    sys_version = ""
    timeout = _IDLE_TIMEOUT_S

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class calls it so
        """Keep no log of who fetched what."""

    def _answer(self, *, with_body: bool) -> None:
        file = self._open()
        if file is None:
            self._refuse(HTTPStatus.NOT_FOUND)
            return
        with file:
            size_bytes = stat_size(file)
            asked = self.headers.get("Range")
            span = parse_range(asked, size_bytes) if asked is not None else None
            if asked is not None and span is None and _RANGE.fullmatch(asked):
                self._refuse(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, f"bytes */{size_bytes}")
                return
            start, end = span or (0, size_bytes)
            self.send_response(HTTPStatus.OK if span is None else HTTPStatus.PARTIAL_CONTENT)
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(end - start))
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("X-Content-Type-Options", "nosniff")
            if span is not None:
                self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size_bytes}")
            self.end_headers()
            if with_body:
                self._send(file, start, end)

    def _send(self, file: BinaryIO, start: int, end: int) -> None:
        file.seek(start)
        left = end - start
        while left and (piece := file.read(min(left, MIB))):
            self.wfile.write(piece)
            left -= len(piece)
        if left:  # the file shrank: what was promised cannot be kept
            self.close_connection = True

    def _open(self) -> BinaryIO | None:
        path = unquote(urlsplit(self.path).path).removeprefix("/")
        try:
            check_path(path)
            place = (self.server.directory / path).resolve()
            if not place.is_relative_to(self.server.directory) or not stat.S_ISREG(place.stat().st_mode):
                return None
            return place.open("rb")
        except (ModelotaError, OSError, ValueError):
            return None

    def _refuse(self, status: HTTPStatus, content_range: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        if content_range is not None:
            self.send_header("Content-Range", content_range)
        self.end_headers()


def stat_size(file: BinaryIO) -> int:
    """Size of an open file in bytes."""
    return file.seek(0, 2)


def parse_range(text: str, size_bytes: int) -> tuple[int, int] | None:
    """Start and end (exclusive) of a single byte range (RFC 9110, 14.1.2), or None if it cannot be satisfied.

    Several ranges at once are not supported, and like anything else that is not understood are to be ignored.
    """
    match = _RANGE.fullmatch(text)
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":
        length = min(int(match[2]), size_bytes)
        return (size_bytes - length, size_bytes) if length else None
    start = int(match[1])
    end = min(int(match[2]) + 1, size_bytes) if match[2] else size_bytes
    return (start, end) if start < end else None


__all__ = ["RepositoryServer", "parse_range"]
