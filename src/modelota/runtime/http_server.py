"""HTTP server on Unix sockets and on TCP loopback, shared by the agent's socket and the gateway.

Every wait for a peer has a limit (`ServerLimits`), so a slow, silent or endless one costs a connection for a bounded
time and nothing else. These limits are the event loop's time, not an injected clock: they bound the kernel, not the
model's life. An idle connection holds a timer and causes no wake-ups until it fires.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from modelota.errors import AskPerson
from modelota.runtime.http_client import socket_address
from modelota.runtime.http_connection import Connection
from modelota.runtime.messages import READ_BYTES, ErrorRenderer, Handler, ServerLimits, error_response

_BACKLOG: Final = 64
_Identity = tuple[int, int]  # device and inode


class HttpServer:
    """A listening socket and its connections; made by `serve_unix` or `serve_tcp`."""

    def __init__(
        self, listener: socket.socket, handler: Handler, limits: ServerLimits, render_error: ErrorRenderer
    ) -> None:
        self._listener = listener
        self._handler = handler
        self._limits = limits
        self._render_error = render_error
        self._connections: dict[asyncio.Task[None], int | None] = {}  # and the user at the other end, where known
        self._server: asyncio.Server | None = None
        self._file: tuple[Path, _Identity | None] | None = None

    @property
    def port(self) -> int:
        """The TCP port."""
        return int(self._listener.getsockname()[1])

    async def start(self, file: tuple[Path, _Identity | None] | None = None) -> None:
        """Accept connections; `file` is the socket file to remove in the end, if it is still the same."""
        self._file = file
        if file is not None:
            self._server = await asyncio.start_unix_server(self._accept, sock=self._listener, limit=READ_BYTES)
        else:
            self._server = await asyncio.start_server(self._accept, sock=self._listener, limit=READ_BYTES)

    async def close(self, *, grace_s: float = 0.0) -> None:
        """Stop listening, let answers under way finish for `grace_s`, then cut every connection."""
        if self._server is not None:
            self._server.close()
        if self._file is not None:
            path, made = self._file
            if made is not None and _identity(path) == made:
                path.unlink()
        if self._connections and grace_s > 0:
            await asyncio.wait(self._connections, timeout=grace_s)
        for task in self._connections:
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connection = Connection(reader, writer, self._handler, self._limits, self._render_error)
        user = connection.peer.uid if connection.peer is not None else None
        crowded = len(self._connections) >= self._limits.connections or self._is_crowded_by(user)
        self._connections[task] = user
        try:
            if crowded:
                await connection.refuse_crowded()
            else:
                await connection.run()
        except asyncio.CancelledError:
            # `close` cut this connection. Ending normally is right: nobody awaits this task, and asyncio would log it.
            if self._server is not None and self._server.is_serving():
                raise
        except OSError:
            pass  # the peer broke off: there is nobody left to tell
        finally:
            del self._connections[task]
            writer.transport.abort() if connection.broken else writer.close()

    def _is_crowded_by(self, user: int | None) -> bool:
        """Whether another user's connections leave no room for one more of theirs."""
        most = self._limits.connections_per_user
        owners = {None, 0, os.geteuid()}
        if most is None or user in owners:
            return False
        others = [other for other in self._connections.values() if other not in owners]
        return others.count(user) >= most or len(others) >= self._limits.connections - most


async def serve_unix(
    path: Path,
    handler: Handler,
    *,
    mode: int = 0o600,
    group: int | None = None,
    limits: ServerLimits | None = None,
    render_error: ErrorRenderer = error_response,
) -> HttpServer:
    """Listen on a Unix socket.

    Args:
        path: of the socket; a socket left there by a process that died is replaced, so hold a lock on its directory.
        handler: answers requests; a `ModelotaError` it raises is rendered by `render_error`.
        mode: permissions, in force before the first connection is possible.
        group: group id that owns the socket file, or None for this process's.
        limits: bounds on peers.
        render_error: makes the answer for an error.

    Raises:
        AskPerson: `permission-denied` (path), or `argument-invalid` when something that is no socket is in the way.
    """
    listener = _listen_unix(path, mode, group)
    server = HttpServer(listener, handler, limits or ServerLimits(), render_error)
    await server.start((path, _identity(path)))
    return server


async def serve_tcp(
    host: str,
    port: int,
    handler: Handler,
    *,
    limits: ServerLimits | None = None,
    render_error: ErrorRenderer = error_response,
) -> HttpServer:
    """Listen on a TCP port of the loopback interface; port 0 takes a free one.

    Raises:
        AskPerson: `argument-invalid`: `host` is not a loopback address, or the port is taken.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError as error:
        raise AskPerson("argument-invalid", argument="host", detail=host[:80]) from error
    if not address.is_loopback:
        raise AskPerson("argument-invalid", argument="host", detail=f"not loopback: {host}")
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise AskPerson("argument-invalid", argument="port", detail=f"{port}: {error.strerror}") from error
    listener.setblocking(False)  # noqa: FBT003  the standard library's signature
    server = HttpServer(listener, handler, limits or ServerLimits(), render_error)
    await server.start()
    return server


def _listen_unix(path: Path, mode: int, group: int | None) -> socket.socket:
    try:
        with suppress(FileNotFoundError):
            if not stat.S_ISSOCK(path.lstat().st_mode):
                raise AskPerson("argument-invalid", argument="socket", detail=f"not a socket: {path}")
            path.unlink()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            with socket_address(path) as address:
                listener.bind(address)
            # Nobody can connect before `listen`, so no connection sees the permissions of the umask.
            if group is not None:
                os.chown(path, -1, group)
            path.chmod(mode)
            listener.listen(_BACKLOG)
        except BaseException:
            listener.close()
            raise
    except PermissionError as error:
        raise AskPerson("permission-denied", path=str(path)) from error
    listener.setblocking(False)  # noqa: FBT003  the standard library's signature
    return listener


def _identity(path: Path) -> _Identity | None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
