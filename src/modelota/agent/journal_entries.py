"""What the journal keeps of the state machine's events: their names and facts (`docs/socket-api.md`, log)."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from modelota.agent.states import (
    Activated,
    Answered,
    AnswerExpired,
    CancelAsked,
    ContentMissing,
    Done,
    EngineCrashed,
    Failed,
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
    State,
    WatchBroken,
    WatchEnded,
    Withdrawn,
)
from modelota.spec.api import Phase

_DONE_NAMES: Final[dict[Phase, str]] = {
    "rechecking": "recheck-passed",
    "fetching": "fetched",
    "verifying": "verified",
    "deploying": "deployed",
    "testing": "tests-passed",
    "waiting": "gates-open",
}
_NAMES: Final[dict[type[MachineEvent], str]] = {
    Offered: "offer-made",
    OfferGone: "offer-gone",
    Answered: "decided",
    AnswerExpired: "answer-expired",
    Reminded: "reminded",
    Revoked: "answer-revoked",
    RollbackAsked: "rollback-asked",
    ContentMissing: "content-missing",
    GatesClosed: "gates-closed",
    Activated: "activated",
    Returned: "rolled-back",
    PauseAsked: "paused",
    Resumed: "resumed",
    CancelAsked: "cancelled",
    Withdrawn: "withdrawn",
    EngineCrashed: "engine-crashed",
    WatchBroken: "watch-broken",
    Retested: "retested",
    RemovalAsked: "removal-asked",
    Removed: "removed",
    WatchEnded: "watch-ended",
    Restarted: "restarted",
}


def journal_facts(event: MachineEvent, before: State, after: State) -> dict[str, Any]:
    """What the journal keeps about an event: its own fields, flat, and the versions it is about."""
    fields: dict[str, Any] = msgspec.to_builtins(event)
    fields.pop("type", None)
    facts = {**fields.pop("facts", {}), **fields, **_answer_facts(event, before, after)}
    facts.pop("remind_s", None)
    error = facts.pop("error", None)
    if error is not None:
        facts |= {"code": error["code"], "params": error["params"]}
    if "offer_digest" in facts:
        facts["digest"] = facts.pop("offer_digest")
    update = after.update or before.update
    target = facts.pop("target", None)
    if target is not None:
        facts |= {"to_version": target["version"], "to_variant": target["variant"]}
    elif update is not None:
        facts |= {"to_version": update.target.version, "to_variant": update.target.variant}
    elif before.watch is not None:
        facts["to_version"] = before.watch.version.version
    if after.watch is None:
        facts.pop("watch_until", None)
    if isinstance(event, RollbackAsked):
        facts["version"] = event.target.version
    elif after.current is not None and not isinstance(event, Withdrawn):
        facts["version"] = after.current.version
    return facts


def _answer_facts(event: MachineEvent, before: State, after: State) -> dict[str, Any]:
    """Which answer an event is about, in full: whoever reads the journal sees no other table."""
    if isinstance(event, Answered):
        given = next((entry for entry in after.standing if entry.id == event.id), None)
        return {} if given is None else {"expires_at": given.expires_at, "remind_at": given.remind_at}
    if not isinstance(event, AnswerExpired | Reminded | Revoked):
        return {}
    given = next((entry for entry in before.standing if entry.id == event.id), None)
    if given is None:
        return {}
    facts: dict[str, Any] = {"answer": given.answer, "digest": given.offer_digest, "answered_at": given.at}
    facts["target"] = msgspec.to_builtins(given.target)
    if isinstance(event, Reminded):
        facts |= {"number": after.reminders, "remind_at": after.answer.remind_at if after.answer else None}
    return facts


def journal_name(event: MachineEvent) -> str:
    """What an event is called in the journal (`docs/socket-api.md`, log)."""
    if isinstance(event, Done):
        return _DONE_NAMES[event.phase]
    if isinstance(event, Failed):
        return "tests-failed" if event.phase == "testing" else "failed"
    return _NAMES[type(event)]
