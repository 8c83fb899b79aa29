"""The update's state machine: a pure function (state, event, now) → (state, effects). Design decision 7.

Order: offer, decision, recheck, fetch, verify, deploy, self-test, gates, activate, watch, done. The journal commits the
event and the new state before any effect is carried out, so after a kill or a power cut the `Restarted` event finds the
phase and asks for its effect again; every effect can be repeated.

Rules that hold in every state:

- Nothing is fetched, deployed or activated without an accepted answer to the very offer (clause 5.1-d).
- The version in use changes only through `Activated` and `Returned`.
- An attempt is counted before each self-test and each activation; after `ATTEMPTS_MAX` the version before stays or
returns.
- What may get better by itself or by a person pauses the update; what can't ends it, and the version in use stays.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from modelota.agent.states import (
    Activated,
    Answered,
    CancelAsked,
    Clean,
    ContentMissing,
    Done,
    Effect,
    EngineCrashed,
    Failed,
    GatesClosed,
    MachineEvent,
    Offered,
    OfferGone,
    PauseAsked,
    Restarted,
    Resumed,
    Returned,
    RollbackAsked,
    State,
    StopWork,
    Tell,
    Update,
    Watch,
    WatchEnded,
    Withdrawn,
    Work,
)
from modelota.errors import CODES
from modelota.spec.api import ErrorBody, Outcome, Phase
from modelota.spec.slot import SlotId

ATTEMPTS_MAX: Final = 3
WATCH_CRASHES_MAX: Final = 3

Step = tuple[State, tuple[Effect, ...]]

# What follows when the step of a phase is done.
_NEXT: Final[dict[Phase, Phase]] = {
    "rechecking": "fetching",
    "fetching": "verifying",
    "verifying": "deploying",
    "deploying": "testing",
    "testing": "waiting",
    "waiting": "activating",
}
_CANCELLABLE: Final = ("rechecking", "fetching", "verifying", "deploying", "testing", "waiting")
_COUNTED: Final = ("testing", "activating")
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
            return _same(state) if state.update else (msgspec.structs.replace(state, offer=event.offer_digest), ())
        case OfferGone():
            return _same(state) if state.update else (msgspec.structs.replace(state, offer=None), ())
        case Answered():
            return _answered(state, event)
        case RollbackAsked():
            return _rollback_asked(state, event)
        case Activated():
            return _activated(state, event)
        case Returned():
            return _returned(state, event)
        case EngineCrashed():
            return _engine_crashed(state, event)
        case WatchEnded():
            return msgspec.structs.replace(state, watch=None), ()
        case Restarted():
            return _restarted(state, now)
        case _:
            return _during_update(state, event, now)


def _same(state: State) -> Step:
    return state, ()


def _with(state: State, update: Update, *effects: Effect) -> Step:
    return msgspec.structs.replace(state, update=update), effects


def _enter(state: State, update: Update, phase: Phase, now: str) -> Step:
    """Begin a phase; count the attempt first where attempts are counted."""
    attempts = 0
    if phase in _COUNTED:
        attempts = 1 + (update.attempts if phase == update.phase else 0)
    if attempts > ATTEMPTS_MAX:
        error = ErrorBody(code="attempts-exhausted", params={"slot": update.target.name, "phase": phase})
        return _end(state, "failed", error, now)
    entered = msgspec.structs.replace(update, phase=phase, paused=False, waits_for=(), error=None, attempts=attempts)
    return _with(state, entered, Work(phase=phase))


def _answered(state: State, event: Answered) -> Step:
    if state.update is not None or state.offer != event.offer_digest:
        return _same(state)
    if event.answer == "later":
        return _same(state)
    if event.answer in {"skip", "decline"}:
        skipped = _added(state.skipped, event.target.version) if event.answer == "skip" else state.skipped
        return msgspec.structs.replace(state, offer=None, skipped=skipped), ()
    update = Update(
        direction=event.direction,
        target=event.target,
        before=state.current,
        offer_digest=event.offer_digest,
        manifest_digest=event.manifest_digest,
        phase="rechecking",
    )
    # a person who accepts a version that failed here before has decided to try it again
    failed = tuple(version for version in state.failed if version != event.target.version)
    skipped = tuple(version for version in state.skipped if version != event.target.version)
    decided = msgspec.structs.replace(state, offer=None, failed=failed, skipped=skipped, update=update)
    return decided, (Work(phase="rechecking"),)


def _added(versions: tuple[str, ...], *new: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*versions, *new)))


def _rollback_asked(state: State, event: RollbackAsked) -> Step:
    if state.update is not None or event.target not in state.slots or event.target == state.current:
        return _same(state)
    update = Update(
        direction="rollback",
        target=event.target,
        before=state.current,
        offer_digest=None,
        manifest_digest=event.manifest_digest,
        phase="activating",
        attempts=1,
    )
    return msgspec.structs.replace(state, offer=None, update=update), (Work(phase="activating"),)


def _during_update(state: State, event: MachineEvent, now: str) -> Step:
    update = state.update
    if update is None:
        return _same(state)
    match event:
        case Done(phase=phase) if phase == update.phase and phase in _NEXT and not update.paused:
            return _step_done(state, update, phase, now)
        case Failed(phase=phase) if phase == update.phase and not update.paused:
            return _failed(state, update, event, now)
        case ContentMissing() if update.phase in {"verifying", "deploying"} and not update.paused:
            return _enter(state, update, "fetching", now)
        case GatesClosed() if update.phase == "waiting":
            return _with(state, msgspec.structs.replace(update, waits_for=event.waits_for))
        case PauseAsked() if update.phase in _CANCELLABLE and update.waits_for != _PERSON:
            # also of an update that waits to be tried again: a person's pause outlasts every timer
            attempts = update.attempts if update.paused else _uncounted(update)
            paused = msgspec.structs.replace(update, paused=True, waits_for=_PERSON, error=None, attempts=attempts)
            return _with(state, paused, StopWork())
        case Resumed(authority="timer") if update.waits_for == _PERSON:
            return _same(state)
        case Resumed() if update.phase in _CANCELLABLE and (update.paused or update.phase == "waiting"):
            return _enter(state, update, update.phase, now)
        case CancelAsked() if update.phase in _CANCELLABLE:
            return _end(state, "cancelled", None, now, StopWork())
        case Withdrawn(version=update.target.version) if update.phase in _CANCELLABLE:
            params = {"model": None, "version": event.version, "reason": event.reason}
            return _end(state, "failed", ErrorBody(code="release-withdrawn", params=params), now, StopWork())
        case _:
            return _same(state)


def _step_done(state: State, update: Update, phase: Phase, now: str) -> Step:
    if phase == "deploying" and update.direction == "repair" and update.target != state.current:
        return _end(state, "done", None, now)  # a version that is not in use is mended, and that is all
    if phase == "deploying" and update.target not in state.slots:
        state = msgspec.structs.replace(state, slots=(*state.slots, update.target))
    return _enter(state, update, _NEXT[phase], now)


def _failed(state: State, update: Update, event: Failed, now: str) -> Step:
    if update.phase == "rolling-back":
        return _degrade(state, event.error, now)
    if update.phase == "activating":
        return _end(state, "failed", event.error, now)
    inconclusive = event.error.code == "self-test-inconclusive"
    if event.branch in {"try-later", "ask-person"} and event.error.code not in _ENDS:
        waits_for = ("self-test",) if inconclusive else (event.error.code,)
        # an inconclusive measurement is repeated later; it is not an attempt that went wrong (design decision 8),
        # and neither is a full disk
        attempts = _uncounted(update) if inconclusive or _is_of_the_device(event.error) else update.attempts
        paused = msgspec.structs.replace(update, paused=True, waits_for=waits_for, error=event.error, attempts=attempts)
        return _with(state, paused)
    return _end(state, "failed", event.error, now)


def _is_of_the_device(error: ErrorBody) -> bool:
    """Whether the trouble is the device's, such as a full disk, and says nothing about the version."""
    return CODES.get(error.code) == "ask-person" or error.code in {"disk-error", "device-busy"}


