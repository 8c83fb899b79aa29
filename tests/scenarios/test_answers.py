"""Answers and their life on a real device: put off, taken back, expired, and never doubled by a kill (5.1-d, 5.3-b)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from modelota.agent.agent import Agent
from modelota.clock import iso
from modelota.spec.limits import MIB
from modelota.testing.device import DeviceGoneError, DeviceUnderTest
from modelota.testing.network import InstrumentedServer, Slow
from tests.agent.held_clock import HeldClock
from tests.scenarios.conftest import Publisher, good_model, heavy_model
from tests.scenarios.test_consent import code
from tests.scenarios.test_power_loss import wait_until

Json = Any
MODEL = "acme/assistant"


def answer(device: DeviceUnderTest, digest: str, what: str, **wishes: Any) -> Json:
    """Answer an offer; the status afterwards."""
    return device.ask("POST", "/v1/decisions", {"offer_digest": digest, "answer": what, "channel": "host", **wishes})


def listed(device: DeviceUnderTest) -> list[tuple[str, str]]:
    """Answers to offers of 1.1.2 and their states, oldest first."""
    page = device.ask("GET", f"/v1/decisions?model={MODEL}")["decisions"]
    return [(view["answer"], view["state"]) for view in reversed(page) if view["to_version"] == "1.1.2"]


def revoke(device: DeviceUnderTest, status: Json) -> Json:
    """Take the only standing answer back."""
    (given,) = status["answers"]
    assert given["revocable"]
    view = device.ask("DELETE", f"/v1/decisions/{given['id']}")
    assert view["state"] == "revoked"
    return view


def test_an_offer_is_put_off_taken_back_and_carried_out(publisher: Publisher) -> None:
    """Later → reminded → tonight → taken back → accepted → taken back while fetching → accepted → done."""
    publisher.publish("1.1.1", kind="feature", beside={"more.bin": heavy_model(1)})
    with InstrumentedServer(publisher.public) as server:
        device = publisher.device(url=server.url)
        staging = device.layout.model(MODEL).staging
        with device.running():
            device.update()
            publisher.publish("1.1.2", beside={"more.bin": heavy_model(16)}, baselines=())
            offer = device.check()
            digest, served = offer["digest"], server.sent_bytes("packs/*")

            status = answer(device, digest, "later", remind_at=iso(datetime.now(UTC) + timedelta(seconds=1)))
            assert status["answers"][0]["remind_at"] is not None
            wait_until(lambda: any(entry["event"] == "reminded" for entry in device.log()))
            notices = device.ask("GET", "/v1/notices?all=true")["notices"]
            assert [notice["digest"] for notice in notices if notice["kind"] == "reminder"] == [digest]
            assert device.status()["offer"]["remind_at"] > status["answers"][0]["remind_at"]

            device.ask("POST", "/v1/conditions", {"charging": False})
            status = answer(device, digest, "accept", conditions=["charging"])
            wait_until(lambda: device.status()["waits_for"] == ["charging"])
            revoke(device, device.status())
            status = device.status()
            assert (status["phase"], status["offer"]["digest"], status["offer"]["answer"]) == ("offered", digest, None)
            device.ask("POST", "/v1/conditions", {"charging": True})
            assert server.sent_bytes("packs/*") == served

            server.script("packs/*", Slow(bytes_per_s=2 * MIB))
            answer(device, digest, "accept")
            wait_until(lambda: server.sent_bytes("packs/*") > served + 2 * MIB)
            status = device.status()
            assert status["answers"][0]["expires_at"] is None  # it has begun
            revoke(device, status)
            status = device.status()
            assert (status["phase"], status["offer"]["digest"]) == ("offered", digest)
            assert status["last_outcome"]["result"] == "cancelled"
            wait_until(lambda: not staging.exists())
            assert status["active_version"] == "1.1.1"

            server.script("packs/*", Slow(bytes_per_s=1024 * MIB))
            answer(device, digest, "accept")
            assert device.settle()["active_version"] == "1.1.2"
            given = [("later", "superseded"), ("accept", "revoked"), ("accept", "revoked"), ("accept", "done")]
            assert listed(device) == given
            last = device.ask("GET", "/v1/decisions?limit=1")["decisions"][0]
            assert code(device.request("DELETE", f"/v1/decisions/{last['id']}")) == "answer-over"
            assert code(device.request("DELETE", "/v1/decisions/999999")) == "answer-unknown"


def test_a_skipped_version_waits_for_a_newer_one(installed: tuple[Publisher, DeviceUnderTest]) -> None:
    """Neither it nor an older one is offered unasked; taking the answer back offers it again at once."""
    publisher, device = installed
    publisher.publish("1.1.2")
    publisher.publish("1.1.3")
    offer = device.check()
    assert offer["offer"]["to_version"] == "1.1.3"
    answer(device, offer["digest"], "skip")
    found = device.ask("POST", "/v1/check", {})[0]
    assert (found["offer"], found["turned_down"]) == (None, ["1.1.3"])
    number = device.status()["answers"][0]["id"]
    # nobody but the page says that something was said there
    assert code(device.request("DELETE", f"/v1/decisions/{number}?channel=page")) == "argument-invalid"
    revoke(device, device.status())
    assert device.status()["offer"]["digest"] == offer["digest"]
    answer(device, offer["digest"], "skip")
    publisher.publish("1.1.4")
    assert device.check()["offer"]["to_version"] == "1.1.4"
    assert [given["answer"] for given in device.status()["answers"]] == ["skip"]


def test_another_offer_for_a_declined_version_is_another_offer(installed: tuple[Publisher, DeviceUnderTest]) -> None:
    """What was declined is what was shown; when the update would be another one, it is offered."""
    publisher, device = installed
    publisher.publish("1.1.2", heavy_model(4))
    first = device.check()
    answer(device, first["digest"], "decline")
    assert device.check() is None
    publisher.publish("1.1.3", good_model("1.1.3"))
    device.stop()
    device.start()
    newer = device.check()
    assert newer["offer"]["to_version"] == "1.1.3"
    answer(device, newer["digest"], "accept")
    assert device.settle()["active_version"] == "1.1.3"
    device.ask("POST", "/v1/rollback", {})
    device.settle()
    other = device.ask("POST", "/v1/check", {"version": "1.1.2"})[0]["offer"]
    assert other["digest"] != first["digest"]  # other slots are kept on this device now
    assert listed(device) == [("decline", "standing")]
    device.show(other["digest"])
    answer(device, other["digest"], "later")
    assert listed(device) == [("decline", "superseded"), ("later", "standing")]


def test_a_kill_between_answer_and_effect(publisher: Publisher) -> None:
    """Killed before the n-th write of accepting and taking back: an answer counts entirely, or was never given."""
    publisher.publish("1.1.1", kind="feature")
    device = publisher.device()
    with device.running():
        device.update()
        publisher.publish("1.1.2")
        digest = device.check()["digest"]
    seen = set()
    for write in range(1, 40):
        killed = False
        try:
            device.start(faults_armed=f"journal.commit@{write}=kill")
            _accept_and_take_back(device, digest)
        except DeviceGoneError:
            killed = True
            device.wait_gone()
            device.start()
        status = device.status()
        standing = [given["answer"] for given in status["answers"]]
        seen.add("accepted" if standing else "offered")
        assert standing == (["accept"] if status["target_version"] else []), write
        assert (status["offer"] is None) == bool(standing), write
        assert [state for _, state in listed(device)].count("standing") == len(standing), write
        if standing:  # it goes on by itself, and can still be taken back
            wait_until(lambda: device.status()["waits_for"] == ["parked"])
            revoke(device, device.status())
        device.stop()
        if not killed:
            break
    else:
        pytest.fail("every run was killed")
    assert seen == {"accepted", "offered"}
    with device.running():
        answer(device, digest, "accept")
        device.kill()
        device.start()
        assert device.settle()["active_version"] == "1.1.2"
        assert listed(device)[-1] == ("accept", "done")


def _accept_and_take_back(device: DeviceUnderTest, digest: str) -> None:
    status = answer(device, digest, "accept", conditions=["parked"])
    # the worker may be killed as well, at the same of its own writes
    wait_until(lambda: device.status()["waits_for"] in (["parked"], ["worker-crashed"]))
    device.ask("DELETE", f"/v1/decisions/{status['answers'][0]['id']}")


class Embedded:
    """An agent in this process, whose clock stands still unless a test lets time pass."""

    def __init__(self, device: DeviceUnderTest, clock: HeldClock) -> None:
        self.supervised = device
        self.clock = clock
        self._is_open = False

    async def open(self) -> None:
        self.agent = await Agent.open(self.supervised.root, clock=self.clock)
        self._is_open = True

    async def ask(self, method: str, path: str, body: Json = None) -> Json:
        path, _, query = path.partition("?")
        fields = dict(pair.split("=") for pair in query.split("&")) if query else {}
        data = b"" if body is None else json.dumps(body).encode()
        status, answered = await self.agent.request(method, path, data, fields)
        assert status == 200, answered
        return json.loads(answered)

    async def status(self) -> Json:
        return (await self.ask("GET", "/v1/status"))["models"][0]

    async def check(self) -> Json:
        offer = (await self.ask("POST", "/v1/check", {}))[0]["offer"]
        if offer is not None:
            shown = {"offer_digest": offer["digest"], "language": "en", "text": "shown", "channel": "host"}
            await self.ask("POST", "/v1/shown", shown)
        return offer

    async def answer(self, digest: str, what: str, **wishes: Any) -> Json:
        return await self.ask("POST", "/v1/decisions", {"offer_digest": digest, "answer": what, **wishes})

    async def until(self, condition: Callable[[Json], bool]) -> Json:
        async with asyncio.timeout(30):
            while not condition(status := await self.status()):  # noqa: ASYNC110  the worker is another process
                await asyncio.sleep(0.01)
        return status

    async def close(self) -> None:
        if self._is_open:
            await self.agent.aclose()
        self._is_open = False


@pytest.fixture
async def embedded(publisher: Publisher) -> AsyncIterator[tuple[Publisher, InstrumentedServer, Embedded]]:
    """A device on 1.1.1, opened in this process, with 1.1.2 published."""
    publisher.publish("1.1.1", kind="feature")
    with InstrumentedServer(publisher.public) as server:
        device = publisher.device(url=server.url)
        with device.running():
            device.update()
        publisher.publish("1.1.2")
        opened = Embedded(device, HeldClock(datetime.now(UTC).replace(microsecond=0)))
        await opened.open()
        yield publisher, server, opened
        await opened.close()


async def test_an_expired_acceptance_never_fetches(
    embedded: tuple[Publisher, InstrumentedServer, Embedded],
) -> None:
    """What it waited for comes a week too late, or the device was off: not a byte is fetched (requirement 5.1-d)."""
    _, server, device = embedded
    digest, served = (await device.check())["digest"], server.sent_bytes("packs/*")
    status = await device.answer(digest, "accept", conditions=["parked"])
    assert status["answers"][0]["expires_at"] == iso(device.clock.now() + timedelta(days=7))
    await device.until(lambda status: status["waits_for"] == ["parked"])
    await device.clock.pass_time(days=7)
    status = await device.until(lambda status: status["phase"] == "offered")
    assert (status["offer"]["digest"], status["offer"]["answer"]) == (digest, None)
    assert status["last_outcome"]["error"]["code"] == "answer-expired"
    await device.ask("POST", "/v1/conditions", {"parked": True})

    await device.ask("POST", "/v1/conditions", {"parked": False})
    await device.answer(digest, "accept", conditions=["parked"], expires_s=3600)
    await device.until(lambda status: status["waits_for"] == ["parked"])
    await device.close()
    device.clock.advance(days=1)
    await device.open()
    assert (await device.status())["phase"] == "waiting"  # looking changes nothing
    status, _ = await device.agent.request("POST", "/v1/conditions", b'{"parked": true}', {})
    assert status == 200
    status = await device.until(lambda status: status["phase"] == "offered")
    page = await device.ask("GET", "/v1/decisions?limit=2")
    assert [view["state"] for view in page["decisions"]] == ["expired", "expired"]
    assert server.sent_bytes("packs/*") == served
    await device.close()
    with device.supervised.running() as supervised:  # what stands again can be accepted again
        await asyncio.to_thread(answer, supervised, digest, "accept")
        assert (await asyncio.to_thread(supervised.settle))["active_version"] == "1.1.2"


async def test_what_was_declined_is_offered_again_in_time(
    embedded: tuple[Publisher, InstrumentedServer, Embedded],
) -> None:
    """Not on the twenty-ninth day, but on the thirtieth; also when the agent was restarted in between."""
    _, _, device = embedded
    digest = (await device.check())["digest"]
    status = await device.answer(digest, "decline")
    assert status["answers"][0]["expires_at"] == iso(device.clock.now() + timedelta(days=30))
    await device.clock.pass_time(days=29)
    assert await device.check() is None
    await device.close()
    await device.open()
    assert await device.check() is None
    await device.agent.core.go_on()
    await device.clock.pass_time(days=1)
    assert (await device.check())["digest"] == digest
    assert (await device.status())["answers"] == []
