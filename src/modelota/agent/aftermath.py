"""How operations end in the update's state machine: in use, given up, back again, gone; and what follows. Pure.

A part of `modelota.agent.machine`, whose rules hold here.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from modelota.agent.states import (
    Activated,
    Clean,
    Effect,
    EngineCrashed,
    RemovalAsked,
    Removed,
    Retested,
    Returned,
    Standing,
    State,
    StopWork,
    Tell,
    Update,
    Watch,
    Work,
)
from modelota.errors import CODES
from modelota.spec.api import ErrorBody, Outcome
from modelota.spec.slot import SlotId

Step = tuple[State, tuple[Effect, ...]]

# What a person can stop; from activation on the update is carried through.
CANCELLABLE: Final = ("rechecking", "fetching", "verifying", "deploying", "testing", "waiting")
COUNTED: Final = ("testing", "activating")


def end(
    state: State, result: Literal["done", "failed", "cancelled"], error: ErrorBody | None, now: str, *first: Effect
) -> Step:
    """End what is under way; a version that failed by itself is not offered again unasked."""
    update = state.update
    assert update is not None
    judged = result == "failed" and update.phase in {"testing", "activating", "rolling-back"}
    judged = judged and update.direction != "repair"  # what was used before is not a new version that failed
    if update.phase != "rolling-back" and error is not None and is_of_the_device(error):
        judged = False  # what this device lacked says nothing against the version
    failed = added(state.failed, update.target.version) if judged else state.failed
    keep = slots_kept(state)
    outcome = Outcome(
        operation=update.direction,
        result=result,
        from_version=update.before.version if update.before else None,
        to_version=update.target.version,
        active_version=state.current.version if state.current else None,
        error=_with_situation(error, state.current, returned=update.phase == "rolling-back"),
        finished_at=now,
    )
    # a *later* to an offer that stands has nothing to do with a device that goes back by itself
    answer = None if state.answer is not None and state.answer.answer == "accept" else state.answer
    ended = msgspec.structs.replace(state, update=None, answer=answer, failed=failed, slots=keep, last=outcome)
    return ended, (*first, Clean(keep=keep, seal=ended.kept), Tell(outcome=outcome))


def _with_situation(error: ErrorBody | None, current: SlotId | None, *, returned: bool) -> ErrorBody | None:
    """The error with the sentence that says how the device is now."""
    if error is None:
        return None
    if current is None:
        return msgspec.structs.replace(error, now="not-installed", now_params={})
    now = "returned" if returned else "serving"
    return msgspec.structs.replace(error, now=now, now_params={"version": current.version})


def slots_kept(state: State) -> tuple[SlotId, ...]:
    """The slots that stay: the version in use, the one before, and what came with a device that uses none yet."""
    return tuple(slot for slot in state.slots if slot in {state.current, state.previous, state.seeded})


def activated(state: State, event: Activated) -> Step:
    """The target is in use: the version before stays a slot, older ones are kept sealed as far as the settings say."""
    update = state.update
    if update is None or update.phase != "activating":
        return same(state)
    previous = update.before if update.before != update.target else state.previous
    # a version that its user left is not offered again unasked; that says nothing against it
    skipped = state.skipped
    if update.direction == "rollback" and update.before is not None:
        skipped = added(skipped, update.before.version)
    outcome = Outcome(
        operation=update.direction,
        result="done",
        from_version=update.before.version if update.before else None,
        to_version=update.target.version,
        active_version=update.target.version,
        error=None,
        finished_at=event.at,
    )
    watch = state.watch if update.target == state.current else None  # one that was mended in its watch stays watched
    if update.direction == "update" and previous is not None:
        watch = Watch(version=update.target, until=event.watch_until)
    activated = msgspec.structs.replace(
        state,
        current=update.target,
        previous=previous,
        update=None,
        answer=None,
        watch=watch,
        skipped=skipped,
        degraded=None,
        suspect=None,
        uninstalled=False,
        seeded=None,
        last=outcome,
    )
    slots = slots_kept(activated)
    unused = {state.seeded}  # it was never in use here, so nobody goes back to it
    left = tuple(slot for slot in state.slots if slot not in {*slots, *unused} and slot.version not in state.failed)
    kept = tuple(slot for slot in dict.fromkeys((*reversed(left), *state.kept)) if slot not in slots)
    activated = msgspec.structs.replace(activated, slots=slots, kept=kept[: event.keep_older])
    return activated, (Clean(keep=slots, seal=activated.kept), Tell(outcome=outcome))


def engine_crashed(state: State, event: EngineCrashed, now: str) -> Step:
    """Count a crash in the watch window; enough of them send the device back."""
    watch = state.watch
    if watch is None or watch.version != state.current:
        return same(state)
    crashes = watch.crashes + 1
    counted = msgspec.structs.replace(state, watch=msgspec.structs.replace(watch, crashes=crashes))
    if crashes < event.limit:
        return counted, ()
    broken, effects = watch_broken(counted, event.error, now)
    return (broken, effects) if effects else (counted, ())


def watch_broken(state: State, error: ErrorBody, now: str) -> Step:
    """Go back to the version before, whatever else is under way, as long as that can still be stopped."""
    watch = state.watch
    if watch is None or state.previous is None or watch.version != state.current:
        return same(state)
    first: tuple[Effect, ...] = ()
    if state.update is not None:
        if state.update.phase not in CANCELLABLE:
            return same(state)
        state, first = end(state, "cancelled", error, now, StopWork())
    update = Update(
        direction="update",
        target=watch.version,
        before=state.previous,
        offer_digest=None,
        manifest_digest="",
        phase="rolling-back",
        error=error,
    )
    return msgspec.structs.replace(state, watch=None, update=update), (*first, Work(phase="rolling-back"))


def retested(state: State, event: Retested, now: str) -> Step:
    """A failure goes back while a decision covers it, that is during the watch; later it is for a person to decide."""
    if event.target != state.current:
        return same(state)
    if event.error is not None and state.watch is not None and state.previous is not None and state.update is None:
        return watch_broken(state, event.error, now)
    return msgspec.structs.replace(state, suspect=event.error), ()


def removal_asked(state: State, event: RemovalAsked, now: str) -> Step:
    """Begin to uninstall what its user confirmed."""
    if state.update is not None or not (state.current or state.slots or state.kept):
        return same(state)
    update = Update(
        direction="uninstall",
        target=state.current or (*state.slots, *state.kept)[0],
        before=state.current,
        offer_digest=event.plan_digest,
        manifest_digest="",
        phase="removing",
    )
    answer = Standing(id=event.id, offer_digest="", answer="accept", target=update.target, at=now)
    begun = msgspec.structs.replace(state, offer=None, watch=None, update=update, answer=answer)
    return begun, (Work(phase="removing"),)


def removed(state: State, event: Removed) -> Step:
    """The model is gone; what its user did not want to hear of stays known."""
    update = state.update
    if update is None or update.phase != "removing":
        return same(state)
    outcome = Outcome(
        operation="uninstall",
        result="done",
        from_version=update.before.version if update.before else None,
        to_version=update.target.version,
        active_version=None,
        error=None,
        finished_at=event.at,
    )
    gone = State(
        failed=state.failed,
        skipped=state.skipped,
        silent=state.silent,
        reminders=state.reminders,
        last=outcome,
        uninstalled=True,
    )
    return gone, (Clean(keep=()), Tell(outcome=outcome))


def returned(state: State, event: Returned) -> Step:
    """The version before is in use again."""
    update = state.update
    if update is None or update.phase != "rolling-back" or update.before is None:
        return same(state)
    # the version that failed is not kept: it is not what anyone would want to go back to
    back = msgspec.structs.replace(state, current=update.before, previous=None, watch=None, suspect=None)
    return end(back, "failed", update.error, event.at)


def degrade(state: State, error: ErrorBody, now: str) -> Step:
    """The way back failed too: serve what works and say so."""
    told = msgspec.structs.replace(error, now="degraded", now_params={})
    ended, effects = end(state, "failed", told, now)
    last = msgspec.structs.replace(ended.last, error=told) if ended.last else None
    degraded = msgspec.structs.replace(ended, degraded=told, last=last)
    return degraded, tuple(Tell(outcome=last) if isinstance(effect, Tell) and last else effect for effect in effects)


def added(versions: tuple[str, ...], *new: str) -> tuple[str, ...]:
    """Versions with new ones, each once."""
    return tuple(dict.fromkeys((*versions, *new)))


def same(state: State) -> Step:
    """The event means nothing here."""
    return state, ()


def uncounted(update: Update) -> int:
    """The attempts, when the one under way is stopped without having gone wrong."""
    return max(0, update.attempts - 1) if update.phase in COUNTED else update.attempts


def is_of_the_device(error: ErrorBody) -> bool:
    """Whether the trouble is the device's, such as a full disk, and says nothing about the version."""
    return CODES.get(error.code) == "ask-person" or error.code in {"disk-error", "device-busy"}
