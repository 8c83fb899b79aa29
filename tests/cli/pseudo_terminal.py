"""A command on a pseudo-terminal, and the fake agent on a real socket, for the tests of what people see and type."""

from __future__ import annotations

import asyncio
import codecs
import os
import pty
import re
import signal
import sys
import termios
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Self

import msgspec
from tests.cli.fake_agent import FakeAgent

from modelota.cli.failure import Reported
from modelota.runtime.http import Request, Response, ServerSentEvent, StreamingResponse, serve_unix
from modelota.spec import api
from modelota.storage.layout import Layout

COMMAND = (sys.executable, "-m", "modelota.cli.main")

_CONTROL = re.compile("\x1b\\[[0-9;?]*[a-zA-Z]")
_KINDS = {
    "/v1/shown": api.ShownRequest,
    "/v1/decisions": api.DecisionRequest,
    "/v1/check": api.CheckRequest,
    "/v1/pause": api.ControlRequest,
    "/v1/cancel": api.ControlRequest,
    "/v1/rollback": api.RollbackRequest,
}


def _take_terminal() -> None:
    """In the child: the terminal becomes the session's own, so that ^C reaches it, also where ^C was being ignored."""
    os.close(os.open(os.ttyname(0), os.O_RDWR))
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@asynccontextmanager
async def serving(agent: FakeAgent, root: Path) -> AsyncIterator[None]:
    """The fake agent answers on the socket of `root`."""
    Layout(root).agent_socket.parent.mkdir(parents=True, exist_ok=True)
    server = await serve_unix(Layout(root).agent_socket, handler(agent))
    try:
        yield
    finally:
        await server.close()


def handler(agent: FakeAgent) -> Callable[[Request], Awaitable[Response | StreamingResponse]]:
    """What serves the fake agent over HTTP."""

    async def stream() -> AsyncIterator[bytes]:
        async for each in agent.events():
            yield ServerSentEvent(id=str(each.id), event=each.kind, data=msgspec.json.encode(each).decode()).encode()

    async def handle(request: Request) -> Response | StreamingResponse:
        if request.path == "/v1/events":
            return StreamingResponse(headers={"content-type": "text/event-stream"}, chunks=stream())
        kind = _KINDS.get(request.path)
        body = msgspec.json.decode(request.body, type=kind) if kind is not None and request.body else None
        try:
            return Response(body=await agent.request(request.method, request.path, body))
        except Reported as error:
            told = api.ErrorBody(code=error.error.code, params=dict(error.error.params), now=error.now)
            return Response(status=409, body=msgspec.json.encode(told))

    return handle


class Terminal:
    """A command on a pseudo-terminal.

    Args:
        words: of `modelota`, or the whole command with `command`.
        command: what the words follow.
        environment: set besides.
        size: columns and rows that the terminal knows of; None: it knows none.
    """

    def __init__(
        self,
        *words: str,
        command: Sequence[str] = COMMAND,
        environment: Mapping[str, str] | None = None,
        size: tuple[int, int] | None = None,
    ) -> None:
        self._words = (*command, *words)
        self._environment = {"TERM": "xterm", "COLUMNS": "100", **(environment or {})}
        self._size = size
        self.raw = ""
        self._typed = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    async def __aenter__(self) -> Self:
        self._master, slave = pty.openpty()
        if self._size is not None:
            self.resize(*self._size)
        self.modes = termios.tcgetattr(slave)
        self.process = await asyncio.create_subprocess_exec(
            *self._words,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=_take_terminal,
            env={**os.environ, **self._environment},
        )
        self._slave = slave  # kept open, so that the modes can be looked at after the command's end
        os.set_blocking(self._master, False)
        asyncio.get_running_loop().add_reader(self._master, self._read)
        self._grown = asyncio.Event()
        return self

    async def __aexit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)
        os.close(self._slave)
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    def _read(self) -> bool:
        data = os.read(self._master, 65_536)
        self.raw += self._decoder.decode(data)
        self._grown.set()
        return bool(data)

    @property
    def text(self) -> str:
        """What was written so far, without control sequences."""
        return _CONTROL.sub("", self.raw)

    def resize(self, columns: int, rows: int) -> None:
        """Tell the terminal its size; the kernel tells the command."""
        self._typed = len(self.raw)
        termios.tcsetwinsize(self._master, (rows, columns))

    @property
    def restored(self) -> bool:
        """Whether the terminal's modes are what they were."""
        return termios.tcgetattr(self._slave) == self.modes

    async def expect(self, text: str, times: int = 1) -> None:
        """Wait until `text` has appeared so often."""
        async with asyncio.timeout(20):
            while self.text.count(text) < times:
                self._grown.clear()
                await self._grown.wait()

    async def answered(self, text: str) -> None:
        """Wait until `text` has appeared since something was typed, or the size changed."""
        async with asyncio.timeout(20):
            while text not in _CONTROL.sub("", self.raw[self._typed :]):
                self._grown.clear()
                await self._grown.wait()

    def type(self, text: str) -> None:
        """Type something."""
        self._typed = len(self.raw)
        os.write(self._master, text.encode())

    async def end(self) -> int:
        """Wait for the command's end, and read what it wrote last; returns its status."""
        async with asyncio.timeout(20):
            status = await self.process.wait()
        with suppress(BlockingIOError):
            while self._read():
                pass
        return status
