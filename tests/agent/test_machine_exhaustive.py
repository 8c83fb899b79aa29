"""Every order of events, to a stated depth, with a crash after every step: the machine's rules hold in every state.

The search is breadth-first over all states that `EVENTS` can reach from `STARTS`; equal states are visited once. `last`
and the number of reminders are left out of a state's identity and of what is explored further: nothing is decided by
them. Most events happen at `NOW`; those that time can make a difference to also `AFTER` every answer has expired. A
crash is the `Restarted` event, which is tried in every state like all others: the state is committed before any effect
is carried out, so whatever an interruption cuts off, the machine finds itself in one of these states. A new event of
the machine is one more line in `EVENTS`; a new step that succeeds in its own way is one more line in `SUCCESS`.
"""

from __future__ import annotations

import itertools
import json
import os
import typing
from collections import Counter, deque
from collections.abc import Callable, Iterator

import msgspec
import pytest
from tests.agent import answer_rules
from tests.agent.answer_rules import (
    AFTER,
    CANCELLABLE,
    LATER,
    NOW,
    REMIND_S,
    expires_in_time,
    nothing_is_fetched_unless_accepted,
    revocable_until_activation,
)

from modelota.agent import states as s
from modelota.agent.machine import ATTEMPTS_MAX, step
from modelota.spec.api import ErrorBody
from modelota.spec.offer import Direction
from modelota.spec.slot import SlotId

A, B, C = (SlotId(version, "q8") for version in ("1.1.1", "1.1.2", "1.1.3"))
UNATTENDED = "timer"

DEPTH_IN_CI = 12  # where every phase has been seen; the soak goes deeper

OFFERS: dict[str, tuple[Direction, SlotId]] = {
    "1" * 64: ("update", B),
    "2" * 64: ("update", C),
    "3" * 64: ("repair", A),
}
STARTS = (s.State(), s.State(current=A, slots=(A,)), s.State(current=B, previous=A, slots=(A, B)))

WORK = (*CANCELLABLE, "activating", "rolling-back", "removing")
CRASHES_MAX = 2  # of a watched version
KEEP_OLDER = 1
ERRORS = (
    ("network-unreachable", "try-later"),
    ("self-test-inconclusive", "try-later"),
    ("engine-crashed", "try-later"),
    ("no-space", "ask-person"),
    ("requirement-not-met", "ask-person"),
    ("self-test-failed", "refuse-content"),
    ("unexpected", "our-bug"),
)


def _error(code: str) -> ErrorBody:
    return ErrorBody(code=code, params={})


ANSWERS: dict[tuple[str, str], int] = {  # each answer, and each about two versions
    ("1" * 64, "accept"): 1,
    ("1" * 64, "later"): 2,
    ("1" * 64, "skip"): 3,
    ("1" * 64, "decline"): 4,
    ("2" * 64, "accept"): 5,
    ("2" * 64, "later"): 6,
    ("2" * 64, "skip"): 7,
    ("3" * 64, "accept"): 8,
}
ROLLED_BACK, UNINSTALLED = 90, 91  # numbers of decisions that answer no offer


def _answers() -> Iterator[s.Answered]:
    for (digest, answer), number in ANSWERS.items():
        direction, target = OFFERS[digest]
        yield s.Answered(
            id=number,
            expires_at=None if answer == "later" else LATER,
            remind_s=REMIND_S,
            offer_digest=digest,
            answer=answer,
            authority="uid:0",
            channel="terminal",
            direction=direction,
            target=target,
            manifest_digest="b" * 64,
        )


