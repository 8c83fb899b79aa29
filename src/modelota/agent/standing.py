"""Answers in the update's state machine: given, told of again, expired, taken back (requirements 5.1-d, 5.3-b). Pure.

A part of `modelota.agent.machine`, whose rules hold here, and:

- At most one answer stands for each version; a new one supersedes it.
- An accepted update is under way exactly as long as its acceptance stands.
- An acceptance expires only before the update fetches, and is taken back only before it activates; both put the offer
  back. What was turned down is not offered unasked until that answer ends.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from modelota.agent.aftermath import CANCELLABLE, Step, added, end, same
from modelota.agent.states import (
    Answered,
    AnswerExpired,
    Done,
    MachineEvent,
    Offered,
    Reminded,
    Revoked,
    Standing,
    State,
    StopWork,
    Update,
    Work,
)
from modelota.clock import from_iso, iso
from modelota.spec.api import ErrorBody

_LAST: Final = datetime(9999, 12, 31, tzinfo=UTC)


def later_than(moment: str, seconds: float) -> str:
    """The time `seconds` after RFC 3339 `moment`; never after the year 9999."""
    begin = from_iso(moment)
    return iso(_LAST if (_LAST - begin).total_seconds() <= seconds else begin + timedelta(seconds=seconds))


def offered(state: State, event: Offered) -> Step:
    """An offer stands now, unless something is under way or its user turned it down and did not ask for it."""
    if state.update is not None or (not event.asked and _is_turned_down(state, event)):
        return same(state)
    answer = state.answer if state.offer == event.offer_digest else None
    return msgspec.structs.replace(state, offer=event.offer_digest, answer=answer), ()


def _is_turned_down(state: State, event: Offered) -> bool:
    return any(
        given.offer_digest == event.offer_digest
        or (given.answer == "skip" and given.target.version == event.target.version)
        for given in state.silent
    )


def answered(state: State, event: Answered, now: str) -> Step:
    """A person's answer to the offer that stands."""
    if state.update is not None or state.offer != event.offer_digest:
        return same(state)
    version = event.target.version
    given = Standing(
        id=event.id,
        offer_digest=event.offer_digest,
        answer=event.answer,
        target=event.target,
        at=now,
        expires_at=event.expires_at,
    )
    superseded = [entry for entry in state.silent if entry.target.version == version]
    silent = tuple(entry for entry in state.silent if entry not in superseded)
    skipped = state.skipped
    if event.answer == "accept" or any(entry.answer == "skip" for entry in superseded):
        skipped = tuple(each for each in skipped if each != version)
    state, before = msgspec.structs.replace(state, silent=silent, skipped=skipped, answer=None), state.answer
    match event.answer:
        case "later":
            return msgspec.structs.replace(state, answer=_put_off(given, before, event, now)), ()
        case "skip":
            skipped = added(skipped, version)
            return msgspec.structs.replace(state, offer=None, skipped=skipped, silent=(*silent, given)), ()
        case "decline":
            return msgspec.structs.replace(state, offer=None, silent=(*silent, given)), ()
        case "accept":
            return _accepted(state, event, given)


def _accepted(state: State, event: Answered, given: Standing) -> Step:
    update = Update(
        direction=event.direction,
        target=event.target,
        before=state.current,
        offer_digest=event.offer_digest,
        manifest_digest=event.manifest_digest,
        phase="rechecking",
        conditions=event.conditions,
        not_before=event.not_before,
        despite_withdrawal=event.despite_withdrawal,
    )
    # a person who accepts a version that failed here before has decided to try it again
    failed = tuple(version for version in state.failed if version != event.target.version)
    decided = msgspec.structs.replace(state, offer=None, failed=failed, update=update, answer=given)
    return decided, (Work(phase="rechecking"),)


def _put_off(given: Standing, before: Standing | None, event: Answered, now: str) -> Standing:
    """*Later*: the next distance, which a reminder since the last *later* has begun already."""
    distance = 0
    if before is not None:
        was_reminded = before.remind_from != before.at
        distance = min(before.distance + (0 if was_reminded else 1), max(0, len(event.remind_s) - 1))
    remind_at = event.remind_at
    if remind_at is None and event.remind_s:
        remind_at = later_than(now, event.remind_s[distance])
    return msgspec.structs.replace(given, remind_at=remind_at, remind_from=now, distance=distance)


