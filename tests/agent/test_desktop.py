"""Desktop notifications on a real bus: shown once, replaced, closed, and a click that leads to the owner's page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from tests.agent.session_bus import FakeDesktop, needs_bus, private_bus

from modelota.agent import desktop as module
from modelota.agent.desktop import Notifier, bus_name, notify, open_in_browser
from modelota.agent.desktop_bus import DesktopBus
from modelota.agent.desktop_screen import ScreenMemory
from modelota.agent.desktop_session import session_bus
from modelota.agent.socket_client import SocketClient
from modelota.clock import SystemClock
from modelota.errors import AskPerson, ModelotaError, TryLater
from modelota.runtime import http_client
from modelota.spec import api
from modelota.spec.api_owner import Notice, NoticesPage, PageLink

pytestmark = needs_bus

AT = "2026-11-24T06:00:00Z"
LINK = "http://127.0.0.1:1/open/secret"


def offer(number: int, version: str = "1.1.2", **changes: Any) -> Notice:
    """The notice of an offer."""
    facts = {
        "direction": "update",
        "kind": "fix",
        "mode": "full",
        "planned_bytes": 38_000_000,
        "full_bytes": 38_000_000,
    }
    made = Notice(
        id=number,
        key=f"offer {number}",
        kind="offer",
        model="acme/assistant",
        at=AT,
        due_at=AT,
        path=f"/offers/{number}",
        version=version,
        facts={**facts, "title": {"en": "Assistant"}},
    )
    return msgspec.structs.replace(made, **changes)


class FakeAgent:
    """An agent as a notifier sees it: notices that stand, who was told, and events."""

    def __init__(self) -> None:
        self.notices: dict[int, Notice] = {}
        self.asked: list[tuple[str, str, Any]] = []
        self.error: ModelotaError | None = None
        self.looks = 0
        self.quiet_until: str | None = None
        self.is_deaf = False  # whether it answers to nothing that is told it
        self.events_begun = asyncio.Event()
        self.was_asked = asyncio.Event()
        self._events: asyncio.Queue[api.Event | None] = asyncio.Queue()

    async def ask(
        self, kind: type, method: str, path: str, body: msgspec.Struct | None = None, query: Mapping[str, str] = {}
    ) -> Any:
        if self.error is not None:
            raise self.error
        if self.is_deaf and method == "POST":
            raise TryLater("peer-timeout", path="x", seconds=1)
        if method == "POST":
            self.asked.append((method, path, body))
            self.was_asked.set()
        if path == "/v1/notices":
            self.looks += 1
            return NoticesPage(notices=tuple(self.notices.values()), quiet_until=self.quiet_until)
        if path == "/v1/page":
            return PageLink(url=LINK, expires_s=120)
        number = int(path.rpartition("/")[2])
        self.notices[number] = msgspec.structs.replace(self.notices[number], told_at=AT)
        return self.notices[number]

    async def events(self, after: int | None = None) -> AsyncGenerator[api.Event, None]:
        self.events_begun.set()
        if self.error is not None:
            raise self.error
        while (event := await self._events.get()) is not None:
            yield event

    def happen(self, kind: api.EventKind = "notification") -> None:
        """Something happened."""
        self._events.put_nowait(api.Event(id=len(self.asked) + 1, at=AT, kind=kind, model="acme/assistant"))

    def restart(self) -> None:
        """End the stream of events."""
        self._events.put_nowait(None)

    def told(self) -> list[int]:
        """Notices that were told, in order."""
        return [int(path.rpartition("/")[2]) for _, path, _ in self.asked if path.startswith("/v1/notices/")]

    async def until_told(self, *numbers: int) -> None:
        """Wait until exactly these were told."""
        async with asyncio.timeout(20):
            while len(self.told()) < len(numbers):
                self.was_asked.clear()
                await self.was_asked.wait()
        assert self.told() == list(numbers)


class HurriedClock(SystemClock):
    """Does not wait before the agent is looked for again."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    with private_bus(tmp_path) as made:
        yield made


@pytest_asyncio.fixture
async def desktop(address: str) -> AsyncIterator[FakeDesktop]:
    made = FakeDesktop()
    await made.start(address)
    yield made
    await made.stop()


