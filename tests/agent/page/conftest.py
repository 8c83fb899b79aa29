"""A page in front of a real agent, and a browser that sends whatever a test wants it to."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Mapping
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest

from modelota.agent.core import Core
from modelota.agent.enrol import enrol
from modelota.agent.page.activity import Activity
from modelota.agent.page.app import create_app
from modelota.agent.page_given import PageGiven
from modelota.agent.supervisor import Supervisor
from modelota.clock import SystemClock
from modelota.errors import AskPerson
from modelota.repository.founding import init
from modelota.repository.passphrases import Passphrases
from modelota.runtime.http_server import serve_unix
from modelota.runtime.messages import PeerCredentials
from modelota.testing.clock import ManualClock

PORT = 8123
ROOT = PeerCredentials(pid=1, uid=0, gid=0)
DAEMON = PeerCredentials(pid=1, uid=1, gid=1)  # a user that every system has
SECRET = "s" * 64


@pytest.fixture(scope="session")
def enrolled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A device root that was never run."""
    place = tmp_path_factory.mktemp("page")
    init(place / "vendor", clock=SystemClock(), passphrases=Passphrases(), models=("acme/assistant",), dev=True)
    enrol(place / "enroll.toml", place / "device", SystemClock())
    return place / "device"


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    cookies: list[str]
    body: str

    @property
    def code(self) -> str:
        """Of the error that the page shows."""
        codes = re.findall(r"\b(page-[a-z-]+|not-authorised|peer-[a-z]+)\b", re.sub(r'href="[^"]*"', "", self.body))
        assert codes, self.body
        return codes[0]

    @property
    def csrf(self) -> str:
        """The token of the forms on it."""
        found = re.search(r'name="csrf" value="([0-9a-f]+)"', self.body)
        assert found is not None, self.body
        return found[1]


class Browser:
    """Sends requests to the page; keeps its cookies.

    Attributes:
        uid: whose process it is.
    """

    def __init__(self, home: Home, uid: int | None) -> None:
        self._home = home
        self.uid = uid
        self.cookies: dict[str, str] = {}

    async def send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        form: Mapping[str, str] | list[tuple[str, str]] | None = None,
        body: bytes = b"",
    ) -> Answer:
        """One request, with the headers that a browser sends when its user does it on the page; None leaves one out."""
        own: dict[str, str | None] = {"host": f"127.0.0.1:{PORT}", "sec-fetch-site": "same-origin"}
        if form is not None:
            body = urlencode(form).encode()
            own["content-type"] = "application/x-www-form-urlencoded"
        if method == "POST":
            own["origin"] = f"http://127.0.0.1:{PORT}"
        own |= {"content-length": str(len(body))} if body else {}
        own |= {"cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())} if self.cookies else {}
        own |= headers or {}
        target, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": target,
            "raw_path": target.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in own.items() if value is not None],
            "client": ("127.0.0.1", 40_000 + (self.uid or 0)),
            "server": ("127.0.0.1", PORT),
            "state": {},
        }
        incoming = [{"type": "http.request", "body": body, "more_body": False}]
        never = asyncio.Event()
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if incoming:
                return incoming.pop()
            await never.wait()
            raise AssertionError

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        self._home.uid = self.uid
        await self._home.app(scope, receive, send)
        start = sent[0]
        names = {name.decode().lower(): value.decode() for name, value in start["headers"]}
        cookies = [value.decode() for name, value in start["headers"] if name.lower() == b"set-cookie"]
        for cookie in cookies:
            for name, morsel in SimpleCookie(cookie).items():
                self.cookies[name] = morsel.value
        content = b"".join(message.get("body", b"") for message in sent[1:])
        return Answer(start["status"], names, cookies, content.decode())

    async def get(self, path: str, **headers: str | None) -> Answer:
        """Look at something."""
        return await self.send("GET", path, headers={name.replace("_", "-"): v for name, v in headers.items()})

    async def sign_in(self, token: str) -> Answer:
        """Open a link."""
        return await self.get(f"/open/{token}", sec_fetch_site="none")


class Home:
    """A running agent and its page, in this process.

    Attributes:
        uid: whose process the next request comes from; None: the kernel does not tell.
    """

    def __init__(self, core: Core, clock: ManualClock) -> None:
        self.core = core
        self.clock = clock
        self.uid: int | None = 0
        self.hung_up = False
        given = PageGiven(secret=SECRET, socket=str(core.layout.agent_socket), listener=0, idle_s=60, parent=0)
        self.activity = Activity(clock)
        self.app = create_app(given, PORT, self.activity, peer=self._peer)

    def _peer(self, client: tuple[str, int], server: tuple[str, int]) -> int | None:
        if self.hung_up:
            raise AskPerson("page-request-refused", detail="peer-gone")
        return self.uid

    def link(self, owner: PeerCredentials = ROOT, path: str = "/about", language: Any = None) -> str:
        """The token of a new link."""
        return self.core.page.sessions.invite(owner, path, language)

    def browser(self, uid: int | None = 0) -> Browser:
        """A browser of a user."""
        return Browser(self, uid)

    async def signed_in(self, owner: PeerCredentials = ROOT, uid: int | None = 0) -> Browser:
        """A browser that has opened a link."""
        browser = self.browser(uid)
        assert (await browser.sign_in(self.link(owner))).status == 200
        return browser


@pytest.fixture
async def home(
    enrolled: Path, tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Home]:
    """An agent with a supervisor that serves its socket, and the page before it."""
    shutil.copytree(enrolled, tmp_path / "device", symlinks=True)
    core = await Core.open(tmp_path / "device", clock=clock, unattended=True)
    monkeypatch.setattr(core.page, "_secret", SECRET)
    server = await serve_unix(core.layout.agent_socket, Supervisor(core).handle)
    try:
        yield Home(core, clock)
    finally:
        await server.close()
        await core.aclose()
