"""What came with a device, in the state machine; images are made in `tests/scenarios/test_factory_image.py`."""

from __future__ import annotations

import msgspec
import pytest

from modelota.agent.asking import seeded_to_offer
from modelota.agent.machine import step
from modelota.agent.states import (
    Activated,
    Answered,
    CancelAsked,
    Clean,
    MachineEvent,
    Offered,
    RemovalAsked,
    Removed,
    Restarted,
    State,
)
from modelota.spec.slot import SlotId

NOW = "2026-11-24T06:00:00Z"
SEED = SlotId("1.1.1", "q8")
OTHER = SlotId("1.1.2", "q8")
SEEDED = State(slots=(SEED,), seeded=SEED)


def after(state: State, *events: MachineEvent) -> tuple[State, set[SlotId] | None]:
    """The state after `events`, and the slots that the last cleaning keeps."""
    kept = None
    for event in events:
        state, effects = step(state, event, NOW)
        for effect in effects:
            if isinstance(effect, Clean):
                kept = set(effect.keep)
    return state, kept


def accepted(target: SlotId) -> tuple[MachineEvent, MachineEvent]:
    digest = "0" * 64
    answer = Answered(
        offer_digest=digest,
        answer="accept",
        authority="uid:0",
        channel="host",
        direction="install",
        target=target,
        manifest_digest=digest,
    )
    return Offered(offer_digest=digest, target=target), answer


def in_phase_activating(target: SlotId) -> State:
    state, _ = after(SEEDED, *accepted(target))
    assert state.update is not None
    update = msgspec.structs.replace(state.update, phase="activating")
    return msgspec.structs.replace(state, update=update, slots=tuple(dict.fromkeys((*state.slots, target))))


def test_it_stays_until_something_is_in_use() -> None:
    """A start, and an update that is cancelled, keep it."""
    assert after(SEEDED, Restarted()) == (SEEDED, {SEED})
    state, kept = after(SEEDED, *accepted(OTHER), CancelAsked(authority="uid:0"))
    assert (state.seeded, state.slots, kept) == (SEED, (SEED,), {SEED})


@pytest.mark.parametrize("target", [SEED, OTHER])
def test_it_is_a_slot_like_any_other_afterwards(target: SlotId) -> None:
    """Once a version is in use, only that one stays; what was never in use is not kept to go back to."""
    state, kept = after(in_phase_activating(target), Activated(at=NOW, watch_until=NOW, keep_older=3))
    assert (state.current, state.seeded, state.slots, state.kept, kept) == (target, None, (target,), (), {target})


def test_it_is_offered_until_its_owner_decides() -> None:
    """Not when it was skipped, failed here, was removed, or something is in use."""
    assert seeded_to_offer(SEEDED) == SEED
    for state in (
        State(),
        msgspec.structs.replace(SEEDED, skipped=("1.1.1",)),
        msgspec.structs.replace(SEEDED, failed=("1.1.1",)),
        msgspec.structs.replace(SEEDED, current=SEED),
        after(
            SEEDED,
            RemovalAsked(plan_digest="0" * 64, authority="uid:0", channel="host", reason="user"),
            Removed(at=NOW),
        )[0],
    ):
        assert seeded_to_offer(state) is None