def reminded(state: State, event: Reminded, now: str) -> Step:
    """Its user heard of the offer again: the next time is further away, up to the last distance."""
    given = state.answer
    if given is None or given.id != event.id or given.answer != "later" or not event.remind_s:
        return same(state)
    distance = min(given.distance + 1, len(event.remind_s) - 1)
    remind_at = later_than(now, event.remind_s[distance])
    # a reminder within the second of its answer still is one: `remind_from` tells that there was one
    begun = now if now != given.at else later_than(now, 1)
    given = msgspec.structs.replace(given, remind_at=remind_at, remind_from=begun, distance=distance)
    return msgspec.structs.replace(state, answer=given, reminders=state.reminders + 1), ()


def expired(state: State, event: AnswerExpired, now: str) -> Step:
    """The time of an answer is over. What has begun to fetch goes on; of what has not, the offer stands again."""
    given = state.answer
    if given is None or given.id != event.id:
        return _speak_again(state, event.id)
    if given.answer == "later":
        return msgspec.structs.replace(state, answer=None), ()
    return _offer_again(state, now, _expiry(given)) if may_expire(state) else same(state)


def revoked(state: State, event: Revoked, now: str) -> Step:
    """A person takes an answer back, whoever gave it; possible until activation."""
    given = state.answer
    if given is not None and given.id == event.id:
        if given.answer == "later":
            return msgspec.structs.replace(state, answer=None), ()
        return _offer_again(state, now, None) if may_be_revoked(state, given) else same(state)
    found = next((entry for entry in state.silent if entry.id == event.id), None)
    state, effects = _speak_again(state, event.id)
    if found is not None and event.restore and state.update is None and state.offer is None:
        state = msgspec.structs.replace(state, offer=found.offer_digest)
    return state, effects


def may_be_revoked(state: State, given: Standing) -> bool:
    """Whether a standing answer can be taken back now: that to an update, until it activates."""
    return given != state.answer or state.update is None or state.update.phase in CANCELLABLE


def may_expire(state: State) -> bool:
    """Whether the update under way has not begun to fetch, so that its acceptance can still expire."""
    update = state.update
    return (
        update is not None
        and update.offer_digest is not None
        and (update.phase == "rechecking" or (update.phase == "waiting" and update.gate == "fetch"))
    )


def is_over(given: Standing | None, now: str) -> bool:
    """Whether the time of an answer is over, by the clock on the wall."""
    return given is not None and given.expires_at is not None and from_iso(given.expires_at) <= from_iso(now)


def instead_of(state: State, event: MachineEvent, now: str) -> MachineEvent:
    """What really happens: where an update would begin to fetch whose acceptance is over, that expires."""
    begins = isinstance(event, Done) and event.phase == "waiting" and may_expire(state)
    if begins and state.answer is not None and is_over(state.answer, now):
        return AnswerExpired(id=state.answer.id)
    return event


def expire_before_fetch(state: State, now: str) -> Step:
    """End an update that was about to fetch although its acceptance is over (requirement 5.1-d)."""
    assert state.answer is not None
    return _offer_again(state, now, _expiry(state.answer))


def _expiry(given: Standing) -> ErrorBody:
    return ErrorBody(code="answer-expired", params={"version": given.target.version, "expired_at": given.expires_at})


def _offer_again(state: State, now: str, error: ErrorBody | None) -> Step:
    """End an accepted update; the offer that it came from stands again. A rollback to a kept slot came from none."""
    assert state.update is not None
    digest = state.update.offer_digest
    ended, effects = end(state, "cancelled", error, now, StopWork())
    return msgspec.structs.replace(ended, offer=digest), effects


def _speak_again(state: State, number: int) -> Step:
    """A skip or decline ends: the version may be offered again."""
    found = next((entry for entry in state.silent if entry.id == number), None)
    if found is None:
        return same(state)
    silent = tuple(entry for entry in state.silent if entry is not found)
    skipped = state.skipped
    if found.answer == "skip":
        skipped = tuple(version for version in skipped if version != found.target.version)
    return msgspec.structs.replace(state, silent=silent, skipped=skipped), ()
