"""Notices: one per event, over replays, restarts, several listeners; quiet hours; nothing for old or failed checks."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.agent.notice_world import CURRENT, EVENING, MODEL, MORNING, OTHER, QUIET, SHANGHAI, TARGET, World
from tests.cli.fake_agent import outcome

from modelota.agent import answering
from modelota.agent.notices import LOOK_S
from modelota.agent.quiet import is_quiet
from modelota.agent.states import Update
from modelota.agent.withdrawals import keep_withdrawals
from modelota.errors import AskPerson
from modelota.spec.api import ErrorBody, Outcome
from modelota.spec.api_owner import Notice, NoticeTold
from modelota.spec.api_query import NoticesQuery
from modelota.spec.catalog import Control, Withdrawal
from modelota.testing.clock import ManualClock


@pytest.fixture
def world(tmp_path: Path, clock: ManualClock) -> Iterator[World]:
    made = World(tmp_path, clock)
    yield made
    made.journal.close()


@pytest.fixture
def quiet_world(tmp_path: Path, clock: ManualClock) -> Iterator[World]:
    clock.set(EVENING)
    made = World(tmp_path, clock, QUIET)
    yield made
    made.journal.close()


# -- one per event -----------------------------------------------------------------------------------------------------


def test_an_offer_is_told_once(world: World) -> None:
    """Checks that find the same offer again, and restarts, tell nobody anew."""
    digest = world.offered()
    assert world.turn() == [f"offer {digest}"]
    for _ in range(3):
        assert world.turn() == []
        world.restart()
    assert world.turn() == []
    (notice,) = world.given
    assert (notice.path, notice.digest, notice.version, notice.urgent) == (f"/offers/{digest}", digest, "1.1.2", False)
    assert world.standing() == [f"offer {digest}"]


def test_an_agent_that_ends_between_event_and_notice_tells_it_after_the_start(world: World) -> None:
    """What is on record and did not go out does so after a restart, and only once."""
    digest = world.offered()
    world.notices.look(MODEL)  # kept, and then the power went
    world.restart()
    assert world.turn() == [f"offer {digest}"]
    world.restart()
    assert world.turn() == []


def test_a_notice_that_went_out_does_not_again_though_nobody_took_it(world: World) -> None:
    """It is on record before it goes: a channel that breaks off makes no second notification."""
    world.offered()

    def broken(_: Notice) -> None:
        raise KeyboardInterrupt

    world.notices._changed[MODEL] = None
    with pytest.raises(KeyboardInterrupt):
        world.notices._turn(broken)
    world.restart()
    assert world.turn() == []
    assert len(world.standing()) == 1


def test_models_do_not_mix(world: World) -> None:
    """Each model has its own notices; what ends for one stays for the other."""
    first, second = world.offered(), world.offered(model=OTHER)
    assert world.turn() == [f"offer {first}", f"offer {second}"]
    world.change(MODEL, offer=None)
    world.turn()
    assert world.standing() == [f"offer {second}"]


def test_an_answer_ends_the_notice(world: World) -> None:
    """Whoever answers it, wherever: the offer's notice stands no more, and the event stream says so."""
    digest = world.offered()
    world.turn()
    world.answered(digest, "later")
    world.turn()
    assert world.standing() == []
    events = [event.data for event in world.hub._events if event.kind == "notification"]
    assert [event["key"] for event in events] == [f"offer {digest}"]
    assert events[0]["dismissed_at"] is not None


def test_an_offer_that_comes_and_goes_is_told_once(world: World) -> None:
    """A disk that is full now and then makes no new event of an old offer."""
    digest = world.offered()
    world.turn()
    for _ in range(3):
        world.change(offer=None)
        assert world.turn() == []
        assert world.standing() == []
        world.change(offer=digest)
        assert world.turn() == []
        assert world.standing() == [f"offer {digest}"]


