"""Two tabs of the real page, a terminal and a host over the real socket: whoever is second is told so."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from random import Random

import pytest

from modelota.agent.supervisor import Supervisor
from modelota.cli.agent_access import SocketAccess
from modelota.cli.failure import Reported
from modelota.runtime.http_server import serve_unix
from modelota.spec import api
from tests.agent.held_clock import turns
from tests.agent.page.conftest import SECRET, Answer, Browser, Home
from tests.scenarios.one_truth import LOST, MODEL, Device, make_device


@pytest.fixture
async def device(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Device]:
    """A device whose supervisor serves its socket, and whose worker does nothing before it is told to."""
    with tempfile.TemporaryDirectory(prefix="mo-tabs-") as name:
        root = shutil.move(make_device(Path(name)), Path(name) / "d")
        async with Device(root).running() as steered:
            core = steered.agent.core
            monkeypatch.setattr(core.page, "_secret", SECRET)
            server = await serve_unix(core.layout.agent_socket, Supervisor(core).handle)
            try:
                yield steered
            finally:
                await server.close()


async def offered(device: Device) -> str:
    """A new offer stands; its digest."""
    device.revision += 1
    await device.check()
    status = await device.status()
    assert status.offer is not None
    return status.offer.digest


async def tab(device: Device) -> Browser:
    """A browser that has opened a link."""
    return await Home(device.agent.core, device.clock).signed_in()


async def press(browser: Browser, shown: Answer, digest: str, answer: str) -> bool:
    """Press a button of an offer that the tab shows; whether the page says that it counts."""
    form = {"csrf": shown.csrf, "answer": answer}
    told = await browser.send("POST", f"/offers/{digest}/answer", form=form)
    if told.status == 303:
        return "decided-elsewhere" not in told.headers["location"]
    assert told.status in {404, 409}, told.body
    assert any(code in told.body for code in LOST), told.body
    return False


async def say(access: SocketAccess, digest: str, answer: str, channel: str) -> bool:
    """Answer over the socket; whether it counts."""
    request = api.DecisionRequest(offer_digest=digest, answer=answer, channel=channel)  # type: ignore[arg-type]  # as typed
    try:
        await access.request("POST", "/v1/decisions", request)
    except Reported as told:
        assert told.error.code in LOST
        return False
    return True


async def test_of_four_answers_at_once_one_counts(device: Device) -> None:
    """Whatever arrives first: one answer is on record, its asker is told that it counts, everybody else is not."""
    random = Random(5)
    access = SocketAccess(device.agent.core.layout.agent_socket)
    tabs = [await tab(device), await tab(device)]
    decisions = device.agent.core.journal.decisions
    for _ in range(6):
        digest = await offered(device)
        first, second = [await browser.get(f"/offers/{digest}") for browser in tabs]
        answers = random.choices(["accept", "skip", "decline"], k=4)
        askers: list[Callable[[], Awaitable[bool]]] = [
            lambda: press(tabs[0], first, digest, answers[0]),  # noqa: B023  all are called in this round
            lambda: press(tabs[1], second, digest, answers[1]),  # noqa: B023  as above
            lambda: say(access, digest, answers[2], "terminal"),  # noqa: B023  as above
            lambda: say(access, digest, answers[3], "host"),  # noqa: B023  as above
        ]
        random.shuffle(askers)
        counted = await asyncio.gather(*(ask() for ask in askers))
        rows = [row for row in decisions.page(MODEL, 100) if row.offer_digest == digest]
        assert (sum(counted), len(rows)) == (1, 1)
        status = await device.status()
        assert (status.target_version is not None) == (rows[0].answer == "accept")
        await access.request("DELETE", f"/v1/decisions/{rows[0].id}")
        await turns()


async def test_a_tab_with_an_old_offer_accepts_nothing(device: Device) -> None:
    """A page that was open before the offer changed is shown the new one, and its button decides nothing."""
    browser = await tab(device)
    old = await offered(device)
    shown = await browser.get(f"/offers/{old}")
    new = await offered(device)
    told = await browser.send("POST", f"/offers/{old}/answer", form={"csrf": shown.csrf, "answer": "accept"})
    assert told.status == 409
    assert "offer-changed" in told.body
    assert new in told.body
    assert device.agent.core.journal.decisions.page(MODEL, 10) == ()
    assert (await device.status()).phase == "offered"
    assert await press(browser, told, new, "accept")
    assert (await device.status()).target_version is not None
