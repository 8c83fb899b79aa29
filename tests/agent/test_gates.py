"""Gates: what closes each, for whom, and that whoever waits is told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from modelota.agent import readings
from modelota.agent.config import GateSettings
from modelota.agent.gates import Gates
from modelota.agent.journal import Journal
from modelota.agent.readings import Reading
from modelota.agent.states import Gate, Update
from modelota.errors import AskPerson
from modelota.spec.api_life import ConditionsRequest, InhibitorRequest
from modelota.spec.slot import SlotId
from modelota.testing.clock import ManualClock

STEPS: tuple[Gate, ...] = ("fetch", "activate", "switch")


class Device:
    """What the device would say, and what it was asked."""

    def __init__(self) -> None:
        self.charging = True
        self.unmetered: bool | None = True
        self.blockers: tuple[str, ...] = ()
        self.hook: str | None = None
        self.asked: list[str] = []


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    """A device on mains, with a connection that costs nothing."""
    device = Device()

    async def unmetered() -> Reading:
        return Reading(device.unmetered, None if device.unmetered is not None else "nobody knows")

    async def blockers() -> tuple[str, ...]:
        device.asked.append("logind")
        return device.blockers

    async def hook(argv: tuple[str, ...], step: str, timeout_s: float) -> str | None:
        device.asked.append(f"hook {step}")
        return device.hook

    monkeypatch.setattr(readings, "charging", lambda: Reading(device.charging))
    monkeypatch.setattr(readings, "unmetered", unmetered)
    monkeypatch.setattr(readings, "shutdown_blockers", blockers)
    monkeypatch.setattr(readings, "hook_reason", hook)
    return device


@pytest.fixture
def journal(tmp_path: Path, clock: ManualClock) -> Iterator[Journal]:
    opened = Journal(tmp_path / "agent.db", clock)
    yield opened
    opened.close()


def update(**fields: Any) -> Update:
    known = {"direction": "update", "target": SlotId("1.1.2", "q8"), "before": SlotId("1.1.1", "q8")}
    return Update(**known | {"offer_digest": "a" * 64, "manifest_digest": "", "phase": "waiting"} | fields)


async def closed_at(gates: Gates, made: Update) -> dict[Gate, tuple[str, ...]]:
    """What keeps each gate closed, without those that are open."""
    found = {gate: await gates.closed(gate, made) for gate in STEPS}
    return {gate: names for gate, names in found.items() if names}


async def test_a_device_without_wishes_lets_everything_through(
    device: Device, journal: Journal, clock: ManualClock
) -> None:
    """By default nothing is in the way, on battery and a metered line, too."""
    device.charging = device.unmetered = False
    assert await closed_at(Gates(GateSettings(), journal, clock), update()) == {}


@pytest.mark.parametrize("of", ["settings", "decision"])
async def test_conditions_close_where_they_matter(
    device: Device, journal: Journal, clock: ManualClock, of: str
) -> None:
    """Charging and parked at every step, unmetered before fetching; whether the device or the decision wants them."""
    wanted = ("charging", "unmetered", "parked")
    settings = GateSettings(conditions=wanted) if of == "settings" else GateSettings()
    gates = Gates(settings, journal, clock)
    made = update(conditions=wanted if of == "decision" else ())
    device.charging, device.unmetered = False, None
    assert await closed_at(gates, made) == {
        "fetch": ("charging", "parked", "unmetered"),
        "activate": ("charging", "parked"),
        "switch": ("charging", "parked"),
    }
    device.charging, device.unmetered = True, True
    await gates.tell(ConditionsRequest(parked=True))
    assert await closed_at(gates, made) == {}


async def test_what_the_host_says_goes_before_what_is_read(
    device: Device, journal: Journal, clock: ManualClock
) -> None:
    """Each condition alone; what is left out stays; the time and the reason are told."""
    gates = Gates(GateSettings(), journal, clock)
    device.unmetered = None
    before = await gates.conditions()
    assert (before.charging.holds, before.unmetered.holds, before.parked.holds) == (True, None, None)
    assert (before.unmetered.reason, before.parked.reason) == ("nobody knows", "the host did not say")
    await gates.tell(ConditionsRequest(charging=False))
    after = await gates.tell(ConditionsRequest(parked=True))
    assert (after.charging.holds, after.unmetered.holds, after.parked.holds) == (False, None, True)
    assert (after.charging.told_at, after.unmetered.told_at) == ("2026-11-24T06:00:00Z", None)
    assert await gates.closed("fetch", update(conditions=("charging",))) == ("charging",)


async def test_a_time_that_was_named_holds_every_step_back(
    device: Device, journal: Journal, clock: ManualClock
) -> None:
    """Until it has come."""
    gates = Gates(GateSettings(), journal, clock)
    made = update(not_before="2026-11-24T06:10:00Z")
    assert await closed_at(gates, made) == dict.fromkeys(STEPS, ("time",))
    clock.advance(seconds=600)
    assert await closed_at(gates, made) == {}


async def test_the_window_is_for_what_is_noticed(device: Device, journal: Journal, clock: ManualClock) -> None:
    """Fetching goes on at any hour; a version comes into use within the window, over midnight too."""
    gates = Gates(GateSettings(window="22:00-04:00"), journal, clock, zone=UTC)
    assert await closed_at(gates, update()) == {"activate": ("window",), "switch": ("window",)}
    clock.set(datetime(2026, 11, 25, 3, 59, tzinfo=UTC))
    assert await closed_at(gates, update()) == {}


async def test_inhibitors_close_the_steps_they_name(device: Device, journal: Journal, clock: ManualClock) -> None:
    """With their holder's name, and until they are released."""
    gates = Gates(GateSettings(), journal, clock)
    held = gates.inhibit(InhibitorRequest(holder="rauc", reason="slot b", steps=("activate", "switch")), "uid:0")
    assert (held.uid, gates.inhibitors()) == (0, (held,))
    gates.inhibit(InhibitorRequest(holder="driving", reason="moving", steps=("switch",)), "embedding-host")
    assert await closed_at(gates, update()) == {
        "activate": ("inhibitor:rauc",),
        "switch": ("inhibitor:driving", "inhibitor:rauc"),
    }
    gates.release(held.id, "uid:0")
    assert await closed_at(gates, update()) == {"switch": ("inhibitor:driving",)}
    with pytest.raises(AskPerson, match="inhibitor-unknown"):
        gates.release(held.id, "uid:0")
    events = [entry.event for entry in journal.log(None, 0, 100)]
    assert events == ["inhibited", "inhibited", "inhibitor-released"]