@pytest.mark.parametrize(
    ("answer", "ended_as", "is_told"),
    [
        ("skip", "expired", True),
        ("later", "expired", True),
        ("accept", "done", True),
        ("accept", "expired", False),  # told as the outcome of the update that did not begin
        ("skip", "revoked", False),
    ],
)
def test_an_offer_that_stands_again_after_its_answer(
    world: World, answer: str, ended_as: str, *, is_told: bool
) -> None:
    """When an answer came to its end by itself, the offer is news; who took it back looks at it already."""
    digest = world.offered()
    world.turn()
    world.change(offer=None)
    world.answered(digest, answer, ended_as)
    world.turn()
    world.change(offer=digest)
    assert (world.turn() == [f"offer {digest} 1"]) is is_told
    assert world.turn() == []


def test_an_accepted_update_that_could_not_begin_in_time(world: World) -> None:
    """The end of the answer and the offer that stands again are one event, which leads to the offer."""
    digest = world.offered()
    world.turn()
    world.answered(digest, "accept", "expired")
    expired = outcome("cancelled", error=ErrorBody(code="answer-expired", params={"version": "1.1.2"}))
    world.change(last=expired)
    assert world.turn() == [f"outcome {MODEL} 2026-11-24T06:00:00Z"]
    assert (world.given[-1].path, world.given[-1].digest) == (f"/offers/{digest}", digest)
    assert world.standing() == [f"outcome {MODEL} 2026-11-24T06:00:00Z"]
    world.change(offer=None)
    assert world.turn() == []
    assert world.standing() == []


def test_reminders(world: World) -> None:
    """Each number reminds once; a newer one takes the place of an older, and an answer ends it."""
    digest = world.offered()
    world.turn()
    world.answered(digest, "later")
    for number in (1, 2):
        assert world.notices.reminder(MODEL, digest, number) is not None
        assert world.notices.reminder(MODEL, digest, number) is None
        assert world.turn() == [f"reminder {digest} {number}"]
    world.restart()
    assert world.turn() == []
    assert world.standing() == [f"reminder {digest} 2"]
    assert world.given[-1].facts["number"] == 2
    world.answered(digest, "later")
    world.turn()
    assert world.standing() == []
    assert world.notices.reminder(MODEL, "0" * 64, 3) is None
    assert world.notices.reminder(OTHER, digest, 3) is None


# -- how operations end, and what needs a person ---------------------------------------------------------------------


def test_an_outcome_is_told_once_and_ends_the_one_before(world: World) -> None:
    """Done and failed are told; the newest stands."""
    world.change(last=outcome())
    assert world.turn() == [f"outcome {MODEL} 2026-11-24T06:00:00Z"]
    failed = outcome("failed", error=ErrorBody(code="self-test-failed"), finished_at="2026-11-24T07:00:00Z")
    world.change(last=failed)
    assert world.turn() == [f"outcome {MODEL} 2026-11-24T07:00:00Z"]
    assert world.standing() == [f"outcome {MODEL} 2026-11-24T07:00:00Z"]
    assert world.given[-1].error == failed.error
    assert world.given[-1].path == "/result?model=acme%2Fassistant"


@pytest.mark.parametrize(
    "last",
    [
        pytest.param(outcome("cancelled"), id="the user cancelled it"),
        pytest.param(outcome(finished_at="2026-11-22T06:00:00Z"), id="two days ago, by an agent without notices"),
    ],
)
def test_what_is_no_news(world: World, last: Outcome) -> None:
    """What its user did, and history, are not told."""
    world.change(last=last)
    assert world.turn() == []


def test_an_old_outcome_that_was_told_stands(world: World) -> None:
    """A notice that nobody put away is there a week later, too."""
    world.change(last=outcome())
    world.turn()
    world.clock.advance(days=7)
    world.restart()
    assert world.turn() == []
    assert len(world.standing()) == 1


def test_a_failure_that_leaves_the_device_degraded_is_one_event(world: World) -> None:
    """It is told as what it led to, urgently, and once more when it happens once more."""
    error = ErrorBody(code="slot-damaged", params={"slot": "1.1.1+q8"}, now="degraded")
    world.change(last=outcome("failed", error=error), degraded=error)
    assert world.turn() == [f"attention {MODEL} degraded slot-damaged"]
    assert world.given[0].urgent
    world.change(degraded=None, last=outcome(finished_at="2026-11-24T06:05:00Z"))
    assert world.turn() == [f"outcome {MODEL} 2026-11-24T06:05:00Z"]
    world.change(last=outcome("failed", error=error, finished_at="2026-11-24T06:10:00Z"), degraded=error)
    (again,) = world.turn()
    assert again.startswith(f"attention {MODEL} degraded slot-damaged#")
    world.restart()
    assert world.turn() == []


