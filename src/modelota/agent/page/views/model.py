"""*My model*: the version in use, what it can do, how it does, and where to go from there."""

from __future__ import annotations

from litestar import Response, get
from litestar.params import FromQuery

from modelota.agent.page.page import Page, ThisPage
from modelota.agent.page.views.chosen import choose
from modelota.i18n.errors import RenderedError, render_error
from modelota.i18n.offer import permission_name
from modelota.i18n.owner import interface_name
from modelota.i18n.phases import engine_name
from modelota.i18n.texts import clean, localised
from modelota.spec import api
from modelota.spec.api_owner import ModelAbout
from modelota.spec.deployment import ReportsPage


@get("/model")
async def my_model(page: ThisPage, model: FromQuery[str | None] = None) -> Response[str]:
    """Show one model of the device."""
    chosen = await choose(page, model)
    about = await page.get(ModelAbout, "/v1/about", model=chosen.model.model)
    reports = await page.get(ReportsPage, "/v1/reports", model=chosen.model.model, limit="1")
    return page.render(
        "model.html.jinja",
        chosen=chosen,
        model=chosen.model,
        about=about,
        title=chosen.title,
        notes=clean(localised(about.notes, page.language).strip(), lines=True),
        abilities=[(interface_name(name, page.language), version) for name, version in about.interfaces.items()],
        permissions=[permission_name(name, page.language) for name in about.permissions],
        attention=attention(chosen.model, page),
        engine=engine_name(chosen.model.engine, page.language),
        report=reports.reports[0] if reports.reports else None,
    )


def attention(model: api.ModelStatus, page: Page) -> list[RenderedError]:
    """What the owner should know about the version in use, worst first."""
    params = {"version": model.active_version}

    def told(error: api.ErrorBody | None, now: str, remedy: str | None = None) -> list[RenderedError]:
        if error is None:
            return []
        found = render_error(error.code, error.params, page.language, now, params)
        return [found if remedy is None else found._replace(remedy=remedy)]

    # what the error itself advises is for who chooses a version, not for who has it in use
    other = page.texts.say("Look for updates, or go back to another version.")
    return [
        *told(model.error if model.phase == "degraded" else None, "degraded"),
        *told(model.withdrawn, "serving", other),
        *told(model.suspect, "serving", other),
        *told(model.engine_error, "unchanged"),
    ]


HANDLERS = [my_model]