EVENTS: tuple[s.MachineEvent, ...] = (
    *(s.Offered(offer_digest=digest, target=target) for digest, (_, target) in OFFERS.items()),
    s.Offered(offer_digest="1" * 64, target=B, asked=True),
    s.OfferGone(reason="nothing newer"),
    *_answers(),
    *(s.AnswerExpired(id=number) for number in ANSWERS.values()),
    *(s.Reminded(id=number, remind_s=REMIND_S) for (_, answer), number in ANSWERS.items() if answer == "later"),
    *(
        s.Revoked(id=number, authority="uid:1", channel="page", restore=True)
        for number in (*ANSWERS.values(), ROLLED_BACK, UNINSTALLED)
    ),
    s.Revoked(id=ANSWERS["1" * 64, "decline"], authority="uid:1", channel="page"),
    *(
        s.RollbackAsked(target=slot, manifest_digest="b" * 64, authority="uid:0", channel="host", id=ROLLED_BACK)
        for slot in (A, B, C)
    ),
    *(s.Done(phase=phase) for phase in WORK),
    *(
        s.Failed(phase=phase, error=_error(code), branch=branch)
        for phase, (code, branch) in itertools.product(WORK, ERRORS)
    ),
    s.ContentMissing(frames=1),
    *(s.GatesClosed(waits_for=("driving",), gate=gate) for gate in ("fetch", "activate", "switch")),
    s.Activated(at=NOW, watch_until=LATER, keep_older=KEEP_OLDER),
    s.Returned(at=NOW),
    s.PauseAsked(authority="uid:0"),
    s.Resumed(authority="uid:0"),
    s.Resumed(authority=UNATTENDED),
    s.CancelAsked(authority="uid:0"),
    *(s.Withdrawn(version=slot.version, reason="wrong answers") for slot in (A, B)),
    s.EngineCrashed(error=_error("engine-crashed"), limit=CRASHES_MAX),
    s.WatchBroken(error=_error("self-test-failed")),
    s.Retested(target=B, error=_error("self-test-failed")),
    s.Retested(target=B, error=None),
    s.RemovalAsked(plan_digest="4" * 64, authority="uid:0", channel="terminal", reason="user", id=UNINSTALLED),
    s.Removed(at=NOW),
    s.WatchEnded(),
    s.Restarted(),
)

# What time can make a difference to.
LATE: tuple[s.MachineEvent, ...] = (s.Done(phase="waiting"), s.Restarted(), s.Resumed(authority="uid:0"))
TIMED = (*((event, NOW) for event in EVENTS), *((event, AFTER) for event in LATE))

# How the work of a phase reports that it went well, where that is not `Done`.
SUCCESS: dict[str, s.MachineEvent] = {
    "activating": s.Activated(at=NOW, watch_until=LATER),
    "rolling-back": s.Returned(at=NOW),
    "removing": s.Removed(at=NOW),
}
# What may change the version in use, and what may begin something: nothing else.
MOVES_CURRENT = (s.Activated, s.Returned)
FORGETS_CURRENT = (s.Removed,)
MAKES_SAFE = (s.EngineCrashed, s.WatchBroken, s.Retested)
# Which step, and the gate in front of it, follows which (design decision 7).
ORDER = {
    (("rechecking", ""), ("waiting", "fetch")),
    (("waiting", "fetch"), ("fetching", "")),
    (("waiting", "fetch"), ("rechecking", "")),  # a fetch that had to wait
    (("fetching", ""), ("verifying", "")),
    (("verifying", ""), ("deploying", "")),
    (("deploying", ""), ("testing", "")),
    (("testing", ""), ("waiting", "activate")),
    (("waiting", "activate"), ("activating", "")),
    (("activating", ""), ("waiting", "switch")),
    (("waiting", "switch"), ("activating", "")),
    # content that got lost is fetched again
    (("verifying", ""), ("fetching", "")),
    (("deploying", ""), ("fetching", "")),
}

Rule = Callable[[s.State, s.MachineEvent, s.State, tuple[s.Effect, ...]], bool]


def _one_version_in_use(before: s.State, event: s.MachineEvent, after: s.State, _: tuple[s.Effect, ...]) -> bool:
    if after.current != before.current and not isinstance(event, MOVES_CURRENT + FORGETS_CURRENT):
        return False
    if after.current is None and before.current is not None and not isinstance(event, FORGETS_CURRENT):
        return False
    return after.current is None or after.current in after.slots


def _the_version_before_is_another_slot(
    _: s.State, __: s.MachineEvent, after: s.State, ___: tuple[s.Effect, ...]
) -> bool:
    return after.previous is None or (after.previous in after.slots and after.previous != after.current)


def _each_slot_is_listed_once(_: s.State, __: s.MachineEvent, after: s.State, ___: tuple[s.Effect, ...]) -> bool:
    return len(set(after.slots)) == len(after.slots)


def _is_safety_rollback(before: s.State, after: s.State) -> bool:
    """Back to a version that is here, within what accepting the update covered; it may end what can still be ended."""
    return (
        after.update is not None
        and after.update.phase == "rolling-back"
        and after.update.before == before.previous
        and after.update.before in before.slots
        and before.watch is not None
        and (before.update is None or before.update.phase in CANCELLABLE)
    )