def _uncounted(update: Update) -> int:
    """The attempts, when the one under way is stopped without having gone wrong."""
    return max(0, update.attempts - 1) if update.phase in _COUNTED else update.attempts


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


def _end(
    state: State, result: Literal["done", "failed", "cancelled"], error: ErrorBody | None, now: str, *first: Effect
) -> Step:
    update = state.update
    assert update is not None
    judged = result == "failed" and update.phase in {"testing", "activating", "rolling-back"}
    judged = judged and update.direction != "repair"  # what was used before is not a new version that failed
    if update.phase != "rolling-back" and error is not None and _is_of_the_device(error):
        judged = False  # what this device lacked says nothing against the version
    failed = _added(state.failed, update.target.version) if judged else state.failed
    keep = _kept(state)
    outcome = Outcome(
        operation=update.direction,
        result=result,
        from_version=update.before.version if update.before else None,
        to_version=update.target.version,
        active_version=state.current.version if state.current else None,
        error=_with_situation(error, state.current, returned=update.phase == "rolling-back"),
        finished_at=now,
    )
    ended = msgspec.structs.replace(state, update=None, failed=failed, slots=keep, last=outcome)
    return ended, (*first, Clean(keep=keep), Tell(outcome=outcome))


def _with_situation(error: ErrorBody | None, current: SlotId | None, *, returned: bool) -> ErrorBody | None:
    """The error with the sentence that says how the device is now."""
    if error is None:
        return None
    if current is None:
        return msgspec.structs.replace(error, now="not-installed", now_params={})
    now = "returned" if returned else "serving"
    return msgspec.structs.replace(error, now=now, now_params={"version": current.version})


