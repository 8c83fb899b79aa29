"""*Cleaning*: looking for what removed models left behind, the findings to decide on, the proof (clause 7.4)."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec
from litestar import Response, get, post
from litestar.params import FromQuery
from litestar.response import Redirect

from modelota.agent.page.page import Page, ThisPage
from modelota.agent.page.views.chosen import require
from modelota.errors import AskPerson
from modelota.i18n.cleaning import doubt_sentences, evidence_sentence, kind_name, reason_sentence
from modelota.i18n.errors import render_error
from modelota.spec.api_cleaning import CleaningView, FindingsPage, FindingView, RemovalsPage, RemovedView
from modelota.spec.api_owner import CleaningAccept, CleaningRequest

_CERTAIN_SHOWN: Final = 100
_PROBABLE_SHOWN: Final = 1000  # a form has at most 2000 fields
_REMOVALS_SHOWN: Final = 200


class Found(NamedTuple):
    """A finding as it is told."""

    view: FindingView
    kind: str
    evidence: str
    doubts: list[str]


class Removed(NamedTuple):
    """What became of a finding, as it is told."""

    view: RemovedView
    kind: str
    reason: str


@get("/cleaning")
async def cleaning(page: ThisPage, changed: FromQuery[str | None] = None) -> Response[str]:
    """Show how the cleaning stands: nothing yet, a scan under way, its findings, or what was removed."""
    view = await page.get(CleaningView, "/v1/cleaning")
    allowed = "remove" in page.rights  # findings name files of everybody on the device
    if view.state == "found" and allowed and (view.certain or view.probable or view.spared):
        return await _show_findings(page, view, changed=changed == "yes")
    removals = await _removals(page, _REMOVALS_SHOWN) if view.result is not None and allowed else ()
    error = view.error
    return page.render(
        "cleaning.html.jinja",
        cleaning=view,
        percent=None if not view.total else min(100, view.done * 100 // view.total),
        error=None
        if error is None
        else render_error(error.code, error.params, page.language, error.now or "unchanged", error.now_params),
        removals=[_removed(page, each) for each in removals],
    )


@post("/cleaning/scan")
async def scan(page: ThisPage) -> Redirect:
    """Begin to look; nothing is removed."""
    form = await page.form()
    require(page, "remove", "clean")
    deep, within = form.get("deep") == "yes", form.get("within", "").strip() or None
    await page.post(CleaningView, "/v1/cleaning/scan", CleaningRequest(deep=deep, within=within))
    return page.go("/cleaning")


@post("/cleaning/stop")
async def stop(page: ThisPage) -> Redirect:
    """Stop a scan, or put its findings away; nothing is removed."""
    await page.form()
    require(page, "remove", "clean")
    await page.delete(CleaningView, "/v1/cleaning")
    return page.go("/cleaning")


@post("/cleaning")
async def clean(page: ThisPage) -> Response[str] | Redirect:
    """Remove the certain findings of the plan that was shown, and those probable ones that were chosen."""
    form = await page.form()
    require(page, "remove", "clean")
    if form.get("sure") != "yes":
        view = await page.get(CleaningView, "/v1/cleaning")
        return await _show_findings(page, view, unsure=True, chosen=frozenset(await page.form_list("probable")))
    request = CleaningAccept(
        plan_digest=form.get("plan_digest", ""), probable=tuple(await page.form_list("probable")), channel="page"
    )
    try:
        await page.post(CleaningView, "/v1/cleaning", request)
    except AskPerson as error:
        if error.code != "plan-changed":
            raise
        return page.go("/cleaning", changed="yes")
    return page.go("/cleaning")


@get("/cleaning/proof.json")
async def proof_file(page: ThisPage) -> Response[bytes]:
    """The whole proof as a file to keep."""
    view = await page.get(CleaningView, "/v1/cleaning")
    if view.result is None:
        raise AskPerson("no-plan", digest=(view.plan_digest or "")[:64])
    proof = {
        "plan_digest": view.plan_digest,
        "result": msgspec.to_builtins(view.result),
        "removals": msgspec.to_builtins(await _removals(page, None)),
    }
    name = f"modelota-cleaning-{(view.plan_digest or '')[:12]}.json"
    return Response(
        msgspec.json.format(msgspec.json.encode(proof), indent=2) + b"\n",
        media_type="application/json",
        headers={"content-disposition": f'attachment; filename="{name}"'},
    )


async def _show_findings(
    page: Page,
    view: CleaningView,
    *,
    changed: bool = False,
    unsure: bool = False,
    chosen: frozenset[str] = frozenset(),
) -> Response[str]:
    first = await page.get(FindingsPage, "/v1/cleaning/findings", limit=str(_CERTAIN_SHOWN))
    certain = [each for each in first.findings if each.certainty == "certain"]
    probable: list[FindingView] = []
    after: int | None = view.certain if view.probable else None  # they follow the certain ones
    while after is not None and len(probable) < _PROBABLE_SHOWN:
        piece = await page.get(FindingsPage, "/v1/cleaning/findings", after=str(after))
        probable += [each for each in piece.findings if each.certainty != "certain"]
        after = piece.next
    return page.render(
        "cleaning_findings.html.jinja",
        cleaning=view,
        digest=first.plan_digest,
        certain=[_found(page, each) for each in certain],
        probable=[_found(page, each) for each in probable],
        spared=[(each.path, reason_sentence(each.reason, page.language)) for each in first.spared],
        left_out=[(each.path, reason_sentence(each.reason, page.language)) for each in first.not_looked_at],
        changed=changed,
        unsure=unsure,
        chosen=chosen,
    )


async def _removals(page: Page, at_most: int | None) -> tuple[RemovedView, ...]:
    """The pieces of the proof, all of them or the first ones."""
    found: list[RemovedView] = []
    after: int | None = 0
    while after is not None and (at_most is None or len(found) < at_most):
        piece = await page.get(RemovalsPage, "/v1/cleaning/removals", after=str(after))
        found += piece.removals
        after = piece.next
    return tuple(found)


def _found(page: Page, view: FindingView) -> Found:
    language = page.language
    return Found(
        view=view,
        kind=kind_name(view.kind, language),
        evidence=evidence_sentence(view, language),
        doubts=doubt_sentences(view, language),
    )


def _removed(page: Page, view: RemovedView) -> Removed:
    reason = reason_sentence(view.reason, page.language) if view.result == "refused" else ""
    return Removed(view, kind_name(view.kind, page.language), reason)


HANDLERS = [cleaning, scan, stop, clean, proof_file]
