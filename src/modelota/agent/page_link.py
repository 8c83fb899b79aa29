"""The supervisor's end of the owner's page: it hands out links, holds the port, and starts the process that answers.

The port is open as long as a link or a session lives. The page's process is there only while it is used: it is started
when somebody connects, with the listening socket and a secret that it gets on its standard input. With the secret it
proves that a request on the agent's socket comes from it, and can make it for the person of a session.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import secrets
import socket
import sys
from contextlib import suppress
from typing import Final

import msgspec

from modelota.agent.access import rights_of
from modelota.agent.config import Config
from modelota.agent.page_given import SECRET_HEADER, SESSION_HEADER, PageGiven
from modelota.agent.page_sessions import LINK_S, PageSession, PageSessions
from modelota.clock import Clock
from modelota.errors import AskPerson, ModelotaError, TryLater
from modelota.runtime.messages import PeerCredentials, Request
from modelota.spec.api_owner import PageLink, PageRequest, Right, SessionRequest, SessionView
from modelota.storage.durable import Disk
from modelota.storage.layout import Layout

SESSIONS_PATH: Final = "/v1/page/sessions"
HOST: Final = "127.0.0.1"
_BACKLOG: Final = 64
_STOP_S: Final = 5.0
_SOON_S: Final = 10.0  # a process that failed this soon after its start would fail again at once
_RETRY_FIRST_S: Final = 1.0
_RETRY_MAX_S: Final = 60.0


class PageKeeper:
    """Hands out links to the page, and sees to it that it answers.

    Args:
        layout: of the device root.
        config: the integrator's settings.
        disk: the writer.
        clock: the time of links and sessions.

    Attributes:
        serving: whether the agent answers on its socket, which the supervisor sets: without that there is no page.
    """

    def __init__(self, layout: Layout, config: Config, disk: Disk, clock: Clock) -> None:
        self.serving = False
        self.sessions: Final = PageSessions(clock)
        self._layout = layout
        self._access = config.access
        self._settings = config.page
        self._disk = disk
        self._clock = clock
        self._secret = secrets.token_hex(32)
        self._listener: socket.socket | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._starting = asyncio.Lock()
        self._watch: asyncio.Task[None] | None = None
        self._retry_s = _RETRY_FIRST_S
        self._tasks: set[asyncio.Task[None]] = set()

    async def link(self, request: PageRequest, peer: PeerCredentials | None) -> PageLink:
        """Make a link for whoever asks, and start the page's process if it does not run.

        Raises:
            TryLater: `agent-not-running`: nobody serves the socket, which the page needs; `page-start-failed`.
            AskPerson: `page-disabled`, `page-port-taken`; `not-authorised` when nobody knows who asks.
        """
        if not self.serving:
            raise TryLater("agent-not-running", path=str(self._layout.root))
        if not self._settings.enabled:
            raise AskPerson("page-disabled")
        if peer is None:
            raise AskPerson("not-authorised", action="POST /v1/page", uid=None)
        listener = self._listen()
        await self._start()
        token = self.sessions.invite(peer, request.path, request.language)
        return PageLink(url=f"http://{HOST}:{listener.getsockname()[1]}/open/{token}", expires_s=LINK_S)

    def redeem(self, request: SessionRequest) -> SessionView:
        """Turn a link into a session.

        Raises:
            AskPerson: `page-link-used`.
        """
        return self._view(*self.sessions.redeem(request.token, request.peer_uid))

    def look(self, session: str, peer_uid: int | None) -> SessionView:
        """What the person of a session may do now.

        Raises:
            AskPerson: `page-session-ended`.
        """
        return self._view(session, self.sessions.find(session, peer_uid))

    def caller(self, request: Request) -> PeerCredentials | None:
        """Who a request counts as from: its peer, or the person of the session that the page's process names.

        Raises:
            AskPerson: `page-caller-refused`: it names a session, or goes where only the page may, without the secret;
                `page-session-ended`.
        """
        session = request.headers.get(SESSION_HEADER)
        secret = request.headers.get(SECRET_HEADER)
        own = request.path == SESSIONS_PATH or request.path.startswith(f"{SESSIONS_PATH}/")
        if session is None and secret is None and not own:
            return request.peer
        proven = secret is not None and hmac.compare_digest(secret.encode(), self._secret.encode())
        if not proven or request.peer is None or request.peer.uid != os.getuid():
            raise AskPerson("page-caller-refused")
        if own or session is None:
            return request.peer
        return self.sessions.person(session)

    def may_still_see(self, request: Request) -> bool:
        """Whether an event stream goes on: its session lives, if it has one, and its person may still see."""
        session = request.headers.get(SESSION_HEADER)
        if session is None:
            return request.peer is not None and "see" in rights_of(request.peer, self._access)
        try:
            return "see" in rights_of(self.sessions.person(session, use=False), self._access)
        except AskPerson:
            return False

    def _view(self, session: str, found: PageSession) -> SessionView:
        person = self.sessions.person(session)
        order: tuple[Right, ...] = ("see", "decide", "remove")
        granted = rights_of(person, self._access)
        return SessionView(
            session=session,
            authority=f"uid:{person.uid}",
            rights=tuple(right for right in order if right in granted),
            language=found.language,
            path=found.path,
        )

    def _listen(self) -> socket.socket:
        if self._listener is None:
            listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            try:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind((HOST, self._settings.port))
                listener.listen(_BACKLOG)
            except OSError as error:
                listener.close()
                raise AskPerson("page-port-taken", port=self._settings.port, detail=error.strerror) from error
            listener.setblocking(False)  # noqa: FBT003  the standard library's signature
            self._listener = listener
        return self._listener

    async def _start(self) -> None:
        """Start the process, unless it runs.

        Raises:
            TryLater: `page-start-failed`.
        """
        async with self._starting:
            if self._process is not None or self._listener is None:
                return
            listener = self._listener
            asyncio.get_running_loop().remove_reader(listener)
            if self._watch is not None:
                self._watch.cancel()  # its process has ended, and it only waits to try again
            try:
                self._process = await self._spawn(listener)
            except (OSError, ModelotaError) as error:  # no process, memory, space or descriptor to be had
                _turn_away(listener)
                self._wait_for_visitors()
                if not self.sessions.alive:
                    self._stop_listening()
                raise TryLater("page-start-failed", detail=str(error)[:200]) from error
            self._watch = asyncio.create_task(self._see_it_end(self._process))

    async def _spawn(self, listener: socket.socket) -> asyncio.subprocess.Process:
        path = self._layout.log / "page.log"
        log = self._disk.open_file(path, kind="log")
        try:
            self._disk.truncate(log, 0, path)
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # whatever lies in the directory that the agent was started in is not to be imported
                "-m",
                "modelota.agent.page",
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=(listener.fileno(),),
            )
        finally:
            os.close(log)
        given = PageGiven(
            secret=self._secret,
            socket=str(self._layout.agent_socket),
            listener=listener.fileno(),
            idle_s=self._settings.idle_s,
            parent=os.getpid(),
        )
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(given) + b"\n")
        process.stdin.close()
        return process

    async def _see_it_end(self, process: asyncio.subprocess.Process) -> None:
        started = self._clock.monotonic()
        status = await process.wait()
        self._process = None
        if self._listener is None:
            return
        if not self.sessions.alive:
            self._stop_listening()
            return
        if status != 0 and self._clock.monotonic() - started < _SOON_S:
            _turn_away(self._listener)
            await self._clock.sleep(self._retry_s)
            self._retry_s = min(2 * self._retry_s, _RETRY_MAX_S)
        else:
            self._retry_s = _RETRY_FIRST_S
        self._wait_for_visitors()

    def _wait_for_visitors(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().add_reader(self._listener, self._visited)

    def _visited(self) -> None:
        """Somebody connected, and no process is there to answer."""
        assert self._listener is not None
        asyncio.get_running_loop().remove_reader(self._listener)

        async def start() -> None:
            with suppress(TryLater):  # it waits for the next one; the log says what it was
                await self._start()

        task = asyncio.create_task(start())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _stop_listening(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    async def aclose(self) -> None:
        """End the process and close the port."""
        self._stop_listening()
        async with self._starting:
            process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(_STOP_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        tasks = [task for task in (self._watch, *self._tasks) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _turn_away(listener: socket.socket) -> None:
    """Close what waits for an answer that will not come, so that browsers say so."""
    with suppress(OSError):
        while True:
            listener.accept()[0].close()
