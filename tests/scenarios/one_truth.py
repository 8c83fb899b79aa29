"""A device whose work a test steers, and everybody who looks at it and answers at once: for `test_one_truth`.

The agent is the product's own, with its journal, routes, state machine and answers. Only what costs time is not there:
the worker does what the test says when it says so, engines are none, and time passes when the test lets it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any, Final, NamedTuple
from unittest.mock import patch

import msgspec

from modelota.agent import Agent
from modelota.agent.enrol import enrol, open_journal
from modelota.agent.states import Restarted, State
from modelota.clock import SystemClock, iso
from modelota.errors import RefuseContent
from modelota.repository.founding import init
from modelota.repository.passphrases import Passphrases
from modelota.spec import api, api_owner
from modelota.spec.offer import Answer, Covers, Offer, Plan
from modelota.spec.slot import SlotId
from modelota.storage.layout import Layout
from tests.agent.held_clock import HeldClock, turns
from tests.agent.test_model_loop import StubServing, slot

MODEL: Final = "acme/assistant"
FIRST: Final = 1  # the patch number of the version in use
STEPS: Final = ("rechecking", "fetching", "verifying", "deploying", "testing")
BEHIND_CONSENT: Final = STEPS[1:]

# What an answer that lost is told (docs/errors.md).
LOST: Final = frozenset({"offer-changed", "update-in-progress", "no-offer", "offer-not-shown"})
LOST_REVOKING: Final = frozenset({"answer-over", "cannot-cancel"})
LOST_STEERING: Final = frozenset({"no-update-in-progress", "not-now", "cannot-cancel"})


class Person(NamedTuple):
    """Somebody at a place, as the agent knows them."""

    channel: api.Channel
    authority: str


PEOPLE: Final = (
    Person("page", "uid:1000"),
    Person("page", "uid:1001"),
    Person("terminal", "uid:0"),
    Person("host", "uid:1002"),
)


def make_device(place: Path) -> Path:
    """An enrolled root with 1.1.1 in use."""
    init(place / "vendor", clock=SystemClock(), passphrases=Passphrases(), models=(MODEL,), dev=True)
    root = place / "device"
    enrol(place / "enroll.toml", root, SystemClock())
    clock = HeldClock()
    journal = open_journal(Layout.at(root), clock)
    first = slot(f"1.1.{FIRST}")
    journal.register_slot(first)
    state = State(current=first.slot, slots=(first.slot,))
    journal.commit(MODEL, Restarted(), State(), state)
    journal.close()
    layout = Layout.at(root).model(MODEL)
    layout.slot(first.slot.name).mkdir(parents=True)
    layout.current.symlink_to(Path("slots") / first.slot.name)
    return root


class Worker:
    """Does each step when told to; notes what was fetched."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self.step: tuple[str, dict[str, Any], asyncio.Future[bytes]] | None = None

    async def run(self, kind: str, arguments: dict[str, Any], _told: object = None, *, holding: Any = None) -> bytes:
        """As `WorkerLink.run`."""
        async with holding or nullcontext():
            if kind == "check":
                return self._device.found()
            if kind not in STEPS:
                return b"{}"
            assert self.step is None, "two steps of updates at once"
            if kind in BEHIND_CONSENT:
                self._device.require_consent(arguments["offer_digest"])
            self.step = (kind, arguments, asyncio.get_running_loop().create_future())
            try:
                return await self.step[2]
            finally:
                self.step = None

    def finish(self, *, well: bool) -> None:
        """End the step under way, if there is one."""
        if self.step is None or self.step[2].done():
            return
        kind, arguments, done = self.step
        if not well:
            done.set_exception(RefuseContent("pack-tampered", pack="a", frame=1))
            return
        if kind == "deploying":
            self._device.deploy(arguments["target"])
        done.set_result(b"{}")


class Mirror:
    """What one client makes of the status it read once and of the events since, without ever reading it again."""

    def __init__(self, status: api.ModelStatus) -> None:
        self.read(status)
        self.order: list[tuple[int, str]] = []  # answers, each with a state, as they were told

    def read(self, status: api.ModelStatus) -> None:
        """Begin anew with a status."""
        self.phase: str = status.phase
        self.target = status.target_version
        self.paused = status.paused
        self.offer = status.offer.digest if status.offer is not None else None
        self.answers = {given.id: given.answer for given in status.answers}

    def take(self, event: api.Event) -> None:
        """Follow one event."""
        if event.kind == "phase":
            self.phase, self.target = event.data["phase"], event.data["target_version"]
            self.paused = event.data["paused"]
            if self.phase != "offered":
                self.offer = None
        elif event.kind == "offer":
            self.offer = event.data["digest"]
        elif event.kind == "decision":
            view = msgspec.convert(event.data, api_owner.DecisionView)
            self.order.append((view.id, view.state))
            if view.state == "standing":
                self.answers[view.id] = view.answer
            else:
                self.answers.pop(view.id, None)

    def summary(self) -> dict[str, object]:
        """What can be compared with the status."""
        answers = sorted(self.answers.items())
        return {
            "phase": self.phase,
            "target": self.target,
            "paused": self.paused,
            "offer": self.offer,
            "given": answers,
        }


