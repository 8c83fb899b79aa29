"""The life of answers: they expire and are reminded of in time, whatever happens to the clock, over restarts too."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.agent.held_clock import HeldClock, turns

from modelota import faults
from modelota.agent import states as s
from modelota.agent.answers import KEPT_EVERY_S, AnswerLife
from modelota.agent.config import Answers
from modelota.agent.hub import Hub
from modelota.agent.journal import Journal
from modelota.agent.machine import step
from modelota.clock import iso
from modelota.errors import ModelotaError
from modelota.spec.offer import Answer, Covers, Offer, Plan
from modelota.spec.slot import SlotId

MODEL = "acme/assistant"
OLD, NEW = SlotId("1.1.1", "q8"), SlotId("1.1.2", "q8")
DAY_S = 86_400
SETTINGS = Answers(remind_s=(DAY_S, 3 * DAY_S, 7 * DAY_S), remind_urgent_s=(3600, 7200))


def an_offer(*, urgent: bool = False) -> tuple[Offer, Plan]:
    plan = Plan(mode="full", manifest_digest="b" * 64, variant="q8", frames=(), fetch_bytes=1)
    offer = Offer(
        model=MODEL,
        direction="update",
        from_version=OLD.version,
        from_variant=OLD.variant,
        to_version=NEW.version,
        to_variant=NEW.variant,
        manifest_digest=plan.manifest_digest,
        plan_digest=plan.digest,
        mode="full",
        planned_bytes=1,
        ceiling_bytes=2,
        full_bytes=1,
        installed_bytes=1,
        peak_space_bytes=1,
        kind="security" if urgent else "fix",
        urgency_reason={"zh-CN": "急", "en": "urgent"} if urgent else None,
        notes={"zh-CN": "", "en": ""},
        covers=Covers(fetch_up_to_bytes=2),
    )
    return offer, plan


class Bench:
    """The answers of one model on a real journal; the machine decides, and effects are only noted."""

    def __init__(self, place: Path, clock: HeldClock | None = None) -> None:
        self.place = place
        self.clock = clock or HeldClock()
        self.journal = Journal(place / "agent.db", self.clock)
        self.hub = Hub(self.clock)
        self.state = self.journal.state(MODEL)
        self.effects: list[s.Effect] = []
        self.told: list[tuple[float, int]] = []  # when, and the number of the reminder
        self.noticed: list[str] = []
        self.life = AnswerLife(
            MODEL,
            SETTINGS,
            self.journal,
            self.hub,
            self.clock,
            state=lambda: self.state,
            post=self.post,
            remind=lambda _model, _digest, number: self.told.append((self.clock.monotonic(), number)),
            noticed=lambda error: self.noticed.append(error.code),
        )
        self._running: asyncio.Task[None] | None = None

    async def post(self, event: s.MachineEvent) -> bool:
        after, effects = step(self.state, event, iso(self.clock.now()))
        if after == self.state and not effects:
            return False
        self.journal.commit(MODEL, event, self.state, after)
        before, self.state = self.state, after
        self.life.changed(before, after)
        self.effects += effects
        return True

    async def answer(self, answer: Answer, *, urgent: bool = False, span_s: float | None = None, **more: str) -> int:
        """Have the offer made and answered; returns the number of the answer."""
        if self.state.current is None:
            fresh = s.State(current=OLD, slots=(OLD,))
            self.journal.commit(MODEL, s.Restarted(), self.state, fresh)
            self.state = fresh
        offer, plan = an_offer(urgent=urgent)
        digest = self.journal.keep_offer(offer, plan, estimate_s=None, estimate_is_guess=True)
        await self.post(s.Offered(offer_digest=digest, target=NEW, asked=True))
        number = self.journal.decisions.next_id()
        expires_at = None if span_s is None else iso(self.clock.now() + timedelta(seconds=span_s))
        taken = await self.post(
            s.Answered(
                id=number,
                offer_digest=digest,
                answer=answer,
                authority="uid:1000",
                channel="page",
                direction="update",
                target=NEW,
                manifest_digest=offer.manifest_digest,
                expires_at=expires_at,
                remind_s=SETTINGS.remind_urgent_s if urgent else SETTINGS.remind_s,
                **more,
            )
        )
        assert taken
        return number

    def begin(self) -> None:
        self._running = asyncio.create_task(self.life.run())

    async def end(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        self._running = None

    async def restart(self, *, killed: bool = False) -> Bench:
        """The agent ends, or is killed, and starts again."""
        await self.end()
        if not killed:
            self.life.keep()
        self.journal.close()
        again = Bench(self.place, self.clock)
        again.begin()
        await turns()
        return again

    def ended(self, number: int) -> str | None:
        row = self.journal.decisions.row(number)
        assert row is not None
        return row.ended_as


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    made.begin()
    yield made
    faults.arm("")
    await made.end()
    made.journal.close()


async def test_an_acceptance_that_did_not_begin_in_time_expires(bench: Bench) -> None:
    """Its update ends with the reason, and the offer stands again; one second before it still counts."""
    number = await bench.answer("accept", span_s=7 * DAY_S)
    await bench.clock.pass_time(seconds=7 * DAY_S - 1)
    assert bench.state.update is not None
    await bench.clock.pass_time(seconds=1)
    assert bench.state.update is None
    assert bench.state.phase == "offered"
    assert bench.state.last is not None
    assert bench.state.last.error is not None
    assert (bench.state.last.result, bench.state.last.error.code) == ("cancelled", "answer-expired")
    assert bench.ended(number) == "expired"
    assert s.Work(phase="fetching") not in bench.effects


async def test_what_has_begun_to_fetch_does_not_expire(bench: Bench) -> None:
    """Weeks may pass until the gate before activation opens."""
    await bench.answer("accept", span_s=7 * DAY_S)
    for phase in ("rechecking", "waiting", "fetching", "verifying", "deploying", "testing"):
        await bench.post(s.Done(phase=phase))
    await bench.clock.pass_time(days=60)
    assert bench.state.phase == "waiting"
    assert bench.state.update is not None


@pytest.mark.parametrize("answer", ["skip", "decline"])
async def test_what_was_turned_down_may_be_offered_again(bench: Bench, answer: Answer) -> None:
    """Not before its time, then as if nobody had answered."""
    number = await bench.answer(answer, span_s=30 * DAY_S)
    offered = s.Offered(offer_digest=an_offer()[0].digest, target=NEW)
    await bench.clock.pass_time(seconds=30 * DAY_S - 1)
    assert not await bench.post(offered)
    await bench.clock.pass_time(seconds=1)
    assert (bench.state.silent, bench.state.skipped, bench.ended(number)) == ((), (), "expired")
    assert await bench.post(offered)


async def test_reminders_come_ever_more_seldom(bench: Bench) -> None:
    """After the distances of the settings; the last one repeats; each has its own number."""
    await bench.answer("later")
    await bench.clock.pass_time(days=26)
    assert [(at_s / DAY_S, number) for at_s, number in bench.told] == [(1, 1), (4, 2), (11, 3), (18, 4), (25, 5)]


async def test_urgent_offers_are_reminded_of_sooner(bench: Bench) -> None:
    """A security update with its publisher's reason has distances of its own."""
    await bench.answer("later", urgent=True)
    await bench.clock.pass_time(seconds=5 * 3600)
    assert [at_s for at_s, _ in bench.told] == [3600, 3 * 3600, 5 * 3600]


