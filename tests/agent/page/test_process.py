"""The page's process: started when somebody connects, gone when unused, and no use to anybody else."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from tests.agent.page.conftest import ROOT

from modelota.agent import page_link
from modelota.agent.config import PageSettings
from modelota.agent.core import Core
from modelota.agent.page_sessions import LINK_S, SESSION_UNUSED_S
from modelota.agent.supervisor import Supervisor
from modelota.clock import SystemClock
from modelota.errors import AskPerson, TryLater
from modelota.runtime.http_server import serve_unix
from modelota.spec.api_owner import PageRequest
from modelota.testing.clock import ManualClock

Start = Callable[..., Awaitable[Core]]


class Answer(NamedTuple):
    """What came over the wire."""

    status: int
    head: str
    body: str


async def fetch(port: int, path: str, cookie: str = "") -> Answer:
    """One real request of this user's."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n".encode()
        )
        async with asyncio.timeout(60):
            data = await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()
    head, _, body = data.decode().partition("\r\n\r\n")
    assert head, "closed without an answer"
    return Answer(int(head.split()[1]), head, body)


async def sign_in(core: Core) -> tuple[int, str]:
    """Open a new link; returns the port and the cookie."""
    link = await core.page.link(PageRequest(path="/about"), ROOT)
    found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)(/open/\S+)", link.url)
    assert found is not None
    answer = await fetch(int(found[1]), found[2])
    assert answer.status == 200, answer
    cookie = re.search(r"set-cookie: (modelota-session-\d+=[0-9a-f]+);", answer.head)
    assert cookie is not None
    return int(found[1]), cookie[1]


@pytest.fixture
async def start(enrolled: Path, tmp_path: Path) -> AsyncIterator[Start]:
    """Start an agent with these settings of the page."""
    closing: list[Callable[[], Awaitable[None]]] = []

    async def make(settings: PageSettings, clock: SystemClock | ManualClock | None = None) -> Core:
        shutil.copytree(enrolled, tmp_path / "device", symlinks=True)
        core = await Core.open(tmp_path / "device", clock=clock, unattended=True)
        closing.append(core.aclose)
        core.page._settings = settings
        server = await serve_unix(core.layout.agent_socket, Supervisor(core).handle)
        closing.append(server.close)
        core.page.serving = True
        return core

    yield make
    for close in reversed(closing):
        await close()


async def test_it_goes_when_unused_and_comes_back_with_the_session(start: Start) -> None:
    """Nobody has to sign in again because the process had gone; the port stays open for them."""
    core = await start(PageSettings(idle_s=1))
    port, cookie = await sign_in(core)
    first = core.page._process
    assert first is not None
    async with asyncio.timeout(60):
        assert await first.wait() == 0
    answer = await fetch(port, "/about", cookie)
    assert answer.status == 200
    assert "uid:0" in answer.body
    second = core.page._process
    assert second is not None
    assert second.pid != first.pid
    log = (core.layout.log / "page.log").read_text()
    assert "Traceback" not in log, log


async def read_until(reader: asyncio.StreamReader, text: bytes) -> bytes:
    async with asyncio.timeout(60):
        return await reader.readuntil(text)


