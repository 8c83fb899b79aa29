"""Desktop notifications: a process of the user's session, a client of the agent's socket like any other.

It shows what is due and was not shown to its user yet, puts a newer offer in the place of an older one, takes away what
is over or was answered elsewhere, and opens the owner's page when a notification is clicked. It outlives restarts of
the agent and of the desktop's notification service, and ends with the session.
"""

from __future__ import annotations

import asyncio
import hashlib
import html
import os
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Final

from modelota.agent.desktop_bus import SERVICE, DesktopBus, Shown
from modelota.agent.desktop_screen import ScreenMemory
from modelota.agent.desktop_session import session_bus
from modelota.agent.socket_client import SocketClient
from modelota.clock import Clock, SystemClock, from_iso
from modelota.errors import AskPerson, ModelotaError, TryLater
from modelota.i18n import Language
from modelota.i18n.notices import render_notice
from modelota.spec.api_owner import Notice, NoticesPage, NoticeTold, PageLink, PageRequest
from modelota.storage.layout import Layout

CHANNEL: Final = "desktop"
NOTICES_SHOWN: Final = 500
AWAY_FIRST_S: Final = 2.0  # until the agent is looked for again; doubled while it is not there
AWAY_MAX_S: Final = 60.0
LOOK_S: Final = 900.0  # the longest wait for the end of quiet hours: the clock may be set, the device sleep

_OPENERS: Final = (("xdg-open",), ("gio", "open"), ("x-www-browser",))
_DEFAULT: Final = "default"  # a click on the notification itself (Desktop Notifications Specification 1.2)
_OPEN: Final = "open"
_OFFERS: Final = frozenset({"offer", "reminder"})