async def test_later_again_moves_to_the_next_distance(bench: Bench) -> None:
    """Whoever answers a reminder with *later* is not asked the sooner; who says it twice waits for longer."""
    first = await bench.answer("later")
    await bench.clock.pass_time(days=1)
    assert len(bench.told) == 1
    await bench.answer("later")
    assert bench.ended(first) == "superseded"
    await bench.clock.pass_time(days=2.9)
    assert len(bench.told) == 1
    await bench.clock.pass_time(days=0.2)
    assert [number for _, number in bench.told] == [1, 2]
    await bench.answer("later")
    await bench.answer("later")
    assert bench.state.answer is not None
    assert bench.state.answer.distance == 2


async def test_a_wish_goes_before_the_settings(bench: Bench) -> None:
    """Who says when to be reminded is reminded then, and at the usual distances after that."""
    await bench.answer("later", remind_at=iso(bench.clock.now() + timedelta(hours=2)))
    await bench.clock.pass_time(days=4)
    assert [at_s for at_s, _ in bench.told] == [7200, 7200 + 3 * DAY_S]


async def test_no_reminder_once_the_offer_was_answered(bench: Bench) -> None:
    """An answer, another offer, or taking *later* back ends the reminding."""
    number = await bench.answer("later")
    await bench.post(s.Revoked(id=number, authority="uid:0", channel="terminal"))
    await bench.clock.pass_time(days=30)
    assert bench.told == []
    assert bench.state.offer is not None


