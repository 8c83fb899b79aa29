"""What holds of answers in every state of the machine, for `test_machine_exhaustive`."""

from __future__ import annotations

from typing import Final

from modelota.agent import states as s
from modelota.agent.machine import step

NOW, LATER, AFTER = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"
REMIND_S = (3600, 7200)
CANCELLABLE = ("rechecking", "fetching", "verifying", "deploying", "testing", "waiting")
TAKES_AN_OFFER_AWAY = (s.Offered, s.OfferGone, s.RollbackAsked, s.RemovalAsked)


def one_answer_stands(_: s.State, __: s.MachineEvent, after: s.State, ___: object) -> bool:
    """To offers of each version at most one, of the right kind; a skipped version is one that is not offered."""
    given = [entry for entry in after.standing if entry.offer_digest]
    return (
        len({entry.target.version for entry in given}) == len(given) == len({entry.id for entry in given})
        and all(entry.answer in {"skip", "decline"} for entry in after.silent)
        and {entry.target.version for entry in after.silent if entry.answer == "skip"} <= set(after.skipped)
    )


def an_update_is_under_way_as_long_as_its_acceptance_stands(
    _: s.State, __: s.MachineEvent, after: s.State, ___: object
) -> bool:
    update, given = after.update, after.answer
    if update is None or update.phase == "rolling-back":  # a device that goes back by itself asked nobody
        return given is None or (given.answer == "later" and given.offer_digest == after.offer)
    digest = "" if update.direction == "uninstall" else update.offer_digest or ""
    return given is not None and (given.answer, given.offer_digest) == ("accept", digest)


def an_answer_ends_for_a_reason(before: s.State, event: s.MachineEvent, after: s.State, _: object) -> bool:
    """By a person, by its time, with what it was given for, or when another offer takes the place of its own."""
    ended = {entry.id for entry in before.standing} - {entry.id for entry in after.standing}
    if isinstance(event, s.AnswerExpired | s.Revoked):
        return ended <= {event.id}
    if isinstance(event, s.Answered):
        return all(entry.target == event.target for entry in before.standing if entry.id in ended)
    if ended & {entry.id for entry in before.silent}:
        return False
    return (
        not ended
        or (before.update is not None and after.update is not before.update)
        or (isinstance(event, TAKES_AN_OFFER_AWAY) and before.update is None)
    )


def only_what_has_not_begun_expires(before: s.State, event: s.MachineEvent, after: s.State, _: object) -> bool:
    error = after.last.error if after.last is not None else None
    expired = after.update is None and error is not None and error.code == "answer-expired"
    if before.update is None or not expired:
        return True
    begun = (before.update.phase, before.update.gate) not in {("rechecking", ""), ("waiting", "fetch")}
    return not begun and after.offer == before.update.offer_digest


def what_was_turned_down_is_not_offered_unasked(
    before: s.State, event: s.MachineEvent, after: s.State, _: object
) -> bool:
    if not isinstance(event, s.Offered) or event.asked or after.offer == before.offer:
        return True
    silent = {given.offer_digest for given in before.silent}
    skipped = {given.target.version for given in before.silent if given.answer == "skip"}
    return after.offer not in silent and event.target.version not in skipped


def an_offer_comes_back_only_with_its_answer(before: s.State, event: s.MachineEvent, after: s.State, _: object) -> bool:
    if after.offer is None or after.offer == before.offer or isinstance(event, s.Offered):
        return True
    ended = [entry for entry in before.standing if entry not in after.standing]
    return [entry.offer_digest for entry in ended] == [after.offer]


def reminders_move_away(before: s.State, event: s.MachineEvent, after: s.State, effects: object) -> bool:
    if not isinstance(event, s.Reminded):
        return after.reminders == before.reminders
    given = after.answer
    return given is not None and given.distance == len(REMIND_S) - 1 and after.reminders == before.reminders + 1


def nothing_is_fetched_unless_accepted(after: s.State, effects: tuple[s.Effect, ...], now: str, begun: bool) -> bool:
    """Wherever the fetching of an update begins, its acceptance stands and its time is not over (clause 5.1-d)."""
    if s.Work(phase="fetching") not in effects:
        return True
    given, update = after.answer, after.update
    if given is None or update is None or (given.answer, given.offer_digest) != ("accept", update.offer_digest):
        return False
    return begun or (given.expires_at is not None and now < given.expires_at)


RULES: Final = (
    one_answer_stands,
    an_update_is_under_way_as_long_as_its_acceptance_stands,
    an_answer_ends_for_a_reason,
    only_what_has_not_begun_expires,
    what_was_turned_down_is_not_offered_unasked,
    an_offer_comes_back_only_with_its_answer,
    reminders_move_away,
)


def revocable_until_activation(state: s.State) -> bool:
    """Every standing answer can be taken back, that to an update until it activates; then its offer stands again."""
    for given in state.standing:
        after, effects = step(state, s.Revoked(id=given.id, authority="uid:1", channel="page"), NOW)
        under_way = state.update is not None and given == state.answer and given.answer == "accept"
        if under_way and state.update is not None:
            if state.update.phase not in CANCELLABLE:
                if (after, effects) != (state, ()):
                    return False
                continue
            if after.offer != state.update.offer_digest or s.StopWork() not in effects or after.update is not None:
                return False
        if given in after.standing or (given.answer == "skip" and given.target.version in after.skipped):
            return False
    return True


def expires_in_time(state: s.State) -> bool:
    """Whatever becomes of an update whose acceptance is over: it does not begin to fetch."""
    update = state.update
    if update is None or (update.phase, update.gate) not in {("rechecking", ""), ("waiting", "fetch")}:
        return True
    for event in (s.Resumed(authority="uid:0"), s.Restarted(), *(s.Done(phase=phase) for phase in CANCELLABLE)) * 2:
        state, effects = step(state, event, AFTER)
        if s.Work(phase="fetching") in effects:
            return False
    return state.update is None and state.offer == update.offer_digest
