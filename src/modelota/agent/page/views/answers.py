"""*Answers*: what was answered, by whom, where and when; how it stands, and taking it back until activation."""

from __future__ import annotations

from typing import Final, NamedTuple

from litestar import Response, get, post
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from modelota.agent.page.page import Page, ThisPage
from modelota.agent.page.views.chosen import choose, require, who
from modelota.i18n.owner import answer_state, answered, channel_name, condition_name
from modelota.spec.api_owner import DecisionsPage, DecisionView

_SHOWN: Final = 100


class Answered(NamedTuple):
    """One answer as it is told."""

    view: DecisionView
    heading: str
    state: str
    who: str
    where: str
    conditions: list[str]


@get("/answers")
async def answers(page: ThisPage, model: FromQuery[str | None] = None) -> Response[str]:
    """List the answers about a model, newest first."""
    chosen = await choose(page, model)
    listed = await page.get(DecisionsPage, "/v1/decisions", model=chosen.model.model, limit=str(_SHOWN))
    told = [_told(page, view) for view in listed.decisions]
    return page.render(
        "answers.html.jinja",
        chosen=chosen,
        model=chosen.model,
        standing=[each for each in told if each.view.state == "standing"],
        past=[each for each in told if each.view.state != "standing"],
    )


@post("/answers/{number:int}/revoke")
async def revoke(page: ThisPage, number: FromPath[int]) -> Redirect:
    """Take an answer back."""
    form = await page.form()
    require(page, "decide", "revoke")
    view = await page.delete(DecisionView, f"/v1/decisions/{number}", channel="page")
    if form.get("then") == "overview":
        return page.go("/", said="taken-back")
    return page.go("/answers", model=form.get("model") or view.model)


def _told(page: Page, view: DecisionView) -> Answered:
    return Answered(
        view=view,
        heading=answered(view.answer, view.operation, view.to_version, page.language),
        state=answer_state(view.state, page.language),
        who=who(page, view.authority),
        where=channel_name(view.channel, page.language),
        conditions=[condition_name(each, page.language) for each in view.conditions],
    )


HANDLERS = [answers, revoke]
