"""At a real terminal: a pseudo-terminal, a process of its own, and an agent that answers on a real socket."""

from __future__ import annotations

import asyncio
import os
import pty
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Self

import msgspec
import pytest
from tests.cli.fake_agent import FakeAgent, event, model_status, outcome

from modelota.cli.failure import Reported
from modelota.runtime.http import Request, Response, ServerSentEvent, StreamingResponse, serve_unix
from modelota.spec import api
from modelota.storage.layout import Layout

_KINDS = {
    "/v1/shown": api.ShownRequest,
    "/v1/decisions": api.DecisionRequest,
    "/v1/check": api.CheckRequest,
    "/v1/pause": api.ControlRequest,
}


@pytest.fixture
def root() -> Iterator[Path]:
    """A device root whose agent's socket has a short name."""
    with tempfile.TemporaryDirectory(prefix="mo-") as name:
        yield Path(name)


def _handler(agent: FakeAgent):  # noqa: ANN202  what serve_unix takes
    async def stream() -> AsyncIterator[bytes]:
        async for each in agent.events():
            yield ServerSentEvent(id=str(each.id), event=each.kind, data=msgspec.json.encode(each).decode()).encode()

    async def handle(request: Request) -> Response | StreamingResponse:
        if request.path == "/v1/events":
            return StreamingResponse(headers={"content-type": "text/event-stream"}, chunks=stream())
        kind = _KINDS.get(request.path)
        body = msgspec.json.decode(request.body, type=kind) if kind is not None else None
        try:
            return Response(body=await agent.request(request.method, request.path, body))
        except Reported as error:
            told = api.ErrorBody(code=error.error.code, params=dict(error.error.params), now=error.now)
            return Response(status=409, body=msgspec.json.encode(told))

    return handle


class Terminal:
    """A command on a pseudo-terminal."""

    def __init__(self, *words: str) -> None:
        self._words = words
        self.text = ""
        self._reader = asyncio.StreamReader()

    async def __aenter__(self) -> Self:
        self._master, slave = pty.openpty()
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "modelota.cli.main",
            *self._words,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            # the terminal becomes the session's own, so that ^C reaches the process
            preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),
            env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
        )
        os.close(slave)
        os.set_blocking(self._master, False)
        asyncio.get_running_loop().add_reader(self._master, self._read)
        self._grown = asyncio.Event()
        return self

    async def __aexit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    def _read(self) -> None:
        try:
            self.text += os.read(self._master, 65_536).decode(errors="replace")
        except OSError:  # Linux reports the end of a pseudo-terminal as EIO
            asyncio.get_running_loop().remove_reader(self._master)
        self._grown.set()

    async def expect(self, text: str, times: int = 1) -> None:
        """Wait until `text` has appeared so often."""
        async with asyncio.timeout(60):
            while self.text.count(text) < times:
                self._grown.clear()
                await self._grown.wait()

    def type(self, text: str) -> None:
        """Type something."""
        os.write(self._master, text.encode())

    async def end(self) -> int:
        """Wait for the command's end; returns its status."""
        async with asyncio.timeout(60):
            return await self.process.wait()


async def test_enter_is_not_yes(root: Path) -> None:
    """Enter is asked about again and nothing reaches the agent; declining is told and changes nothing."""
    agent = FakeAgent()
    Layout(root).agent_socket.parent.mkdir(parents=True)
    server = await serve_unix(Layout(root).agent_socket, _handler(agent))
    try:
        async with Terminal("device", "update", "--root", str(root)) as terminal:
            await terminal.expect("[d] decline:")
            terminal.type("\n")
            await terminal.expect("Enter alone decides nothing")
            await terminal.expect("[d] decline:", 2)
            terminal.type("yes\n")
            await terminal.expect("[d] decline:", 3)
            assert agent.bodies("/v1/decisions") == []
            assert [shown.channel for shown in agent.bodies("/v1/shown")] == ["terminal"]
            terminal.type("d\n")
            assert await terminal.end() == 0
        assert [body.answer for body in agent.bodies("/v1/decisions")] == ["decline"]
    finally:
        await server.close()


async def test_accept_and_watch(root: Path) -> None:
    """Accepting shows moving progress and then the outcome, in Chinese."""
    agent = FakeAgent()
    agent.script = [
        event(1, "phase", {"phase": "fetching"}),
        event(2, "progress", api.Progress(step="fetching", done=19_000_000, total=38_000_000, left_s=60.0)),
        event(3, "outcome", outcome()),
    ]
    agent.after_script = (model_status(active_version="1.1.2", last_outcome=outcome()),)
    Layout(root).agent_socket.parent.mkdir(parents=True)
    server = await serve_unix(Layout(root).agent_socket, _handler(agent))
    try:
        async with Terminal("device", "update", "--root", str(root), "--lang", "zh") as terminal:
            await terminal.expect("[d] 拒绝")
            terminal.type("a\n")
            assert await terminal.end() == 0
            await terminal.expect("更新完成，正在使用 1.1.2。")
            assert "正在下载 · 19 MB / 38 MB（50 %）" in terminal.text
    finally:
        await server.close()


async def test_ctrl_c_leaves_the_update_running(root: Path) -> None:
    """Under an agent of its own the update goes on, and the command says so, without a traceback."""
    agent = FakeAgent()
    agent.script = [event(1, "phase", {"phase": "fetching"})]
    agent.after_script = (model_status(phase="fetching", target_version="1.1.2"),)
    Layout(root).agent_socket.parent.mkdir(parents=True)
    server = await serve_unix(Layout(root).agent_socket, _handler(agent))
    try:
        async with Terminal("device", "update", "--root", str(root)) as terminal:
            await terminal.expect("[d] decline:")
            terminal.type("a\n")
            await terminal.expect("downloading")
            terminal.type("\x03")
            assert await terminal.end() == 130
            await terminal.expect("The update goes on in the background.")
            assert "Traceback" not in terminal.text
        assert agent.bodies("/v1/pause") == []
    finally:
        await server.close()


async def test_ctrl_c_at_the_question_decides_nothing(root: Path) -> None:
    """The offer stays open, and the command says so at once."""
    agent = FakeAgent()
    Layout(root).agent_socket.parent.mkdir(parents=True)
    server = await serve_unix(Layout(root).agent_socket, _handler(agent))
    try:
        async with Terminal("device", "update", "--root", str(root)) as terminal:
            await terminal.expect("[d] decline:")
            terminal.type("\x03")
            assert await terminal.end() == 130
            await terminal.expect("nothing is fetched before you decide")
            assert "Traceback" not in terminal.text
        assert agent.bodies("/v1/decisions") == []
    finally:
        await server.close()


async def test_ctrl_c_in_a_conversation(root: Path) -> None:
    """A conversation ends at once, without a traceback."""
    agent = FakeAgent()
    agent.answers["/v1/chat"] = api.ChatResult(model="a/b", version="1.1.2", gateway_socket="/nowhere")
    Layout(root).agent_socket.parent.mkdir(parents=True)
    server = await serve_unix(Layout(root).agent_socket, _handler(agent))
    try:
        async with Terminal("device", "chat", "--root", str(root)) as terminal:
            await terminal.expect("> ")
            terminal.type("\x03")
            assert await terminal.end() == 130
            assert "Traceback" not in terminal.text
    finally:
        await server.close()