def summary_of(status: api.ModelStatus) -> dict[str, object]:
    """A status as a `Mirror` has it."""
    return Mirror(status).summary()


class Listener:
    """Follows the event stream, hangs up now and then, and goes on after the last event it has."""

    def __init__(self, agent: Agent, status: api.ModelStatus) -> None:
        self._agent = agent
        self.mirror = Mirror(status)
        self.last: int | None = None
        self._task: asyncio.Task[None] | None = None
        self.listen()

    def listen(self) -> None:
        """Connect."""
        events = self._agent.events(self.last)

        async def follow() -> None:
            async for event in events:
                self.last = event.id
                self.mirror.take(event)

        self._task = asyncio.create_task(follow())

    async def hang_up(self) -> None:
        """Lose the connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def again(self) -> None:
        """Lose the connection and connect again."""
        await self.hang_up()
        self.listen()


class Client:
    """A person with a screen: knows the offer that it showed last, whatever became of it since."""

    def __init__(self, device: Device, person: Person) -> None:
        self._device = device
        self.person = person
        self.digest: str | None = None
        self.given: list[int] = []

    async def look(self) -> None:
        """Read the status, and show the offer that it has."""
        status = await self._device.status()
        if status.offer is not None:
            self.digest = status.offer.digest
            body = api.ShownRequest(offer_digest=self.digest, language="en", text="…", channel=self.person.channel)
            await self._device.ask(self.person, "POST", "/v1/shown", body)
        self.given = [answer.id for answer in status.answers]

    async def answer(self, answer: Answer, *, waits: bool) -> None:
        """Answer the offer on the screen, which may be an old one."""
        if self.digest is None:
            return
        body = api.DecisionRequest(
            offer_digest=self.digest,
            answer=answer,
            conditions=("parked",) if waits and answer == "accept" else (),
            channel=self.person.channel,
        )
        code = await self._device.ask(self.person, "POST", "/v1/decisions", body)
        if code is None:
            self._device.won[(self.person, self.digest, answer)] += 1
        else:
            assert code in LOST, code

    async def revoke(self) -> None:
        """Look, and take back the newest answer that is on the screen."""
        await self.look()
        if self.given:
            code = await self._device.ask(self.person, "DELETE", f"/v1/decisions/{self.given[-1]}", None)
            assert code is None or code in LOST_REVOKING, code

    async def steer(self, action: str) -> None:
        """Pause, resume or cancel."""
        code = await self._device.ask(self.person, "POST", f"/v1/{action}", api.ControlRequest())
        assert code is None or code in LOST_STEERING, code


class Device:
    """One agent, steered.

    Attributes:
        newest: patch number of the newest version in the repository.
        revision: of what its offer says.
        won: answers that the agent took, by who gave which to what.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = HeldClock()
        self.newest, self.revision = FIRST + 1, 1
        self.worker = Worker(self)
        self.won: Counter[tuple[Person, str, str]] = Counter()
        self.clients = [Client(self, person) for person in PEOPLE]
        self.listeners: list[Listener] = []
        self._asking: set[asyncio.Task[None]] = set()
        self._begun: set[int] = set()  # acceptances under which something was fetched
        self.agent: Agent

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[Device, None]:
        """For as long as the test lasts."""
        await self._open()
        status = await self.status()
        self.listeners = [Listener(self.agent, status) for _ in range(3)]
        try:
            yield self
        finally:
            await self._close()

    async def _open(self) -> None:
        with patch("modelota.agent.model_loop.Serving", return_value=StubServing()) as serving:
            serving.return_value.state, serving.return_value.error = "stopped", None
            self.agent = await Agent.open(self.root, clock=self.clock)
        for link in (self.agent.core.background, self.agent.core.foreground, self.agent.core.maintenance):
            link.run = self.worker.run  # type: ignore[method-assign]  # what takes time is steered by the test
        await self.agent.core.go_on()

    async def _close(self) -> None:
        for listener in self.listeners:
            await listener.hang_up()
        await self.settle()
        await self.agent.aclose()

    async def restart(self) -> None:
        """End the agent and start it again; who listened reads the status anew, as a client does."""
        await self._close()
        self.clock.advance(seconds=1)
        await self._open()
        status = await self.status()
        for listener in self.listeners:
            listener.mirror.read(status)
            listener._agent = self.agent
            listener.listen()

    # -- asking ------------------------------------------------------------------------------------------------------

    async def ask(self, person: Person, method: str, path: str, body: msgspec.Struct | None) -> str | None:
        """One request; the code of its error, or None."""
        data = msgspec.json.encode(body) if body is not None else b""
        status, answer = await self.agent.request(method, path, data, {}, authority=person.authority)
        return None if status == 200 else msgspec.json.decode(answer, type=api.ErrorBody).code

    async def status(self) -> api.ModelStatus:
        """How the model is."""
        _, answer = await self.agent.request("GET", "/v1/status", b"", {})
        return msgspec.json.decode(answer, type=api.Status).models[0]

    async def check(self) -> None:
        """What the timer does."""
        body = msgspec.json.encode(api.CheckRequest(model=MODEL))
        status, answer = await self.agent.request("POST", "/v1/check", body, {}, authority="timer")
        assert status == 200, answer

    def begin(self, work: Any) -> None:
        """Have somebody ask for something, without waiting for the answer."""
        task = asyncio.create_task(work)
        self._asking.add(task)

    async def settle(self) -> None:
        """Wait until everybody who asked was answered; a step of the worker that keeps them waiting ends well."""
        for _ in range(200):
            await turns()
            if all(task.done() for task in self._asking):
                break
            self.worker.finish(well=True)
        for task in self._asking:
            assert task.done(), "somebody was never answered"
            task.result()
        self._asking.clear()
        await turns()

    async def work_on(self) -> None:
        """Let what is under way come to its end, unless it waits for something or is paused."""
        for _ in range(2 * len(STEPS)):
            self.worker.finish(well=True)
            await turns()

    # -- what the worker finds and does ----------------------------------------------------------------------------

    def found(self) -> bytes:
        """What a check finds: the newest version, unless it is in use."""
        state = self.agent.core.loop(MODEL).state
        assert state.current is not None
        version = f"1.1.{self.newest}"
        digest = None
        if state.current.version != version:
            digest = self.agent.core.journal.keep_offer(
                *an_offer(state.current, version, self.revision), estimate_s=60.0, estimate_is_guess=True
            )
        self.agent.core.journal.keep_releases(MODEL, [(version, "2026-11-24T06:00:00Z", "available")])
        fields = {"up_to_date": digest is None, "withdrawn": {}, "refused": [], "stale_since": None}
        return msgspec.json.encode({"model": MODEL, "offer_digest": digest, "turned_down": [], **fields})

    def require_consent(self, digest: str) -> None:
        """Nothing is fetched, written or tested unless an acceptance of this very offer stands (clause 5.1-d)."""
        rows = self.agent.core.journal.decisions.page(MODEL, 1000)
        standing = [row for row in rows if row.offer_digest == digest and row.ended_as is None]
        assert [row.answer for row in standing] == ["accept"], standing
        if standing[0].id not in self._begun:  # what has begun goes on, however long it takes
            self._begun.add(standing[0].id)
            assert (standing[0].expires_at or "~") > iso(self.clock.now()), "begun after the acceptance was over"

    def deploy(self, name: str) -> None:
        """A slot is written and registered."""
        version = name.partition("+")[0]
        self.agent.core.journal.register_slot(slot(version))
        self.agent.core.layout.model(MODEL).slot(name).mkdir(exist_ok=True)


def an_offer(current: SlotId, version: str, revision: int) -> tuple[Offer, Plan]:
    """An offer to move from `current` to `version`; another revision says something else."""
    plan = Plan(mode="full", manifest_digest="b" * 64, variant="q8", frames=(), fetch_bytes=revision)
    offer = Offer(
        model=MODEL,
        direction="update",
        from_version=current.version,
        from_variant=current.variant,
        to_version=version,
        to_variant="q8",
        manifest_digest=plan.manifest_digest,
        plan_digest=plan.digest,
        mode="full",
        planned_bytes=revision,
        ceiling_bytes=revision + 1,
        full_bytes=revision,
        installed_bytes=1,
        peak_space_bytes=1,
        kind="fix",
        notes={"zh-CN": "", "en": ""},
        covers=Covers(fetch_up_to_bytes=revision + 1),
    )
    return offer, plan