async def test_hook_and_logind_close_with_their_own_words(device: Device, journal: Journal, clock: ManualClock) -> None:
    """The hook is asked at every step, logind where something is noticed; neither while anything else is closed."""
    gates = Gates(GateSettings(hook=("/opt/hook",)), journal, clock)
    device.hook = "door open"
    assert await closed_at(gates, update()) == dict.fromkeys(STEPS, ("hook:door open",))
    device.hook, device.blockers = None, ("apt", "slides")
    assert await closed_at(gates, update()) == dict.fromkeys(("activate", "switch"), ("logind:apt", "logind:slides"))
    device.asked.clear()
    gates.inhibit(InhibitorRequest(holder="rauc", reason="slot b"), "uid:0")
    assert await closed_at(gates, update()) == dict.fromkeys(STEPS, ("inhibitor:rauc",))
    assert device.asked == []
    without = Gates(GateSettings(logind=False), journal, clock)
    assert await without.closed("switch", update()) == ("inhibitor:rauc",)


@pytest.mark.parametrize("direction", ["rollback", "repair"])
async def test_what_its_user_asked_for_does_not_wait_for_comfort(
    device: Device, journal: Journal, clock: ManualClock, direction: str
) -> None:
    """Going back and repairing wait for holders, and for what was wished with this very decision."""
    settings = GateSettings(conditions=("charging", "parked"), window="22:00-04:00", hook=("/opt/hook",))
    gates = Gates(settings, journal, clock, zone=UTC)
    device.charging = False
    assert await closed_at(gates, update(direction=direction)) == {}
    assert await gates.closed("fetch", update(direction=direction, conditions=("charging",))) == ("charging",)
    device.hook = "door open"
    assert await gates.closed("switch", update(direction=direction)) == ("hook:door open",)
    gates.inhibit(InhibitorRequest(holder="rauc", reason="slot b"), "uid:0")
    assert await gates.closed("switch", update(direction=direction)) == ("inhibitor:rauc",)


class Standstill(ManualClock):
    """A clock on which nothing ever becomes due."""

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.Event().wait()


async def test_whoever_waits_is_told(device: Device, journal: Journal) -> None:
    """Told while waiting, or between looking and waiting: nobody sleeps through it."""
    clock = Standstill()
    gates = Gates(GateSettings(poll_s=7), journal, clock)
    turn = gates.turn
    waiting = asyncio.create_task(gates.change(turn))
    await asyncio.sleep(0)
    assert not waiting.done()
    gates.inhibit(InhibitorRequest(holder="rauc", reason="slot b"), "uid:0")
    await asyncio.wait_for(waiting, 5)
    assert clock.slept == [7]
    await asyncio.wait_for(gates.change(turn), 5)
    assert clock.slept == [7]


async def test_without_being_told_it_looks_again(device: Device, journal: Journal, clock: ManualClock) -> None:
    """Conditions that nobody announces are read every so often."""
    gates = Gates(GateSettings(poll_s=7), journal, clock)
    await gates.change(gates.turn)
    assert clock.slept == [7]


def test_requests_are_checked() -> None:
    """Steps that do not exist, empty names and long reasons are refused before anything is kept."""
    for fields in ({"steps": ["verify"]}, {"steps": []}, {"holder": ""}, {"reason": "x" * 201}, {"more": 1}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"holder": "rauc", "reason": "slot b", **fields}, InhibitorRequest)
