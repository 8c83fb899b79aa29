"""*Incidents*: what is wrong now, what went wrong before, and looking for damage in what is installed."""

from __future__ import annotations

from typing import Final, NamedTuple

from litestar import Response, get, post
from litestar.params import FromQuery
from litestar.response import Redirect

from modelota.agent.page.page import Page, ThisPage
from modelota.agent.page.views.chosen import Chosen, choose, require
from modelota.agent.page.views.history import LOOKED_AT, by_day, entries_before
from modelota.agent.page.views.model import attention
from modelota.i18n.errors import RenderedError
from modelota.i18n.flow import render_outcome
from modelota.spec import api, api_life
from modelota.spec.deployment import DeploymentReport, ReportsPage

_REPORTS: Final = 50
# What the journal has of things that did not go as they should; the rest is everyday life.
_EVENTS: Final = frozenset(
    {
        "content-missing",
        "tests-failed",
        "withdrawn",
        "rolled-back",
        "failed",
        "engine-crashed",
        "watch-broken",
        "recovered",
        "check-failed",
        "in-use-withdrawn",
        "kept-incomplete",
        "user-data-not-restored",
        "user-data-not-saved",
        "clean-failed",
        "cleaning-failed",
        "group-not-served",
    }
)
_SHOWN: Final = 50


class Failed(NamedTuple):
    """An operation that did not succeed: how it ended, why, when, and the number of its report."""

    sentence: str
    error: RenderedError | None
    at: str
    seq: int


class _Ended(NamedTuple):
    """The outcome in a report; a later agent may name further operations."""

    operation: str
    result: str
    from_version: str | None
    to_version: str
    active_version: str | None
    error: api.ErrorBody | None
    finished_at: str


@get("/incidents")
async def incidents(page: ThisPage, model: FromQuery[str | None] = None) -> Response[str]:
    """Show what is wrong and what went wrong."""
    chosen = await choose(page, model)
    return await _show(page, chosen, None)


@post("/incidents/check")
async def look_for_damage(page: ThisPage) -> Response[str]:
    """Read every installed version and compare it with what its publisher signed; nothing is changed."""
    form = await page.form()
    chosen = await choose(page, form.get("model"))
    request = api_life.VerifyRequest(model=chosen.model.model, channel="page")
    found = await page.post(api_life.VerifyResult, "/v1/verify", request)
    return await _show(page, chosen, found)


@post("/incidents/repair")
async def repair(page: ThisPage) -> Response[str] | Redirect:
    """Mend the first damaged version: at once, or by an offer for what has to be fetched."""
    form = await page.form()
    require(page, "decide", "repair")
    chosen = await choose(page, form.get("model"))
    request = api_life.VerifyRequest(model=chosen.model.model, repair=True, channel="page")
    found = await page.post(api_life.VerifyResult, "/v1/verify", request)
    if found.offer is not None:
        return page.go(f"/offers/{found.offer.digest}")
    if found.started:
        return page.go("/update", model=found.model)
    return await _show(page, chosen, found)


async def _show(page: Page, chosen: Chosen, found: api_life.VerifyResult | None) -> Response[str]:
    model = chosen.model.model
    entries = await entries_before(page, model, None, LOOKED_AT)
    kept = await page.get(ReportsPage, "/v1/reports", model=model, limit=str(_REPORTS))
    wrong = [entry for entry in entries if entry.event in _EVENTS or _damage_in(entry)]
    return page.render(
        "incidents.html.jinja",
        chosen=chosen,
        model=chosen.model,
        attention=attention(chosen.model, page),
        failed=[_failed(page, each.report, each.seq) for each in kept.reports if each.report.result == "failed"],
        days=by_day(page, wrong[:_SHOWN]),
        more=len(wrong) > _SHOWN,
        found=found,
        damaged=found is not None and any(slot.damaged for slot in found.slots),
    )


def _damage_in(entry: api.LogEntry) -> bool:
    damaged = entry.facts.get("damaged")
    return entry.event in {"scrubbed", "slots-verified"} and isinstance(damaged, int) and damaged > 0


def _failed(page: Page, report: DeploymentReport, seq: int) -> Failed:
    why = report.error
    error = None if why is None else api.ErrorBody(code=str(why.get("code", "")), params=why.get("params") or {})
    ended = _Ended(
        report.operation, "failed", report.from_version, report.to_version, report.active_version, error,
        report.finished_at,
    )  # fmt: skip
    told = render_outcome(ended, page.language)
    return Failed(told.sentence, told.error, report.finished_at, seq)


HANDLERS = [incidents, look_for_damage, repair]
