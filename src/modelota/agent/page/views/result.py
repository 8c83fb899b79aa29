"""*Result*: how the last operation ended, its report, and what an error's code means."""

from __future__ import annotations

import string
from typing import Any, Final

import msgspec
from litestar import Response, get
from litestar.params import FromPath, FromQuery

from modelota.agent.page.page import ThisPage
from modelota.agent.page.views.chosen import choose
from modelota.errors import CODES, AskPerson
from modelota.i18n.deployment import report_title, sections, step_shares
from modelota.i18n.flow import render_outcome
from modelota.i18n.sentences import SENTENCES
from modelota.i18n.texts import mark
from modelota.spec.deployment import ReportEntry, ReportsPage

_REPORTS: Final = 50  # as many as an agent keeps
_BRANCHES: Final = {
    "try-later": mark("This passes by itself or later: the same thing can succeed without a change."),
    "refuse-content": mark("What was published, downloaded or stored was not accepted. Trying again does not help."),
    "ask-person": mark("Somebody has to decide, correct or repair something."),
    "our-bug": mark("This is a mistake in modelota itself."),
}


@get("/result")
async def result(page: ThisPage, model: FromQuery[str | None] = None) -> Response[str]:
    """Show how the last operation of a model ended."""
    chosen = await choose(page, model)
    outcome = chosen.model.last_outcome
    newest = await page.get(ReportsPage, "/v1/reports", model=chosen.model.model, limit="1")
    report = newest.reports[0] if newest.reports else None
    if outcome is not None and report is not None and report.report.finished_at != outcome.finished_at:
        report = None  # of another operation
    return page.render(
        "result.html.jinja",
        model=chosen.model,
        outcome=outcome,
        told=None if outcome is None else render_outcome(outcome, page.language),
        report=report,
    )


@get("/report")
async def report(
    page: ThisPage, model: FromQuery[str | None] = None, seq: FromQuery[int | None] = None
) -> Response[str]:
    """Show the report of a finished operation (clause 7.1.2-c)."""
    found = await page.get(ReportsPage, "/v1/reports", model=model, limit="1" if seq is None else str(_REPORTS))
    entry = _entry(found, seq)
    if entry is None:
        raise AskPerson("page-not-found", path="/report")
    fields: dict[str, Any] = msgspec.to_builtins(entry.report)
    return page.render(
        "report.html.jinja",
        entry=entry,
        title=report_title(fields, page.language),
        sections=sections(fields, page.language),
        shares=[round(100 * share) for share in step_shares(fields)],
        finished_at=entry.report.finished_at,
        model=found.model,
    )


@get("/codes/{code:str}")
async def code(page: ThisPage, code: FromPath[str]) -> Response[str]:
    """Say what an error's code means, whatever it was about."""
    if code not in SENTENCES or code not in CODES:
        raise AskPerson("page-not-found", path=f"/codes/{code[:80]}")
    sentence, texts = SENTENCES[code], page.texts
    return page.render(
        "code.html.jinja",
        code=code,
        what=_open(texts.say, sentence.what),
        remedy=_open(texts.say, sentence.remedy),
        branch=texts.say(_BRANCHES[CODES[code]]),
    )


def _entry(found: ReportsPage, seq: int | None) -> ReportEntry | None:
    return next((each for each in found.reports if seq in {None, each.seq}), None)


def _open(say: Any, msgid: str) -> str:  # noqa: ANN401  a bound method of Texts
    """A sentence whose places to fill stay open."""
    names = {name for _, name, _, _ in string.Formatter().parse(msgid) if name}
    return str(say(msgid, **dict.fromkeys(names, "…")))


HANDLERS = [result, report, code]