async def test_a_clock_set_back_makes_no_answer_longer(bench: Bench) -> None:
    """A year back in the middle of it: it ends after its span of running time."""
    await bench.answer("accept", span_s=7 * DAY_S)
    await bench.clock.pass_time(days=3)
    bench.clock.set(bench.clock.now() - timedelta(days=365))
    await bench.clock.pass_time(days=3.9)
    assert bench.state.update is not None
    await bench.clock.pass_time(days=0.2)
    assert bench.state.update is None


async def test_a_clock_set_back_over_restarts_makes_no_answer_longer(bench: Bench) -> None:
    """A device without a clock of its own begins every day at the same date, and its answers end all the same."""
    start = bench.clock.now()
    await bench.answer("later", span_s=5 * DAY_S)
    for day in range(5):
        assert bench.state.answer is not None, day
        await bench.clock.pass_time(days=1, seconds=1)
        bench.clock.set(start)
        bench = await bench.restart()
    assert bench.state.answer is None
    await bench.end()
    bench.journal.close()


async def test_a_kill_loses_at_most_the_hour(bench: Bench) -> None:
    """Running time is on disk every hour: a device that is never shut down properly does not begin anew each time."""
    start = bench.clock.now()
    await bench.answer("later", span_s=DAY_S)
    for _ in range(5):
        await bench.clock.pass_time(seconds=6 * 3600)
        bench.clock.set(start)
        bench = await bench.restart(killed=True)
    assert bench.state.answer is None
    await bench.end()
    bench.journal.close()


async def test_a_clock_that_jumped_ahead_ends_only_what_is_due(bench: Bench) -> None:
    """Ten days ahead: a reminder is told once, what is due later stays, also when the clock is right again."""
    later = await bench.answer("later", span_s=20 * DAY_S)
    await bench.clock.pass_time(seconds=60)
    right = bench.clock.now()
    bench.clock.set(right + timedelta(days=10))
    await bench.clock.pass_time(seconds=KEPT_EVERY_S)
    assert len(bench.told) == 1
    assert bench.state.answer is not None
    bench.clock.set(right + timedelta(hours=1))
    await bench.clock.pass_time(days=2)
    assert len(bench.told) == 1
    assert bench.ended(later) is None
    await bench.clock.pass_time(days=2)
    assert len(bench.told) == 2  # the distance of three days, by running time


async def test_what_became_due_while_the_device_was_off(bench: Bench) -> None:
    """A month without power: an acceptance is over before anything of it goes on, a reminder is told once."""
    await bench.answer("later")
    await bench.end()
    bench.journal.close()
    bench.clock.advance(days=40)
    again = Bench(bench.place, bench.clock)
    await again.life.look()
    await again.life.look()
    assert [number for _, number in again.told] == [1]
    again.journal.close()


