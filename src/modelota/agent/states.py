"""What the state machine speaks: the state of one model, the events it is told, the effects it asks for. Plain data."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from modelota.spec.api import ErrorBody, Operation, Outcome, Phase
from modelota.spec.offer import Answer, Condition, Direction
from modelota.spec.slot import SlotId

Gate = Literal["", "fetch", "activate", "switch"]  # what the phase `waiting` is in front of


class Update(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided and how far it is."""

    direction: Operation
    target: SlotId
    before: SlotId | None
    offer_digest: str | None  # None: an asked-for rollback to a kept slot; of an uninstallation: its plan's digest
    manifest_digest: str
    phase: Phase
    paused: bool = False
    waits_for: tuple[str, ...] = ()
    attempts: int = 0
    error: ErrorBody | None = None  # why it paused, or why it is going back
    gate: Gate = ""
    conditions: tuple[Condition, ...] = ()
    not_before: str | None = None
    despite_withdrawal: bool = False  # its offer said that the publisher took the version back


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """The window after activation in which the device goes back by itself."""

    version: SlotId
    until: str
    crashes: int = 0


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that counts: to the offer that stands, for what is under way, or one that keeps an offer away.

    Attributes:
        id: its number among the decisions.
        offer_digest: what was answered; empty for a rollback to a kept slot and for an uninstallation.
        answer: what.
        target: where it leads.
        at: when it was given.
        expires_at: when it stops to count by itself, or None. Of an accepted update only before it fetches.
        remind_at: of *later*: when its user hears of the offer again.
        remind_from: of *later*: since when the distance to that runs; `at` until the first reminder.
        distance: of *later*: which of the distances that is.
    """

    id: int
    offer_digest: str
    answer: Answer
    target: SlotId
    at: str
    expires_at: str | None = None
    remind_at: str | None = None
    remind_from: str | None = None
    distance: int = 0


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides what happens next for one model."""

    current: SlotId | None = None
    previous: SlotId | None = None
    slots: tuple[SlotId, ...] = ()
    offer: str | None = None
    update: Update | None = None
    watch: Watch | None = None
    failed: tuple[str, ...] = ()  # versions that were tried here and went back
    skipped: tuple[str, ...] = ()  # versions that the user does not want to hear of
    degraded: ErrorBody | None = None
    last: Outcome | None = None
    kept: tuple[SlotId, ...] = ()  # versions without a slot whose chunks are kept sealed, newest departure first
    suspect: ErrorBody | None = None  # the version in use failed its self-tests when they were run again
    uninstalled: bool = False  # its user removed the model: nothing is offered unasked
    seeded: SlotId | None = None  # what came with the device; a slot until some version is put to use
    answer: Standing | None = None  # *later* to the offer that stands, or what the update under way was accepted by
    silent: tuple[Standing, ...] = ()  # *skip* and *decline*, each of another version: not offered unasked
    reminders: int = 0  # told so far: the number of each

    @property
    def standing(self) -> tuple[Standing, ...]:
        """Every answer that counts now; no two are to offers of the same version."""
        return (*((self.answer,) if self.answer else ()), *self.silent)

    @property
    def phase(self) -> Phase:
        """The phase as the socket tells it."""
        if self.update is not None:
            return self.update.phase
        if self.degraded is not None:
            return "degraded"
        if self.offer is not None:
            return "offered"
        return "watching" if self.watch is not None else "idle"