def test_a_version_that_fails_its_tests_later(world: World) -> None:
    """A suspect version needs its owner; passing again ends it."""
    world.change(current=CURRENT, suspect=ErrorBody(code="self-test-failed", params={"test": "a"}))
    assert world.turn() == [f"attention {MODEL} suspect 1.1.1"]
    assert world.given[0].error is not None
    assert world.given[0].error.now == "updated"
    world.change(suspect=None)
    world.turn()
    assert world.standing() == []


@pytest.mark.parametrize("revoked", [True, False])
def test_a_version_that_its_publisher_took_back(world: World, *, revoked: bool) -> None:
    """Told once, a flaw urgently; nothing while another version is in use."""
    entry = Withdrawal(version="1.1.1", reason="unsafe-answers", revoked=revoked)
    keep_withdrawals(world.journal, Control(model=MODEL, withdrawn=(entry,)))
    assert world.turn() == []
    world.change(current=CURRENT)
    code = "release-revoked" if revoked else "release-withdrawn"
    assert world.turn() == [f"attention {MODEL} withdrawn 1.1.1 {code}"]
    assert world.given[0].urgent == revoked
    world.restart()
    assert world.turn() == []
    world.change(current=TARGET)
    world.turn()
    assert world.standing() == []


def test_an_update_that_waits_for_a_person_is_told_once_however_often_it_is_tried(world: World) -> None:
    """The timer's attempts neither close the notice nor open another; getting past it does close it."""
    error = ErrorBody(code="no-space", params={"path": "/"})
    paused = Update(
        direction="update",
        target=TARGET,
        before=CURRENT,
        offer_digest="5" * 64,
        manifest_digest="1" * 64,
        phase="fetching",
        paused=True,
        waits_for=("no-space",),
        error=error,
    )
    world.change(current=CURRENT, update=paused)
    (key,) = world.turn()
    assert key.startswith(f"attention {MODEL} paused ")
    for _ in range(3):
        world.change(update=msgspec.structs.replace(paused, paused=False, error=None, waits_for=()))
        assert world.turn() == []
        assert world.standing() == [key]
        world.change(update=paused)
        assert world.turn() == []
    world.change(update=msgspec.structs.replace(paused, phase="deploying", paused=False, error=None))
    world.turn()
    assert world.standing() == []
    passing = msgspec.structs.replace(paused, phase="verifying", error=ErrorBody(code="network-unreachable"))
    world.change(update=passing)
    assert world.turn() == []


async def test_damage_that_the_background_reading_found(world: World) -> None:
    """Told when it is found, not at each reading, and over when it is mended."""
    world.change(current=CURRENT)
    running = asyncio.create_task(world.notices.run(world.given.append))
    await settled(world, lambda: None)
    try:
        for _ in range(2):
            world.journal.note_damaged(MODEL, ["a" * 64])
            error = {"code": "slot-damaged", "params": {"slot": "1.1.1+q8", "path": "model.gguf"}}
            await settled(world, lambda: world.hub.publish("notice", MODEL, {"error": error}))  # noqa: B023
            await settled(world, lambda: world.hub.publish("phase", MODEL, {}))
            assert world.standing() == [f"attention {MODEL} damaged 1.1.1+q8"]
        assert [notice.key for notice in world.given] == [f"attention {MODEL} damaged 1.1.1+q8"]
        world.journal.note_whole(MODEL, ["a" * 64])
        await settled(world, lambda: world.hub.publish("outcome", MODEL, {}))
        assert world.standing() == []
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def settled(world: World, act: Callable[[], object]) -> None:
    """Do something and let everybody who listens come to rest."""
    act()
    for _ in range(20):
        await asyncio.sleep(0)