def _begins(before: s.State, after: s.State) -> bool:
    """Whether an operation begins: none was under way, or a safety rollback takes the place of one."""
    if after.update is None:
        return False
    if before.update is None:
        return True
    return after.update.phase == "rolling-back" and before.update.phase != "rolling-back"


def _nothing_begins_without_a_decision(
    before: s.State, event: s.MachineEvent, after: s.State, _: tuple[s.Effect, ...]
) -> bool:
    update = after.update
    if update is None or not _begins(before, after):
        return True
    match event:
        case s.Answered():
            accepted = (event.offer_digest, event.target, event.direction, event.manifest_digest)
            return (
                event.answer == "accept"
                and before.offer == event.offer_digest
                and (update.offer_digest, update.target, update.direction, update.manifest_digest) == accepted
            )
        case s.RollbackAsked():
            return update.offer_digest is None and update.target == event.target and event.target in before.slots
        case s.RemovalAsked():
            return update.direction == "uninstall" and update.offer_digest == event.plan_digest
    return isinstance(event, MAKES_SAFE) and _is_safety_rollback(before, after)


def _what_was_decided_stays_what_it_was(
    before: s.State, _: s.MachineEvent, after: s.State, __: tuple[s.Effect, ...]
) -> bool:
    if before.update is None or after.update is None or _begins(before, after):
        return True
    return all(
        getattr(before.update, name) == getattr(after.update, name)
        for name in ("direction", "target", "before", "offer_digest", "manifest_digest", "conditions", "not_before")
    )


def _work_is_of_the_phase(_: s.State, __: s.MachineEvent, after: s.State, effects: tuple[s.Effect, ...]) -> bool:
    work = [effect for effect in effects if isinstance(effect, s.Work)]
    return len(work) <= 1 and all(
        after.update is not None and effect.phase == after.update.phase and not after.update.paused for effect in work
    )


def _entering_a_phase_asks_for_its_work(
    before: s.State, _: s.MachineEvent, after: s.State, effects: tuple[s.Effect, ...]
) -> bool:
    if after.update is None or (before.update is not None and before.update.phase == after.update.phase):
        return True
    return s.Work(phase=after.update.phase) in effects


def _order_of_the_standard(before: s.State, _: s.MachineEvent, after: s.State, __: tuple[s.Effect, ...]) -> bool:
    if before.update is None or after.update is None or _begins(before, after):
        return True
    step_before, step_after = ((update.phase, update.gate) for update in (before.update, after.update))
    return step_before == step_after or (step_before, step_after) in ORDER


def _attempts_are_bounded(_: s.State, __: s.MachineEvent, after: s.State, ___: tuple[s.Effect, ...]) -> bool:
    return after.update is None or 0 <= after.update.attempts <= ATTEMPTS_MAX


def _a_person_keeps_the_last_word(before: s.State, event: s.MachineEvent, after: s.State, _: object) -> bool:
    """What a person paused goes on by a person; without one it only ends: withdrawn, expired, or for safety."""
    if before.update is None or before.update.waits_for != ("person",):
        return True
    by_person = isinstance(event, s.Resumed | s.CancelAsked | s.Revoked) and event.authority != UNATTENDED
    made_safe = isinstance(event, MAKES_SAFE) and _is_safety_rollback(before, after)
    ends = isinstance(event, s.Withdrawn | s.AnswerExpired) and after.update is None
    return by_person or made_safe or ends or after.update == before.update


def _pausing_loses_nothing(before: s.State, event: s.MachineEvent, after: s.State, _: object) -> bool:
    if not isinstance(event, s.PauseAsked) or before.update is None:
        return True
    if after.update is None or after.update.phase != before.update.phase:
        return False
    return before == after or (after.update.paused and before.update.phase in CANCELLABLE)


def _failures_are_remembered(before: s.State, event: s.MachineEvent, after: s.State, _: object) -> bool:
    """A version that failed is forgotten only by accepting it; one that was skipped also when that answer ends."""
    forgiven = {event.target.version} if isinstance(event, s.Answered) and event.answer == "accept" else set()
    ended = {given.target.version for given in before.silent if given.answer == "skip" and given not in after.silent}
    heard = set(before.skipped) - set(after.skipped)
    return set(before.failed) - set(after.failed) <= forgiven and heard <= forgiven | ended


def _only_tried_versions_fail(before: s.State, _: s.MachineEvent, after: s.State, __: object) -> bool:
    new = set(after.failed) - set(before.failed)
    return not new or (before.update is not None and new == {before.update.target.version})


