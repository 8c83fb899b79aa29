"""*Offer*: everything about one offer, and the answer to it."""

from __future__ import annotations

import re
from datetime import datetime, tzinfo
from typing import Final, cast

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath
from litestar.response import Redirect

from modelota.agent.page.page import Page, ThisPage
from modelota.agent.page.views.chosen import require
from modelota.agent.page.views.offer_card import model_title, offer_card, tell_shown
from modelota.clock import SystemClock, iso
from modelota.errors import AskPerson, ModelotaError
from modelota.i18n import units
from modelota.i18n.errors import RenderedError
from modelota.i18n.offer import OfferRow
from modelota.i18n.requirements import requirement_lines
from modelota.i18n.texts import clean
from modelota.spec import api
from modelota.spec.api_owner import DecisionsPage, ReleaseAbout
from modelota.spec.offer import Answer
from modelota.spec.tonight import tonight as evening

_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_ANSWERS: Final = frozenset({"accept", "tonight", "later", "skip", "decline"})
_KEY_CHARS: Final = 16  # of a key's id: as much as anybody compares by eye
_SHOW_AGAIN: Final = frozenset({"offer-changed", "return-takes-long"})


@get("/offers/{digest:str}")
async def offer(page: ThisPage, digest: FromPath[str]) -> Response[str]:
    """Show an offer whole."""
    return await _show(page, digest)


@post("/offers/{digest:str}/answer", dependencies={"clock": Provide(SystemClock, sync_to_thread=False)})
async def answer(
    page: ThisPage, digest: FromPath[str], clock: NamedDependency[SystemClock]
) -> Response[str] | Redirect:
    """Pass on what a person answered to exactly this offer; one that has changed is shown anew instead."""
    form = await page.form()
    require(page, "decide", "decide")
    wanted = form.get("answer", "")
    if wanted not in _ANSWERS:
        raise AskPerson("argument-invalid", argument="answer", detail="unknown")
    request = api.DecisionRequest(
        offer_digest=digest,
        answer="accept" if wanted == "tonight" else cast("Answer", wanted),
        conditions=("charging",) if wanted == "tonight" else (),
        not_before=tonight(clock.now()) if wanted == "tonight" else None,
        although_long=form.get("although_long") == "yes",
        channel="page",
    )
    try:
        status = await page.post(api.ModelStatus, "/v1/decisions", request)
    except AskPerson as error:
        if error.code == "update-in-progress" and request.answer == "accept":
            return page.go("/update", said="decided-elsewhere")
        if error.code not in _SHOW_AGAIN:
            raise
        newer = error.params.get("now")
        return await _show(page, newer if isinstance(newer, str) else digest, wrong=page.rendered(error))
    if request.answer == "accept":
        return page.go("/update", model=status.model)
    return page.go("/", said=request.answer)


def tonight(now: datetime, zone: tzinfo | None = None) -> str | None:
    """When this evening begins, RFC 3339; None in the night, when it is now."""
    begins = evening(now, zone)
    return None if begins is None else iso(begins)


async def _show(page: Page, digest: str, *, wrong: RenderedError | None = None) -> Response[str]:
    if not _DIGEST.fullmatch(digest):  # it becomes a part of the agent's route
        raise AskPerson("no-offer", model=digest[:64])
    view = await page.get(api.OfferView, f"/v1/offers/{digest}")
    status = await page.get(api.Status, "/v1/status")
    model = next((each for each in status.models if each.model == view.offer.model), None)
    stands = model is not None and model.offer is not None and model.offer.digest == digest
    if stands:
        await tell_shown(page, view)
    decisions = await page.get(DecisionsPage, "/v1/decisions", model=view.offer.model, limit="20")
    about = await _behind(page, digest)
    return page.render(
        "offer.html.jinja",
        status=200 if wrong is None else 409,
        card=offer_card(page, view, decisions.decisions if stands else ()),
        stands=stands,
        newer=model.offer.digest if model is not None and model.offer is not None and not stands else None,
        under_way=model is not None and model.operation is not None,
        title=model_title(view, page.language) or view.offer.model,
        origin=_origin(page, view, about, status.repository_url),
        needs=[] if about is None else _needs(page, about),
        wrong=wrong,
    )


async def _behind(page: Page, digest: str) -> ReleaseAbout | None:
    """What stands behind the offer; None for one that is so old that its manifest is gone."""
    try:
        return await page.get(ReleaseAbout, f"/v1/offers/{digest}/about")
    except ModelotaError:
        return None


def _needs(page: Page, about: ReleaseAbout) -> list[OfferRow]:
    lines = requirement_lines(msgspec.to_builtins(about.requires), about.device_models, page.language)
    return [OfferRow("needs", page.texts.say("What it needs"), "\n".join(lines))] if lines else []


def _origin(page: Page, view: api.OfferView, about: ReleaseAbout | None, repository_url: str) -> list[OfferRow]:
    say = page.texts.say
    signed = say("The publisher's signature was checked before this offer was made.")
    if about is not None and about.signed_by:
        keys = page.texts.listing([clean(key[:_KEY_CHARS]) for key in about.signed_by])
        signed = "\n".join([signed, say("With the key {keys}", keys=keys)])
    place = repository_url if about is None or about.from_url is None else about.from_url
    published = [] if about is None else [OfferRow("published", say("Published"), _when(page, about.released_at))]
    return [
        OfferRow("from", say("Where it comes from"), clean(place)),
        *published,
        OfferRow("signed", say("Signed"), signed),
        OfferRow("digest", say("Number of what was signed"), clean(view.offer.manifest_digest)),
        OfferRow("since", say("Offered since"), units.moment(view.made_at, page.language)),
    ]


def _when(page: Page, at: str) -> str:
    return units.moment(at, page.language)


HANDLERS = [offer, answer]
