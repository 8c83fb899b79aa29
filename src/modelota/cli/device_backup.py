"""The owner's own data: `backup`, `restore`."""

from __future__ import annotations

from pathlib import Path

from modelota.cli import agent_access
from modelota.cli.agent_access import ask
from modelota.cli.passphrase import passphrases
from modelota.cli.question import WORDS_YES, ask_word, can_ask
from modelota.cli.session import current
from modelota.i18n import units
from modelota.spec import api_life

_NAME = "backup"


async def backup(root: Path, model: str | None, file: Path, descriptor: int | None) -> None:
    """Write an encrypted backup of the user's data."""
    session = current()
    passphrase = passphrases(descriptor).new(_NAME).decode()
    request = api_life.BackupRequest(model=model, path=str(file), passphrase=passphrase)
    async with agent_access.open_access(root) as access:
        made = await ask(access, api_life.BackupResult, "POST", "/v1/backup", request)
    session.emit(made)
    session.say("Your data of {model} are in {path} ({size}).", model=made.model, path=made.path,
                size=units.size(made.size_bytes, session.texts.language))  # fmt: skip
    session.say("They open with your passphrase only. Nobody can recover it.")
    for name, reason in made.skipped.items():
        session.say("Left out, because it is no data: {path} ({reason})", path=name, reason=reason)


async def restore(root: Path, model: str | None, file: Path, descriptor: int | None) -> None:
    """Take an encrypted backup back."""
    session = current()
    passphrase = passphrases(descriptor).existing(_NAME).decode()
    if can_ask(session):
        session.say("The data in {path} take the place of the present ones, which are kept beside.", path=file)
        await ask_word(session.texts.say("Go on? (yes): "), WORDS_YES, action="restore")
    request = api_life.BackupRequest(model=model, path=str(file), passphrase=passphrase)
    async with agent_access.open_access(root) as access:
        done = await ask(access, api_life.RestoreResult, "POST", "/v1/restore", request)
    session.emit(done)
    made_at = units.moment(done.made_at, session.texts.language)
    session.say("The data of {model} of {made_at} are in place again.", model=done.model, made_at=made_at)
    if done.kept_beside is not None:
        session.say("What was there before is kept in {path}.", path=done.kept_beside)
    session.say("Start the applications that use it again.")
