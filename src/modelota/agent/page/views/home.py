"""*Overview*: how every model of the device is, what is on offer, what is under way, what the owner should know."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from litestar import Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from modelota.agent.page.page import Page, ThisPage
from modelota.agent.page.views.chosen import require
from modelota.agent.page.views.model import attention
from modelota.agent.page.views.offer_card import OfferCard, offer_card, tell_shown
from modelota.agent.page.views.progress import Running, live_words, running
from modelota.clock import SystemClock
from modelota.errors import ModelotaError
from modelota.i18n import units
from modelota.i18n.errors import RenderedError, render_error
from modelota.i18n.flow import RenderedOutcome, render_outcome
from modelota.i18n.journal import answer_name
from modelota.i18n.texts import clean, localised
from modelota.spec import api
from modelota.spec.api_owner import DecisionsPage, DecisionView, Notice, NoticesPage, NoticeTold

_NOTICES: Final = 20
_SAID: Final = frozenset({"later", "skip", "decline", "taken-back", "up-to-date", "nothing-suits"})
_STALE: Final = "metadata-expired"


class StandingAnswer(NamedTuple):
    """An answer that counts and can be taken back."""

    view: DecisionView
    answer: str


class Told(NamedTuple):
    """A notice as it is shown."""

    notice: Notice
    outcome: RenderedOutcome | None
    error: RenderedError | None


class ModelSight(NamedTuple):
    """One model on the overview.

    Attributes:
        model: its status.
        title: what people call it.
        mood: how it is at a glance.
        problems: what the owner should know about the version in use, worst first.
        card: what is on offer.
        now: what is under way.
        answers: what was answered and still counts.
        notices: what was not put away yet.
    """

    model: api.ModelStatus
    title: str
    mood: Literal["good", "warn", "bad", "none"]
    problems: list[RenderedError]
    card: OfferCard | None
    now: Running | None
    answers: list[StandingAnswer]
    notices: list[Told]


class Looked(NamedTuple):
    """What looking for news found for one model: an offer, or why there is none."""

    result: api.CheckResult
    title: str
    refused: list[RenderedError]


@get("/", dependencies={"clock": Provide(SystemClock, sync_to_thread=False)})
async def home(page: ThisPage, clock: NamedDependency[SystemClock], said: FromQuery[str] = "") -> Response[str]:
    """Show how everything is."""
    status = await page.get(api.Status, "/v1/status")
    listed = await page.get(NoticesPage, "/v1/notices", limit=str(_NOTICES))
    sights = [await _sight(page, model, listed.notices) for model in status.models]
    now = clock.now()
    return page.render(
        "home.html.jinja",
        sights=sights,
        words=live_words(page.texts),
        said=said if said in _SAID else "",
        near=lambda text: units.near(text, now, page.language),
    )


@post("/check")
async def check(page: ThisPage) -> Response[str] | Redirect:
    """Look for news now; with `allow_stale` by information that has run out, which its owner decides."""
    form = await page.form()
    allow_stale = form.get("allow_stale") == "yes"
    if allow_stale:
        require(page, "decide", "check")
    request = api.CheckRequest(model=form.get("model") or None, allow_stale=allow_stale)
    try:
        results = await page.post(tuple[api.CheckResult, ...], "/v1/check", request)
    except ModelotaError as error:
        if error.code != _STALE:
            raise
        return page.render("checked.html.jinja", status=409, found=[], stale=page.rendered(error), request=request)
    if any(result.offer is not None for result in results):
        return page.go("/")
    if not any(result.refused for result in results):
        return page.go("/", said="up-to-date" if any(result.up_to_date for result in results) else "nothing-suits")
    found = [
        Looked(result, result.model, [_rendered(page, each, "serving") for each in result.refused])
        for result in results
    ]
    stale = next((each for one in results for each in one.refused if each.code == _STALE), None)
    return page.render(
        "checked.html.jinja",
        found=found,
        stale=None if stale is None else _rendered(page, stale, "unchanged"),
        request=request,
    )


@post("/notices/{number:int}/dismiss")
async def dismiss(page: ThisPage, number: FromPath[int]) -> Redirect:
    """Put a notice away."""
    await page.post(object, f"/v1/notices/{number}", NoticeTold(channel="page", dismiss=True))
    return page.go("/")


async def _sight(page: Page, model: api.ModelStatus, notices: tuple[Notice, ...]) -> ModelSight:
    decisions = await page.get(DecisionsPage, "/v1/decisions", model=model.model, limit="50")
    card = None
    if model.offer is not None:
        card = offer_card(page, model.offer, decisions.decisions)
        await tell_shown(page, model.offer)
    problems = attention(model, page)
    mine = [each for each in notices if each.model == model.model and each.kind in {"outcome", "attention"}]
    known = {each.code for each in problems}
    shown = [_told(page, each, model) for each in mine if each.error is None or each.error.code not in known]
    for told in shown:
        if told.notice.told_at is None:
            await page.post(object, f"/v1/notices/{told.notice.id}", NoticeTold(channel="page"))
    return ModelSight(
        model=model,
        title=_title(model, page),
        mood=_mood(model, problems),
        problems=problems,
        card=card,
        now=running(page, model),
        answers=[
            StandingAnswer(each, answer_name(each.answer, page.language))
            for each in decisions.decisions
            if each.state == "standing" and each.revocable and each.answer in {"skip", "decline"}
        ],
        notices=shown,
    )


def _title(model: api.ModelStatus, page: Page) -> str:
    titles = model.title or (model.offer.title if model.offer is not None else {})
    return clean(localised(titles, page.language)) or model.model


def _mood(model: api.ModelStatus, problems: list[RenderedError]) -> Literal["good", "warn", "bad", "none"]:
    if model.phase == "degraded":
        return "bad"
    if problems:
        return "warn"
    return "none" if model.active_version is None else "good"


def _told(page: Page, notice: Notice, model: api.ModelStatus) -> Told:
    last = model.last_outcome
    if notice.kind == "outcome" and last is not None and notice.version in {None, last.to_version}:
        outcome = render_outcome(last, page.language)
        return Told(notice, outcome, outcome.error)
    return Told(notice, None, None if notice.error is None else _rendered(page, notice.error, "serving"))


def _rendered(page: Page, error: api.ErrorBody, now: str) -> RenderedError:
    return render_error(error.code, error.params, page.language, error.now or now, error.now_params)


HANDLERS = [home, check, dismiss]
