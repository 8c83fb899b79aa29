"""Answers in the state machine, by stories; every order of them is in `test_machine_exhaustive`."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from modelota.agent import states as s
from modelota.agent.machine import step
from modelota.agent.standing import instead_of, later_than, may_be_revoked
from modelota.spec.api import ErrorBody
from modelota.spec.slot import SlotId

NOW, EXPIRY, AFTER = "2026-01-01T00:00:00Z", "2026-01-08T00:00:00Z", "2026-01-09T00:00:00Z"
OLD, NEW, NEWER = SlotId("1.1.1", "q8"), SlotId("1.1.2", "q8"), SlotId("1.1.3", "q8")
OFFER, OTHER = "a" * 64, "c" * 64
WAY: tuple[Any, ...] = ("rechecking", "waiting", "fetching", "verifying", "deploying", "testing", "waiting")


def run(state: s.State, *events: s.MachineEvent, now: str = NOW) -> tuple[s.State, list[s.Effect]]:
    effects: list[s.Effect] = []
    for event in events:
        state, new = step(state, event, now)
        effects += new
    return state, effects


def offered(state: s.State | None = None, target: SlotId = NEW, digest: str = OFFER) -> s.State:
    state = state or s.State(current=OLD, slots=(OLD,))
    return run(state, s.Offered(offer_digest=digest, target=target))[0]


def answer(state: s.State, what: Any, number: int = 1, target: SlotId = NEW, **more: Any) -> s.State:
    given = s.Answered(
        id=number,
        offer_digest=state.offer or "",
        answer=what,
        authority="uid:0",
        channel="terminal",
        direction="update",
        target=target,
        manifest_digest="b" * 64,
        **{"expires_at": EXPIRY, "remind_s": (60, 600), **more},
    )
    return run(state, given)[0]


def revoke(number: int = 1, *, restore: bool = False) -> s.Revoked:
    return s.Revoked(id=number, authority="uid:7", channel="page", restore=restore)


@pytest.mark.parametrize("steps", range(len(WAY)))
def test_an_acceptance_is_taken_back_at_every_step_before_activation(steps: int) -> None:
    """The update ends as cancelled, its work is stopped, and the offer stands again; the version is not blamed."""
    state, _ = run(answer(offered(), "accept"), *(s.Done(phase=phase) for phase in WAY[:steps]))
    ended, effects = run(state, revoke())
    assert (ended.update, ended.offer, ended.answer, ended.failed) == (None, OFFER, None, ())
    assert effects[0] == s.StopWork()
    assert ended.last is not None
    assert (ended.last.result, ended.last.error) == ("cancelled", None)
    assert isinstance(answer(ended, "accept", 2).update, s.Update)


def test_from_activation_on_an_acceptance_can_not_be_taken_back() -> None:
    """Neither while it is activated, nor while the device goes back, nor once it is done."""
    activating, _ = run(answer(offered(), "accept"), *(s.Done(phase=phase) for phase in WAY))
    assert activating.answer is not None
    assert not may_be_revoked(activating, activating.answer)
    assert run(activating, revoke()) == (activating, [])
    done, _ = run(activating, s.Activated(at=NOW, watch_until=EXPIRY))
    assert run(done, revoke()) == (done, [])
    back, _ = run(done, s.WatchBroken(error=ErrorBody(code="watch-slower")))
    assert run(back, revoke()) == (back, [])


@pytest.mark.parametrize("steps", range(len(WAY) + 1))
def test_an_acceptance_expires_only_before_the_fetch(steps: int) -> None:
    """Whatever has begun to fetch goes on, however late it is."""
    state, _ = run(answer(offered(), "accept"), *(s.Done(phase=phase) for phase in WAY[:steps]))
    ended, _ = run(state, s.AnswerExpired(id=1), now=AFTER)
    if steps < 2:
        assert (ended.update, ended.offer) == (None, OFFER)
        assert ended.last is not None
        assert ended.last.error is not None
        assert ended.last.error.code == "answer-expired"
    else:
        assert ended == state


def test_a_gate_that_opens_too_late_fetches_nothing() -> None:
    """Also when no timer said that the time was over; and what happens has the name of what it is (5.1-d)."""
    waiting, _ = run(answer(offered(), "accept"), s.Done(phase="rechecking"))
    opened = s.Done(phase="waiting")
    assert run(waiting, opened, now=NOW)[1] == [s.Work(phase="fetching")]
    late, effects = run(waiting, opened, now=EXPIRY)
    assert (late.update, late.offer) == (None, OFFER)
    assert not any(isinstance(effect, s.Work) for effect in effects)
    assert instead_of(waiting, opened, EXPIRY) == s.AnswerExpired(id=1)
    assert instead_of(waiting, opened, NOW) is opened


def test_skips_of_two_versions_stand_side_by_side() -> None:
    """Each ends for itself, and the newer one does not bring the older one back."""
    state = answer(offered(), "skip")
    state = answer(offered(state, NEWER, OTHER), "skip", 2, NEWER)
    assert [(given.id, given.target) for given in state.standing] == [(1, NEW), (2, NEWER)]
    assert offered(state) == state
    assert offered(state, NEWER, OTHER) == state
    state, _ = run(state, s.AnswerExpired(id=2))
    assert state.skipped == ("1.1.2",)
    assert offered(state, NEWER, OTHER).offer == OTHER


def test_a_decline_is_about_what_was_shown() -> None:
    """The same offer is not made again unasked; another one for the same version is."""
    state = answer(offered(), "decline")
    assert offered(state) == state
    assert offered(state, digest=OTHER).offer == OTHER
    assert run(state, s.Offered(offer_digest=OFFER, target=NEW, asked=True))[0].offer == OFFER


def test_what_was_turned_down_comes_back_when_that_is_taken_back() -> None:
    """At once when it still is the newest; and never over another offer, or during an update."""
    state = answer(offered(), "skip")
    assert run(state, revoke(restore=True))[0].offer == OFFER
    assert run(state, revoke())[0].offer is None
    other = offered(state, NEWER, OTHER)
    assert run(other, revoke(restore=True))[0].offer == OTHER
    busy = answer(other, "accept", 2, NEWER)
    taken, effects = run(busy, revoke(restore=True))
    assert (taken.update, taken.offer, taken.skipped, effects) == (busy.update, None, (), [])


def test_later_belongs_to_its_offer() -> None:
    """It ends with it, survives the same offer being made again, and does not survive another one."""
    state = answer(offered(), "later", expires_at=None)
    assert state.answer is not None
    assert state.answer.remind_at == "2026-01-01T00:01:00Z"
    assert offered(state) == state
    assert offered(state, NEWER, OTHER).answer is None
    assert run(state, s.OfferGone(reason=""))[0].answer is None
    assert run(state, revoke())[0] == offered()
    assert run(state, s.AnswerExpired(id=1))[0] == offered()


def test_later_survives_a_device_that_goes_back_by_itself() -> None:
    """The offer of something newer stands all the while, and so does its answer."""
    state, _ = run(answer(offered(), "accept"), *(s.Done(phase=phase) for phase in WAY))
    state, _ = run(state, s.Activated(at=NOW, watch_until=EXPIRY))
    state = answer(offered(state, NEWER, OTHER), "later", 2, NEWER)
    state, _ = run(state, s.WatchBroken(error=ErrorBody(code="watch-slower")))
    assert state.phase == "rolling-back"
    state, _ = run(state, s.Returned(at=NOW))
    assert state.answer is not None
    assert (state.offer, state.answer.id) == (OTHER, 2)


def test_cancelling_ends_the_answer_and_leaves_no_offer() -> None:
    """Who cancels is offered the version by the next check; who takes the answer back has the offer at once."""
    state, _ = run(answer(offered(), "accept"), s.CancelAsked(authority="uid:0"))
    assert (state.offer, state.standing) == (None, ())
    assert offered(state).offer == OFFER


def test_a_reminder_of_an_answer_that_is_over_means_nothing() -> None:
    """A timer that fires late reminds of nothing."""
    state = answer(offered(), "later")
    again = answer(state, "later", 2)
    late = s.Reminded(id=1, remind_s=(60, 600))
    assert run(again, late) == (again, [])
    reminded, _ = run(state, late)
    assert reminded.answer is not None
    assert (reminded.reminders, reminded.answer.distance, reminded.answer.remind_at) == (1, 1, "2026-01-01T00:10:00Z")


def test_times_end_with_the_calendar() -> None:
    """Ten years after the last year of the calendar is its last day."""
    assert later_than("9999-06-01T00:00:00Z", 10 * 366 * 86_400) == "9999-12-31T00:00:00Z"
    assert later_than(NOW, 60) == "2026-01-01T00:01:00Z"


def test_a_state_of_an_older_agent_goes_on() -> None:
    """Without answers in it: what it skipped stays skipped, and an update that is under way comes to its end."""
    fields = msgspec.to_builtins(answer(offered(answer(offered(), "skip"), NEWER, OTHER), "accept", 2, NEWER))
    for name in ("answer", "silent", "reminders"):
        del fields[name]
    state = msgspec.convert(fields, s.State)
    assert (state.standing, state.skipped) == ((), ("1.1.2",))
    state, _ = run(state, *(s.Done(phase=phase) for phase in WAY), now=AFTER)
    assert state.phase == "activating"
