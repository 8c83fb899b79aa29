"""Two pages, a terminal and a host at once: one truth, no lost or doubled decision, whatever the interleaving."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Final

import pytest
from hypothesis import Phase, given, note, settings
from hypothesis import strategies as st

from modelota.spec.api import LogEntry
from modelota.spec.offer import Answer
from tests.scenarios.one_truth import MODEL, PEOPLE, Device, make_device, summary_of

Action = tuple[str, *tuple[object, ...]]

# What happens, and how often of a hundred times.
CHOICES: Final[dict[str, int]] = {
    "look": 12,
    "answer": 26,
    "revoke": 5,
    "steer": 8,
    "check": 8,
    "publish": 4,
    "work": 31,
    "time": 4,
    "reconnect": 4,
    "restart": 2,
}
ANSWERS: Final[tuple[Answer, ...]] = ("accept", "accept", "later", "skip", "decline")
TURNS: Final = (0, 0, 0, 1, 2, 5, 30)  # of the event loop, before the next thing happens


def a_story(random: Random, length: int = 75) -> Iterator[tuple[Action, int]]:
    """Things that people, timers and the device do, and how soon the next one follows."""
    for name in random.choices(list(CHOICES), list(CHOICES.values()), k=length):
        person = random.randrange(len(PEOPLE))
        action: Action = (name, person)
        match name:
            case "answer":
                action = (name, person, random.choice(ANSWERS), random.random() < 0.2)
            case "steer":
                action = (name, person, random.choice(("pause", "resume", "resume", "cancel")))
            case "publish":
                action = (name, random.random() < 0.5)
            case "work":
                action = (name, random.random() < 0.9)
            case "time":
                action = (name, random.choice((3600, 86_400, 8 * 86_400, 40 * 86_400)))
            case "reconnect":
                action = (name, random.randrange(3))
            case "check" | "restart":
                action = (name,)
        yield action, random.choice(TURNS)


@pytest.fixture(scope="module")
def template() -> Iterator[Path]:
    """An enrolled device, to be copied for each plan."""
    with tempfile.TemporaryDirectory(prefix="mo-truth-") as name:
        yield make_device(Path(name))


@given(seed=st.integers(0, 2**64 - 1))
@settings(max_examples=12, phases=[Phase.generate])  # another seed is another story: there is nothing to shrink
def test_one_truth(template: Path, seed: int) -> None:
    """Every interleaving of answers, revocations, checks, steps, time and restarts leaves one story, told to all."""
    with tempfile.TemporaryDirectory(prefix="mo-truth-") as name:
        root = Path(name) / "device"
        shutil.copytree(template, root, symlinks=True)
        asyncio.run(play(root, list(a_story(Random(seed)))))


async def play(root: Path, story: list[tuple[Action, int]]) -> None:
    """Have a story happen; look at everything now and then, and at its end."""
    device = Device(root)
    async with device.running():
        await device.check()
        for client in device.clients:
            await client.look()
        for number, ((name, *details), wait_turns) in enumerate(story, start=1):
            note(f"{name} {details}, then {wait_turns} turns")
            await act(device, name, details)
            for _ in range(wait_turns):
                await asyncio.sleep(0)
            if number % 15 == 0:
                await device.settle()
                await verify(device)
        await device.settle()
        await device.work_on()
        for listener in device.listeners[1:]:
            await listener.again()
        await verify(device)


async def act(device: Device, name: str, details: list[object]) -> None:
    """Begin one thing; only time and restarts are waited for."""
    match name, details:
        case "look", [int(number)]:
            device.begin(device.clients[number].look())
        case "answer", [int(number), answer, bool(waits)]:
            device.begin(device.clients[number].answer(answer, waits=waits))  # type: ignore[arg-type]  # drawn from Answer
        case "revoke", [int(number)]:
            device.begin(device.clients[number].revoke())
        case "steer", [int(number), str(action)]:
            device.begin(device.clients[number].steer(action))
        case "check", []:
            device.begin(device.check())
        case "publish", [bool(newer)]:
            device.newest, device.revision = device.newest + newer, device.revision + 1
        case "work", [bool(well)]:
            device.worker.finish(well=well)
        case "time", [int(seconds)]:
            await device.clock.pass_time(seconds=seconds)
        case "reconnect", [int(number)]:
            await device.listeners[number].again()
        case "restart", []:
            await device.restart()
        case _:
            raise AssertionError(name)


async def verify(device: Device) -> None:
    """Compare journal, table of decisions, what each asker was told, what each listener saw, and the status."""
    journal = device.agent.core.journal
    log = journal.log(MODEL, 0, 1000)
    rows = list(reversed(journal.decisions.page(MODEL, 1000)))
    decided = [entry for entry in log if entry.event == "decided"]

    told = Counter(
        (entry.facts["authority"], entry.facts["channel"], entry.facts["digest"], entry.facts["answer"])
        for entry in decided
    )
    won = Counter(
        {(person.authority, person.channel, digest, answer): n for (person, digest, answer), n in device.won.items()}
    )
    assert told == won, "an answer that was taken is not on record, or one that was refused is"
    assert [facts_of(entry) for entry in decided] == [
        (row.id, row.offer_digest, row.answer, row.authority, row.channel) for row in rows
    ], "the table of decisions tells another story than the journal"

    story = Story()
    for entry in log:
        story.take(entry)
    status = await device.status()
    state = device.agent.core.loop(MODEL).state
    assert story.offer == state.offer
    assert story.accepted == (state.update.offer_digest if state.update else None)
    standing = {row.id: row.answer for row in rows if row.ended_as is None}
    assert story.standing == standing == {given.id: given.answer for given in status.answers}
    assert {row.id: row.ended_as for row in rows if row.ended_as in {"revoked", "expired"}} == story.taken_back

    for listener in device.listeners:
        assert listener.mirror.summary() == summary_of(status), "a listener sees another device"
        seen = [number for number, how in listener.mirror.order if how == "standing"]
        assert list(dict.fromkeys(seen)) == sorted(set(seen)), "answers were told in another order than they were taken"


def facts_of(entry: LogEntry) -> tuple[int, str, str, str, str]:
    """An answer as the journal has it."""
    facts = entry.facts
    return facts["id"], facts["digest"], facts["answer"], facts["authority"], facts["channel"]


class Story:
    """The device's story as its journal tells it, by rules of its own: no code of the state machine is used.

    Attributes:
        offer: that stands.
        accepted: the offer of the update under way.
        standing: answers that count.
        taken_back: answers that were revoked or expired.
    """

    def __init__(self) -> None:
        self.offer: str | None = None
        self.accepted: str | None = None
        self.standing: dict[int, str] = {}
        self.taken_back: dict[int, str] = {}
        self._versions: dict[int, tuple[str, str]] = {}

    def take(self, entry: LogEntry) -> None:
        """Go on by one entry."""
        facts = entry.facts
        match entry.event:
            case "offer-made":
                assert self.accepted is None
                if facts["digest"] != self.offer:
                    self._drop(later=True)
                self.offer = facts["digest"]
            case "offer-gone":
                self._drop(later=True)
                self.offer = None
            case "decided":
                self._decided(facts["id"], facts["digest"], facts["answer"], facts["to_version"])
            case "answer-revoked" | "answer-expired":
                how = "revoked" if entry.event == "answer-revoked" else "expired"
                self._ended(facts["id"], how, restore=facts.get("restore", False))
            case "cancelled":
                self._over("revoked")
            case "failed" | "tests-failed" | "activated":
                self._over(None)

    def _decided(self, number: int, digest: str, answer: str, version: str) -> None:
        assert self.accepted is None, "an answer was taken during an update"
        assert digest == self.offer, "an answer was taken to an offer that did not stand"
        same = [each for each, (_, known) in self._versions.items() if each in self.standing and known == version]
        for each in same:  # one answer for each version
            del self.standing[each]
        self._drop(later=True)
        self.standing[number] = answer
        self._versions[number] = (digest, version)
        if answer == "accept":
            self.accepted = digest
        if answer != "later":
            self.offer = None

    def _ended(self, number: int, how: str, *, restore: bool) -> None:
        answer = self.standing.pop(number)
        self.taken_back[number] = how
        digest = self._versions[number][0]
        if answer == "accept":
            assert self.accepted == digest
            self.accepted, self.offer = None, digest
        elif answer != "later" and restore and self.accepted is None and self.offer is None:
            self.offer = digest

    def _over(self, how: str | None) -> None:
        """The update under way ended."""
        self.accepted = None
        for number in [number for number, answer in self.standing.items() if answer == "accept"]:
            del self.standing[number]
            if how is not None:
                self.taken_back[number] = how

    def _drop(self, *, later: bool) -> None:
        """*Later* was about the offer that stood."""
        for number in [number for number, answer in self.standing.items() if later and answer == "later"]:
            del self.standing[number]
