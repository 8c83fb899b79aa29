"""The update's state machine: a pure function (state, event, now) → (state, effects). Design decision 7.

Order: offer, decision, recheck, fetch, verify, deploy, self-test, gates, activate, watch, done. The journal commits the
event and the new state before any effect is carried out, so after a kill or a power cut the `Restarted` event finds the
phase and asks for its effect again; every effect can be repeated.

Rules that hold in every state:

- Nothing is fetched, deployed or activated without an accepted answer to the very offer, and nothing begins to be
  fetched once that answer has expired (clause 5.1-d; `modelota.agent.standing`).
- The version in use changes only through `Activated` and `Returned`.
- An attempt is counted before each self-test and each activation; after `ATTEMPTS_MAX` the version before stays or
returns.
- What may get better by itself or by a person pauses the update; what can't ends it, and the version in use stays.
"""

from __future__ import annotations

from typing import Final

import msgspec

from modelota.agent.aftermath import (
    CANCELLABLE,
    COUNTED,
    Step,
    activated,
    degrade,
    end,
    engine_crashed,
    is_of_the_device,
    removal_asked,
    removed,
    retested,
    returned,
    same,
    slots_kept,
    uncounted,
    watch_broken,
)
from modelota.agent.standing import (
    answered,
    expire_before_fetch,
    expired,
    is_over,
    may_expire,
    offered,
    reminded,
    revoked,
)
from modelota.agent.states import (
    Activated,
    Answered,
    AnswerExpired,
    CancelAsked,
    Clean,
    ContentMissing,
    Done,
    Effect,
    EngineCrashed,
    Failed,
    Gate,
    GatesClosed,
    MachineEvent,
    Offered,
    OfferGone,
    PauseAsked,
    Reminded,
    RemovalAsked,
    Removed,
    Restarted,
    Resumed,
    Retested,
    Returned,
    Revoked,
    RollbackAsked,
    Standing,
    State,
    StopWork,
    Update,
    WatchBroken,
    WatchEnded,
    Withdrawn,
    Work,
)
from modelota.spec.api import ErrorBody, Phase

ATTEMPTS_MAX: Final = 3

# What follows when the step of a phase is done, and in front of which gate it waits.
_NEXT: Final[dict[Phase, tuple[Phase, Gate]]] = {
    "rechecking": ("waiting", "fetch"),
    "fetching": ("verifying", ""),
    "verifying": ("deploying", ""),
    "deploying": ("testing", ""),
    "testing": ("waiting", "activate"),
}
_BEHIND: Final[dict[Gate, Phase]] = {"fetch": "fetching", "activate": "activating", "switch": "activating"}
_PERSON: Final = ("person",)  # what an update waits for that a person paused


def step(state: State, event: MachineEvent, now: str) -> Step:
    """Decide what an event means.

    Args:
        state: of one model.
        event: what happened. An event that means nothing in this state (late, repeated) leaves it unchanged.
        now: RFC 3339 time, for outcomes.

    Returns:
        the new state, and the effects to carry out in order once event and state are committed.
    """
    match event:
        case Offered():
            return offered(state, event)
        case OfferGone():
            return same(state) if state.update else (msgspec.structs.replace(state, offer=None, answer=None), ())
        case Answered() | AnswerExpired() | Reminded() | Revoked():
            return _about_answers(state, event, now)
        case RollbackAsked():
            return _rollback_asked(state, event, now)
        case RemovalAsked():
            return removal_asked(state, event, now)
        case Restarted():
            return _restarted(state, now)
        case Activated() | Returned() | EngineCrashed() | WatchBroken() | WatchEnded() | Retested() | Removed():
            return _about_version_in_use(state, event, now)
        case _:
            return _during_update(state, event, now)


def _about_version_in_use(
    state: State,
    event: Activated | Returned | EngineCrashed | WatchBroken | WatchEnded | Retested | Removed,
    now: str,
) -> Step:
    match event:
        case Activated():
            return activated(state, event)
        case Returned():
            return returned(state, event)
        case EngineCrashed():
            return engine_crashed(state, event, now)
        case WatchBroken():
            return watch_broken(state, event.error, now)
        case WatchEnded():
            return msgspec.structs.replace(state, watch=None), ()
        case Retested():
            return retested(state, event, now)
        case Removed():
            return removed(state, event)


def _about_answers(state: State, event: Answered | AnswerExpired | Reminded | Revoked, now: str) -> Step:
    match event:
        case Answered():
            return answered(state, event, now)
        case AnswerExpired():
            return expired(state, event, now)
        case Reminded():
            return reminded(state, event, now)
        case Revoked():
            return revoked(state, event, now)


def _with(state: State, update: Update, *effects: Effect) -> Step:
    return msgspec.structs.replace(state, update=update), effects


def _enter(state: State, update: Update, phase: Phase, now: str, gate: Gate = "") -> Step:
    """Begin a phase; count the attempt first where attempts are counted."""
    attempts = 0
    if phase in COUNTED:
        attempts = 1 + (update.attempts if phase == update.phase else 0)
    if attempts > ATTEMPTS_MAX:
        error = ErrorBody(code="attempts-exhausted", params={"slot": update.target.name, "phase": phase})
        return end(state, "failed", error, now)
    entered = msgspec.structs.replace(
        update, phase=phase, gate=gate, paused=False, waits_for=(), error=None, attempts=attempts
    )
    return _with(state, entered, Work(phase=phase))


