"""*My data*: where the owner's data are, how much, backup and restore, and what an uninstallation does with them."""

from __future__ import annotations

from typing import Any

from litestar import Response, get, post
from litestar.params import FromQuery
from litestar.response import Redirect

from modelota.agent.page.page import Page, ThisPage
from modelota.agent.page.views.backups import Backup, backup_form, make_backup
from modelota.agent.page.views.chosen import Chosen, choose, require
from modelota.errors import ModelotaError
from modelota.spec import api_life
from modelota.spec.api_owner import ModelAbout


@get("/data")
async def data(
    page: ThisPage, model: FromQuery[str | None] = None, made: FromQuery[str | None] = None
) -> Response[str]:
    """Show where the data of a model are and what can be done with them."""
    chosen = await choose(page, model)
    return await _show(page, chosen, await backup_form(page, chosen.model, made=made == "yes"))


@post("/data/backup")
async def back_up(page: ThisPage) -> Response[str] | Redirect:
    """Write an encrypted backup."""
    form = await page.form()
    chosen = await choose(page, form.get("model"))
    refused = await make_backup(page, chosen.model)
    if refused is not None:
        return await _show(page, chosen, refused)
    return page.go("/data", model=chosen.model.model, made="yes")


@post("/data/restore")
async def take_back(page: ThisPage) -> Response[str]:
    """Put the data of a backup in place; those of now are kept beside."""
    form = await page.form()
    require(page, "decide", "restore")
    chosen = await choose(page, form.get("model"))
    path, passphrase = form.get("path", "").strip(), form.get("passphrase", "")
    backup = await backup_form(page, chosen.model)
    if not path or not passphrase or form.get("sure") != "yes":
        return await _show(page, chosen, backup, restore={"path": path, "incomplete": True})
    request = api_life.BackupRequest(path=path, passphrase=passphrase, model=chosen.model.model)
    try:
        result = await page.post(api_life.RestoreResult, "/v1/restore", request)
    except ModelotaError as error:
        return await _show(page, chosen, backup, restore={"path": path, "error": page.rendered(error)})
    return await _show(page, chosen, backup, restored=result)


async def _show(
    page: Page,
    chosen: Chosen,
    backup: Backup,
    *,
    restore: dict[str, Any] | None = None,
    restored: api_life.RestoreResult | None = None,
) -> Response[str]:
    about = await page.get(ModelAbout, "/v1/about", model=chosen.model.model)
    return page.render(
        "data.html.jinja",
        chosen=chosen,
        model=chosen.model,
        about=about,
        backup=backup,
        restore={"path": "", "error": None, "incomplete": False, **(restore or {})},
        restored=restored,
    )


HANDLERS = [data, back_up, take_back]
