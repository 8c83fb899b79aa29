"""Backups of the owner's data, as the pages *my data* and *uninstall* offer them.

A passphrase goes from the form to the agent and nowhere else: no page, no address and no log has it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from modelota.agent.page.page import Page
from modelota.agent.page.views.chosen import require, user_of
from modelota.agent.page.views.history import LOOKED_AT, entries_before
from modelota.errors import ModelotaError
from modelota.i18n.errors import RenderedError
from modelota.spec import api, api_life

_MADE: Final = "backup-made"


class Backup(NamedTuple):
    """What the form of a backup shows.

    Attributes:
        path: proposed, or as it was sent.
        last: the newest backup that was made, by path and time; None when the journal has none.
        error: why the backup that was just asked for was not made, or None.
        differ: the two passphrases are not the same.
        incomplete: path or passphrase is missing.
        made: the newest one was just made.
    """

    path: str
    last: tuple[str, str] | None
    error: RenderedError | None = None
    differ: bool = False
    incomplete: bool = False
    made: bool = False

    @property
    def refused(self) -> bool:
        """Whether the backup that was just asked for was not made."""
        return self.error is not None or self.differ or self.incomplete


async def backup_form(page: Page, model: api.ModelStatus, *, made: bool = False) -> Backup:
    """The form as it stands first: a path in the home directory of who reads it, and the newest backup."""
    entries = await entries_before(page, model.model, None, LOOKED_AT)
    newest = next((entry for entry in entries if entry.event == _MADE), None)
    last = None if newest is None else (str(newest.facts.get("path", "")), newest.at)
    user = user_of(page.authority)
    name = f"{model.model.rpartition('/')[2]}-{model.active_version or 'data'}.backup"
    return Backup(path=str(Path(user.pw_dir) / name) if user else f"/{name}", last=last, made=made)


async def make_backup(page: Page, model: api.ModelStatus) -> Backup | None:
    """Write the backup that the form asks for; None when it is made, else the form that says why it is not."""
    form = await page.form()
    require(page, "decide", "backup")
    path, passphrase, again = (form.get(name, "") for name in ("path", "passphrase", "again"))
    again_form = (await backup_form(page, model))._replace(path=path)
    if not path.strip() or not passphrase:
        return again_form._replace(incomplete=True)
    if passphrase != again:
        return again_form._replace(differ=True)
    request = api_life.BackupRequest(path=path.strip(), passphrase=passphrase, model=model.model)
    try:
        await page.post(api_life.BackupResult, "/v1/backup", request)
    except ModelotaError as error:
        return again_form._replace(error=page.rendered(error))
    return None