async def test_one_watcher_misses_nothing_and_two_tell_nothing_twice(world: World) -> None:
    """Two loops on the same root, as when the agent's own broke and was started anew, hand out each notice once."""
    running = [asyncio.create_task(world.notices.run(world.given.append)) for _ in range(2)]
    try:
        digest = world.offered()
        await settled(world, lambda: [world.hub.publish("offer", MODEL, {}) for _ in range(3)])
        world.change(last=outcome(), offer=None)
        await settled(world, lambda: world.hub.publish("outcome", MODEL, {}))
        assert [notice.key for notice in world.given] == [f"offer {digest}", f"outcome {MODEL} 2026-11-24T06:00:00Z"]
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


# -- nothing for checks ------------------------------------------------------------------------------------------------


def test_failed_and_old_checks_alarm_nobody(world: World) -> None:
    """A year without a check, and checks that fail, are in the journal and nowhere else (design decision 2)."""
    world.journal.note(MODEL, "checked", {"stale_since": "2026-01-01T00:00:00Z"})
    world.journal.note(MODEL, "check-failed", {"code": "network-unreachable", "params": {}})
    world.journal.note(MODEL, "check-failed", {"code": "metadata-expired", "params": {}})
    world.change(current=CURRENT)
    world.clock.advance(days=365)
    world.hub.publish("notice", MODEL, {"error": {"code": "metadata-expired", "params": {}}})
    assert world.turn() == []
    assert world.notices.page(NoticesQuery(all=True), authority="uid:1").notices == ()


# -- quiet hours -------------------------------------------------------------------------------------------------------


def test_quiet_hours_hold_what_can_wait(quiet_world: World) -> None:
    """What happens at night comes in the morning, to whoever asks and to whoever is told."""
    world = quiet_world
    digest = world.offered()
    assert world.turn() == []
    assert world.standing() == []
    assert world.wait_s is not None
    page = world.notices.page(NoticesQuery(all=True), authority="uid:1")
    assert (page.notices[0].due_at, page.quiet_until) == ("2026-11-24T23:00:00Z", "2026-11-24T23:00:00Z")
    world.clock.set(MORNING - timedelta(seconds=1))
    assert world.turn() == []
    world.restart()
    world.clock.set(MORNING)
    assert world.turn() == [f"offer {digest}"]
    assert world.notices.page(NoticesQuery(), authority="uid:1").quiet_until is None


def test_what_was_told_by_day_stays_on_the_screen_at_night(quiet_world: World) -> None:
    """The quiet hours take nothing away from who was told before, and give nothing to who was not."""
    world = quiet_world
    world.clock.set(MORNING)
    digest = world.offered()
    world.turn()
    world.notices.tell("1", NoticeTold(), authority="uid:1")
    world.clock.set(EVENING)
    assert world.standing() == [f"offer {digest}"]
    assert world.notices.page(NoticesQuery(), authority="uid:2").notices == ()


def test_what_is_urgent_is_told_at_night(quiet_world: World) -> None:
    """A security update with a reason, and nothing else, wakes somebody."""
    world = quiet_world
    world.offered(kind="security", model=OTHER)
    digest = world.offered(kind="security", urgency_reason={"en": "It leaks."})
    assert world.turn() == [f"offer {digest}"]
    assert world.given[0].due_at == "2026-11-24T15:00:00Z"


def test_what_was_over_before_the_morning_is_never_told(quiet_world: World) -> None:
    """An offer that was answered at night is no news in the morning."""
    world = quiet_world
    world.offered()
    world.turn()
    world.change(offer=None)
    world.turn()
    world.clock.set(MORNING)
    assert world.turn() == []


@pytest.mark.parametrize("wrong_by", [timedelta(days=-3650), timedelta(days=3650)])
def test_a_wrong_clock_keeps_nothing_back(quiet_world: World, wrong_by: timedelta) -> None:
    """What was kept under a wrong clock comes when the right one says that the night is over."""
    world = quiet_world
    world.clock.set(EVENING + wrong_by)
    digest = world.offered()
    assert world.turn() == []
    world.clock.set(MORNING)
    assert world.turn() == [f"offer {digest}"]


async def test_the_morning_comes_by_itself(quiet_world: World) -> None:
    """The wait is in pieces, because a device may sleep and its clock may be set; it wakes nobody often."""
    world = quiet_world
    running = asyncio.create_task(world.notices.run(world.given.append))
    digest = world.offered()
    world.hub.publish("offer", MODEL, {})
    for _ in range(1000):
        await asyncio.sleep(0)
        if world.given:
            break
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert [notice.key for notice in world.given] == [f"offer {digest}"]
    assert world.clock.now() >= MORNING
    assert len(world.clock.slept) <= 8 * 4 + 2
    assert max(world.clock.slept) <= LOOK_S