def _kept(state: State) -> tuple[SlotId, ...]:
    return tuple(slot for slot in state.slots if slot in {state.current, state.previous})


def _activated(state: State, event: Activated) -> Step:
    update = state.update
    if update is None or update.phase != "activating":
        return _same(state)
    previous = update.before if update.before != update.target else state.previous
    # a version that its user left is not offered again unasked; that says nothing against it
    skipped = state.skipped
    if update.direction == "rollback" and update.before is not None:
        skipped = _added(skipped, update.before.version)
    outcome = Outcome(
        operation=update.direction,
        result="done",
        from_version=update.before.version if update.before else None,
        to_version=update.target.version,
        active_version=update.target.version,
        error=None,
        finished_at=event.at,
    )
    watch = None
    if update.direction == "update" and previous is not None:
        watch = Watch(version=update.target, until=event.watch_until)
    activated = msgspec.structs.replace(
        state,
        current=update.target,
        previous=previous,
        update=None,
        watch=watch,
        skipped=skipped,
        degraded=None,
        last=outcome,
    )
    activated = msgspec.structs.replace(activated, slots=_kept(activated))
    return activated, (Clean(keep=activated.slots), Tell(outcome=outcome))


def _engine_crashed(state: State, event: EngineCrashed) -> Step:
    watch = state.watch
    if watch is None or state.update is not None or watch.version != state.current:
        return _same(state)
    crashes = watch.crashes + 1
    if crashes < WATCH_CRASHES_MAX or state.previous is None:
        return msgspec.structs.replace(state, watch=msgspec.structs.replace(watch, crashes=crashes)), ()
    update = Update(
        direction="update",
        target=watch.version,
        before=state.previous,
        offer_digest=None,
        manifest_digest="",
        phase="rolling-back",
        error=event.error,
    )
    return msgspec.structs.replace(state, watch=None, update=update), (Work(phase="rolling-back"),)


def _returned(state: State, event: Returned) -> Step:
    update = state.update
    if update is None or update.phase != "rolling-back" or update.before is None:
        return _same(state)
    # the version that failed is not kept: it is not what anyone would want to go back to
    back = msgspec.structs.replace(state, current=update.before, previous=None, watch=None)
    return _end(back, "failed", update.error, event.at)


def _degrade(state: State, error: ErrorBody, now: str) -> Step:
    told = msgspec.structs.replace(error, now="degraded", now_params={})
    ended, effects = _end(state, "failed", told, now)
    last = msgspec.structs.replace(ended.last, error=told) if ended.last else None
    degraded = msgspec.structs.replace(ended, degraded=told, last=last)
    return degraded, tuple(Tell(outcome=last) if isinstance(effect, Tell) and last else effect for effect in effects)


def _restarted(state: State, now: str) -> Step:
    update = state.update
    if update is None:
        return state, (Clean(keep=_kept(state)),)
    if update.paused and update.waits_for == _PERSON:
        return _same(state)
    if update.paused or update.phase in _COUNTED:
        return _enter(state, update, update.phase, now)
    return _with(state, update, Work(phase=update.phase))