class Offered(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A check found something to offer; `asked`: a person asked for this very version, whatever was answered before."""

    offer_digest: str
    target: SlotId
    asked: bool = False


class OfferGone(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A check found that the offer no longer stands."""

    reason: str


class Answered(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A person answered an offer.

    `remind_s` are the distances between reminders of *later*, in seconds; a wish in `remind_at` goes before the next.
    """

    offer_digest: str
    answer: Answer
    authority: str
    channel: str
    direction: Direction
    target: SlotId
    manifest_digest: str
    conditions: tuple[Condition, ...] = ()
    not_before: str | None = None
    despite_withdrawal: bool = False
    id: int = 0
    expires_at: str | None = None
    remind_at: str | None = None
    remind_s: tuple[int, ...] = ()


class AnswerExpired(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The time of a standing answer is over (requirement 5.1-d)."""

    id: int


class Reminded(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Its user was told again of the offer that they answered *later*; `remind_s` as in `Answered`."""

    id: int
    remind_s: tuple[int, ...]


class Revoked(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A person takes an answer back; `restore`: what was turned down still is the newest, and may be offered again."""

    id: int
    authority: str
    channel: str
    restore: bool = False


class RollbackAsked(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A person asked to go back to a version whose slot is kept."""

    target: SlotId
    manifest_digest: str
    authority: str
    channel: str
    id: int = 0


class Done(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The step of this phase is done. `facts` are for the journal's readers only."""

    phase: Phase
    facts: dict[str, Any] = {}


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The step of this phase failed. `branch` is the error's branch: what to do about it."""

    phase: Phase
    error: ErrorBody
    branch: str
    facts: dict[str, Any] = {}


class ContentMissing(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Frames that were fetched are not there any more; they have to be fetched again."""

    frames: int


class GatesClosed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The update has to wait for these holders or conditions before `gate`."""

    waits_for: tuple[str, ...]
    gate: Gate


class Activated(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The switch of `current` is durable. `keep_older` versions that leave their slots are kept sealed."""

    at: str
    watch_until: str
    keep_older: int = 0


class Returned(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The version before is current again."""

    at: str


class PauseAsked(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A person wants the update to pause."""

    authority: str


class Resumed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A person, or a timer after a passing error, wants the update to go on."""

    authority: str


class CancelAsked(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A person wants the update to end. Possible until activation."""

    authority: str


class Withdrawn(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A check learnt that the publisher withdrew a version."""

    version: str
    reason: str


class EngineCrashed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The engine of the version in use ended by itself; at the `limit`-th time in its watch, the device goes back."""

    error: ErrorBody
    limit: int


class WatchBroken(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The watched version fails more answers, is slower, or takes more memory than the one before (clause 6.3-a)."""

    error: ErrorBody


class Retested(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The self-tests of a version were run again; `error` is why they failed, None that they passed.

    They take minutes: when another version is in use by the end, they mean nothing.
    """

    target: SlotId
    error: ErrorBody | None


class RemovalAsked(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A person confirmed the plan to uninstall the model (clause 7.3)."""

    plan_digest: str
    authority: str
    channel: str
    reason: str  # `user`, `end-of-service`, `unsuitable-hardware`
    id: int = 0


class Removed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Everything that the plan lists is gone, or in its proof with the reason why not."""

    at: str
    facts: dict[str, Any] = {}


class WatchEnded(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The watch window passed without a reason to go back."""


class Restarted(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The agent started; whatever was under way continues."""


MachineEvent = (
    Offered
    | OfferGone
    | Answered
    | AnswerExpired
    | Reminded
    | Revoked
    | RollbackAsked
    | Done
    | Failed
    | ContentMissing
    | GatesClosed
    | Activated
    | Returned
    | PauseAsked
    | Resumed
    | CancelAsked
    | Withdrawn
    | EngineCrashed
    | WatchBroken
    | Retested
    | RemovalAsked
    | Removed
    | WatchEnded
    | Restarted
)


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """Carry out the step of this phase, then report `Done`, `Failed` or a more particular event."""

    phase: Phase


class StopWork(msgspec.Struct, frozen=True):
    """Stop the step under way; its event must not be reported."""


class Clean(msgspec.Struct, frozen=True, kw_only=True):
    """Point `current` where the state says, empty staging, remove every slot that is not listed.

    What versions in `seal` need and no slot holds any more is kept sealed before the slots go.
    """

    keep: tuple[SlotId, ...]
    seal: tuple[SlotId, ...] = ()


class Tell(msgspec.Struct, frozen=True, kw_only=True):
    """Tell the user how an operation ended."""

    outcome: Outcome


Effect = Work | StopWork | Clean | Tell