class Setting:
    """A notifier at work."""

    def __init__(self, agent: FakeAgent, bus: DesktopBus, runtime: Path | None = None) -> None:
        self.opened: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self.said: asyncio.Queue[str] = asyncio.Queue()
        client: Any = agent
        memory = ScreenMemory(runtime, "screen")
        self.notifier = Notifier(
            client,
            bus,
            "en",
            HurriedClock(),
            memory,
            open_url=self._open,
            said=lambda error: self.said.put_nowait(error.code),
        )
        self.task = asyncio.create_task(self.notifier.run())
        self.bus = bus

    async def _open(self, url: str, token: str) -> None:
        self.opened.put_nowait((url, token))

    async def aclose(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.bus.aclose()


@pytest.fixture
def agent() -> FakeAgent:
    return FakeAgent()


@pytest_asyncio.fixture
async def setting(agent: FakeAgent, address: str) -> AsyncIterator[Setting]:
    made = Setting(agent, await DesktopBus.connect(address))
    yield made
    await made.aclose()


async def test_a_click_leads_to_the_page(agent: FakeAgent, desktop: FakeDesktop, setting: Setting) -> None:
    """An offer is shown with its button; pressing it asks for a link to its page and opens that."""
    agent.notices[7] = offer(7)
    agent.happen()
    await desktop.until(lambda: 1 in desktop.screen)
    title, body, actions = desktop.screen[1]
    assert title == "Assistant 1.1.2 is available"
    assert body.startswith("38 MB to download (full package)")
    assert actions == {"default": "See the update", "open": "See the update"}
    await desktop.press(1, token="activate-me")
    assert await asyncio.wait_for(setting.opened.get(), 20) == (LINK, "activate-me")
    paths = [body.path for _, path, body in agent.asked if path == "/v1/page"]
    assert paths == ["/offers/7"]
    await agent.until_told(7)


async def test_markup_is_no_markup(agent: FakeAgent, desktop: FakeDesktop, setting: Setting) -> None:
    """What a publisher wrote is text to a service that reads markup, and steers nothing."""
    notes = {"en": '<img src="http://evil/"/><a href="x">click</a> & \x1b[2J\u202ebad\nmore'}
    agent.notices[1] = offer(1, facts={**offer(1).facts, "notes": notes})
    agent.happen()
    await desktop.until(lambda: 1 in desktop.screen)
    body = desktop.screen[1][1]
    assert body.startswith('&lt;img src="http://evil/"/&gt;&lt;a href="x"&gt;click&lt;/a&gt; &amp; ')
    assert not set("\x1b\u202e\n<") & set(body)


async def test_each_is_shown_once(agent: FakeAgent, desktop: FakeDesktop, setting: Setting) -> None:
    """Events that repeat, and an agent that starts anew, show nothing twice; what was told before is not shown."""
    agent.notices[1] = offer(1)
    agent.notices[2] = offer(2, told_at=AT, model="acme/other")
    for _ in range(5):
        agent.happen()
    await agent.until_told(1)
    agent.restart()
    agent.notices[3] = offer(3, model="acme/third")
    agent.happen()
    await desktop.until(lambda: len(desktop.screen) == 2)
    assert [name for name, _ in desktop.calls] == ["Notify", "Notify"]
    await agent.until_told(1, 3)


async def test_the_end_of_quiet_hours_is_looked_for(agent: FakeAgent, desktop: FakeDesktop, setting: Setting) -> None:
    """What was held back before this session began comes without an event."""
    agent.quiet_until = AT
    agent.happen()
    await asyncio.wait_for(agent.events_begun.wait(), 20)
    agent.notices[1] = offer(1)
    await agent.until_told(1)
    agent.quiet_until = None


async def test_a_newer_offer_takes_the_place_of_an_older_one(
    agent: FakeAgent, desktop: FakeDesktop, setting: Setting
) -> None:
    """One notification per model stays for its offers, and the older one's click leads nowhere old."""
    agent.notices[1] = offer(1)
    agent.happen()
    await agent.until_told(1)
    agent.notices = {2: offer(2, "1.1.3")}
    agent.happen()
    await desktop.until(lambda: len(desktop.calls) == 2)
    assert {number: shown[0] for number, shown in desktop.screen.items()} == {1: "Assistant 1.1.3 is available"}
    await desktop.press(1, "open")
    await asyncio.wait_for(setting.opened.get(), 20)
    assert [body.path for _, path, body in agent.asked if path == "/v1/page"] == ["/offers/2"]


async def test_what_was_answered_elsewhere_goes_from_the_screen(
    agent: FakeAgent, desktop: FakeDesktop, setting: Setting
) -> None:
    """A notice that stands no more is closed, and pressing a button of it opens nothing."""
    agent.notices[1] = offer(1)
    agent.happen()
    await agent.until_told(1)
    agent.notices.clear()
    agent.happen()
    await desktop.until(lambda: not desktop.screen)
    assert desktop.calls[-1] == ("CloseNotification", (1,))
    await desktop.press(1)
    agent.notices[2] = offer(2)
    agent.happen()
    await desktop.until(lambda: 2 in desktop.screen)
    assert setting.opened.empty()


async def test_a_notification_service_that_starts_anew_shows_what_was_there(
    agent: FakeAgent, desktop: FakeDesktop, setting: Setting, address: str
) -> None:
    """What was on the screen comes again, what its user closed does not, and nobody is told a second time."""
    agent.notices |= {1: offer(1), 2: offer(2, model="acme/other")}
    agent.happen()
    await agent.until_told(1, 2)
    await desktop.dismiss(1)
    await desktop.stop()
    again = FakeDesktop()
    await again.start(address)
    try:
        await again.until(lambda: 1 in again.screen)
        agent.notices[3] = offer(3, model="acme/third")
        agent.happen()
        await again.until(lambda: len(again.screen) == 2)
        assert [call[1][3] for call in again.calls] == ["Assistant 1.1.2 is available"] * 2
        await agent.until_told(1, 2, 3)
    finally:
        await again.stop()
        await desktop.start(address)  # for its fixture


async def test_the_next_notifier_knows_what_the_one_before_showed(
    agent: FakeAgent, desktop: FakeDesktop, address: str, tmp_path: Path
) -> None:
    """After a restart a click still opens the page, what is over goes, a newer offer replaces; nothing comes twice."""
    first = Setting(agent, await DesktopBus.connect(address), tmp_path)
    agent.notices |= {1: offer(1), 2: offer(2, model="acme/other")}
    agent.happen()
    await agent.until_told(1, 2)
    await first.aclose()
    second = Setting(agent, await DesktopBus.connect(address), tmp_path)
    try:
        del agent.notices[2]
        agent.happen()
        await desktop.until(lambda: list(desktop.screen) == [1])
        await desktop.press(1)
        await asyncio.wait_for(second.opened.get(), 20)
        agent.notices[3] = offer(3, "1.1.3")
        agent.happen()
        await agent.until_told(1, 2, 3)
        assert [title for title, _, _ in desktop.screen.values()] == ["Assistant 1.1.3 is available"]
        assert [name for name, _ in desktop.calls] == ["Notify", "Notify", "CloseNotification", "Notify"]
    finally:
        await second.aclose()


async def test_what_the_agent_did_not_hear_of_is_not_shown_again(
    agent: FakeAgent, desktop: FakeDesktop, address: str, tmp_path: Path
) -> None:
    """When the agent went before it knew that a notice was shown, the next notifier tells it, and shows nothing."""
    agent.is_deaf = True
    agent.notices[1] = offer(1)
    first = Setting(agent, await DesktopBus.connect(address), tmp_path)
    memory = ScreenMemory(tmp_path, "screen")
    async with asyncio.timeout(20):
        while not memory.load(first.bus.place):  # noqa: ASYNC110  a file has no event
            await asyncio.sleep(0)
    await first.aclose()
    agent.is_deaf = False
    second = Setting(agent, await DesktopBus.connect(address), tmp_path)
    await agent.until_told(1)
    assert [name for name, _ in desktop.calls] == ["Notify"]
    await second.aclose()


async def test_what_another_service_showed_is_not_known(
    agent: FakeAgent, desktop: FakeDesktop, address: str, tmp_path: Path
) -> None:
    """Numbers of a notification service that is gone mean nothing to the next one; nor does a file full of nonsense."""
    memory = ScreenMemory(tmp_path, "screen")
    memory.keep(":1.999", {1: 1})
    assert (memory.load(":1.999"), memory.load(":1.1")) == ({1: 1}, {})
    setting = Setting(agent, await DesktopBus.connect(address), tmp_path)
    agent.happen()
    agent.notices[5] = offer(5)
    agent.happen()
    await agent.until_told(5)
    assert [name for name, _ in desktop.calls] == ["Notify"]
    assert memory.load(setting.bus.place) == {5: 1}
    await setting.aclose()
    for nonsense in (b"{", b"\xff", b'{"place": 1}', b"[" * 100_000):
        (tmp_path / "screen.json").write_bytes(nonsense)
        assert memory.load(":1.1") == {}
    (tmp_path / "screen.json").unlink()
    (tmp_path / "screen.json").symlink_to("/etc/passwd")
    assert memory.load(":1.1") == {}
    ScreenMemory(tmp_path / "none", "screen").keep(":1.1", {1: 1})
    ScreenMemory.of("screen", {"XDG_RUNTIME_DIR": "relative"}).keep(":1.1", {1: 1})


async def test_without_a_service_nothing_is_told_until_there_is_one(
    agent: FakeAgent, setting: Setting, address: str
) -> None:
    """A notice that could not be shown is not marked as shown; it comes when the desktop does."""
    agent.notices[1] = offer(1)
    agent.happen()
    for _ in range(200):  # where it would look again and again
        await asyncio.sleep(0)
    assert agent.looks < 10
    late = FakeDesktop(capabilities=())
    await late.start(address)
    try:
        await late.until(lambda: 1 in late.screen)
        assert late.screen[1][2] == {}
    finally:
        await late.stop()


async def test_others_on_the_bus_press_no_buttons(
    agent: FakeAgent, desktop: FakeDesktop, setting: Setting, address: str
) -> None:
    """A signal that somebody else sends straight to the notifier is not taken for the service's."""
    agent.notices[1] = offer(1)
    agent.happen()
    await agent.until_told(1)
    setting.bus._signalled(":1.999", "ActionInvoked", (1, "default"))
    setting.bus._signalled(":1.999", "NameOwnerChanged", ("org.freedesktop.Notifications", "", ":1.999"))
    setting.bus._signalled(setting.bus.service, "ActionInvoked", ("x", 1, 2))
    await desktop.press(1, "default", token="real")
    assert await asyncio.wait_for(setting.opened.get(), 20) == (LINK, "real")
    assert setting.opened.empty()


@pytest.mark.parametrize(
    "error",
    [
        AskPerson("not-authorised", action="GET /v1/notices", uid=1),
        TryLater("peer-unreachable", path="x", detail="PermissionError"),
    ],
)
async def test_who_may_not_see_is_told_so(agent: FakeAgent, address: str, error: ModelotaError) -> None:
    """A user without the right gets a clear error, and no process that waits for ever."""
    agent.error = error
    setting = Setting(agent, await DesktopBus.connect(address))
    with pytest.raises(AskPerson, match="not-authorised"):
        await asyncio.wait_for(setting.task, 20)
    await setting.aclose()


async def test_the_end_of_the_session_ends_it(agent: FakeAgent, tmp_path: Path) -> None:
    """When the bus goes, so does the notifier."""
    with private_bus(tmp_path) as address:
        setting = Setting(agent, await DesktopBus.connect(address))
        await asyncio.wait_for(agent.events_begun.wait(), 20)
    await asyncio.wait_for(setting.task, 20)
    await setting.aclose()


async def test_one_process_shows_a_device(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second one in the same session ends with an error; without a session bus there is an error, too."""
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
    first = await DesktopBus.connect(address)
    assert await first.own(bus_name(tmp_path))
    with pytest.raises(AskPerson, match="notifier-running"):
        await notify(tmp_path, "en", said=lambda _: None, ready=lambda: None)
    await first.aclose()
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "none"))
    with pytest.raises(AskPerson, match="no-session-bus"):
        await notify(tmp_path, "en", said=lambda _: None, ready=lambda: None)


async def test_a_service_that_answers_nonsense(agent: FakeAgent, address: str, setting: Setting) -> None:
    """Answers of another shape are no notification, end nothing, and mark nothing as shown."""
    odd = FakeDesktop()
    odd.nonsense = True
    await odd.start(address)
    agent.notices[1] = offer(1)
    agent.happen()
    await odd.until(lambda: bool(odd.calls))
    await odd.stop()
    sane = FakeDesktop()
    await sane.start(address)
    await agent.until_told(1)
    assert len(sane.screen) == 1
    await sane.stop()


@pytest.mark.parametrize("wrong", ["unix:path=/nowhere/bus", "tcp:host=localhost,port=1", "nonsense", ""])
async def test_a_bus_that_is_none_is_an_error(wrong: str) -> None:
    """Whatever stands in the variable, the answer is an error with a code."""
    with pytest.raises(AskPerson, match="no-session-bus"):
        await DesktopBus.connect(wrong)


def test_where_the_bus_is(tmp_path: Path) -> None:
    """The variable goes first, then systemd's place, if there is something."""
    assert session_bus({"DBUS_SESSION_BUS_ADDRESS": "unix:path=/x"}) == "unix:path=/x"
    assert session_bus({"XDG_RUNTIME_DIR": str(tmp_path)}) is None
    (tmp_path / "bus").touch()
    assert session_bus({"XDG_RUNTIME_DIR": str(tmp_path)}) == f"unix:path={tmp_path}/bus"


# -- the browser -------------------------------------------------------------------------------------------------------


@pytest.fixture
def openers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where programs that open addresses are looked for: nowhere else."""
    place = tmp_path / "bin"
    place.mkdir()
    monkeypatch.setenv("PATH", str(place))
    monkeypatch.setattr(module.os, "geteuid", lambda: 1000)
    return place


async def test_the_browser_gets_the_link_and_the_token(openers: Path, tmp_path: Path) -> None:
    """The desktop's opener runs with the address, and with what lets the browser come to the foreground."""
    out = tmp_path / "out"
    opener = openers / "xdg-open"
    opener.write_text(f'#!/bin/sh\necho "$1 $XDG_ACTIVATION_TOKEN $DESKTOP_STARTUP_ID" > {out}\n')
    opener.chmod(0o755)
    await open_in_browser(LINK, "token")
    assert out.read_text() == f"{LINK} token token\n"


async def test_without_a_browser_there_is_an_error(openers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing to open it with, something that does not start, and root: each is told, none is tried in silence."""
    with pytest.raises(AskPerson, match="no-browser"):
        await open_in_browser(LINK, "")
    (openers / "xdg-open").write_text("not a program")
    (openers / "xdg-open").chmod(0o755)
    with pytest.raises(AskPerson, match="no-browser"):
        await open_in_browser(LINK, "")
    (openers / "xdg-open").write_text("#!/bin/sh\n")
    await open_in_browser(LINK, "")
    monkeypatch.setattr(module.os, "geteuid", lambda: 0)  # whose command lines everybody can read
    with pytest.raises(AskPerson, match="no-browser"):
        await open_in_browser(LINK, "")


async def test_a_page_that_cannot_be_opened_is_told(agent: FakeAgent, desktop: FakeDesktop, setting: Setting) -> None:
    """A page that is switched off is an error in the session's log, and the notifier goes on."""
    agent.notices[1] = offer(1)
    agent.happen()
    await agent.until_told(1)
    agent.error = AskPerson("page-disabled")
    await desktop.press(1)
    assert await asyncio.wait_for(setting.said.get(), 20) == "page-disabled"
    agent.error = None
    await desktop.press(1)
    await asyncio.wait_for(setting.opened.get(), 20)
    assert setting.said.empty()


async def test_a_socket_that_one_may_not_open_is_known_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kernel says to a user outside the group arrives at the notifier as a missing right."""

    async def refused(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(http_client.asyncio, "open_unix_connection", refused)
    client: Any = SocketClient(tmp_path / "agent.sock")
    bus: Any = SimpleNamespace(place="", lost=asyncio.Event())
    notifier = Notifier(
        client, bus, "en", HurriedClock(), ScreenMemory(None, ""), open_url=_no_browser, said=lambda _: None
    )
    with pytest.raises(AskPerson, match="not-authorised"):
        await asyncio.wait_for(notifier.run(), 20)


async def _no_browser(*_: str) -> None:
    raise AssertionError
