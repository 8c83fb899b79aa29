"""Messages of the agent's socket, version 1 (`docs/socket-api.md`): HTTP, JSON, event stream.

A client ignores fields it does not know. Times are RFC 3339 UTC text, sizes bytes, durations seconds. A reading that
could not be taken is null, and where there is a reason it stands beside it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from modelota.spec.manifest import Time
from modelota.spec.offer import RETURN_LIMIT_S, Answer, Condition, Offer

API_VERSION = 1

Channel = Literal["terminal", "script", "socket", "host", "page"]

Operation = Literal["install", "update", "rollback", "repair", "uninstall"]

Phase = Literal[
    "idle",  # nothing under way
    "offered",  # an offer waits for the user's answer
    "rechecking",  # decided; repository and device are checked once more
    "fetching",
    "verifying",
    "deploying",
    "testing",  # self-test in the real engine
    "waiting",  # a gate is closed; `waits_for` says which
    "activating",
    "watching",  # in use; the version before is kept and return is automatic
    "rolling-back",
    "removing",  # the model is being uninstalled
    "degraded",  # no version passes its checks: serve what works, repair, say so
]


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """An error as it crosses the socket: code and parameters; the client renders it in its user's language."""

    code: str
    params: dict[str, Any] = {}
    now: str = ""  # how the device is now: a key of the i18n state sentences, for example `serving`
    now_params: dict[str, Any] = {}


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far the current step is; `done` never decreases within a step.

    Attributes:
        step: the phase.
        done: units finished: bytes in `fetching`, `verifying` and `deploying`, tests in `testing`.
        total: units of the step, or None.
        rate_per_s: units per second over the last seconds, or None before there is a figure.
        left_s: estimated seconds left in this step, or None.
    """

    step: Phase
    done: int
    total: int | None = None
    rate_per_s: float | None = None
    left_s: float | None = None


class OfferView(msgspec.Struct, frozen=True, kw_only=True):
    """An offer with what lies beside it.

    Attributes:
        offer: the canonical offer.
        digest: its identity; what a decision names.
        made_at: when it was first made.
        shown_at: when it was last shown to a person, or None.
        estimate_s: expected duration of the whole update on this device, or None.
        estimate_is_guess: no measured rate yet.
        answer: the newest answer to it, or None.
        title: what people call the model, by language, as its catalog says.
        remind_at: when who answered *later* hears of it again, or None.
        answer_expires_at: when that answer stops to count by itself, or None.
    """

    offer: Offer
    digest: str
    made_at: str
    shown_at: str | None = None
    estimate_s: float | None = None
    estimate_is_guess: bool = True
    answer: Answer | None = None
    title: dict[str, str] = {}
    remind_at: str | None = None
    answer_expires_at: str | None = None

    @property
    def takes_long(self) -> bool:
        """Whether it is a way back that will probably take longer than the standard's five minutes (clause 6.3-b)."""
        return self.offer.direction == "rollback" and (self.estimate_s is None or self.estimate_s > RETURN_LIMIT_S)


class VersionView(msgspec.Struct, frozen=True, kw_only=True):
    """One version that the device has or can have.

    Attributes:
        state: `active`, `previous` (kept slot, immediate rollback), `kept` (another kept slot), `sealed`
            (kept without a slot: set up again without fetching), `available` (in the catalog), `withdrawn`.
        installed_at: when it was activated here, or None.
        failed: it was tried here and went back; it is not offered unasked.
        withdrawn: its publisher withdrew or revoked it (`release-withdrawn`, `release-revoked`), or None.
    """

    version: str
    variant: str | None
    state: Literal["active", "previous", "kept", "sealed", "available", "withdrawn"]
    size_bytes: int | None = None
    installed_at: str | None = None
    released_at: str | None = None
    failed: bool = False
    notes: dict[str, str] = {}
    withdrawn: ErrorBody | None = None


