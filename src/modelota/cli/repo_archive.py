"""`modelota repo archive …`: the place where released versions are kept (clause 6.2-b)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelota.cli.passphrase import PassphraseFd, passphrases
from modelota.cli.question import ask_word, can_ask
from modelota.cli.repo_options import ArchiveKeyFile
from modelota.cli.session import Session, current
from modelota.cli.tree import Command, make_app
from modelota.cli.workspace import ModelName, Repo, open_workspace, repository_state
from modelota.clock import SystemClock, iso
from modelota.delivery.objects import ObjectStore
from modelota.errors import AskPerson, RefuseContent
from modelota.i18n import units
from modelota.i18n.errors import render_error
from modelota.i18n.texts import mark
from modelota.repository.archive import EntryReport
from modelota.repository.published import Published
from modelota.repository.workspace import Workspace

app = make_app(mark("Released versions, kept whole in a private place."))
_WORDS = frozenset({"remove", "清除"})


def register(parent: typer.Typer) -> None:
    """Add the commands to `parent`."""
    parent.add_typer(app, name="archive")


@app.command("check", cls=Command, help=mark("Look whether every release lies in the archive, whole."))
def check(
    version: Annotated[
        list[str] | None, typer.Argument(metavar="[VERSION]…", help=mark("Only these. Default: all."))
    ] = None,
    archive_key: ArchiveKeyFile = None,
    repo: Repo = None,
    model: ModelName = None,
    passphrase_fd: PassphraseFd = None,
) -> None:
    """Check the archive; with the archive key, open everything in it."""
    from modelota.repository.archive import check_archive
    from modelota.repository.baseline import read_archive_key

    session = current()
    with repository_state(writes=False):
        workspace, published, archive = _opened(repo, writable=False)
        key = None if archive_key is None else read_archive_key(archive_key, passphrases(passphrase_fd))
        reports = check_archive(
            archive, published, workspace.require_model(model), versions=version, key=key, workspace=workspace
        )
    for report in reports:
        session.emit(_object(report))
    session.table(
        (session.texts.say("Version"), session.texts.say("Archived"), session.texts.say("Kept until"), ""),
        [_row(report, session) for report in reports],
    )
    wrong = [(report, finding) for report in reports for finding in report.findings]
    for report, (path, error) in wrong:
        told = render_error(error.code, error.params, session.language, "unchanged")
        session.line(f"{report.version}  {path}: {told.what} [{told.code}]")
    if wrong:
        session.reported = True
        raise typer.Exit(RefuseContent.exit_status)


@app.command("prune", cls=Command, help=mark("Remove what need not be kept any more: shows it, asks, removes."))
def prune(
    accept: Annotated[
        str | None,
        typer.Option("--accept", metavar="DIGEST", help=mark("Carry out this plan, which was shown before.")),
    ] = None,
    repo: Repo = None,
    model: ModelName = None,
) -> None:
    """Prune the archive of a model whose service ended two years ago."""
    import asyncio

    from modelota.repository.archive_prune import apply_prune, plan_prune

    session = current()
    with repository_state(writes=False):
        workspace, published, archive = _opened(repo, writable=True)
        name = workspace.require_model(model)
        plan = plan_prune(archive, published, name, clock=SystemClock())
        digest = accept
        if digest is None:
            session.emit({"plan": plan, "digest": plan.identity})
            session.say(
                "{model}: {versions} would go, {size} in all; they had to be kept until {until}.",
                model=name,
                versions=session.texts.listing(list(plan.versions)) or session.texts.say("nothing"),
                size=units.size(plan.size_bytes, session.language),
                until=units.moment(plan.kept_until, session.language),
            )
            if not plan.objects:
                return
            if not can_ask(session):
                raise AskPerson("decision-required", digest=plan.identity)
            question = session.texts.say("Type “remove” to remove them, anything else to stop: ")
            asyncio.run(ask_word(question, _WORDS, action="prune"))
            digest = plan.identity
        done = apply_prune(archive, published, name, digest, clock=SystemClock())
    session.emit({"removed": done.objects, "size_bytes": done.size_bytes})
    session.say("Removed: {versions}.", versions=session.texts.listing(list(done.versions)))


def _opened(repo: Path | None, *, writable: bool) -> tuple[Workspace, Published, ObjectStore]:
    from modelota.repository.archive import open_archive
    from modelota.repository.published import load_published

    workspace = open_workspace(repo)
    archive = open_archive(workspace, writable=writable)
    if archive is None:
        raise AskPerson("archive-missing", model=workspace.require_model(None))
    published = load_published(workspace.store(), workspace.trusted_root(), floor=workspace.seen().snapshot)
    return workspace, published, archive


def _row(report: EntryReport, session: Session) -> tuple[str, ...]:
    say, language = session.texts.say, session.language
    archived = "" if report.entry is None else units.moment(report.entry.archived_at, language)
    until = (
        say("as long as it is served") if report.kept_until is None else units.moment(iso(report.kept_until), language)
    )
    state = say("complete") if report.complete else say("not complete")
    if report.opened_bytes:
        state = say("complete, opened with the archive key ({size})", size=units.size(report.opened_bytes, language))
    return report.version, archived, until, state


def _object(report: EntryReport) -> dict[str, object]:
    return {
        "model": report.model,
        "version": report.version,
        "complete": report.complete,
        "opened_bytes": report.opened_bytes,
        "archived_at": None if report.entry is None else report.entry.archived_at,
        "kept_until": None if report.kept_until is None else iso(report.kept_until),
        "findings": [{"path": path, "code": error.code, "params": error.params} for path, error in report.findings],
    }
