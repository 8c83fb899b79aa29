"""*Versions*: which ones the device has, keeps or can have, and the way back to an earlier one (clause 6.3)."""

from __future__ import annotations

from typing import Final, NamedTuple

from litestar import Response, get, post
from litestar.params import FromQuery
from litestar.response import Redirect

from modelota.agent.page.page import Page, ThisPage
from modelota.agent.page.views.chosen import Chosen, choose, require
from modelota.errors import AskPerson, error_from
from modelota.i18n import units
from modelota.i18n.errors import RenderedError, render_error
from modelota.i18n.flow import version_state
from modelota.i18n.owner import version_effect
from modelota.i18n.texts import clean, localised
from modelota.spec import api
from modelota.spec.deployment import ReportsPage
from modelota.spec.version import Version

_IMMEDIATE: Final = frozenset({"previous", "kept"})  # their slots are whole: asking is the decision
_REPORTS: Final = 50
_UNFOLDED: Final = 3  # older versions that are not on this device; more of them are folded away


class Row(NamedTuple):
    """One version as it is listed.

    Attributes:
        view: as the agent says.
        state: its state in a word or two.
        effect: what that means for its owner.
        notes: what its publisher says of it.
        facts: size and times, in words.
        older: than the version in use.
        returnable: one can ask to go back to it.
        obtainable: one can ask to have it offered, also when it was skipped, declined, or failed here.
        warning: its publisher took it back.
        flawed: it was revoked: going back needs its flaw to be named.
    """

    view: api.VersionView
    state: str
    effect: str
    notes: str
    facts: list[str]
    older: bool
    returnable: bool
    obtainable: bool
    warning: RenderedError | None
    flawed: bool


@get("/versions")
async def versions(page: ThisPage, model: FromQuery[str | None] = None) -> Response[str]:
    """List the versions of a model, newest first."""
    chosen = await choose(page, model)
    listed = await _rows(page, chosen)
    gone = [row for row in listed if row.older and row.view.state in {"available", "withdrawn"}]
    folded = gone if len(gone) > _UNFOLDED else []
    return page.render(
        "versions.html.jinja",
        chosen=chosen,
        model=chosen.model,
        rows=[row for row in listed if row not in folded],
        older=folded,
    )


@get("/versions/back")
async def confirm_back(page: ThisPage, version: FromQuery[str], model: FromQuery[str | None] = None) -> Response[str]:
    """Say what going back to a version does, before it is confirmed."""
    chosen = await choose(page, model)
    require(page, "decide", "rollback")
    row = await _row(page, chosen, version)
    return page.render(
        "version_back.html.jinja",
        chosen=chosen,
        model=chosen.model,
        row=row,
        immediate=row.view.state in _IMMEDIATE,
        last_took_s=await _last_took_s(page, chosen.model.model),
        unnamed=False,
    )


@post("/rollback")
async def roll_back(page: ThisPage) -> Response[str] | Redirect:
    """Go back: at once from a kept slot, else to the offer that it takes."""
    form = await page.form()
    require(page, "decide", "rollback")
    chosen = await choose(page, form.get("model"))
    row = await _row(page, chosen, form.get("version", ""))
    if row.flawed and form.get("despite_flaw") != "yes":
        return page.render(
            "version_back.html.jinja",
            chosen=chosen,
            model=chosen.model,
            row=row,
            immediate=row.view.state in _IMMEDIATE,
            last_took_s=None,
            unnamed=True,
        )
    withdrawn = row.view.withdrawn
    flaw = str(withdrawn.params.get("reason", "")) if row.flawed and withdrawn is not None else None
    request = api.RollbackRequest(model=chosen.model.model, version=row.view.version, despite=flaw, channel="page")
    result = await page.post(api.RollbackResult, "/v1/rollback", request)
    if result.offer is not None:
        return page.go(f"/offers/{result.offer.digest}")
    return page.go("/update", model=result.model)


@post("/versions/ask")
async def ask_for(page: ThisPage) -> Redirect:
    """Have a newer version offered that is not offered by itself."""
    form = await page.form()
    chosen = await choose(page, form.get("model"))
    request = api.CheckRequest(model=chosen.model.model, version=form.get("version"))
    (result,) = await page.post(tuple[api.CheckResult], "/v1/check", request)
    if result.offer is not None:
        return page.go(f"/offers/{result.offer.digest}")
    if result.refused:
        raise error_from(result.refused[0].code, result.refused[0].params)
    return page.go("/versions", model=result.model)


async def _rows(page: Page, chosen: Chosen) -> list[Row]:
    listed = await page.get(api.VersionsPage, "/v1/versions", model=chosen.model.model)
    return [_told(page, chosen.model, view) for view in listed.versions]


async def _row(page: Page, chosen: Chosen, version: str) -> Row:
    for row in await _rows(page, chosen):
        if row.view.version == version and row.returnable:
            return row
    raise AskPerson("nothing-to-roll-back", model=chosen.model.model)


def _told(page: Page, model: api.ModelStatus, view: api.VersionView) -> Row:
    active = model.active_version
    older = active is not None and Version.parse(view.version) < Version.parse(active)
    gone = view.withdrawn
    warning = None if gone is None else render_error(gone.code, gone.params, page.language)
    return Row(
        view=view,
        state=version_state(view.state, page.language, failed=view.failed),
        effect=version_effect(view.state, page.language, older=older),
        notes=clean(localised(view.notes, page.language).strip(), lines=True),
        facts=_facts(page, view),
        older=older,
        returnable=older and view.state in {*_IMMEDIATE, "sealed", "available"},
        obtainable=not older and view.state == "available" and gone is None,
        warning=warning,
        flawed=gone is not None and gone.code == "release-revoked",
    )


def _facts(page: Page, view: api.VersionView) -> list[str]:
    say, language = page.texts.say, page.language
    facts = [] if view.size_bytes is None else [units.size(view.size_bytes, language)]
    if view.released_at is not None:
        facts.append(say("published {at}", at=units.moment(view.released_at, language)))
    if view.installed_at is not None:
        facts.append(say("last put to use {at}", at=units.moment(view.installed_at, language)))
    return facts


async def _last_took_s(page: Page, model: str) -> float | None:
    """How long the last way back took on this device; None when there was none."""
    kept = await page.get(ReportsPage, "/v1/reports", model=model, limit=str(_REPORTS))
    ways = (each.report for each in kept.reports)
    return next((one.seconds for one in ways if one.operation == "rollback" and one.result == "done"), None)


HANDLERS = [versions, confirm_back, roll_back, ask_for]