class VersionsPage(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to `GET /v1/versions?model=`, newest first."""

    model: str
    versions: tuple[VersionView, ...]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How the last operation ended.

    Attributes:
        operation: what it was.
        result: done, failed (and went back), cancelled.
        from_version: version before.
        to_version: version wanted.
        active_version: version in use afterwards.
        error: why it failed, or None.
        finished_at: when.
    """

    operation: Operation
    result: Literal["done", "failed", "cancelled"]
    from_version: str | None
    to_version: str
    active_version: str | None
    error: ErrorBody | None
    finished_at: str


class StandingAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that counts now: to the offer that stands, for what is under way, or one that keeps an offer away.

    Attributes:
        id: its number; what `DELETE /v1/decisions/{id}` names.
        answer: what.
        to_version: where it leads.
        at: when it was given.
        expires_at: when it stops to count by itself, or None.
        remind_at: of *later*: when the offer is told of again.
        revocable: whether it can be taken back now.
        not_before: of an acceptance that has not begun to fetch: it does not begin earlier, or None.
    """

    id: int
    answer: Answer
    to_version: str
    at: str
    expires_at: str | None = None
    remind_at: str | None = None
    revocable: bool = True
    not_before: str | None = None


class ModelStatus(msgspec.Struct, frozen=True, kw_only=True):
    """State of one model on this device."""

    model: str
    phase: Phase
    active_version: str | None = None
    active_variant: str | None = None
    previous_version: str | None = None
    target_version: str | None = None
    operation: Operation | None = None  # what is under way
    paused: bool = False
    waits_for: tuple[str, ...] = ()
    waits_before: Literal["fetch", "activate", "switch"] | None = None  # in `waiting`: the step behind the gate
    error: ErrorBody | None = None  # why the update is paused, or why it is going back
    progress: Progress | None = None
    offer: OfferView | None = None
    last_outcome: Outcome | None = None
    last_checked_at: str | None = None
    watch_until: str | None = None
    engine: Literal["running", "starting", "stopped", "failed"] = "stopped"
    engine_error: ErrorBody | None = None
    suspect: ErrorBody | None = None  # the version in use does not pass its self-tests any more
    end_of_service: str | None = None  # when its publisher stops or stopped to serve the model, as its catalog says
    withdrawn: ErrorBody | None = None  # its publisher withdrew or revoked the version in use
    user_data: str | None = None  # where applications keep the owner's data, outside every version
    title: dict[str, str] = {}  # what people call it, by language, as its catalog says
    answers: tuple[StandingAnswer, ...] = ()  # that count now


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to `GET /v1/status`."""

    api: int
    agent_version: str
    root: str
    supervisor: bool
    repository_url: str
    device_class: str
    models: tuple[ModelStatus, ...]
    agent_socket: str | None = None
    gateway_socket: str | None = None
    gateway_url: str | None = None


class CheckRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /v1/check`; `allow_stale` is the owner's separate decision to use expired metadata."""

    model: str | None = None
    allow_stale: bool = False
    version: str | None = None  # ask for this very version, also one that was skipped, left, or failed here
    # a directory of this device with a copy of the repository (a USB stick), asked before the repository itself
    place: Annotated[str, Meta(max_length=4096)] | None = None


class CheckResult(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to `POST /v1/check`: per model an offer, or the reason why there is none (`up-to-date`, an error)."""

    model: str
    offer: OfferView | None = None
    up_to_date: bool = False
    refused: tuple[ErrorBody, ...] = ()  # newer releases that this device can't run, and why
    turned_down: tuple[str, ...] = ()  # newer versions that are not offered because their user skipped or declined them
    stale_since: str | None = None


class ShownRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /v1/shown`: this text was shown to a person, in this language."""

    offer_digest: str
    language: Literal["zh-CN", "en"]
    text: str
    channel: Channel = "socket"


class DecisionRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Body of `POST /v1/decisions`; an accepted update waits for `conditions` and until `not_before`.

    `although_long` is the explicit choice that a way back takes whose estimate is above five minutes. `remind_at` says
    when a user who answers *later* wants to hear of the offer again; `expires_s` how long the answer counts (of an
    accepted update: until it has begun to fetch). None: as the device's settings say.
    """

    offer_digest: str
    answer: Answer
    conditions: tuple[Condition, ...] = ()
    not_before: Time | None = None
    although_long: bool = False
    remind_at: Time | None = None
    expires_s: Annotated[int, Meta(ge=60, le=366 * 86_400)] | None = None
    channel: Channel = "socket"


class ControlRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /v1/pause`, `/v1/resume`, `/v1/cancel`."""

    model: str | None = None


class RollbackRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /v1/rollback`.

    Asking for it is the user's decision for a version whose slot is kept; for one that has to be fetched the answer is
    an offer. A revoked version is only gone back to by who names its flaw: the reason code of its revocation.
    """

    model: str | None = None
    version: str | None = None  # None: the version before
    despite: str | None = None
    channel: Channel = "socket"


class RollbackResult(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to `POST /v1/rollback`: `started`, or an offer to answer first; `warning`: its publisher withdrew it."""

    model: str
    started: bool
    offer: OfferView | None = None
    warning: ErrorBody | None = None


class LogEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the journal: what was decided or done."""

    seq: int
    at: str
    model: str
    event: str
    facts: dict[str, Any] = {}


class LogPage(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to `GET /v1/log?model=&after=&limit=`, oldest first."""

    entries: tuple[LogEntry, ...]


class SelfTestEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One record of `GET /v1/self-tests?model=`: which slot, when, and every test with what was measured."""

    slot: str
    at: str
    record: dict[str, Any]


EventKind = Literal[
    "phase", "progress", "offer", "outcome", "engine", "notice", "decision", "notification", "cleaning", "reset"
]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One event of `GET /v1/events`; `id` continues the stream through `Last-Event-ID`.

    Attributes:
        kind: what happened; further kinds may come, and a client ignores those it does not know.
        data: fields of the kind: `modelota.spec.api_events`.
    """

    id: int
    at: str
    kind: EventKind
    model: str
    data: dict[str, Any] = {}


class TokenRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /v1/gateway/tokens`: a token with which an application may use the gateway over TCP loopback."""

    application: str


class TokenResult(msgspec.Struct, frozen=True, kw_only=True):
    """The token, told once; the agent keeps only its digest."""

    application: str
    token: str
    url: str


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /v1/chat`: start the engine if needed; answers where to talk to it (the gateway's socket)."""

    model: str | None = None


class ChatResult(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to `POST /v1/chat`: the engine runs, and here is the OpenAI-compatible endpoint that reaches it."""

    model: str
    version: str
    gateway_socket: str