class Notifier:
    """Shows the notices of one device root to one user.

    Args:
        client: of the agent.
        bus: of the session.
        language: of its user.
        clock: the time.
        memory: of what is on the screen, for the notifier after this one.
        open_url: opens an address in the user's browser, with the desktop's activation token, or an empty one.
        said: told an error that does not end this.
    """

    def __init__(
        self,
        client: SocketClient,
        bus: DesktopBus,
        language: Language,
        clock: Clock,
        memory: ScreenMemory,
        *,
        open_url: Callable[[str, str], Awaitable[None]],
        said: Callable[[ModelotaError], None],
    ) -> None:
        self._client = client
        self._bus = bus
        self._language = language
        self._clock = clock
        self._memory = memory
        self._open_url = open_url
        self._said = said
        self._on_screen: dict[int, int] = memory.load(bus.place)  # numbers at the service, by the notice's id
        self._standing: dict[int, Notice] = {}
        self._matters: dict[int, tuple[str, str, str]] = {}  # of what is on the screen or stands
        self._shown = set(self._on_screen)  # ids of notices that were shown, whether the agent could be told or not
        self._look = asyncio.Event()
        self._opening: set[asyncio.Task[None]] = set()
        self._quiet_until: str | None = None
        self._again: set[int] = set()  # ids of notices that went from the screen with the service that showed them
        self._again_s: float | None = None
        self._borne = ""
        bus.invoked, bus.closed, bus.appeared = self._invoked, self._closed, self._appeared

    async def run(self) -> None:
        """Show notices until the session ends.

        Raises:
            AskPerson: `not-authorised`: this user may not see them.
        """
        tasks = [asyncio.create_task(work) for work in (self._follow(), self._refresh_when_asked(), self._wait_lost())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (*tasks, *self._opening):
                task.cancel()
            await asyncio.gather(*tasks, *self._opening, return_exceptions=True)

    async def _wait_lost(self) -> None:
        await self._bus.lost.wait()

    async def _follow(self) -> None:
        """Follow the agent's events, over its restarts; nothing that happened in between is missed."""
        last, away_s = 0, AWAY_FIRST_S
        while True:
            self._look.set()
            begun_s = self._clock.monotonic()
            try:
                async with aclosing(self._client.events(last)) as events:
                    async for event in events:
                        last = event.id
                        if event.kind in {"notification", "reset"}:
                            self._look.set()
            except ModelotaError as error:
                self._bear(error)
            if self._clock.monotonic() - begun_s > AWAY_MAX_S:
                away_s = AWAY_FIRST_S
            await self._clock.sleep(away_s)
            away_s = min(AWAY_MAX_S, 2 * away_s)

    async def _refresh_when_asked(self) -> None:
        while True:
            await self._wait_to_look()
            self._look.clear()
            try:
                await self.refresh()
                self._again_s = None
            except ModelotaError as error:
                self._bear(error)
                is_away = error.params.get("path") != SERVICE  # the service says when it is there again
                self._again_s = min(AWAY_MAX_S, 2 * (self._again_s or AWAY_FIRST_S / 2)) if is_away else None

    def _bear(self, error: ModelotaError) -> None:
        """An agent that is away comes back; one that this user may not ask does not.

        Raises:
            AskPerson: `not-authorised`.
        """
        if error.code == "not-authorised":
            raise error
        if error.code == "peer-unreachable" and error.params.get("detail") == PermissionError.__name__:
            raise AskPerson("not-authorised", action="GET /v1/notices", uid=os.getuid()) from error
        if error.code != self._borne and error.branch != TryLater.branch:
            self._said(error)
        self._borne = error.code

    async def _wait_to_look(self) -> None:
        """Until something happened, the quiet hours are over, or what failed may be tried again."""
        waits_s = [self._again_s] if self._again_s is not None else []
        if self._quiet_until is not None:
            left_s = (from_iso(self._quiet_until) - self._clock.now()).total_seconds()
            waits_s.append(min(LOOK_S, max(1.0, left_s)))
        tasks: list[asyncio.Task[object]] = [asyncio.create_task(self._look.wait())]
        tasks += [asyncio.create_task(self._clock.sleep(wait_s)) for wait_s in waits_s]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # -- showing ----------------------------------------------------------------------------------------------------

    async def refresh(self) -> None:
        """Bring the screen in line with what the agent says.

        Raises:
            ModelotaError: the agent, or the notification service, is not there.
        """
        page = await self._client.ask(NoticesPage, "GET", "/v1/notices", query={"limit": str(NOTICES_SHOWN)})
        self._quiet_until = page.quiet_until
        self._standing = {notice.id: notice for notice in page.notices}
        shown = {each: matter for each, matter in self._matters.items() if each in self._on_screen}
        self._matters = shown | {notice.id: _matter(notice) for notice in page.notices}
        for notice in page.notices:
            if notice.id in self._again or (notice.told_at is None and notice.id not in self._shown):
                await self._show(notice)
            if notice.told_at is None and notice.id in self._shown:
                told = NoticeTold(channel=CHANNEL)
                await self._client.ask(Notice, "POST", f"/v1/notices/{notice.id}", told)
        for gone in self._on_screen.keys() - self._standing.keys():
            number = self._on_screen.pop(gone, None)
            self._remember()
            if number is not None:  # its user closed it while another one went
                await self._bus.close(number)

    async def _show(self, notice: Notice) -> None:
        """Put a notice on the screen, in the place of an older one about the same matter."""
        capabilities = await self._bus.capabilities()
        older = next((each for each in self._on_screen if self._matters.get(each) == _matter(notice)), None)
        rendered = render_notice(notice, self._language)
        actions = {_DEFAULT: rendered.action, _OPEN: rendered.action} if "actions" in capabilities else {}
        number = await self._bus.show(
            Shown(
                title=rendered.title,
                body=html.escape(rendered.body, quote=False) if "body-markup" in capabilities else rendered.body,
                icon=_icon(notice),
                actions=actions,
                is_urgent=notice.urgent,
                replaces=0 if older is None else self._on_screen[older],
            )
        )
        if older is not None:
            self._on_screen.pop(older, None)
        self._on_screen[notice.id] = number
        self._shown.add(notice.id)
        self._again.discard(notice.id)
        self._remember()

    def _remember(self) -> None:
        self._memory.keep(self._bus.place, self._on_screen)

    def _closed(self, number: int) -> None:
        """Somebody closed a notification, or its time was over."""
        for notice in [each for each, shown in self._on_screen.items() if shown == number]:
            del self._on_screen[notice]
        self._remember()

    def _appeared(self) -> None:
        """The notification service is there, perhaps again: what was on the screen went with the one before."""
        self._again |= self._on_screen.keys()
        self._on_screen.clear()
        self._look.set()

    # -- opening ----------------------------------------------------------------------------------------------------

    def _invoked(self, number: int, key: str, token: str) -> None:
        notice = next((each for each, shown in self._on_screen.items() if shown == number), None)
        if notice not in self._standing or key not in {_DEFAULT, _OPEN}:
            return
        task = asyncio.create_task(self._open(self._standing[notice], token))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, notice: Notice, token: str) -> None:
        """Open the owner's page where the notice leads."""
        try:
            request = PageRequest(path=notice.path, language=self._language)
            link = await self._client.ask(PageLink, "POST", "/v1/page", request)
            await self._open_url(link.url, token)
        except ModelotaError as error:
            self._said(error)