async def test_nothing_to_wait_for_wakes_nobody(world: World) -> None:
    """Without quiet hours the agent sleeps until something happens."""
    running = asyncio.create_task(world.notices.run(world.given.append))
    world.offered()
    await settled(world, lambda: world.hub.publish("offer", MODEL, {}))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert len(world.given) == 1
    assert world.clock.slept == []


# -- through the socket ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "right"), [(b"", "see"), (b'{"channel": "page"}', "see"), (b'{"dismiss": true}', "decide")]
)
def test_who_only_looks_puts_nothing_away(body: bytes, right: str) -> None:
    """Saying that it was shown takes the right to see; taking it from everybody's screen that to decide."""
    route, rest = answering.find("POST", "/v1/notices/3")
    assert rest == "3"
    assert answering.right_needed(route, body) == right


@pytest.mark.parametrize("value", ["true", "1"])
def test_parameters(value: str) -> None:
    """Switches are said as true or 1; what is no parameter is refused."""
    assert answering.query_as({"untold": value, "after": "7"}, NoticesQuery) == NoticesQuery(untold=True, after=7)
    for wrong in ({"after": "-1"}, {"all": "maybe"}, {"told": "1"}):
        with pytest.raises(AskPerson):
            answering.query_as(wrong, NoticesQuery)


# -- whatever happens --------------------------------------------------------------------------------------------------

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("offer"), st.sampled_from(["1.1.2", "1.1.3"])),
        st.tuples(st.just("gone"), st.none()),
        st.tuples(st.just("answer"), st.sampled_from(["accept", "later", "skip"])),
        st.tuples(st.just("ended"), st.sampled_from(["expired", "done", "revoked"])),
        st.tuples(st.just("remind"), st.integers(1, 3)),
        st.tuples(st.just("outcome"), st.integers(0, 3)),
        st.tuples(st.just("suspect"), st.booleans()),
        st.tuples(st.just("clock"), st.integers(-400, 400)),
        st.tuples(st.just("restart"), st.none()),
    ),
    max_size=12,
)


@settings(max_examples=12)
@given(steps=STEPS)
def test_nothing_is_told_twice_or_at_night_or_never(steps: list[tuple[str, Any]]) -> None:
    """Over any sequence of events, restarts and settings of the clock; what stands in the morning has been told."""
    with tempfile.TemporaryDirectory() as name:
        world = World(Path(name), ManualClock(EVENING), QUIET)
        world.journal._db.execute("PRAGMA synchronous = OFF")
        try:
            for step in steps:
                _take(world, *step)
                given = len(world.given)
                world.turn()
                for notice in world.given[given:]:
                    assert notice.urgent or not is_quiet(QUIET.quiet, world.clock.now(), SHANGHAI)
            world.clock.set(MORNING + timedelta(days=3650))
            world.turn()
            keys = [notice.key for notice in world.given]
            assert len(set(keys)) == len(keys)
            assert set(world.standing()) <= set(keys)
            assert world.journal.notices.unannounced() == ()
        finally:
            world.journal.close()


def _take(world: World, action: str, value: Any) -> None:
    state = world.models[MODEL].state
    match action:
        case "offer":
            world.offered(to_version=value)
        case "gone":
            world.change(offer=None)
        case "answer" if state.offer is not None:
            world.answered(state.offer, value)
        case "ended":
            world.journal._db.execute("UPDATE decisions SET ended_as = ? WHERE ended_as IS NULL", (value,))
        case "remind" if state.offer is not None:
            world.notices.reminder(MODEL, state.offer, value)
        case "outcome":
            world.change(last=outcome(finished_at=f"2026-11-24T1{value}:00:00Z"))
        case "suspect":
            world.change(current=CURRENT, suspect=ErrorBody(code="self-test-failed") if value else None)
        case "clock":
            world.clock.set(EVENING + timedelta(hours=value))
        case "restart":
            world.restart()
