"""A real agent in a desktop session: it starts its notifier, tells of an offer once, and a click opens the page."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from modelota.agent.desktop import Notifier
from modelota.agent.desktop_bus import DesktopBus
from modelota.agent.desktop_screen import ScreenMemory
from modelota.agent.socket_client import SocketClient
from modelota.clock import SystemClock
from modelota.spec.api_owner import NoticesPage
from modelota.testing.device import DeviceUnderTest
from tests.agent.session_bus import FakeDesktop, needs_bus, private_bus
from tests.agent.test_short_command import script
from tests.scenarios.conftest import Publisher

pytestmark = needs_bus


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


@pytest.fixture
def device(publisher: Publisher, address: str, tmp_path: Path) -> Iterator[DeviceUnderTest]:
    """A device on 1.1.1 whose agent runs in the session; 1.1.2 is published."""
    publisher.publish("1.1.1", kind="feature")
    made = publisher.device()
    hook = script(tmp_path, f"cat >> {tmp_path / 'hooked'}")
    with (made.root / "config.toml").open("a") as config:
        config.write(f'[notifications]\ndesktop = true\nhook = ["{hook}"]\n')
    made = DeviceUnderTest(
        made.root,
        environment={"DBUS_SESSION_BUS_ADDRESS": address, "MODELOTA_LANG": "zh", "XDG_RUNTIME_DIR": str(tmp_path)},
    )
    made.start()
    made.update()
    publisher.publish("1.1.2")
    yield made
    made.kill()


async def in_thread(work: Callable[[], Any]) -> Any:
    """Talk to the device without holding up the desktop, which lives in this process."""
    return await asyncio.to_thread(work)


async def until_told(device: DeviceUnderTest) -> None:
    """Wait until the agent knows that everything that stands was shown."""
    async with asyncio.timeout(60):
        untold = "/v1/notices?untold=true"
        while (await in_thread(lambda: device.ask("GET", untold)))["notices"]:  # noqa: ASYNC110  in another process
            await asyncio.sleep(0.05)


def titles(desktop: FakeDesktop) -> list[str]:
    """What is on the screen."""
    return sorted(title for title, _, _ in desktop.screen.values())


@pytest.mark.parametrize("how", ["stopped", "killed"])
async def test_the_agent_tells_its_session_once(
    device: DeviceUnderTest, desktop: FakeDesktop, tmp_path: Path, how: str
) -> None:
    """An offer, and how the installation before it ended; nothing again after a restart; gone when it is answered."""
    done, offered = "acme/assistant：1.1.1 已安装并投入使用", "acme/assistant 1.1.2 可更新"
    await desktop.until(lambda: titles(desktop) == [done])
    offer = await in_thread(device.check)
    await desktop.until(lambda: titles(desktop) == sorted([done, offered]))
    await until_told(device)
    await in_thread(device.stop if how == "stopped" else device.kill)
    await in_thread(device.start)
    await in_thread(device.check)
    body = {"offer_digest": offer["digest"], "language": "en", "text": "seen", "channel": "host"}
    await in_thread(lambda: device.ask("POST", "/v1/shown", body))
    answer = {"offer_digest": offer["digest"], "answer": "later", "channel": "host"}
    await in_thread(lambda: device.ask("POST", "/v1/decisions", answer))
    await desktop.until(lambda: offered not in titles(desktop))
    shown = [call[1][3] for call in desktop.calls if call[0] == "Notify"]
    assert [shown.count(title) for title in (done, offered)] == [1, 1]
    page = await in_thread(lambda: device.ask("GET", "/v1/notices"))
    assert [notice["kind"] for notice in page["notices"]] == ["outcome"]
    log = await in_thread(lambda: device.ask("GET", "/v1/log?limit=1000"))
    events = [entry["event"] for entry in log["entries"]]
    assert events.count("notified") == 3
    hooked = [json.loads(line)["title"] for line in (tmp_path / "hooked").read_text().splitlines()]
    assert hooked == ["acme/assistant 1.1.1 可安装", done, offered]


async def test_a_click_opens_the_page_at_the_offer(device: DeviceUnderTest, desktop: FakeDesktop, address: str) -> None:
    """The notification of another session leads, through a one-time link, to what it tells of."""
    opened: asyncio.Queue[str] = asyncio.Queue()

    async def browse(url: str, _: str) -> None:
        opened.put_nowait(url)

    offer = await in_thread(device.check)
    await desktop.until(lambda: len(desktop.screen) == 2)
    client = SocketClient(device.layout.agent_socket)
    page = await client.ask(NoticesPage, "GET", "/v1/notices")
    (notice,) = [notice for notice in page.notices if notice.kind == "offer"]
    bus = await DesktopBus.connect(address)
    notifier = Notifier(client, bus, "en", SystemClock(), ScreenMemory(None, ""), open_url=browse, said=lambda _: None)
    try:
        notifier._standing[notice.id] = notice
        await notifier._show(notice)  # as to a user of a session of their own, who was not shown it
        (number,) = notifier._on_screen.values()
        await desktop.press(number)
        url = await asyncio.wait_for(opened.get(), 60)
    finally:
        await bus.aclose()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    with await in_thread(lambda: opener.open(url)) as answer:
        assert answer.status == 200
        assert f"/offers/{offer['digest']}" in answer.read().decode()
