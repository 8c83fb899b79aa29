"""What the events of `GET /v1/events` carry in `data`, per kind (`modelota.spec.api.Event`).

A part of `modelota.spec.api`, whose rules hold here: a client ignores fields and kinds that it does not know.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from modelota.spec.api import ErrorBody, EventKind, Outcome, Phase, Progress
from modelota.spec.api_cleaning import CleaningState
from modelota.spec.api_owner import DecisionView, Notice


class PhaseData(msgspec.Struct, frozen=True, kw_only=True):
    """Of `phase`: what the model does now, for which version, and what keeps it waiting."""

    phase: Phase
    target_version: str | None
    paused: bool
    waits_for: tuple[str, ...]
    error: ErrorBody | None


class OfferData(msgspec.Struct, frozen=True, kw_only=True):
    """Of `offer`: something new is on offer; `GET /v1/offers/{digest}` tells it."""

    digest: str
    to_version: str


class EngineData(msgspec.Struct, frozen=True, kw_only=True):
    """Of `engine`: how the engine of the version in use is."""

    engine: Literal["running", "starting", "stopped", "failed"]
    error: ErrorBody | None


class NoticeData(msgspec.Struct, frozen=True, kw_only=True):
    """Of `notice`: something the user should be told."""

    error: ErrorBody


class CleaningData(msgspec.Struct, frozen=True, kw_only=True):
    """Of `cleaning`: how a scan or removal stands; `GET /v1/cleaning` tells the rest."""

    state: CleaningState
    done: int
    total: int | None


class ResetData(msgspec.Struct, frozen=True, kw_only=True):
    """Of `reset`: events between the last one that the client has seen and the next ones are not kept any more.

    Attributes:
        reason: `restarted`: the agent was started since; `lagged`: more happened than is kept; `unknown`: the id is
            none that this agent gave (its clock was set back, or the id is of another device).
    """

    reason: Literal["restarted", "lagged", "unknown"]


EVENT_DATA: Final[dict[EventKind, type[msgspec.Struct]]] = {
    "phase": PhaseData,
    "progress": Progress,
    "offer": OfferData,
    "outcome": Outcome,
    "engine": EngineData,
    "notice": NoticeData,
    "decision": DecisionView,
    "notification": Notice,
    "cleaning": CleaningData,
    "reset": ResetData,
}