def _matter(notice: Notice) -> tuple[str, str, str]:
    """What a notice is about; of one matter only the newest is on the screen."""
    if notice.kind in _OFFERS:
        return "offer", notice.model, ""
    return notice.kind, notice.model, "" if notice.kind == "outcome" else notice.key


def _icon(notice: Notice) -> str:
    if notice.kind in _OFFERS:
        return "software-update-urgent" if notice.urgent else "software-update-available"
    return "dialog-warning" if notice.error is not None else "dialog-information"


async def notify(
    root: Path, language: Language, *, said: Callable[[ModelotaError], None], ready: Callable[[], None]
) -> None:
    """Show the notices of a device root in this session until it ends.

    Args:
        root: of the device.
        language: of the user.
        said: told an error that does not end this.
        ready: called once they are shown.

    Raises:
        AskPerson: `no-session-bus`; `notifier-running`: they are shown in this session already; `not-authorised`.
    """
    address = session_bus(os.environ)
    if address is None:
        raise AskPerson("no-session-bus", detail="")
    bus = await DesktopBus.connect(address)
    try:
        name = bus_name(root)
        if not await bus.own(name):
            raise AskPerson("notifier-running", path=str(root))
        ready()
        client, memory = SocketClient(Layout(root).agent_socket), ScreenMemory.of(name)
        await Notifier(client, bus, language, SystemClock(), memory, open_url=open_in_browser, said=said).run()
    finally:
        await bus.aclose()


def bus_name(root: Path) -> str:
    """The name on the session bus that one notifier of a device root holds, so that nothing is shown twice."""
    return f"org.modelota.Notices.r{hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]}"


async def open_in_browser(url: str, token: str) -> None:
    """Open an address in the user's browser.

    Args:
        url: the address.
        token: with which the browser may come to the foreground (XDG Activation), or an empty text.

    Raises:
        AskPerson: `no-browser`.
    """
    opener = next((words for words in _OPENERS if shutil.which(words[0])), None)
    if opener is None or os.geteuid() == 0:  # all users can read command lines, and root's link is not only for root
        raise AskPerson("no-browser")
    tokens = {"XDG_ACTIVATION_TOKEN": token, "DESKTOP_STARTUP_ID": token} if token else {}
    await run_detached((*opener, url), {**os.environ, **tokens})


async def run_detached(argv: Sequence[str], environ: Mapping[str, str]) -> None:
    """Run a program of the user's, as long as it takes; what it does is its own affair."""
    nowhere = asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=nowhere, stdout=nowhere, stderr=nowhere, env=environ, start_new_session=True
        )
    except OSError as error:
        raise AskPerson("no-browser") from error
    await process.wait()
