"""Answers to offers: take one, take one back, list what was answered (clauses 5.1-d and 5.3-b).

Whoever calls has checked who may decide (`modelota.agent.access`); the authority is journalled with what was decided.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from modelota.agent.answers import decision_view, is_urgent
from modelota.agent.core import Core
from modelota.agent.model_loop import ModelLoop
from modelota.agent.standing import later_than
from modelota.agent.states import Answered, Revoked, State
from modelota.clock import from_iso, iso
from modelota.errors import AskPerson
from modelota.spec import api
from modelota.spec.api_owner import REMIND_MAX_S, DecisionsPage, DecisionView
from modelota.spec.api_query import DecisionsQuery, RevokeQuery
from modelota.spec.offer import WITHDRAWN
from modelota.spec.slot import SlotId
from modelota.spec.version import Version


async def decide(core: Core, request: api.DecisionRequest, *, authority: str) -> api.ModelStatus:
    """Take a person's answer to exactly one offer (clause 5.1-d).

    Raises:
        AskPerson: `no-offer`, `offer-changed` (another offer stands now), `offer-not-shown`, `update-in-progress`,
            `return-takes-long` (nobody chose a way back of more than five minutes), `argument-invalid`.
    """
    view = offer(core, request.offer_digest)
    loop = core.loop(view.offer.model)
    _require_standing(loop, view.digest)
    if view.shown_at is None:
        raise AskPerson("offer-not-shown", digest=view.digest)
    if request.answer == "accept" and view.takes_long and not request.although_long:
        raise AskPerson("return-takes-long", duration_s=view.estimate_s)
    if not await take(core, loop, view, request, authority=authority):
        _require_standing(loop, view.digest)  # somebody else's answer, or a check, came first
        raise AskPerson("no-offer", model=loop.model)
    return core.model_status(loop)


def offer(core: Core, digest: str) -> api.OfferView:
    """An offer by its digest.

    Raises:
        AskPerson: `no-offer`.
    """
    view = core.journal.offer(digest)
    if view is None:
        raise AskPerson("no-offer", model=digest[:64])
    return view


async def take(
    core: Core, loop: ModelLoop, view: api.OfferView, request: api.DecisionRequest, *, authority: str
) -> bool:
    """Put an answer on record and act on it; whether the offer still stood.

    Raises:
        AskPerson: `argument-invalid`: a time that there is not, or too far away.
    """
    settings, now = core.config.answers, core.clock.now()
    urgent = is_urgent(view.offer.kind, view.offer.urgency_reason)
    begins = now if request.not_before is None else max(now, _time(request.not_before, "not_before"))
    spans = {"accept": settings.accept_s, "skip": settings.skip_s, "decline": settings.decline_s, "later": None}
    span_s = spans[request.answer] if request.expires_s is None else request.expires_s
    answered = Answered(
        id=core.journal.decisions.next_id(),
        offer_digest=view.digest,
        answer=request.answer,
        authority=authority,
        channel=request.channel,
        direction=view.offer.direction,
        target=SlotId(view.offer.to_version, view.offer.to_variant),
        manifest_digest=view.offer.manifest_digest,
        conditions=tuple(dict.fromkeys(request.conditions)),
        not_before=request.not_before,
        despite_withdrawal=WITHDRAWN in view.offer.consequences,
        expires_at=None if span_s is None else later_than(iso(begins if request.answer == "accept" else now), span_s),
        remind_at=_wish(request, now),
        remind_s=settings.remind_urgent_s if urgent else settings.remind_s,
    )
    return await loop.post(answered)


def _wish(request: api.DecisionRequest, now: datetime) -> str | None:
    """When who answers *later* wants to hear of the offer again."""
    if request.answer != "later" or request.remind_at is None:
        return None
    wish = _time(request.remind_at, "remind_at")
    if wish - now > timedelta(seconds=REMIND_MAX_S):
        raise AskPerson("argument-invalid", argument="remind_at", detail="too-far-away")
    return iso(max(wish, now))


def _time(text: str, argument: str) -> datetime:
    """A time that exists: its pattern allows a thirteenth month.

    Raises:
        AskPerson: `argument-invalid`.
    """
    try:
        return from_iso(text)
    except (ValueError, OverflowError) as error:
        raise AskPerson("argument-invalid", argument=argument, detail="not-a-time") from error


def _require_standing(loop: ModelLoop, digest: str) -> None:
    """Check that exactly this offer can be answered now.

    Raises:
        AskPerson: `update-in-progress`, `no-offer`, `offer-changed`.
    """
    state = loop.state
    if state.update is not None:
        raise AskPerson("update-in-progress", version=state.update.target.version, phase=state.update.phase)
    if state.offer is None:
        raise AskPerson("no-offer", model=loop.model)
    if state.offer != digest:
        raise AskPerson("offer-changed", digest=digest, now=state.offer)


def decisions(core: Core, query: DecisionsQuery) -> DecisionsPage:
    """What was answered, newest first, and how each answer stands."""
    states = {model: loop.state for model, loop in core.models.items()}
    rows = core.journal.decisions.page(query.model, query.limit)
    return DecisionsPage(decisions=tuple(decision_view(row, states.get(row.model, State())) for row in rows))


async def revoke(core: Core, number: str, query: RevokeQuery, *, authority: str) -> DecisionView:
    """Take an answer back, whoever gave it: that to an update until it activates; its offer stands again.

    Raises:
        AskPerson: `answer-unknown`; `answer-over`: it counts no more; `cannot-cancel`: the update activates.
    """
    is_number = number.isascii() and number.isdigit() and len(number) < 19
    row = core.journal.decisions.row(int(number)) if is_number else None
    loop = core.models.get(row.model) if row is not None else None
    if row is None or loop is None:
        raise AskPerson("answer-unknown", id=number[:20])
    restore = _is_still_newest(core, loop, row.offer_digest)
    revoked = Revoked(id=row.id, authority=authority, channel=query.channel, restore=restore)
    if not await loop.post(revoked):
        update = loop.state.update
        if update is not None and any(given.id == row.id for given in loop.state.standing):
            raise AskPerson("cannot-cancel", phase=update.phase)
        found = core.journal.decisions.row(row.id) or row
        raise AskPerson("answer-over", id=row.id, detail=decision_view(found, loop.state).state)
    found = core.journal.decisions.row(row.id) or row
    return decision_view(found, loop.state)


def _is_still_newest(core: Core, loop: ModelLoop, digest: str) -> bool:
    """Whether an offer that was turned down is what the last check would offer, by what the device knows."""
    view, state = core.journal.offer(digest), loop.state
    if view is None or view.offer.direction not in {"install", "update"}:
        return False
    current = (state.current.version, state.current.variant) if state.current else (None, None)
    target = SlotId(view.offer.to_version, view.offer.to_variant)
    if (view.offer.from_version, view.offer.from_variant) != current or target.version in state.failed:
        return False
    if state.seeded == target:
        return True
    available = [version for version, _, how, _ in core.journal.releases(loop.model) if how == "available"]
    return target.version in available and target.version == max(available, key=Version.parse)
