"""Messages of the agent's socket for the owner's eyes and answers: decisions, notices, the page, what a model can do.

A part of `modelota.spec.api`, whose rules hold here.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from modelota.spec.api import Channel, ErrorBody, Operation
from modelota.spec.manifest import Provenance, Requires
from modelota.spec.offer import Answer, Condition

Right = Literal["see", "decide", "remove"]

# How an answer stands: it works, it came to its end by itself, its person took it back, or another one followed it.
AnswerState = Literal["standing", "done", "expired", "revoked", "superseded"]

NoticeKind = Literal["offer", "reminder", "outcome", "attention"]

REMIND_MAX_S: Final = 90 * 86_400


class DecisionView(msgspec.Struct, frozen=True, kw_only=True):
    """One answer that a person gave, and what became of it.

    Attributes:
        id: its number; what revoking names.
        model: of the offer.
        offer_digest: what was answered. Of a rollback to a kept version and of a removal: an empty text.
        to_version: that the offer led to, or None; of a removal, the one that was in use.
        operation: that was answered, or None in what an earlier agent kept.
        answer: accept, later, skip, decline.
        authority: who: `uid:<n>`, or `embedding-host`.
        channel: where.
        at: when.
        state: how it stands now.
        expires_at: when it stops to count by itself, or None when nothing of it is left to expire.
        remind_at: of a standing `later`: when the offer is told of again.
        conditions: what an accepted update waits for besides the device's settings.
        not_before: an accepted update does not begin earlier.
        revocable: whether `DELETE /v1/decisions/{id}` would take it back now.
    """

    id: int
    model: str
    offer_digest: str
    to_version: str | None
    operation: Operation | None = None
    answer: Answer
    authority: str
    channel: str
    at: str
    state: AnswerState
    expires_at: str | None = None
    remind_at: str | None = None
    conditions: tuple[Condition, ...] = ()
    not_before: str | None = None
    revocable: bool = False


class DecisionsPage(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to `GET /v1/decisions?model=&limit=`, newest first."""

    decisions: tuple[DecisionView, ...]


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """Something the user is told of, once, wherever they are.

    Attributes:
        id: grows; `?after=` goes on from it.
        key: of the event: two notices never have the same one.
        kind: a new offer, a reminder of one, how an operation ended, or something about the version in use.
        model: which, or an empty text.
        at: when it happened.
        due_at: when it may be told: later than `at` in quiet hours, or when a reminder is due.
        urgent: told in quiet hours too.
        path: where on the owner's page it leads, for example `/offers/5a…`.
        digest: of the offer that it is about, or None.
        version: that it is about, or None.
        error: why an operation failed, or what is wrong with the version in use; None otherwise.
        facts: further fields of its kind, for those who render it.
        told_at: when who asks was shown it first, or None; in an event: when anybody was.
        dismissed_at: when its user put it away, or what it tells of was over; None while it stands.
    """

    id: int
    key: str
    kind: NoticeKind
    model: str
    at: str
    due_at: str
    urgent: bool = False
    path: str = "/"
    digest: str | None = None
    version: str | None = None
    error: ErrorBody | None = None
    facts: dict[str, Any] = {}
    told_at: str | None = None
    dismissed_at: str | None = None