def _cleaning_keeps_what_is_needed(
    _: s.State, __: s.MachineEvent, after: s.State, effects: tuple[s.Effect, ...]
) -> bool:
    needed = {slot for slot in (after.current, after.previous) if slot is not None}
    if after.update is not None:
        needed |= {after.update.target, after.update.before} & set(after.slots)
    cleanings = [effect for effect in effects if isinstance(effect, s.Clean)]
    return all(needed <= set(effect.keep) and effect.seal == after.kept for effect in cleanings)


def _slots_go_only_with_a_cleaning(
    before: s.State, _: s.MachineEvent, after: s.State, effects: tuple[s.Effect, ...]
) -> bool:
    gone = set(before.slots) - set(after.slots)
    return not gone or any(isinstance(effect, s.Clean) for effect in effects)


def _an_end_is_told(before: s.State, event: s.MachineEvent, after: s.State, effects: tuple[s.Effect, ...]) -> bool:
    ended = before.update is not None and (after.update is None or _begins(before, after))
    told = [effect.outcome for effect in effects if isinstance(effect, s.Tell)]
    if not ended:
        return not told
    stops = isinstance(event, s.CancelAsked | s.Withdrawn | s.Revoked | s.AnswerExpired) or after.update is not None
    return told == [after.last] and (not stops or isinstance(effects[0], s.StopWork))


def _an_outcome_says_what_is_in_use(_: s.State, __: s.MachineEvent, after: s.State, effects: object) -> bool:
    assert isinstance(effects, tuple)
    version = after.current.version if after.current else None
    return all(effect.outcome.active_version == version for effect in effects if isinstance(effect, s.Tell))


def _a_watch_is_of_what_is_in_use(_: s.State, __: s.MachineEvent, after: s.State, ___: object) -> bool:
    return after.watch is None or after.watch.version == after.current


def _suspicion_is_of_what_is_in_use(before: s.State, event: s.MachineEvent, after: s.State, ___: object) -> bool:
    if after.suspect is None or isinstance(event, s.Retested):
        return True
    return after.current == before.current


def _kept_versions_are_other_versions(_: s.State, __: s.MachineEvent, after: s.State, ___: object) -> bool:
    in_use = {after.current, after.previous}
    return len(set(after.kept)) == len(after.kept) <= KEEP_OLDER and not in_use & set(after.kept)


def _nothing_stays_of_what_was_uninstalled(_: s.State, __: s.MachineEvent, after: s.State, ___: object) -> bool:
    return not after.uninstalled or after.update is not None or not (after.slots or after.kept or after.current)


def _it_can_be_stored(_: s.State, __: s.MachineEvent, after: s.State, ___: object) -> bool:
    return msgspec.json.decode(msgspec.json.encode(after), type=s.State) == after


RULES: tuple[Rule, ...] = (
    _one_version_in_use,
    _the_version_before_is_another_slot,
    _each_slot_is_listed_once,
    _nothing_begins_without_a_decision,
    _what_was_decided_stays_what_it_was,
    _work_is_of_the_phase,
    _entering_a_phase_asks_for_its_work,
    _order_of_the_standard,
    _attempts_are_bounded,
    _a_person_keeps_the_last_word,
    _pausing_loses_nothing,
    _failures_are_remembered,
    _only_tried_versions_fail,
    _cleaning_keeps_what_is_needed,
    _slots_go_only_with_a_cleaning,
    _an_end_is_told,
    _an_outcome_says_what_is_in_use,
    _a_watch_is_of_what_is_in_use,
    _suspicion_is_of_what_is_in_use,
    _kept_versions_are_other_versions,
    _nothing_stays_of_what_was_uninstalled,
    _it_can_be_stored,
    *answer_rules.RULES,
)


def crash_goes_on(state: s.State) -> bool:
    """After a crash the work of the phase is asked for again, or the update ends because it was tried too often."""
    after, effects = step(state, s.Restarted(), NOW)
    if state.update is None:
        return any(isinstance(effect, s.Clean) for effect in effects)
    if state.update.paused and state.update.waits_for == ("person",):
        return (after, effects) == (state, ())
    if after.update is None:
        return state.update.attempts == ATTEMPTS_MAX
    return effects == (s.Work(phase=after.update.phase),)


