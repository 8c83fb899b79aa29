"""What can be asked of a device about its user's data: a backup, and taking one back."""

from __future__ import annotations

from typing import Any

import msgspec

from modelota.agent.core import Core
from modelota.errors import AskPerson
from modelota.spec import api_life


async def back_up(core: Core, request: api_life.BackupRequest, *, authority: str) -> api_life.BackupResult:
    """Write the user's data of a model to one encrypted file, which must not exist yet.

    Raises:
        AskPerson: `file-exists`, `argument-invalid`, `permission-denied`, `no-space`, `user-data-too-large`.
        TryLater: `disk-error`.
    """
    loop = core.loop(request.model)
    arguments = {"model": loop.model, "path": request.path, "passphrase": request.passphrase, "uid": _uid(authority)}
    facts = msgspec.json.decode(await core.background.run("export-backup", arguments), type=dict[str, Any])
    core.journal.note(loop.model, "backup-made", {"authority": authority, **facts})
    return api_life.BackupResult(
        model=loop.model, path=facts["path"], size_bytes=facts["size_bytes"], skipped=facts["skipped"]
    )


async def take_back(core: Core, request: api_life.BackupRequest, *, authority: str) -> api_life.RestoreResult:
    """Put the data of a backup in place; what lies there now is kept beside.

    Raises:
        AskPerson: `update-in-progress`, `backup-not-opened`, `backup-of-other-model`, `backup-newer-data`,
            `permission-denied`, `no-space`.
        RefuseContent: `archive-invalid`, `unsafe-path`, `document-needs-newer`.
        TryLater: `disk-error`.
    """
    loop = core.loop(request.model)
    update = loop.state.update
    if update is not None:
        raise AskPerson("update-in-progress", version=update.target.version, phase=update.phase)
    arguments = {"model": loop.model, "path": request.path, "passphrase": request.passphrase}
    facts = msgspec.json.decode(await core.background.run("import-backup", arguments), type=dict[str, Any])
    core.journal.note(loop.model, "backup-taken-back", {"authority": authority, "path": request.path, **facts})
    return api_life.RestoreResult(
        model=loop.model, version=facts["version"], made_at=facts["made_at"], kept_beside=facts["kept_beside"]
    )


def _uid(authority: str) -> int | None:
    """The user behind an authority; None for an embedding host, which is this very user."""
    kind, _, number = authority.partition(":")
    return int(number) if kind == "uid" and number.isdigit() else None