class NoticesPage(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to `GET /v1/notices?after=&limit=&all=&untold=`, oldest first; without `all`, what is due and stands.

    `quiet_until`: the end of the quiet hours, when they are; more may be due then.
    """

    notices: tuple[Notice, ...]
    quiet_until: str | None = None


class NoticeTold(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /v1/notices/{id}`: it was shown in this channel; with `dismiss`, its user put it away."""

    channel: Annotated[str, Meta(min_length=1, max_length=32)] = "socket"
    dismiss: bool = False


class PageRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /v1/page`: start the owner's page, if it does not run, and make a one-time link to it.

    Attributes:
        path: where on the page the link leads.
        language: of the page; None: what the browser asks for.
    """

    path: Annotated[str, Meta(max_length=512, pattern=r"^/([^/\\].*)?$")] = "/"
    language: Literal["zh-CN", "en"] | None = None


class PageLink(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to `POST /v1/page`: whoever opens the link within `expires_s` has the rights of who asked for it, once."""

    url: str
    expires_s: int


class SessionRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /v1/page/sessions`, for the page's own process: somebody opened a link.

    Attributes:
        token: the link's.
        peer_uid: the user whose process opened it, as the kernel says; None where it does not.
    """

    token: Annotated[str, Meta(max_length=256)]
    peer_uid: int | None = None


class SessionView(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to `POST /v1/page/sessions` and to `GET /v1/page/sessions/{id}`: what its person may do."""

    session: str
    authority: str
    rights: tuple[Right, ...]
    language: Literal["zh-CN", "en"] | None
    path: str = "/"


class ServiceView(msgspec.Struct, frozen=True, kw_only=True):
    """How the version in use did since it came into use, counted at the gateway.

    Attributes:
        requests: that were answered.
        errors: of them, those whose answer failed.
        tokens_per_s: over all answers; None before there are enough of them to say.
        memory_bytes: resident size of the engine; None before the first sample.
    """

    requests: int
    errors: int
    tokens_per_s: float | None = None
    memory_bytes: int | None = None


class ModelAbout(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to `GET /v1/about?model=`: what the version in use is and can do, as its signed manifest says.

    Attributes:
        model: which.
        title: what people call it, by language.
        version: in use.
        variant: in use.
        runtime: that its engine runs on, with the version found here.
        interfaces: names and versions of what applications may call.
        permissions: that it has.
        notes: what the version brought, by language.
        size_bytes: on the disk.
        released_at: when it was published.
        installed_at: when it came into use here.
        from_url: the repository it came from.
        signed_by: short ids of the keys that signed it, as the repository's role names them.
        user_data_bytes: what the owner's own data take.
        service: how it did since it came into use; None before its first request.
    """

    model: str
    title: dict[str, str] = {}
    version: str | None = None
    variant: str | None = None
    runtime: str | None = None
    interfaces: dict[str, str] = {}
    permissions: tuple[str, ...] = ()
    notes: dict[str, str] = {}
    size_bytes: int | None = None
    released_at: str | None = None
    installed_at: str | None = None
    from_url: str | None = None
    signed_by: tuple[str, ...] = ()
    user_data_bytes: int | None = None
    service: ServiceView | None = None


class CleaningRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /v1/cleaning/scan`: look for what removed models left behind; nothing is removed.

    Attributes:
        deep: look at all local file systems, not only at where the agent wrote.
        within: look below this directory instead.
    """

    deep: bool = False
    within: Annotated[str, Meta(max_length=4096)] | None = None


class CleaningAccept(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /v1/cleaning`: the owner, who has seen the findings, has these removed.

    Attributes:
        plan_digest: of the findings that were shown.
        probable: ids of probable findings that go too; none goes unasked.
        channel: where.
    """

    plan_digest: str
    probable: Annotated[tuple[str, ...], Meta(max_length=100_000)] = ()
    channel: Channel = "socket"


class ReleaseAbout(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to `GET /v1/offers/{digest}/about`: what stands behind an offer, as its pinned, signed manifest says.

    Attributes:
        offer_digest: which.
        model: which.
        version: that is offered.
        variant: that this device would get.
        released_at: when it was published.
        runtime: that its engine runs on.
        requires: what a device must have for this variant.
        device_models: for which devices it is; empty: any.
        interfaces: names and versions of what applications may call.
        provenance: where it comes from (clause 6.2-a); empty fields were not given.
        manifest_digest: of what was signed.
        from_url: the repository it came from, or None for what the device has no record of.
        signed_by: ids of the keys whose signatures the repository's metadata carried for it; empty for what the device
            has no record of.
        learnt_at: when the device learnt that, or None.
    """

    offer_digest: str
    model: str
    version: str
    variant: str
    released_at: str
    runtime: str
    requires: Requires
    device_models: tuple[str, ...] = ()
    interfaces: dict[str, str] = {}
    provenance: Provenance = Provenance()
    manifest_digest: str
    from_url: str | None = None
    signed_by: tuple[str, ...] = ()
    learnt_at: str | None = None