async def follow(port: int, cookie: str, last: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """An open event stream, as a browser that saw the event `last` asks for it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nCookie: {cookie}\r\nLast-Event-ID: {last}\r\n\r\n"
    writer.write(head.encode())
    told = await read_until(reader, b": open\n\n")
    assert b"200 OK" in told
    assert b"content-type: text/event-stream" in told.lower()
    return reader, writer


async def test_a_browser_that_follows_and_goes_keeps_nothing_open(start: Start) -> None:
    """Events reach it as they happen, from where it was; with its tab closed the process ends like any unused one."""
    core = await start(PageSettings(idle_s=1))
    seen = core.hub.publish("notice", "", {"n": 1})
    port, cookie = await sign_in(core)
    reader, writer = await follow(port, cookie, seen.id)
    event = core.hub.publish("notice", "", {"n": 2})
    told = await read_until(reader, f"id: {event.id}\n".encode())
    assert f"id: {seen.id}\n".encode() not in told
    writer.close()
    process = core.page._process
    assert process is not None
    async with asyncio.timeout(60):
        assert await process.wait() == 0


async def test_a_stream_ends_with_the_agent(start: Start) -> None:
    """The browser is not left waiting for an agent that is gone."""
    core = await start(PageSettings(idle_s=60))
    port, cookie = await sign_in(core)
    reader, writer = await follow(port, cookie, 0)
    core.hub.close()
    async with asyncio.timeout(60):
        await reader.readuntil(b"\r\n0\r\n\r\n")  # the last chunk: a whole answer, not one that broke off
    writer.close()


async def test_the_port_closes_with_the_last_session(start: Start) -> None:
    """When the process ends and there is neither a session nor a link, nothing listens any more."""
    clock = ManualClock()
    core = await start(PageSettings(idle_s=1), clock)
    port, cookie = await sign_in(core)
    clock.advance(seconds=max(SESSION_UNUSED_S, LINK_S))
    assert (await fetch(port, "/about", cookie)).status == 401
    watch = core.page._watch
    assert watch is not None
    async with asyncio.timeout(60):
        await watch
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    # and the next link opens one again
    port, cookie = await sign_in(core)
    assert (await fetch(port, "/about", cookie)).status == 200


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_its_secret_is_not_to_be_seen(start: Start) -> None:
    """Neither on its command line, which every user can read, nor in its environment."""
    core = await start(PageSettings(idle_s=60))
    await sign_in(core)
    process = core.page._process
    assert process is not None
    for name in ("cmdline", "environ"):
        assert core.page._secret.encode() not in Path(f"/proc/{process.pid}/{name}").read_bytes()


THIEF = """
import os, socket, sys

os.setgroups([]), os.setgid(65534), os.setuid(65534)
end = socket.socket()
end.connect(("127.0.0.1", int(sys.argv[1])))
end.sendall(sys.stdin.buffer.read())
while data := end.recv(65536):
    os.write(1, data)
"""


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root can become another user")
async def test_another_user_with_the_cookie_gets_nothing(start: Start) -> None:
    """A real request of a real other user, with the very cookie that works for its own."""
    core = await start(PageSettings(idle_s=60))
    port, cookie = await sign_in(core)
    request = f"GET /about HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"
    thief = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-c", THIEF, str(port), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    async with asyncio.timeout(60):
        told, _ = await thief.communicate(request.encode())
    assert told.startswith(b"HTTP/1.1 401 "), told[:200]
    assert b"page-session-ended" in told
    assert (await fetch(port, "/about", cookie)).status == 200


async def test_a_process_that_can_not_run_turns_visitors_away(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A browser is told so at once, and the agent does not start one process after another without a pause."""
    clock = ManualClock()
    core = await start(PageSettings(idle_s=60), clock)
    monkeypatch.setattr(page_link.sys, "executable", shutil.which("false"))
    link = await core.page.link(PageRequest(), ROOT)
    port = int(link.url.split(":")[2].split("/")[0])
    assert core.page._watch is not None
    await core.page._watch
    for tries in (1, 2):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.timeout(30):
            with suppress(ConnectionResetError):  # the same, said more bluntly
                assert await reader.read() == b""
        writer.close()
        async with asyncio.timeout(30):
            while len(clock.slept) <= tries:  # noqa: ASYNC110  a clock whose sleeps end at once has no event to wait for
                await asyncio.sleep(0)
    assert clock.slept == [1, 2, 4]


async def test_a_process_that_can_not_be_started_is_told_of(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """To who asks for a link; who connects is turned away, and once there is room again it starts."""
    core = await start(PageSettings(idle_s=60))
    with monkeypatch.context() as patched:
        patched.setattr(page_link.sys, "executable", "/nowhere/python")
        with pytest.raises(TryLater) as caught:
            await core.page.link(PageRequest(), ROOT)
    assert caught.value.code == "page-start-failed"
    assert core.page._listener is None, "a port is open that nobody has a link to"
    port, cookie = await sign_in(core)
    process, watch = core.page._process, core.page._watch
    assert process is not None
    assert watch is not None
    process.terminate()
    await watch
    with monkeypatch.context() as patched:
        patched.setattr(page_link.sys, "executable", "/nowhere/python")
        with pytest.raises(TryLater):
            await core.page.link(PageRequest(), ROOT)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.timeout(30):
            with suppress(ConnectionResetError):
                assert await reader.read() == b""
        writer.close()
    assert (await fetch(port, "/about", cookie)).status == 200


async def test_nothing_of_it_stays_when_the_agent_ends(start: Start) -> None:
    """Process and port go with it."""
    core = await start(PageSettings(idle_s=60))
    port, _ = await sign_in(core)
    process = core.page._process
    assert process is not None
    await core.page.aclose()
    assert process.returncode is not None
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_what_the_settings_say(start: Start) -> None:
    """No page where there is to be none; a port that is taken is told of; one that is free is used."""
    core = await start(PageSettings(enabled=False))
    with pytest.raises(AskPerson) as refused:
        await core.page.link(PageRequest(), ROOT)
    assert refused.value.code == "page-disabled"
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    core.page._settings = PageSettings(port=port)
    with pytest.raises(AskPerson) as refused:
        await core.page.link(PageRequest(), ROOT)
    assert (refused.value.code, refused.value.params["port"]) == ("page-port-taken", port)
    taken.close()
    await taken.wait_closed()
    assert (await core.page.link(PageRequest(), ROOT)).url.startswith(f"http://127.0.0.1:{port}/open/")


async def test_an_agent_without_a_supervisor_has_no_page(enrolled: Path, tmp_path: Path) -> None:
    """It ends with the command that asked, and a link to it would lead nowhere."""
    shutil.copytree(enrolled, tmp_path / "device", symlinks=True)
    core = await Core.open(tmp_path / "device", unattended=True)
    with pytest.raises(TryLater) as refused:
        await core.page.link(PageRequest(), ROOT)
    await core.aclose()
    assert refused.value.code == "agent-not-running"


@pytest.mark.parametrize(
    "path", ["", "about", "//evil.example", "/\\evil.example", "/" + "x" * 600, "https://evil.example/"]
)
def test_links_lead_to_this_page_only(path: str) -> None:
    """The interface refuses any other path."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"path": path}, PageRequest)