def crashes_end(state: s.State) -> bool:
    """An update that is interrupted in a counted phase again and again comes to an end."""
    if state.update is None or state.update.phase not in {"testing", "activating"}:
        return True
    if state.update.paused:
        return True
    for _ in range(ATTEMPTS_MAX + 1):
        state, _effects = step(state, s.Restarted(), NOW)
    return state.update is None


def leads_on(state: s.State) -> bool:
    """From every state, a person who resumes and work that goes well bring the update to its end."""
    for _ in range(3 * len(WORK)):
        if state.update is None:
            return True
        paused = state.update.paused
        event = s.Resumed(authority="uid:0") if paused else SUCCESS.get(state.phase, s.Done(phase=state.phase))
        state, _effects = step(state, event, NOW)
    return False


class Explorer:
    """The breadth-first search. `violations` names a rule and the shortest way to where it does not hold."""

    def __init__(self, starts: tuple[s.State, ...], events: tuple[tuple[s.MachineEvent, str], ...]) -> None:
        self._events = events
        self._queue: deque[tuple[s.State, bytes, int]] = deque()
        self._came: dict[bytes, tuple[bytes, s.MachineEvent] | None] = {}
        self.transitions = 0
        self.depth = 0
        self.violations: list[str] = []
        self.phases: Counter[str] = Counter()
        for start in starts:
            self._visit(start, None, 0)

    @property
    def states(self) -> int:
        return len(self._came)

    def _visit(self, state: s.State, came: tuple[bytes, s.MachineEvent] | None, depth: int) -> None:
        state = msgspec.structs.replace(
            state,
            last=None,
            reminders=0,
            failed=tuple(sorted(state.failed)),
            skipped=tuple(sorted(state.skipped)),
            silent=tuple(sorted(state.silent, key=lambda given: given.id)),
        )
        key = msgspec.msgpack.encode(state)
        if key in self._came:
            return
        self._came[key] = came
        self.phases[state.phase] += 1
        self._queue.append((state, key, depth))
        for rule in (crash_goes_on, crashes_end, leads_on, revocable_until_activation, expires_in_time):
            if not rule(state):
                self.violations.append(f"{rule.__name__}: {self._way(key)}")

    def explore(self, depth_max: int | None) -> bool:
        """Follow every event of every state less than `depth_max` steps away; whether nothing is left to visit."""
        while self._queue:
            state, key, depth = self._queue[0]
            if depth == depth_max:
                return False
            self._queue.popleft()
            self.depth = depth + 1
            for event, now in self._events:
                after, effects = step(state, event, now)
                self.transitions += 1
                if after is state and not effects:
                    continue  # it means nothing here
                broken = [rule.__name__ for rule in RULES if not rule(state, event, after, effects)]
                begun = state.update is not None and state.update.gate != "fetch"
                if not nothing_is_fetched_unless_accepted(after, effects, now, begun):
                    broken.append("nothing_is_fetched_unless_accepted")
                self.violations += [f"{name}: {self._way(key)} then {event} at {now}" for name in broken]
                self._visit(after, (key, event), depth + 1)
            assert len(self.violations) < 20, "\n".join(self.violations)
        return True

    def _way(self, key: bytes) -> str:
        events: list[str] = []
        while (came := self._came[key]) is not None:
            key, event = came
            events.append(str(event))
        return " then ".join((str(msgspec.msgpack.decode(key, type=s.State)), *reversed(events)))


def test_every_event_of_the_machine_is_explored() -> None:
    """An event that is added to the machine and not to this search fails here."""
    assert {type(event) for event in EVENTS} == set(typing.get_args(s.MachineEvent))


def test_every_order_of_events_to_a_depth() -> None:
    """Every rule holds after every order of `DEPTH_IN_CI` events and crashes."""
    explorer = Explorer(STARTS, TIMED)
    explorer.explore(DEPTH_IN_CI)
    assert not explorer.violations, "\n".join(explorer.violations)
    assert {*WORK, "idle", "offered", "watching", "degraded"} == set(explorer.phases)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_every_order_of_events_to_a_greater_depth() -> None:
    """The same twice as deep, or until no event leads to a state that was not visited."""
    explorer = Explorer(STARTS, TIMED)
    complete = explorer.explore(int(os.environ.get("MODELOTA_SOAK_DEPTH", "24")))
    assert not explorer.violations, "\n".join(explorer.violations)
    figures = {"states": explorer.states, "transitions": explorer.transitions, "depth": explorer.depth}
    print(json.dumps({**figures, "complete": complete}))  # noqa: T201  the figures of the soak