def _rollback_asked(state: State, event: RollbackAsked, now: str) -> Step:
    if state.update is not None or event.target not in state.slots or event.target == state.current:
        return same(state)
    update = Update(
        direction="rollback",
        target=event.target,
        before=state.current,
        offer_digest=None,
        manifest_digest=event.manifest_digest,
        phase="waiting",
        gate="activate",
    )
    answer = Standing(id=event.id, offer_digest="", answer="accept", target=event.target, at=now)
    return msgspec.structs.replace(state, offer=None, update=update, answer=answer), (Work(phase="waiting"),)


def _during_update(state: State, event: MachineEvent, now: str) -> Step:
    update = state.update
    if update is None:
        return same(state)
    if isinstance(event, (PauseAsked, Resumed, CancelAsked, Withdrawn)):
        return _steered(state, update, event, now)
    match event:
        case Done(phase="waiting") if update.phase == "waiting" and update.gate and not update.paused:
            if may_expire(state) and is_over(state.answer, now):
                return expire_before_fetch(state, now)
            return _enter(state, update, _behind(update), now)
        case Done(phase=phase) if phase == update.phase and phase in _NEXT and not update.paused:
            return _step_done(state, update, phase, now)
        case Failed(phase=phase) if phase == update.phase and not update.paused:
            return _failed(state, update, event, now)
        case ContentMissing() if update.phase in {"verifying", "deploying"} and not update.paused:
            return _enter(state, update, "fetching", now)
        case GatesClosed(gate=gate) if update.phase == "waiting" and gate == update.gate and not update.paused:
            return _with(state, msgspec.structs.replace(update, waits_for=event.waits_for))
        case GatesClosed(gate="switch") if update.phase == "activating":
            waiting = msgspec.structs.replace(
                update, phase="waiting", gate="switch", waits_for=event.waits_for, attempts=uncounted(update)
            )
            return _with(state, waiting, Work(phase="waiting"))
        case _:
            return same(state)


def _behind(update: Update) -> Phase:
    """What follows an open gate. Before a fetch that had to wait, days perhaps, everything is looked at once more."""
    if update.gate == "fetch" and update.waits_for:
        return "rechecking"
    return _BEHIND[update.gate]


def _steered(state: State, update: Update, event: PauseAsked | Resumed | CancelAsked | Withdrawn, now: str) -> Step:
    """What a person, a timer or the publisher wants of an update under way."""
    match event:
        case PauseAsked() if update.phase in CANCELLABLE and update.waits_for != _PERSON:
            # also of an update that waits to be tried again: a person's pause outlasts every timer
            attempts = update.attempts if update.paused else uncounted(update)
            paused = msgspec.structs.replace(update, paused=True, waits_for=_PERSON, error=None, attempts=attempts)
            return _with(state, paused, StopWork())
        case Resumed(authority="timer") if update.waits_for == _PERSON:
            return same(state)
        case Resumed() if update.paused and update.gate == "fetch":
            return _enter(state, update, "rechecking", now)
        case Resumed() if update.paused:
            return _enter(state, update, update.phase, now, update.gate)
        case CancelAsked() if update.phase in CANCELLABLE:
            return end(state, "cancelled", None, now, StopWork())
        case Withdrawn(version=update.target.version) if update.phase in CANCELLABLE and not _known_withdrawn(update):
            params = {"model": None, "version": event.version, "reason": event.reason}
            return end(state, "failed", ErrorBody(code="release-withdrawn", params=params), now, StopWork())
        case _:
            return same(state)


def _known_withdrawn(update: Update) -> bool:
    """Whether a withdrawal changes nothing: the user was warned and goes back all the same, or mends what is there."""
    asked = update.direction == "rollback" and update.offer_digest is None
    return asked or update.direction == "repair" or update.despite_withdrawal


def _step_done(state: State, update: Update, phase: Phase, now: str) -> Step:
    if phase == "deploying" and update.direction == "repair" and update.target != state.current:
        return end(state, "done", None, now)  # a version that is not in use is mended, and that is all
    if phase == "deploying" and update.target not in state.slots:
        state = msgspec.structs.replace(state, slots=(*state.slots, update.target))
    following, gate = _NEXT[phase]
    return _enter(state, update, following, now, gate)


def _failed(state: State, update: Update, event: Failed, now: str) -> Step:
    if update.phase == "removing":  # what was confirmed is carried through; nothing of it can be taken back
        return _with(
            state, msgspec.structs.replace(update, paused=True, waits_for=(event.error.code,), error=event.error)
        )
    if update.phase == "rolling-back":
        return degrade(state, event.error, now)
    if update.phase == "activating":
        return end(state, "failed", event.error, now)
    inconclusive = event.error.code == "self-test-inconclusive"
    if event.branch in {"try-later", "ask-person"} and event.error.code not in _ENDS:
        waits_for = ("self-test",) if inconclusive else (event.error.code,)
        # an inconclusive measurement is repeated later; it is not an attempt that went wrong (design decision 8),
        # and neither is a full disk
        attempts = uncounted(update) if inconclusive or is_of_the_device(event.error) else update.attempts
        paused = msgspec.structs.replace(update, paused=True, waits_for=waits_for, error=event.error, attempts=attempts)
        return _with(state, paused)
    return end(state, "failed", event.error, now)


# Errors that end an update although their branch would let it wait: only a new offer can go on from there.
_ENDS: Final = {
    "ceiling-exceeded",
    "offer-changed",
    "requirement-not-met",
    "runtime-missing",
    "no-runnable-variant",
    "engine-crashed",
    "engine-start-failed",
    "engine-timeout",
}


def _restarted(state: State, now: str) -> Step:
    update = state.update
    if update is None:
        return state, (Clean(keep=slots_kept(state), seal=state.kept),)
    if update.paused and update.waits_for == _PERSON:
        return same(state)
    if update.paused or update.phase in COUNTED:
        return _enter(state, update, update.phase, now, update.gate)
    return _with(state, update, Work(phase=update.phase))