async def test_an_acceptance_that_expired_while_the_device_was_off(bench: Bench) -> None:
    """Looked at first, as the agent does before it goes on, nothing is left to go on with."""
    await bench.answer("accept", span_s=DAY_S)
    await bench.post(s.Done(phase="rechecking"))
    await bench.end()
    bench.journal.close()
    bench.clock.advance(days=2)
    again = Bench(bench.place, bench.clock)
    await again.life.look()
    assert (again.state.update, again.state.phase) == (None, "offered")
    again.journal.close()


async def test_a_full_disk_keeps_what_is_due_due(bench: Bench) -> None:
    """What could not be written is told, and tried again; the reminder that was told keeps its number."""
    await bench.answer("later")
    await bench.clock.pass_time(seconds=DAY_S - 1)
    faults.arm("journal.commit@1=EIO")
    await bench.clock.pass_time(seconds=1)
    assert bench.noticed == ["disk-error"]
    await bench.clock.pass_time(seconds=300)
    assert {number for _, number in bench.told} == {1}
    assert bench.state.reminders == 1


async def test_every_change_is_told_on_the_event_stream(bench: Bench) -> None:
    """Given, reminded of, taken back: each time the answer as it is then, and the offer that stands again."""
    number = await bench.answer("later")
    await bench.clock.pass_time(days=1)
    await bench.answer("accept", span_s=DAY_S)
    accepted = bench.state.answer
    assert accepted is not None
    await bench.post(s.Revoked(id=accepted.id, authority="uid:7", channel="page"))
    told = [
        (event.data["id"], event.data["answer"], event.data["state"])
        for event in bench.hub._events
        if event.kind == "decision"
    ]
    assert told == [
        (number, "later", "standing"),
        (number, "later", "standing"),
        (number, "later", "superseded"),
        (accepted.id, "accept", "standing"),
        (accepted.id, "accept", "revoked"),
    ]
    assert [event.data["to_version"] for event in bench.hub._events if event.kind == "offer"] == [NEW.version]


async def test_an_error_of_the_journal_is_ours(bench: Bench) -> None:
    """What the journal refuses comes to the caller of `look`, who decides what does not go on."""
    await bench.answer("accept", span_s=DAY_S)
    await bench.end()
    bench.clock.advance(days=2)
    faults.arm("journal.commit@1=EIO;journal.commit@1=EIO")
    with pytest.raises(ModelotaError):
        await bench.life.look()
    assert bench.state.update is not None


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.integers(60, 12 * 3600)),
        st.tuples(st.just("set"), st.integers(-400 * DAY_S, 400 * DAY_S)),
        st.tuples(st.just("restart"), st.just(0)),
    ),
    max_size=12,
)


@settings(max_examples=15, deadline=None)
@given(STEPS, st.integers(3600, 2 * DAY_S))
def test_whatever_happens_to_the_clock(steps: list[tuple[str, int]], span_s: int) -> None:
    """An answer ends by the wall clock or after its span of running time: never later, and never before both."""

    async def live(place: Path) -> None:
        bench = Bench(place)
        bench.begin()
        due = bench.clock.now() + timedelta(seconds=span_s)
        began_s = bench.clock.monotonic()
        await bench.answer("later", span_s=span_s)
        latest = bench.clock.now()
        for what, amount in steps:
            if what == "pass":
                await bench.clock.pass_time(seconds=amount)
            elif what == "set":
                bench.clock.set(bench.clock.now() + timedelta(seconds=amount))
                await bench.clock.pass_time(seconds=KEPT_EVERY_S)  # a clock that was set is noticed within the hour
            else:
                bench = await bench.restart()
            latest = max(latest, bench.clock.now())
            ran_s = bench.clock.monotonic() - began_s
            assert (bench.state.answer is None) == (latest >= due or ran_s >= span_s), (what, amount)
            if bench.state.answer is None:
                break
        await bench.end()
        bench.journal.close()

    with tempfile.TemporaryDirectory() as place:
        asyncio.run(live(Path(place)))
